"""Checkpoints of a training run: complete or absent, checked when read, safetensors and JSON only.

A checkpoint is a folder that appears under its final name only when all of it is on the disk. It
holds the tensors that learn, and no others: the rest are those that the stage started with. Its
`SHA256SUMS.json` holds the checksum of every file; a damaged checkpoint is reported and the one
before it is used.
"""

import hashlib
import json
import logging
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from eureka_audio.checksums import verify_checksums, write_checksums
from eureka_audio.durable import atomic_folder
from eureka_audio.errors import CheckpointError

logger = logging.getLogger(__name__)

DIGESTS = "SHA256SUMS.json"
FILES = {"model.safetensors", "optimizer.safetensors", "state.json"}
PREFIX = "checkpoint-"


def save_checkpoint(
    folder: Path,
    step: int,
    model: nn.Module,
    optimizers: list[torch.optim.Optimizer],
    keep: int = 2,
    started_from: str = "",
) -> Path:
    """Write `folder/checkpoint-<step>` and remove all but the newest `keep`.

    Args:
        folder: of the run.
        step: how many steps are done.
        model: its tensors that learn are saved.
        optimizers: saved, too.
        keep: how many checkpoints stay.
        started_from: what the stage began with, to be compared when it goes on.
    """
    target = folder / f"{PREFIX}{step:08d}"
    with atomic_folder(target) as temporary:
        learnt = {name: tensor.detach().contiguous() for name, tensor in _learning(model).items()}
        save_file(learnt, temporary / "model.safetensors")
        tensors: dict[str, Tensor] = {}
        groups: list[Any] = []
        for number, optimizer in enumerate(optimizers):
            state = optimizer.state_dict()
            groups.append(state["param_groups"])
            for parameter, values in state["state"].items():
                for name, value in values.items():
                    tensors[f"{number}.{parameter}.{name}"] = torch.as_tensor(value).contiguous()
        save_file(tensors, temporary / "optimizer.safetensors")
        state = {"step": step, "groups": groups, "started_from": started_from}
        (temporary / "state.json").write_text(json.dumps(state))
        write_checksums(temporary, DIGESTS)
    # One of a later step is what a fall-back has passed over: it must not push out a sound one.
    for old in [path for path in list_checkpoints(folder) if path <= target][:-keep]:
        shutil.rmtree(old)
    return target


def list_checkpoints(folder: Path) -> list[Path]:
    """Checkpoints of a run, oldest first, the damaged ones included."""
    return sorted(path for path in folder.glob(f"{PREFIX}*") if path.is_dir())


def newest(folder: Path) -> Path:
    """The newest checkpoint of a stage.

    Raises:
        CheckpointError: there is none; the stage must run first.
    """
    found = list_checkpoints(folder)
    if not found:
        raise CheckpointError(f"expected a checkpoint under {folder}; run that stage first")
    return found[-1]


def resume_latest(
    folder: Path,
    model: nn.Module,
    optimizers: list[torch.optim.Optimizer],
    started_from: str = "",
) -> int | None:
    """Load the newest sound checkpoint into model and optimisers.

    Returns:
        The step to go on with, or `None` when the folder holds no checkpoint at all.

    Raises:
        CheckpointError: there are checkpoints, and every one is damaged; a run never starts over in
            silence. Or they are of a stage that began with something else.
    """
    for unfinished in folder.glob(f".{PREFIX}*"):
        shutil.rmtree(unfinished)  # a save that was killed
    reason = None
    for path in list_checkpoints(folder)[-1:]:
        check_start(path, started_from)
    for path in reversed(list_checkpoints(folder)):
        try:
            return _load(path, model, optimizers)
        except CheckpointError as error:
            logger.warning("%s; falling back to the checkpoint before it", error)
            reason = error
    if reason is not None:
        raise CheckpointError(
            f"expected a sound checkpoint of this recipe under {folder}, got none; remove them to "
            f"start over. The oldest: {reason}"
        ) from reason
    return None


def verify(path: Path) -> None:
    """Compare every file of a checkpoint with its checksum.

    Raises:
        CheckpointError: naming the first file that is missing or differs.
    """
    for name in sorted(FILES - verify_checksums(path, DIGESTS)):
        raise CheckpointError(
            f"{path / DIGESTS}: expected a table that lists {name}, got one without; it is damaged"
        )


def is_finished(folder: Path, max_steps: int) -> bool:
    """Whether a run has nothing left to do."""
    found = list_checkpoints(folder)
    return bool(found) and int(found[-1].name.removeprefix(PREFIX)) >= max_steps


def check_start(path: Path, started_from: str) -> None:
    """Refuse a checkpoint of a stage that began with something else.

    Raises:
        CheckpointError: so it is. One that cannot be read is left to `verify`.
    """
    try:
        found = json.loads((path / "state.json").read_text()).get("started_from", "")
    except (OSError, ValueError):
        return
    if found != started_from:
        raise CheckpointError(
            f"{path}: expected a stage that started from {started_from or 'nothing'}, got one from "
            f"{found or 'nothing'}: the recipe or the stage before it has changed; give another "
            f"--out, or remove {path.parent}"
        )


def fingerprint(path: Path) -> str:
    """SHA-256 of a checkpoint's checksums: the same for the same tensors and optimiser."""
    return hashlib.sha256((path / DIGESTS).read_bytes()).hexdigest()


def load_learnt(path: Path, model: nn.Module, prefix: str = "") -> None:
    """Load what a stage has learnt into a model; its other tensors stay as they are.

    Args:
        path: a checkpoint.
        model: which has every tensor of it, of the same shape.
        prefix: of the checkpoint's names, which the model's lack.

    Raises:
        CheckpointError: it is damaged, or does not fit the model.
    """
    verify(path)
    try:
        tensors = load_file(path / "model.safetensors")
    except SafetensorError as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    try:
        _, unexpected = model.load_state_dict(tensors, strict=False)
    except RuntimeError as error:
        raise CheckpointError(f"{path} does not fit this model: {error}") from error
    if unexpected:
        raise CheckpointError(
            f"{path} does not fit this model: it holds {unexpected[:5]}, which the model lacks"
        )


def _load(path: Path, model: nn.Module, optimizers: list[torch.optim.Optimizer]) -> int:
    load_learnt(path, model)
    with safe_open(path / "model.safetensors", "pt") as file:
        other = set(file.keys()) ^ set(_learning(model))
    if other:
        raise CheckpointError(f"{path} was saved with other trainable tensors: {sorted(other)[:3]}")
    tensors = load_file(path / "optimizer.safetensors")
    state = json.loads((path / "state.json").read_text())
    if len(state["groups"]) != len(optimizers):
        raise CheckpointError(f"{path} was saved with other optimisers than this recipe asks for")
    for number, optimizer in enumerate(optimizers):
        per_parameter: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            head, _, rest = key.partition(".")
            if head == str(number):
                parameter, _, name = rest.partition(".")
                per_parameter.setdefault(int(parameter), {})[name] = value
        try:
            optimizer.load_state_dict(
                {"state": per_parameter, "param_groups": state["groups"][number]}
            )
        except ValueError as error:
            raise CheckpointError(
                f"{path} was saved with other trainable parameters: {error}"
            ) from error
    return int(state["step"])


def _learning(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: p for name, p in model.named_parameters() if p.requires_grad}
