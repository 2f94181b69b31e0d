"""Checkpoints out and in: what is read is what was written, and reading runs no code.

A checkpoint is a folder of JSON and safetensors. `save_checkpoint` writes beside them
`checksums.json`, the SHA-256 of every file; `load_checkpoint` verifies it where present, because
safetensors itself notices no flipped bit. Before a weight is read, names, shapes and types in the
files' headers are compared with the model the configuration asks for. Files that could carry code
(pickles, Python) and settings that would load some (`auto_map`, `trust_remote_code`) are refused,
not skipped.

A checkpoint is whole (`model.safetensors`, as transformers writes it) or compact
(`compact.safetensors`, which `from_pretrained` hands to this module): some weights in int8
(`model.int8`), or only what differs from catalogued parts (`model.delta`).
"""

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import GenerationConfig

from eureka_audio.checksums import write_checksums
from eureka_audio.durable import atomic_folder
from eureka_audio.errors import CheckpointError, ConfigError
from eureka_audio.model.configuration import EurekaAudioConfig
from eureka_audio.model.delta import LowRank, add, subtract
from eureka_audio.model.int8 import dequantise, quantise
from eureka_audio.model.integrity import (
    file_size,
    parse_json,
    read_json,
    verify_checkpoint,
)
from eureka_audio.model.modeling import COMPACT_NAME, EurekaAudioForConditionalGeneration
from eureka_audio.model.part_tensors import INDEX_NAME, SINGLE_NAME, part_tensors, weight_files

GENERATION_NAME = "generation_config.json"
TOKEN_SETTINGS = ("suppress_tokens", "eos_token_id", "pad_token_id", "bos_token_id")
MAX_HEADER_BYTES = 16 * 2**20  # a header of a thousand tensors takes about 100 KiB
JOINED_WITH = "joined_with"  # its metadata: parts, by the names in config.parts, it differs from
Headers = dict[str, tuple[str, tuple[int, ...]]]  # by name: type and shape
FLOATING_TYPES = {"F32", "F16", "BF16"}


def save_checkpoint(
    model: EurekaAudioForConditionalGeneration,
    path: str | Path,
    processor: Any = None,
    *,
    max_shard_size: str | int = "5GB",
    int8: Sequence[str] = (),
    delta: bool = False,
    low_rank: LowRank | None = None,
) -> None:
    """Write model, processor and checksums as one folder, whole or not at all.

    Args:
        model: what to save.
        path: a folder; one already there is replaced.
        processor: saved beside the model when given.
        max_shard_size: where transformers starts another file.
        int8: prefixes of weights stored in int8, for example `["audio_encoder."]`.
        delta: leave out whatever the parts in `model.config.parts` bring; whoever loads the
            checkpoint fetches them, by hash.
        low_rank: with `delta`, weights whose difference from the part is B A, by name: `(A, B)` of
            shape `(r, in)` and `(out, r)`.

    Raises:
        CheckpointError: the model names no part, or a low-rank difference is not the weight's.
    """
    with atomic_folder(path) as folder:
        if int8 or delta:
            _save_compact(model, folder, int8, delta, low_rank or {})
        else:
            model.save_pretrained(folder, max_shard_size=max_shard_size)
        if processor is not None:
            processor.save_pretrained(folder)
        write_checksums(folder)


def load_checkpoint(
    path: str | Path,
    *,
    dtype: torch.dtype | str = "auto",
    device_map: Any = None,
    allow_unverified: bool = False,
) -> EurekaAudioForConditionalGeneration:
    """Load a model from a folder, or say which file and which tensor is wrong.

    Args:
        path: a folder as `save_checkpoint` or `save_pretrained` leaves it.
        dtype: the type of the weights; "auto" keeps what was saved.
        device_map: as in transformers' `from_pretrained`.
        allow_unverified: whether a folder without checksums is taken as it is.

    Raises:
        CheckpointError: a file is missing, damaged, of a kind that may run code, or does not fit
            the configuration.
    """
    folder = Path(path)
    verify_checkpoint(folder, allow_unverified=allow_unverified)
    config = read_config(folder)
    generation_config = read_generation_config(folder, config.text_config.vocab_size)
    if (folder / COMPACT_NAME).exists():
        tensors = _read_compact(folder, config)
        found = {name: (_type_name(t), tuple(t.shape)) for name, t in tensors.items()}
        _check_fit(folder, config, found)
        source: dict[str, Any] = {"pretrained_model_name_or_path": None, "state_dict": tensors}
    else:
        _check_fit(folder, config, _headers(folder))
        source = {"pretrained_model_name_or_path": folder, "local_files_only": True}
    model, missing = build(config, source, dtype, str(folder), device_map)
    if missing:
        raise CheckpointError(f"{folder}: expected every tensor to load, got missing: {missing}")
    for name, tensor in model.named_parameters():
        if tensor.device.type != "meta" and not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(
                f"{folder}: expected finite numbers, got NaN or infinity in {name}; fetch or train "
                "the checkpoint again"
            )
    if generation_config is not None:
        model.generation_config = generation_config
    return model


def build(
    config: EurekaAudioConfig,
    source: Mapping[str, Any],
    dtype: torch.dtype | str,
    where: str,
    device_map: Any = None,
) -> tuple[EurekaAudioForConditionalGeneration, set[str]]:
    """Build a model and give it weights; what is given none starts fresh.

    Args:
        config: its shapes.
        source: arguments of transformers' `from_pretrained` that say where the weights are: a
            folder, or no path and a `state_dict`.
        dtype: as in `load_checkpoint`.
        where: what the weights came from, for a message.
        device_map: as in `load_checkpoint`.

    Returns:
        The model in evaluation mode, and the names of the tensors that start fresh.

    Raises:
        CheckpointError: weights do not load, or fit nowhere.
    """
    try:
        model, info = EurekaAudioForConditionalGeneration.from_pretrained(
            **source,
            config=config,
            dtype=dtype,
            device_map=device_map,
            use_safetensors=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(
            f"{where}: expected weights that load, got: {error}; fetch the checkpoint again"
        ) from error
    missing = set(info.pop("missing_keys"))
    for fault, keys in info.items():
        if keys:
            raise CheckpointError(f"{where}: expected every tensor to load, got {fault}: {keys}")
    return model, missing


def read_config(folder: str | Path) -> EurekaAudioConfig:
    """Read `config.json` of a checkpoint.

    Raises:
        CheckpointError: it is missing, no JSON, of another model, or contradicts itself.
    """
    file = Path(folder) / "config.json"
    settings = read_json(file)
    if settings.get("model_type") != EurekaAudioConfig.model_type:
        raise CheckpointError(
            f"{file}: expected model_type {EurekaAudioConfig.model_type!r}, got "
            f"{settings.get('model_type')!r}; this is another model's checkpoint"
        )
    try:
        return EurekaAudioConfig.from_dict(settings)
    except (ConfigError, StrictDataclassError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"{file}: expected a usable configuration, got: {error}; fetch the file again"
        ) from error


def read_generation_config(folder: str | Path, vocab_size: int) -> GenerationConfig | None:
    """Read `generation_config.json` of a checkpoint, every key of it; `None` if there is none.

    Raises:
        CheckpointError: it is no JSON object, or names tokens that the model does not have.
    """
    file = Path(folder) / GENERATION_NAME
    if not file.exists():
        return None
    settings = read_json(file)
    if "" in settings:  # how `read_json` hands on what is no object
        raise CheckpointError(
            f"{file}: expected a JSON object, got {settings['']!r:.80}; fetch the file again"
        )
    for name in TOKEN_SETTINGS:
        value = settings.get(name)
        ids = value if isinstance(value, list) else [] if value is None else [value]
        if not all(type(token) is int and 0 <= token < vocab_size for token in ids):
            raise CheckpointError(
                f"{file}: expected {name} among the {vocab_size} tokens of the model, got "
                f"{value!r:.80}; correct it or fetch the file again"
            )
    try:
        # transformers drops keys of its own accord where a file says that it was derived.
        return GenerationConfig.from_dict({**settings, "_from_model_config": False})
    except (TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"{file}: expected usable settings, got: {error}; correct it or fetch the file again"
        ) from error


def tensor_shapes(file: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Read names, types and shapes from the header of a safetensors file, trusting nothing in it.

    Raises:
        CheckpointError: the header is too long, is no JSON, or does not cover the file exactly.
    """
    size = file_size(file)
    with file.open("rb") as stream:
        prefix = stream.read(8)
        length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else size
        if length > min(size - 8, MAX_HEADER_BYTES):
            raise CheckpointError(
                f"{file}: expected a safetensors header of at most {MAX_HEADER_BYTES:,} bytes "
                f"within the file's {size:,}, got {length:,}; the file is cut short or damaged, "
                "fetch it again"
            )
        header = parse_json(stream.read(length), file)
    header.pop("__metadata__", None)
    try:
        end = max((int(entry["data_offsets"][1]) for entry in header.values()), default=0)
        shapes = {
            name: (str(entry["dtype"]), tuple(int(width) for width in entry["shape"]))
            for name, entry in header.items()
        }
    except (TypeError, KeyError, IndexError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"{file}: expected a safetensors header, got one without {error}"
        ) from error
    if 8 + length + end != size:
        raise CheckpointError(
            f"{file}: expected {8 + length + end:,} bytes as its header says, got {size:,}; the "
            "file is cut short or damaged, fetch it again"
        )
    return shapes


def _headers(folder: Path) -> Headers:
    """Types and shapes of the tensors of all weight files, each there once."""
    found: Headers = {}
    for file in weight_files(folder):
        for name, tensor in tensor_shapes(file).items():
            if name in found:
                raise CheckpointError(f"{file}: expected each tensor once, got {name} again")
            found[name] = tensor
    return found


def _check_fit(folder: Path, config: EurekaAudioConfig, found: Headers) -> None:
    """Compare the tensors found with those the configuration asks for."""
    with torch.device("meta"):
        model = EurekaAudioForConditionalGeneration(config)
    expected: dict[str, Tensor] = model.state_dict()
    tied = set(model.all_tied_weights_keys)
    missing = [name for name in expected if name not in found and name not in tied]
    extra = [name for name in found if name not in expected]
    if missing or extra:
        raise CheckpointError(
            f"{folder}: expected the {len(expected)} tensors of its configuration, got missing: "
            f"{_listed(missing)}; not expected: {_listed(extra)}; the files are not of one "
            "checkpoint"
        )
    for name, (dtype, shape) in found.items():
        if dtype not in FLOATING_TYPES or shape != tuple(expected[name].shape):
            raise CheckpointError(
                f"{folder}: expected {name} of shape {tuple(expected[name].shape)} in one of "
                f"{', '.join(sorted(FLOATING_TYPES))}, got {shape} in {dtype}; the files are not "
                "of one checkpoint"
            )


def _listed(names: list[str]) -> str:
    """The first few names, and how many more there are."""
    shown = ", ".join(names[:5]) or "none"
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"


def unique_tensors(model: EurekaAudioForConditionalGeneration) -> dict[str, Tensor]:
    """The model's weights on the CPU, tied ones once."""
    return {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in model.state_dict().items()
        if name not in model.all_tied_weights_keys
    }


def _save_compact(
    model: EurekaAudioForConditionalGeneration,
    folder: Path,
    int8: Sequence[str],
    delta: bool,
    low_rank: LowRank,
) -> None:
    """Write settings and compact weights; the file says which parts it must be joined with."""
    tensors, metadata = unique_tensors(model), {"format": "pt"}
    if delta:
        if not model.config.parts:
            raise CheckpointError(
                f"{folder}: expected a model joined from catalogued parts to save the difference "
                "from them, got one whose config.parts names none; save it whole"
            )
        tensors = subtract(tensors, part_tensors(model.config.parts), low_rank)
        metadata[JOINED_WITH] = " ".join(sorted(model.config.parts))
    _save_settings(model, folder)
    save_file(quantise(tensors, int8), folder / COMPACT_NAME, metadata=metadata)


def _save_settings(model: EurekaAudioForConditionalGeneration, folder: Path) -> None:
    """Write `config.json` and `generation_config.json` as `save_pretrained` would."""
    model.config.dtype = model.dtype
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)
    model.generation_config.save_pretrained(folder)


def _read_compact(folder: Path, config: EurekaAudioConfig) -> dict[str, Tensor]:
    """The weights of a compact checkpoint, joined with its parts and made float again."""
    file = folder / COMPACT_NAME
    if (folder / SINGLE_NAME).exists() or (folder / INDEX_NAME).exists():
        raise CheckpointError(
            f"{file}: expected it or {SINGLE_NAME}, got both; remove the one left over"
        )
    tensor_shapes(file)
    try:
        stored = dequantise(load_file(file))
        with safe_open(file, framework="pt") as stream:
            kinds = (stream.metadata() or {}).get(JOINED_WITH, "").split()
        named = config.parts or {}
        return add(part_tensors({kind: named.get(kind) for kind in kinds}), stored)
    except (ValueError, SafetensorError) as error:
        raise CheckpointError(
            f"{file}: expected what save_checkpoint stores, got {error}; fetch it again"
        ) from error


def _type_name(tensor: Tensor) -> str:
    """A type as safetensors calls it, where it is one that weights have."""
    names = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}
    return names.get(tensor.dtype, str(tensor.dtype))
