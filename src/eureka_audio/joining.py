"""`join`: names in, a model and its processor out. Where every training run starts."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, WhisperFeatureExtractor
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from eureka_audio.errors import CheckpointError
from eureka_audio.model.joining import from_pretrained_parts
from eureka_audio.model.modeling import EurekaAudioForConditionalGeneration
from eureka_audio.parts.catalogue import PARTS
from eureka_audio.parts.names import find_source
from eureka_audio.processor import EurekaAudioProcessor
from eureka_audio.text.tokenizer import (
    AUDIO_END,
    AUDIO_PAD,
    AUDIO_START,
    TURN_END,
    prepare_tokenizer,
    token_id,
)


def join(
    encoder: str | Path,
    language_model: str | Path,
    *,
    dtype: torch.dtype = torch.float32,
    **settings: Any,
) -> tuple[EurekaAudioForConditionalGeneration, EurekaAudioProcessor]:
    """Join a pretrained encoder and a pretrained language model with a fresh adapter.

    Either may be named by the catalogue (`whisper-base`, `smollm2-135m`), be a folder, a repository
    of the hub, or a Eureka-Audio (`nano`), which lends the part asked for. The audio tokens are
    added to the language model's own tokenizer, its vocabulary grows.

    Args:
        encoder: any Whisper of transformers' layout.
        language_model: any causal language model of transformers.
        dtype: the type of the weights.
        **settings: fields of `EurekaAudioConfig` (`adapter_config`, `feature_layers`,
            `trailing_silence_seconds`, `pad_windows`, `ctc_vocab_size`).

    Unstated: `pad_windows` is off unless asked for, so that a window costs what it lasts.

    Raises:
        CheckpointError: a part is missing, incomplete or of the wrong kind; `PartError` for one of
            the catalogue that cannot be had.
        ConfigError: a setting is wrong.

    Source: paper section 3.1 and section 4, Stage 1.
    """
    encoder_folder, decoder_folder = find_source(encoder), find_source(language_model)
    tokenizer = load_tokenizer(decoder_folder)
    known = len(tokenizer)
    prepare_tokenizer(tokenizer)
    sources = {"audio_encoder": encoder, "language_model": language_model}
    parts = {
        kind: {"name": part.name, "sha256": part.sha256}
        for kind, name in sources.items()
        if (part := PARTS.get(str(name))) is not None
    }
    model = from_pretrained_parts(
        encoder_folder,
        decoder_folder,
        vocab_size=len(tokenizer),
        new_tokens=tuple(range(known, len(tokenizer))),
        dtype=dtype,
        **{
            "pad_windows": False,
            "audio_token_id": token_id(tokenizer, AUDIO_PAD),
            "audio_start_token_id": token_id(tokenizer, AUDIO_START),
            "audio_end_token_id": token_id(tokenizer, AUDIO_END),
            "parts": parts or None,
            **settings,
        },
    )
    _end_at_turns(model, tokenizer)
    extractor = WhisperFeatureExtractor(feature_size=model.config.audio_config.num_mel_bins)
    return model, EurekaAudioProcessor(extractor, tokenizer)


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer beside a language model.

    Raises:
        CheckpointError: there is none, or it cannot be used.
    """
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ImportError) as error:
        raise CheckpointError(
            f"{folder}: expected the tokenizer of a language model, got: {error!s:.160}; put its "
            "files (tokenizer.json, tokenizer_config.json) there"
        ) from error


def _end_at_turns(
    model: EurekaAudioForConditionalGeneration, tokenizer: PreTrainedTokenizerBase
) -> None:
    """An answer ends where its turn ends, and wherever the language model ended before."""
    own = model.generation_config.eos_token_id
    before = own if isinstance(own, list) else [] if own is None else [own]
    turn_end = token_id(tokenizer, TURN_END)
    model.generation_config.eos_token_id = [turn_end, *(t for t in before if t != turn_end)]
    model.generation_config.pad_token_id = int(tokenizer.pad_token_id)
