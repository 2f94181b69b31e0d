"""What a part brings, tensor by tensor, under the names it has inside a whole model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from eureka_audio.errors import CheckpointError, PartError
from eureka_audio.model.integrity import read_json
from eureka_audio.parts.catalogue import PARTS
from eureka_audio.parts.fetch import find_part

INDEX_NAME = "model.safetensors.index.json"
SINGLE_NAME = "model.safetensors"
ENCODER_PREFIXES = ("model.encoder.", "encoder.")  # of a whole Whisper, of a WhisperModel


def part_tensors(parts: Mapping[str, Any] | None) -> dict[str, Tensor]:
    """Every tensor of the catalogued parts that a checkpoint names (`EurekaAudioConfig.parts`).

    Raises:
        PartError: this catalogue has no such part, or another file under its name; or the part can
            be neither found nor fetched.
    """
    tensors: dict[str, Tensor] = {}
    for kind, named in (parts or {}).items():
        part = PARTS.get(str(named.get("name"))) if isinstance(named, dict) else None
        if part is None or part.sha256 != named.get("sha256") or part.kind != kind:
            raise PartError(
                f"{kind}: expected a part of the catalogue ({', '.join(PARTS)}) with its SHA-256, "
                f"got {named}; use the release of eureka-audio that wrote the checkpoint, or newer"
            )
        folder = find_part(part)
        read = encoder_tensors if kind == "audio_encoder" else read_tensors
        tensors |= {f"{kind}.{name}": tensor for name, tensor in read(folder).items()}
    return tensors


def encoder_tensors(folder: Path) -> dict[str, Tensor]:
    """The encoder's tensors of a Whisper in transformers' layout; its decoder is not read.

    Raises:
        CheckpointError: a file is missing or damaged, or there is no encoder in it.
    """
    tensors = read_tensors(folder, ENCODER_PREFIXES)
    if not tensors:
        raise CheckpointError(
            f"{folder}: expected a whole Whisper, got no tensor of an encoder; check the path"
        )
    return tensors


def read_tensors(folder: Path, prefixes: tuple[str, ...] = ("",)) -> dict[str, Tensor]:
    """The tensors of a checkpoint that begin with one of the prefixes, which is taken off.

    Raises:
        CheckpointError: a file is missing or damaged.
    """
    tensors: dict[str, Tensor] = {}
    for file in weight_files(folder):
        try:
            with safe_open(file, framework="pt") as stream:
                for name in stream.keys():  # noqa: SIM118
                    prefix = next((p for p in prefixes if name.startswith(p)), None)
                    if prefix is not None:
                        tensors[name.removeprefix(prefix)] = stream.get_tensor(name)
        except (OSError, SafetensorError) as error:
            raise CheckpointError(
                f"{file}: expected weights in safetensors, got: {error}; fetch the checkpoint again"
            ) from error
    return tensors


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a checkpoint, by its index if it has one."""
    index, single = folder / INDEX_NAME, folder / SINGLE_NAME
    if not index.exists():
        return [single]
    if single.exists():
        raise CheckpointError(
            f"{index}: expected an index or {SINGLE_NAME}, got both; remove the one left over"
        )
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index}: expected a weight_map, got none; fetch the file again")
    names = sorted({str(name) for name in weight_map.values()})
    for name in names:
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise CheckpointError(
                f"{index}: expected names of safetensors files beside it, got {name!r}; do not use "
                "this checkpoint"
            )
    return [folder / name for name in names]
