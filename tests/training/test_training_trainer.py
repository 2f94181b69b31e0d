"""The loop: a run that was cut off is, bit for bit, the run that was not."""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from eureka_audio.data.loader import TensorBatch, stream_batches
from eureka_audio.data.mixture import Batch, MixturePlan
from eureka_audio.errors import CheckpointError, ConfigError, TrainingError
from eureka_audio.training.checkpoint import list_checkpoints, newest
from eureka_audio.training.optimizer import OptimizerConfig, build_optimizers, rate_factor
from eureka_audio.training.precision import fast_type
from eureka_audio.training.trainer import RunLog, TrainerConfig, train, train_step

STEPS = 9


@dataclass
class Output:
    loss: Tensor
    metrics: dict[str, float | Tensor] = field(default_factory=dict)


class Net(nn.Module):
    """Layers under a name that Muon takes, with dropout and dropped layers."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(5, 8)
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(2))
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(8, 1)

    def forward(self, noise: Tensor, totals: dict[str, float]) -> Output:
        hidden = self.embed(noise)
        for layer in self.layers:
            if self.training and torch.rand([]) < 0.3:
                continue
            hidden = hidden + self.dropout(layer(hidden).relu())
        loss = (self.head(hidden) - noise.sum(-1, keepdim=True)).square().sum() / totals["rows"]
        return Output(loss, {"half": loss.detach() / 2})


def collate(batch: Batch) -> TensorBatch:
    rows = [np.random.default_rng(sample.seed).standard_normal(5) for sample in batch.samples]
    noise = torch.tensor(np.stack(rows), dtype=torch.float32)
    return {"noise": noise, "counts": {"rows": len(rows)}}


def batches(num_workers: int) -> Callable[[int, int], Iterator[TensorBatch]]:
    # 25 samples in batches of at most 10: an epoch ends in the middle of the run
    lengths = {"a": np.random.default_rng(0).uniform(0.5, 3.0, 25)}
    plan = MixturePlan(lengths, {"a": 1}, samples_per_epoch=25, batch_seconds=12.0, seed=3)
    return lambda first, last: stream_batches(
        plan, collate, steps=range(first, last), num_workers=num_workers
    )


def config(**settings: Any) -> TrainerConfig:
    optimizer = {"warmup_steps": 3, "decay_steps": 3, "name": settings.pop("name", "adamw")}
    return TrainerConfig(
        **{
            "max_steps": STEPS,
            "precision": "fp32",
            "optimizer": optimizer,
            "num_workers": 0,
            "log_every": 2,
            "save_every": 3,
            "keep_checkpoints": 9,
            **settings,
        }
    )


def run(folder: Path, settings: TrainerConfig, cut_after: int | None = None) -> None:
    """Train, or be cut off once `cut_after` steps are done."""
    torch.manual_seed(1)
    stream = batches(settings.num_workers)

    def until_cut(first: int, last: int) -> Iterator[TensorBatch]:
        for step, batch in enumerate(stream(first, last), start=first):
            if step == cut_after:
                raise KeyboardInterrupt
            yield batch

    def evaluate(model: nn.Module) -> dict[str, float]:
        assert not model.training
        return {"weight": float(model.head.weight.sum())}

    try:
        train(Net(), until_cut, settings, folder, evaluate=evaluate)
    except KeyboardInterrupt:
        assert cut_after is not None


def logged(folder: Path) -> list[dict[str, float]]:
    lines = (folder / "log.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if "seconds" not in k} for line in lines]


def tensors(folder: Path) -> dict[str, Tensor]:
    path = newest(folder)
    return {
        **load_file(path / "model.safetensors"),
        **{f"optimizer.{k}": v for k, v in load_file(path / "optimizer.safetensors").items()},
    }


def assert_same_run(left: Path, right: Path) -> None:
    assert logged(left) == logged(right)
    first, second = tensors(left), tensors(right)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("name", ["adamw", "muon"])
@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("cut_after", [4, 6, 8])  # mid-epoch, on a checkpoint, past an epoch
def test_resumed_is_uninterrupted_bit_for_bit(
    tmp_path: Path, name: str, num_workers: int, cut_after: int
) -> None:
    settings = config(name=name, num_workers=num_workers)
    run(tmp_path / "whole", settings)
    run(tmp_path / "cut", settings, cut_after)
    assert newest(tmp_path / "cut").name == f"checkpoint-{cut_after // 3 * 3:08d}"
    run(tmp_path / "cut", settings)
    assert_same_run(tmp_path / "whole", tmp_path / "cut")


def test_cut_again_and_again_with_other_numbers_of_workers(tmp_path: Path) -> None:
    run(tmp_path / "whole", config(name="muon"))
    for cut_after, workers in ((2, 0), (4, 2), (5, 0), (7, 1), (None, 0)):
        run(tmp_path / "cut", config(name="muon", num_workers=workers), cut_after)
    assert_same_run(tmp_path / "whole", tmp_path / "cut")


def test_a_finished_run_is_left_alone(tmp_path: Path) -> None:
    run(tmp_path, config())
    before = {f: f.stat().st_mtime_ns for f in tmp_path.rglob("*.safetensors")}
    log = logged(tmp_path)
    run(tmp_path, config())
    assert {f: f.stat().st_mtime_ns for f in tmp_path.rglob("*.safetensors")} == before
    assert logged(tmp_path) == log


def test_only_damaged_checkpoints_stop_the_run(tmp_path: Path) -> None:
    run(tmp_path, config(), cut_after=4)
    for path in list_checkpoints(tmp_path):
        (path / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError):
        run(tmp_path, config())


class Exploding(Net):
    """A loss, or only its gradient, that is not finite from the fourth step on."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where
        self.calls = 0

    def forward(self, noise: Tensor, totals: dict[str, float]) -> Output:
        self.calls += 1
        output = super().forward(noise, totals)
        if self.calls <= 3:
            return output
        if self.where == "loss":
            return Output(output.loss * math.nan)
        return Output(output.loss + (self.head.weight.sum() * 0).sqrt())  # 0, of infinite slope


@pytest.mark.parametrize(("where", "message"), [("loss", "finite loss"), ("slope", "gradient")])
def test_a_step_that_is_not_finite_stops_the_run_and_saves_nothing(
    tmp_path: Path, where: str, message: str
) -> None:
    with pytest.raises(TrainingError, match=message):
        train(Exploding(where), batches(0), config(save_every=1), tmp_path)
    assert newest(tmp_path).name == "checkpoint-00000003"
    assert all(bool(t.isfinite().all()) for t in load_file(newest(tmp_path) / FILE).values())


FILE = "model.safetensors"


def test_evaluation_runs_as_often_as_asked_and_at_the_end(tmp_path: Path) -> None:
    run(tmp_path, config(evaluate_every=4))
    assert [line["step"] for line in logged(tmp_path) if "weight" in line] == [4, 8, 9]


def test_the_log_holds_means_and_forgets_what_is_to_be_done_again(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = RunLog(path, every=2)
    for step, loss in enumerate((1.0, 3.0, 5.0)):
        log.add(step, {"loss": loss})
    log.flush(3)
    log.flush(3)
    assert [(line["step"], line["loss"]) for line in logged(tmp_path)] == [(2, 2.0), (3, 5.0)]
    with path.open("a") as file:
        file.write('{"step": 4, "lo')  # killed while writing
    RunLog(path, every=2, first_step=2)
    assert [line["step"] for line in logged(tmp_path)] == [2]


@pytest.mark.parametrize(
    ("step", "factor"), [(0, 0.25), (1, 0.5), (3, 1.0), (4, 1.0), (15, 1.0), (17, 0.6), (19, 0.2)]
)
def test_the_rate_warms_up_stays_and_falls(step: int, factor: float) -> None:
    assert rate_factor(step, 20, OptimizerConfig(warmup_steps=4, decay_steps=5)) == factor


def test_the_rate_is_constant_where_nothing_is_asked() -> None:
    flat = OptimizerConfig(warmup_steps=0, decay_steps=0)
    assert {rate_factor(step, 20, flat) for step in range(20)} == {1.0}


def test_the_rate_reaches_the_optimiser(tmp_path: Path) -> None:
    run(tmp_path, config(log_every=1))
    rates = [line["rate"] for line in logged(tmp_path) if "rate" in line]
    assert rates == [round(rate_factor(s, STEPS, config().optimizer), 5) for s in range(STEPS)]
    groups = json.loads((newest(tmp_path) / "state.json").read_text())["groups"][0]
    last = rate_factor(STEPS - 1, STEPS, config().optimizer)
    assert {group["lr"] for group in groups} == {group["peak_lr"] * last for group in groups}


def test_muon_takes_the_matrices_of_layers_and_adamw_the_rest() -> None:
    model = Net()
    model.head.weight.requires_grad_(False)
    adamw, muon = build_optimizers(model, OptimizerConfig(name="muon"))
    by_id = {id(parameter): name for name, parameter in model.named_parameters()}

    def names(optimizer: torch.optim.Optimizer, group: int) -> set[str]:
        return {by_id[id(p)] for p in optimizer.param_groups[group]["params"]}

    assert names(muon, 0) == {"layers.0.weight", "layers.1.weight"}
    assert names(adamw, 0) == {
        "embed.weight",
        "embed.bias",
        "head.bias",
        "layers.0.bias",
        "layers.1.bias",
    }
    assert adamw.param_groups[0]["weight_decay"] == 0.0
    assert len(build_optimizers(model, OptimizerConfig())) == 1


def test_nothing_to_train_is_refused() -> None:
    model = Net().requires_grad_(False)
    with pytest.raises(ConfigError, match="a part of the model to train"):
        build_optimizers(model, OptimizerConfig())


@pytest.mark.parametrize("key", ["max_steps", "save_every", "keep_checkpoints", "log_every"])
def test_counts_are_positive(key: str) -> None:
    with pytest.raises(ValueError, match="greater than 0"):
        TrainerConfig(**{key: 0})


@pytest.mark.parametrize(
    ("precision", "abilities", "autocast"),
    [
        ("auto", {"amx_bf16": True}, True),
        ("auto", {"avx512_bf16": True}, True),
        ("auto", {"avx512_bf16": False}, False),
        ("fp32", {"amx_bf16": True}, False),
        ("bf16", {}, True),
    ],
)
def test_bfloat16_is_used_where_it_is_wanted_and_there(
    monkeypatch: pytest.MonkeyPatch, precision: str, abilities: dict[str, bool], autocast: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: abilities)
    seen: list[bool] = []
    model = Net()
    model.register_forward_hook(lambda *_: seen.append(torch.is_autocast_enabled("cpu")))
    settings = config(precision=precision)
    batch = next(batches(0)(0, 1))
    train_step(model, [batch], build_optimizers(model, settings.optimizer), 1.0, settings)
    assert seen == [autocast]
    assert fast_type(torch.device("cuda")) is torch.bfloat16
