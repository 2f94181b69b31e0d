"""Checkpoints of a training run: complete or absent, checked when read, safetensors and JSON only.

A checkpoint is a folder that appears under its final name only when all of it is on the disk. Its
`SHA256SUMS.json` holds the checksum of every file; a damaged checkpoint is reported and the one
before it is used.
"""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
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
) -> Path:
    """Write `folder/checkpoint-<step>` and remove all but the newest `keep`.

    The random state of torch is part of it, so that dropout goes on as it would have.
    """
    target = folder / f"{PREFIX}{step:08d}"
    with atomic_folder(target) as temporary:
        save_file(_unique_tensors(model.state_dict()), temporary / "model.safetensors")
        tensors: dict[str, Tensor] = {"torch_rng": torch.get_rng_state()}
        groups: list[Any] = []
        for number, optimizer in enumerate(optimizers):
            state = optimizer.state_dict()
            groups.append(state["param_groups"])
            for parameter, values in state["state"].items():
                for name, value in values.items():
                    tensors[f"{number}.{parameter}.{name}"] = torch.as_tensor(value).contiguous()
        save_file(tensors, temporary / "optimizer.safetensors")
        (temporary / "state.json").write_text(json.dumps({"step": step, "groups": groups}))
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
    folder: Path, model: nn.Module, optimizers: list[torch.optim.Optimizer]
) -> int | None:
    """Load the newest sound checkpoint into model and optimisers.

    Returns:
        The step to go on with, or `None` when the folder holds no checkpoint at all.

    Raises:
        CheckpointError: there are checkpoints, and every one is damaged; a run never starts over in
            silence.
    """
    for unfinished in folder.glob(f".{PREFIX}*"):
        shutil.rmtree(unfinished)  # a save that was killed
    reason = None
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


def load_weights(path: Path, model: nn.Module) -> None:
    """Load the model tensors of one checkpoint, every name and shape as expected."""
    verify(path)
    try:
        tensors = load_file(path / "model.safetensors")
    except SafetensorError as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    _fill(model, tensors, path)


def _fill(model: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    try:
        missing, unexpected = model.load_state_dict(tensors, strict=False)
    except RuntimeError as error:
        raise CheckpointError(f"{path} does not fit this model: {error}") from error
    tied = set(model.state_dict()) - set(_unique_tensors(model.state_dict()))
    if unexpected or set(missing) - tied:
        raise CheckpointError(
            f"{path} does not fit this model: missing {sorted(set(missing) - tied)[:5]}, "
            f"unexpected {unexpected[:5]}"
        )


def load_part(path: Path, prefix: str, part: nn.Module) -> None:
    """Load the tensors of one checkpoint that begin with `prefix` into a part of a model.

    Raises:
        CheckpointError: the checkpoint does not hold exactly the tensors of `part`.
    """
    verify(path)
    tensors = load_file(path / "model.safetensors")
    chosen = {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
    _fill(part, chosen, path)


def _load(path: Path, model: nn.Module, optimizers: list[torch.optim.Optimizer]) -> int:
    load_weights(path, model)
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
    torch.set_rng_state(tensors["torch_rng"])
    return int(state["step"])


def _unique_tensors(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state without the second name of tied tensors, which safetensors refuses to store."""
    seen: dict[int, str] = {}
    unique = {}
    for name, tensor in state.items():
        if seen.setdefault(tensor.data_ptr(), name) == name or tensor.numel() == 0:
            unique[name] = tensor.contiguous()
    return unique
