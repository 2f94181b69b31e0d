"""From a name to a model and its processor: a packaged model, a folder, or a repository of the hub.

Whatever the name, what is read is a verified folder of safetensors and JSON; no code of a
checkpoint is ever run.
"""

import logging
from pathlib import Path

import torch

from eureka_audio.errors import CheckpointError, ConfigError
from eureka_audio.inference.rounded_weights import ROUNDED, quantize_weights
from eureka_audio.inference.single_row import float32_is_faster
from eureka_audio.inference.transcription.settings import (
    OPINION_KEYS,
    max_chunk_seconds,
    removed_settings,
    transcription_beams,
    transcription_languages,
    transcription_opinions,
)
from eureka_audio.model import EurekaAudioForConditionalGeneration
from eureka_audio.model.weights import load_checkpoint
from eureka_audio.parts.names import find_checkpoint
from eureka_audio.processor import EurekaAudioProcessor
from eureka_audio.text.letters import CTC_VOCAB_SIZE

PROCESSOR_FILES = ("processor_config.json", "tokenizer.json")
PROCESSOR_ERRORS = (OSError, ValueError, LookupError, TypeError, AttributeError, ImportError)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

logger = logging.getLogger(__name__)


def load_processor(folder: Path) -> EurekaAudioProcessor:
    """The processor saved beside a model.

    Raises:
        CheckpointError: its files are missing or unusable.
    """
    for name in PROCESSOR_FILES:
        if not (folder / name).exists():
            raise CheckpointError(
                f"{folder / name}: expected the processor beside the model, found no such file; "
                "save both with save_checkpoint"
            )
    try:
        processor: EurekaAudioProcessor = EurekaAudioProcessor.from_pretrained(
            folder, local_files_only=True
        )
    except Exception as error:
        # What is wrong with tokenizer.json, tokenizers says by an Exception of no class of its own.
        if type(error) is not Exception and not isinstance(error, PROCESSOR_ERRORS):
            raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            f"{folder}: expected the processor beside the model, got: {reason:.160}; save both "
            "with save_checkpoint"
        ) from error
    return processor


def check_match(
    model: EurekaAudioForConditionalGeneration, processor: EurekaAudioProcessor, name: str
) -> None:
    """See that a processor speaks the language of its model.

    Raises:
        CheckpointError: placeholder, mel bins or vocabulary differ, or nothing can be padded.
    """
    config = model.config
    pairs = {
        "audio_token_id": (config.audio_token_id, processor.audio_token_id),
        "mel bins": (config.audio_config.num_mel_bins, processor.feature_extractor.feature_size),
    }
    for what, (expected, got) in pairs.items():
        if expected != got:
            raise CheckpointError(
                f"{name}: the model expects {what} {expected}, its processor gives {got}; they are "
                "not of one checkpoint"
            )
    if processor.tokenizer.pad_token_id is None:
        raise CheckpointError(
            f"{name}: expected a tokenizer with a pad_token, got none (tokenizer_config.json); "
            "fetch the file again"
        )
    vocab_size, num_tokens = config.text_config.vocab_size, len(processor.tokenizer)
    if num_tokens > vocab_size:
        raise CheckpointError(
            f"{name}: the model has embeddings for {vocab_size} tokens, its tokenizer makes "
            f"{num_tokens}; they are not of one checkpoint"
        )


def check_settings(model: EurekaAudioForConditionalGeneration, name: str) -> None:
    """See that a checkpoint's wishes for transcription can be fulfilled.

    What an earlier version understood and this one does not is passed over, with a warning.

    Raises:
        CheckpointError: one is out of range, or asks a CTC head that the model lacks.
    """
    settings = model.generation_config
    max_chunk_seconds(settings)
    transcription_beams(settings)
    transcription_languages(settings)
    for opinion in transcription_opinions(settings).lacking(model):
        raise CheckpointError(
            f"{name}: expected a CTC head of {CTC_VOCAB_SIZE} letters, which "
            f"{OPINION_KEYS[opinion]} in its generation_config.json gives a say, found none; take "
            "that out"
        )
    if removed := removed_settings(settings):
        logger.warning(
            "%s: %s in its generation_config.json has no effect any more, since lists and models "
            "of words are asked no longer; transcripts may differ from those of earlier versions",
            name,
            ", ".join(removed),
        )


def load(
    name: str | Path,
    device: str | torch.device | None,
    dtype: str | torch.dtype | None,
    *,
    allow_unverified: bool = False,
) -> tuple[EurekaAudioForConditionalGeneration, EurekaAudioProcessor]:
    """Load, verify and place a model with its processor.

    Args:
        name: as `find_checkpoint` takes it.
        device: as `choose_device` takes it.
        dtype: as `choose_dtype` takes it, or what `ROUNDED` names.
        allow_unverified: whether a folder without checksums is taken as it is.

    Raises:
        CheckpointError: as `find_checkpoint`, `load_checkpoint` and `load_processor` say.
        ConfigError: no such device or dtype.
    """
    place = choose_device(device)
    folder = find_checkpoint(name)
    rounded = dtype if isinstance(dtype, str) and dtype in ROUNDED else None
    wanted = torch.float32 if rounded else choose_dtype(dtype)
    model = load_checkpoint(folder, dtype=wanted, allow_unverified=allow_unverified)
    processor = load_processor(folder)
    check_match(model, processor, str(name))
    check_settings(model, str(name))
    model = model.to(place)
    if rounded:
        quantize_weights(model, rounded)
    elif dtype is None and place.type == "cpu" and model.dtype == torch.bfloat16:
        model = model.float() if float32_is_faster() else model
    return model, processor


def choose_device(device: str | torch.device | None) -> torch.device:
    """The device named; by default a GPU if there is one.

    Raises:
        ConfigError: torch knows no such device, or this machine has none.
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        place = torch.device(device)
        if place.type == "meta":  # shapes without numbers: nothing could be computed
            raise NotImplementedError("it holds no numbers")
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError, NotImplementedError, ImportError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(
            f"device: expected one of this machine, such as cpu or cuda, got {device!r} "
            f"({reason:.120}); choose another"
        ) from error
    return place


def choose_dtype(dtype: str | torch.dtype | None) -> str | torch.dtype:
    """The type of the weights; by default that of the checkpoint, or float32 where it is faster.

    Raises:
        ConfigError: not a type that weights can have.
    """
    if dtype is None or dtype == "auto":
        return "auto"
    chosen = DTYPES.get(dtype) if isinstance(dtype, str) else dtype
    if chosen is None or chosen not in DTYPES.values():
        known = ", ".join((*DTYPES, *ROUNDED))
        raise ConfigError(f"dtype: expected one of {known}, got {dtype!r}; choose one")
    return chosen
