"""Models from elsewhere: a Whisper and a Qwen3 joined, or the released Eureka-Audio renamed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor
from transformers import Qwen3ForCausalLM, WhisperModel

from eureka_audio.errors import CheckpointError
from eureka_audio.model.configuration import EurekaAudioConfig
from eureka_audio.model.integrity import read_json, verify_checkpoint
from eureka_audio.model.modeling import EurekaAudioForConditionalGeneration
from eureka_audio.model.weights import tensor_shapes, weight_files

RELEASED_PREFIXES = {
    "audio_encoder.speech_encoder.": "audio_encoder.",
    "backbone.": "language_model.",
}
RELEASED_ADAPTER_PREFIX = "audio_moe_adaptor."
# What the released class itself reports as unused; an embedding and a head for semantic audio
# tokens among them.
RELEASED_UNUSED_PREFIXES = (
    "audio_embed.",
    "audio_head.",
    "audio_out_projection.",
    "audio_ffn_adaptor.",
    "lm_head.",
)


def from_pretrained_parts(
    whisper_path: str | Path,
    qwen3_path: str | Path,
    *,
    adapter_config: Mapping[str, Any] | None = None,
    dtype: torch.dtype = torch.float32,
    **settings: Any,
) -> EurekaAudioForConditionalGeneration:
    """Join a pretrained Whisper encoder and a pretrained Qwen3 with a fresh adapter: where Stage 1
    starts.

    Args:
        whisper_path: a Whisper checkpoint of transformers in safetensors; its decoder is left
            behind.
        qwen3_path: a Qwen3 checkpoint of transformers in safetensors.
        adapter_config: fields of the adapter's configuration.
        dtype: the type of the weights.
        **settings: further fields of `EurekaAudioConfig`, `audio_token_id` above all.

    Unstated: how loud the adapter speaks at first. Unless `layer_norm_init` is given it starts at
    the root mean square of Qwen3's own token embeddings, so that audio and text enter the frozen
    decoder at one scale.

    Raises:
        CheckpointError: a checkpoint is missing or incomplete.

    Source: paper section 3.1 and section 4, Stage 1.
    """
    whisper = _load(WhisperModel, whisper_path, dtype)
    qwen3 = _load(Qwen3ForCausalLM, qwen3_path, dtype)
    scale = qwen3.get_input_embeddings().weight.float().square().mean().sqrt().item()
    config = EurekaAudioConfig(
        audio_config=whisper.config,
        text_config=qwen3.config,
        adapter_config={"layer_norm_init": scale, **(adapter_config or {})},
        **settings,
    )
    model = EurekaAudioForConditionalGeneration._from_config(config, dtype=dtype)
    model.audio_encoder.load_state_dict(whisper.encoder.state_dict())
    model.language_model.load_state_dict(qwen3.state_dict())
    model.generation_config.eos_token_id = qwen3.generation_config.eos_token_id
    model.generation_config.pad_token_id = qwen3.generation_config.pad_token_id
    return model


def _load(model_class: Any, path: str | Path, dtype: torch.dtype) -> Any:
    """Load one of transformers' own models, from safetensors only and completely."""
    verify_checkpoint(path, allow_unverified=True)  # the release brings no checksums
    expected = model_class.config_class.model_type
    found = read_json(Path(path) / "config.json").get("model_type")
    if found != expected:
        raise CheckpointError(
            f"{path}: expected model_type {expected!r}, got {found!r}; check the path"
        )
    try:
        model, info = model_class.from_pretrained(
            path, dtype=dtype, use_safetensors=True, local_files_only=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{path}: expected a {model_class.__name__} checkpoint, got: {error}; check the path"
        ) from error
    if info["missing_keys"] or info["mismatched_keys"]:
        raise CheckpointError(
            f"{path}: expected a whole {model_class.__name__}, got missing "
            f"{sorted(info['missing_keys'])} and misshapen {sorted(info['mismatched_keys'])}"
        )
    return model


@dataclass(frozen=True)
class ReleasedNames:
    """Tensor names of the released checkpoint, sorted by what can be done with them.

    Attributes:
        renamed: released name -> ours.
        adapter: names inside the released adapter, whose meaning is unpublished.
        unused: names the released class itself does not use; kept, not loaded.
    """

    renamed: dict[str, str]
    adapter: tuple[str, ...]
    unused: tuple[str, ...]


def sort_released_names(names: list[str]) -> ReleasedNames:
    """Sort the tensor names of the released checkpoint.

    Raises:
        CheckpointError: a name is of none of the known kinds.
    """
    renamed, adapter, unused, unknown = {}, [], [], []
    for name in names:
        prefix = next((prefix for prefix in RELEASED_PREFIXES if name.startswith(prefix)), None)
        if prefix is not None:
            renamed[name] = RELEASED_PREFIXES[prefix] + name.removeprefix(prefix)
        elif name.startswith(RELEASED_ADAPTER_PREFIX):
            adapter.append(name)
        elif name.startswith(RELEASED_UNUSED_PREFIXES):
            unused.append(name)
        else:
            unknown.append(name)
    if unknown:
        raise CheckpointError(
            f"released checkpoint: expected names that start with {', '.join(RELEASED_PREFIXES)} "
            f"or {RELEASED_ADAPTER_PREFIX}, got {', '.join(unknown)}; this is another checkpoint"
        )
    return ReleasedNames(renamed, tuple(adapter), tuple(unused))


def from_released(
    path: str | Path,
    config: EurekaAudioConfig,
    convert_adapter: Callable[[dict[str, Tensor]], dict[str, Tensor]] | None = None,
) -> tuple[EurekaAudioForConditionalGeneration, dict[str, Tensor]]:
    """Load the released checkpoint under our names.

    The names and shapes inside the released adapter are unpublished, so encoder and decoder convert
    by themselves and the adapter needs a function written by someone who holds the file. Without it
    the error lists what that function will be given.

    Args:
        path: folder of the released checkpoint.
        config: the shapes it has, for example `preset("eureka-audio-1.7b")`.
        convert_adapter: released adapter tensors by name -> ours, by their names inside `adapter`.

    Returns:
        The model, and the tensors the released class itself leaves unused, for whoever wants to
        keep them.

    Raises:
        CheckpointError: files are unusable, the adapter cannot be converted, or tensors do not fit
            `config`.
    """
    tensors, shapes = {}, {}
    for file in weight_files(Path(path)):
        shapes.update(tensor_shapes(file))
        with safe_open(file, framework="pt") as stream:
            tensors.update({name: stream.get_tensor(name) for name in stream.keys()})  # noqa: SIM118
    names = sort_released_names(list(tensors))
    if convert_adapter is None:
        listed = "\n".join(f"  {name} {shapes[name][1]}" for name in names.adapter)
        raise CheckpointError(
            f"{path}: expected a convert_adapter function, since the names inside the released "
            f"adapter are unpublished, got None; map these {len(names.adapter)} tensors to "
            f"ours:\n{listed}"
        )
    adapter = convert_adapter({name: tensors[name] for name in names.adapter})
    weights = {ours: tensors[theirs] for theirs, ours in names.renamed.items()}
    weights.update({f"adapter.{name}": tensor for name, tensor in adapter.items()})
    dtype = next(iter(weights.values())).dtype
    model = EurekaAudioForConditionalGeneration._from_config(config, dtype=dtype)
    for name in model.all_tied_weights_keys:
        weights.setdefault(name, model.state_dict()[name])
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(
            f"{path}: expected tensors that fit the configuration, got: {error}"
        ) from error
    return model, {name: tensors[name] for name in names.unused}
