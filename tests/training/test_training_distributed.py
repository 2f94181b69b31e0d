"""Two processes learn what one learns from the same batches."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from eureka_audio.errors import ConfigError
from eureka_audio.training.checkpoint import newest
from eureka_audio.training.distributed import World, choose_device, joined_world, launch
from eureka_audio.training.trainer import BatchLoss, TrainerConfig, train


class Net(nn.Module):
    """A loss per token, and a part that some batches have no use for."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.used, self.sometimes = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, values: Tensor, totals: dict[str, float]) -> BatchLoss:
        hidden = self.used(values)
        if len(values) % 2:
            hidden = hidden + self.sometimes(values)
        loss = hidden.pow(2).sum() / totals["tokens"]
        return BatchLoss(loss, {"token_loss": loss.detach()})


def batch(number: int) -> dict[str, Any]:
    count = 1 + number % 5  # batches of unlike size
    generator = torch.Generator().manual_seed(number)
    return {"values": torch.randn(count, 4, generator=generator), "counts": {"tokens": count}}


def settings(accumulate: int) -> TrainerConfig:
    return TrainerConfig(
        max_steps=3,
        accumulate=accumulate,
        precision="fp32",
        log_every=1,
        optimizer={"warmup_steps": 0},
    )


def run(folder: Path, processes: int) -> None:
    """Learn from the same four batches a step, in so many processes."""
    with joined_world("cpu") as world:
        assert world.size == processes

        def batches(first: int, last: int) -> Any:
            return (batch(number * world.size + world.rank) for number in range(first, last))

        train(Net(), batches, settings(4 // processes), folder, world=world)


def test_two_processes_take_the_steps_of_one(tmp_path: Path) -> None:
    for processes in (1, 2):
        launch(partial(run, tmp_path / str(processes), processes), processes)
    one, two = (load_file(newest(tmp_path / n) / "model.safetensors") for n in ("1", "2"))
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-5, atol=1e-7)
    losses = [
        [line.split('"loss": ')[1].split(",")[0] for line in (tmp_path / n / "log.jsonl").open()]
        for n in ("1", "2")
    ]
    assert losses[0] == losses[1]


def test_accumulated_batches_are_one_large_batch(tmp_path: Path) -> None:
    def joined(first: int, last: int) -> Any:
        for step in range(first, last):
            parts = [batch(4 * step + number)["values"] for number in range(4)]
            # An odd number of rows uses the second part; here all do, or none.
            yield {"values": torch.cat(parts), "counts": {"tokens": len(torch.cat(parts))}}

    class Plain(Net):
        def forward(self, values: Tensor, totals: dict[str, float]) -> BatchLoss:
            loss = self.used(values).pow(2).sum() / totals["tokens"]
            return BatchLoss(loss + 0.0 * self.sometimes(values).sum(), {})

    def parts(first: int, last: int) -> Any:
        return (batch(number) for number in range(first, last))

    train(Plain(), parts, settings(4), tmp_path / "parts")
    train(Plain(), joined, settings(1), tmp_path / "joined")
    first, second = (
        load_file(newest(tmp_path / name) / "model.safetensors") for name in ("parts", "joined")
    )
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=1e-5, atol=1e-7)


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == "cpu"
    with pytest.raises(ConfigError, match="use device=cpu"):
        choose_device("cuda")


def test_alone_the_world_does_nothing() -> None:
    world, model = World(), Net()
    assert world.is_first
    assert world.wrap(model) is model
    assert world.sum({"a": 1.0}) == {"a": 1.0}
    with world.first_goes_first():
        pass
