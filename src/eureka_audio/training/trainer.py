"""The training loop, and only the loop.

What a model is, what a batch is and how a run is judged come in as callables; what is trainable is
decided before the loop (`stages.py`). The loop steps, logs, saves and resumes, in one process or
in several.
"""

import json
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor, nn
from tqdm import tqdm

from eureka_audio.config import Config
from eureka_audio.durable import atomic_write
from eureka_audio.errors import TrainingError
from eureka_audio.training.checkpoint import resume_latest, save_checkpoint
from eureka_audio.training.distributed import World, without_sync
from eureka_audio.training.optimizer import OptimizerConfig, build_optimizers, rate_factor
from eureka_audio.training.precision import fast_type

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


class TrainerConfig(Config):
    """Length, precision and bookkeeping of one run.

    `precision` "auto" is bf16 (mixed, over float32 weights) where the hardware is fast in it, else
    fp32. `accumulate` is how many batches one optimiser step learns from, in each process.
    """

    max_steps: PositiveInt = 1000
    accumulate: PositiveInt = 1
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    optimizer: OptimizerConfig = OptimizerConfig()
    seed: int = 0
    num_workers: NonNegativeInt = 1
    log_every: PositiveInt = 50
    save_every: PositiveInt = 500
    evaluate_every: PositiveInt = 1000
    keep_checkpoints: PositiveInt = 2


class StepOutput(Protocol):
    """What a model returns for a batch: its share of the step's loss, and shares of figures.

    Shares add up over the batches of a step, those of other processes included.
    """

    loss: Tensor
    metrics: Mapping[str, float | Tensor]


@dataclass
class BatchLoss:
    """The plain `StepOutput`."""

    loss: Tensor
    metrics: Mapping[str, float | Tensor]


BatchStream = Callable[[int, int], Iterator[dict[str, Any]]]
Evaluate = Callable[[Any], Mapping[str, float]]  # of the model that `train` was given


def train(
    model: nn.Module,
    batches: BatchStream,
    config: TrainerConfig,
    folder: Path,
    *,
    evaluate: Evaluate | None = None,
    device: str = "cpu",
    world: World | None = None,
    started_from: str = "",
) -> None:
    """Train until `config.max_steps`, going on from the newest sound checkpoint in `folder`.

    Args:
        model: called as `model(**batch, totals=...)`, returns a `StepOutput`. A batch holds
            `counts`, what is learnt of it by kind (tokens, letters); `totals` are these counts over
            all batches of the step.
        batches: `(first, last)` -> batches number `first` .. `last` - 1 of this process; must be a
            pure function of the numbers. A step takes `config.accumulate` of them.
        config: the trainer's section of the recipe.
        folder: checkpoints and `log.jsonl` go here.
        evaluate: called every `evaluate_every` steps and at the end; its figures are logged.
        device: where the step runs.
        world: the processes that train together; `None` for this one alone.
        started_from: what the run began with; a checkpoint of another start is refused.

    Raises:
        TrainingError: the loss or its gradient is not finite; nothing is saved from such a step.
        CheckpointError: the folder holds checkpoints, none of which can be used.
    """
    world = world or World()
    folder.mkdir(parents=True, exist_ok=True)
    model.to(device).train()
    optimizers = build_optimizers(model, config.optimizer)
    first_step = resume_latest(folder, model, optimizers, started_from) or 0
    if first_step >= config.max_steps:
        return
    wrapped = world.wrap(model)
    log = RunLog(folder / "log.jsonl", config.log_every, first_step) if world.is_first else None
    stream = batches(first_step * config.accumulate, config.max_steps * config.accumulate)
    progress = tqdm(
        range(first_step, config.max_steps),
        initial=first_step,
        total=config.max_steps,
        disable=None if world.is_first else True,
    )
    for step in progress:
        # Chance in the model (dropout) is a function of the step, so a resumed run has the same.
        torch.manual_seed(hash((config.seed, step, world.rank)) % 2**63)
        parts = [_to_device(next(stream), device) for _ in range(config.accumulate)]
        rate = rate_factor(step, config.max_steps, config.optimizer)
        metrics = train_step(wrapped, parts, optimizers, rate, config, world)
        done = step + 1
        is_last = done == config.max_steps
        if log is None:
            continue
        if log.add(step, {**metrics, "rate": rate}):
            progress.set_description(f"loss {log.last['loss']:.3f}")
        if evaluate is not None and (done % config.evaluate_every == 0 or is_last):
            model.eval()
            with torch.inference_mode(), _autocast(config, device):
                log.write(done, dict(evaluate(model)))
            model.train()
        if done % config.save_every == 0 or is_last:
            log.flush(done)
            save_checkpoint(folder, done, model, optimizers, config.keep_checkpoints, started_from)
    world.wait()


def train_step(
    model: nn.Module,
    parts: list[dict[str, Any]],
    optimizers: list[torch.optim.Optimizer],
    rate: float,
    config: TrainerConfig,
    world: World | None = None,
) -> dict[str, float]:
    """One optimiser step at `rate` times each group's peak rate, over the batches `parts`.

    What is learnt weighs the same in whichever batch and process it comes: every share is divided
    by the totals of the whole step.
    """
    world = world or World()
    device = str(next(model.parameters()).device)
    totals = world.sum(_added_counts(parts))
    sums: Counter[str] = Counter()
    for number, part in enumerate(parts):
        batch = {name: value for name, value in part.items() if name != "counts"}
        is_last = number == len(parts) - 1
        with nullcontext() if is_last else without_sync(model):
            with _autocast(config, device):
                output: StepOutput = model(**batch, totals=totals)
            (output.loss * world.size).backward()  # the processes' gradients are averaged
        sums.update(_as_floats({"loss": output.loss.detach(), **output.metrics}))
    metrics = world.sum(dict(sums))
    if not math.isfinite(metrics["loss"]):
        raise TrainingError(
            f"expected a finite loss, got {metrics['loss']}; lower the learning rate"
        )
    norm = nn.utils.clip_grad_norm_(
        [p for p in model.parameters() if p.grad is not None], config.optimizer.max_grad_norm
    )
    if not math.isfinite(float(norm)):
        raise TrainingError(f"expected a finite gradient, got {norm}; lower the learning rate")
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * rate
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return {**metrics, "grad_norm": float(norm)}


class RunLog:
    """Means of the figures between two lines, appended to a JSON-lines file."""

    def __init__(self, path: Path, every: int, first_step: int = 0) -> None:
        """Write to `path` each time `every` steps have been added.

        Lines of steps past `first_step` are dropped: a run that was killed had logged them after
        its last checkpoint, and they are about to be made again.
        """
        self.path = path
        self.every = every
        self.last: dict[str, float] = {}
        self._sums: dict[str, tuple[float, int]] = {}
        self._num_steps = 0
        self._since = time.perf_counter()
        if path.exists():
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
            with atomic_write(path) as file:
                file.writelines(line for line in lines if _logged_step(line) <= first_step)

    def add(self, step: int, metrics: Mapping[str, float]) -> bool:
        """Take in one step's figures; True when a line was written."""
        for name, value in metrics.items():
            total, count = self._sums.get(name, (0.0, 0))
            self._sums[name] = (total + float(value), count + 1)
        self._num_steps += 1
        if (step + 1) % self.every:
            return False
        self.flush(step + 1)
        return True

    def flush(self, step: int) -> None:
        """Write what was added since the last line, if anything was.

        Called before a checkpoint, so that a run that resumes there logs what an uninterrupted one
        does.
        """
        if not self._num_steps:
            return
        now = time.perf_counter()
        means = {name: total / count for name, (total, count) in self._sums.items()}
        means["seconds_per_step"] = (now - self._since) / self._num_steps
        self.write(step, means)
        self._sums, self._num_steps, self._since = {}, 0, now

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        """Append one line."""
        self.last = dict(figures)
        rounded = {name: round(float(value), 5) for name, value in figures.items()}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **rounded}) + "\n")
        logging.getLogger(__name__).info("step %d %s", step, rounded)


def _added_counts(parts: list[dict[str, Any]]) -> dict[str, float]:
    counts: Counter[str] = Counter()
    for part in parts:
        counts.update(part["counts"])
    return dict(counts)


def _as_floats(figures: Mapping[str, float | Tensor]) -> dict[str, float]:
    """The figures, fetched from their device at once."""
    values = torch.stack([torch.as_tensor(value).float() for value in figures.values()]).tolist()
    return dict(zip(figures, values, strict=True))


def _autocast(config: TrainerConfig, device: str) -> AbstractContextManager[Any]:
    kind = torch.device(device)
    wanted = fast_type(kind) if config.precision == "auto" else PRECISIONS[config.precision]
    return torch.autocast(kind.type, torch.bfloat16, enabled=wanted is torch.bfloat16)


def _logged_step(line: str) -> float:
    """The step of a line of the log; infinity for a line that a kill cut short."""
    try:
        return int(json.loads(line)["step"])
    except ValueError:
        return math.inf


def _to_device(batch: dict[str, Any], device: str) -> dict[str, Any]:
    moved: dict[str, Any] = {}
    for name, value in batch.items():
        if isinstance(value, dict):
            moved[name] = _to_device(value, device)
        else:
            moved[name] = value.to(device) if isinstance(value, Tensor) else value
    return moved
