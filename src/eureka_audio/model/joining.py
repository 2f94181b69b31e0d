"""The one door through which weights made elsewhere become a model of ours.

An encoder and a language model, each from a checkpoint of transformers' layout or lent by a
Eureka-Audio, are joined with a fresh adapter; `assemble` builds the model and takes the tensors.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, WhisperConfig

from eureka_audio.errors import CheckpointError
from eureka_audio.model.configuration import EurekaAudioConfig
from eureka_audio.model.integrity import read_json, verify_checkpoint
from eureka_audio.model.modeling import EurekaAudioForConditionalGeneration
from eureka_audio.model.part_tensors import encoder_tensors
from eureka_audio.model.weights import build, load_checkpoint


@dataclass(frozen=True)
class Lent:
    """A part taken out of a checkpoint: its configuration and its weights by their own names.

    `generation_config` and `embedding_scale`, the root mean square of the token embeddings it came
    with, are the language model's.
    """

    config: Any
    tensors: Mapping[str, Tensor]
    generation_config: Any = None
    embedding_scale: float = 1.0


def from_pretrained_parts(
    encoder_path: str | Path,
    language_model_path: str | Path,
    *,
    vocab_size: int = 0,
    new_tokens: tuple[int, ...] = (),
    adapter_config: Mapping[str, Any] | None = None,
    dtype: torch.dtype = torch.float32,
    **settings: Any,
) -> EurekaAudioForConditionalGeneration:
    """Join a pretrained encoder and a pretrained language model with a fresh adapter: where Stage 1
    starts. `eureka_audio.joining.join` does the same from names, tokenizer and processor included.

    Args:
        encoder_path: a Whisper checkpoint of transformers in safetensors, whose decoder is left
            behind, or a Eureka-Audio, which lends its encoder.
        language_model_path: a checkpoint of any causal language model of transformers in
            safetensors, or a Eureka-Audio, which lends its language model.
        vocab_size: tokens the language model must have embeddings for; it grows if it has fewer.
        new_tokens: tokens it has never met, whose embeddings are started anew.
        adapter_config: fields of the adapter's configuration.
        dtype: the type of the weights.
        **settings: further fields of `EurekaAudioConfig`, `audio_token_id` above all.

    Unstated: how loud the adapter speaks at first. Unless `layer_norm_init` is given it starts at
    the root mean square of the language model's own token embeddings, so that audio and text enter
    the frozen decoder at one scale.

    Unstated: embeddings of new tokens, and their rows of the output head, start at the mean of the
    old ones.

    Raises:
        CheckpointError: a checkpoint is missing, incomplete or of the wrong kind.

    Source: paper section 3.1 and section 4, Stage 1.
    """
    encoder = lend_encoder(Path(encoder_path), dtype)
    lent = lend_language_model(Path(language_model_path), dtype, vocab_size, new_tokens)
    config = EurekaAudioConfig(
        audio_config=encoder.config,
        text_config=lent.config,
        adapter_config=adapter_config,
        **settings,
    )
    for part in (config.audio_config, config.text_config):
        part.name_or_path = ""  # where a part lies on this machine is nobody's business
    if not (adapter_config or {}).get("layer_norm_init"):
        config.adapter_config.layer_norm_init = lent.embedding_scale
    tensors = {f"audio_encoder.{name}": tensor for name, tensor in encoder.tensors.items()}
    tensors |= {f"language_model.{name}": tensor for name, tensor in lent.tensors.items()}
    model = assemble(config, tensors, dtype, f"{encoder_path} and {language_model_path}")
    model.generation_config.eos_token_id = lent.generation_config.eos_token_id
    model.generation_config.pad_token_id = lent.generation_config.pad_token_id
    return model


def assemble(
    config: EurekaAudioConfig, tensors: Mapping[str, Tensor], dtype: torch.dtype, source: str
) -> EurekaAudioForConditionalGeneration:
    """Build a model and give it tensors by their names in it; parts that none is given for, such as
    the adapter, start fresh.

    Raises:
        CheckpointError: a tensor fits nowhere, or a part is given some of its tensors only.
    """
    weights = {"pretrained_model_name_or_path": None, "state_dict": dict(tensors)}
    model, missing = build(config, weights, dtype, source)
    given = {name.split(".")[0] for name in tensors}
    lacking = sorted(name for name in missing if name.split(".")[0] in given)
    if lacking:
        raise CheckpointError(
            f"{source}: expected whole parts, got some without {', '.join(lacking[:5])}; fetch "
            "them again"
        )
    return model


def lend_encoder(folder: Path, dtype: torch.dtype) -> Lent:
    """The encoder of a Whisper of transformers' layout, or of a Eureka-Audio.

    Raises:
        CheckpointError: the folder holds neither, or not all of it.
    """
    verify_checkpoint(folder, allow_unverified=True)  # parts from elsewhere bring no checksums
    settings = read_json(folder / "config.json")
    if settings.get("model_type") == EurekaAudioConfig.model_type:
        model = load_checkpoint(folder, dtype=dtype)
        return Lent(model.config.audio_config, model.audio_encoder.state_dict())
    if settings.get("model_type") != WhisperConfig.model_type:
        raise CheckpointError(
            f"{folder}: expected model_type 'whisper', got {settings.get('model_type')!r}; check "
            "the path"
        )
    return Lent(WhisperConfig.from_dict(settings), encoder_tensors(folder))


def lend_language_model(
    folder: Path, dtype: torch.dtype, vocab_size: int = 0, new_tokens: tuple[int, ...] = ()
) -> Lent:
    """The causal language model of a folder, or of a Eureka-Audio, with room for new tokens.

    Raises:
        CheckpointError: the folder holds neither, or not all of it.
    """
    verify_checkpoint(folder, allow_unverified=True)  # parts from elsewhere bring no checksums
    settings = read_json(folder / "config.json")
    if settings.get("model_type") == EurekaAudioConfig.model_type:
        whole = load_checkpoint(folder, dtype=dtype)
        model, generation_config = whole.language_model, whole.generation_config
    else:
        model = _load_language_model(folder, dtype)
        generation_config = model.generation_config
    scale = _grow(model, vocab_size, new_tokens)
    tied = model.all_tied_weights_keys
    tensors = {name: tensor for name, tensor in model.state_dict().items() if name not in tied}
    return Lent(model.config, tensors, generation_config, scale)


def _load_language_model(folder: Path, dtype: torch.dtype) -> Any:
    """A causal language model of transformers, from safetensors only and completely."""
    settings = read_json(folder / "config.json")
    if settings.get("is_encoder_decoder"):
        raise CheckpointError(
            f"{folder}: expected a causal language model, got the encoder and decoder of a "
            f"{settings.get('model_type')}; check the path"
        )
    try:
        model, info = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise CheckpointError(
            f"{folder}: expected a causal language model of transformers, got: {error!s:.300}; "
            "check the path"
        ) from error
    if info["missing_keys"] or info["mismatched_keys"]:
        raise CheckpointError(
            f"{folder}: expected a whole {type(model).__name__}, got missing "
            f"{sorted(info['missing_keys'])} and misshapen {sorted(info['mismatched_keys'])}; "
            "fetch it again"
        )
    return model


@torch.no_grad()
def _grow(model: Any, vocab_size: int, new_tokens: tuple[int, ...]) -> float:
    """Give a language model embeddings for tokens it has never met: the mean of those it knows.

    Returns:
        The root mean square of the embeddings it knows.
    """
    known_VD = model.get_input_embeddings().weight.float()
    if len(known_VD) < vocab_size:
        model.resize_token_embeddings(vocab_size, mean_resizing=False)
    rows = list(new_tokens)
    for module in (model.get_input_embeddings(), model.get_output_embeddings()):
        if rows:
            module.weight[rows] = module.weight[: rows[0]].float().mean(dim=0).to(module.weight)
    return float(known_VD.square().mean().sqrt())
