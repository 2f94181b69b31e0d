"""The model a recipe begins with: joined from two parts, or a whole one to go on with."""

import torch

from eureka_audio.errors import ConfigError
from eureka_audio.joining import join
from eureka_audio.model.int8 import round_to_int8
from eureka_audio.model.joining import lend_encoder
from eureka_audio.model.modeling import EurekaAudioForConditionalGeneration
from eureka_audio.model.weights import load_checkpoint
from eureka_audio.parts.names import find_checkpoint, find_source
from eureka_audio.processor import EurekaAudioProcessor
from eureka_audio.training.recipe import Recipe


def starting_model(
    recipe: Recipe,
) -> tuple[EurekaAudioForConditionalGeneration, EurekaAudioProcessor]:
    """Model and processor, in float32 on the CPU; a fresh adapter follows torch's random state.

    Parts that are exported in int8 are rounded now, so that what learns on top of them hears what
    the exported model will hear.

    Raises:
        CheckpointError: a part cannot be had, or is not what it says.
        ConfigError: a setting of the model is wrong.
    """
    model, processor = _as_named(recipe)
    for part in recipe.export.int8:
        round_to_int8(getattr(model, part))
    return model, processor


def _as_named(
    recipe: Recipe,
) -> tuple[EurekaAudioForConditionalGeneration, EurekaAudioProcessor]:
    if recipe.start is not None:
        folder = find_checkpoint(recipe.start)
        model = load_checkpoint(folder, dtype=torch.float32)
        if recipe.encoder is not None:
            _replace_encoder(model, recipe.encoder)
        return model, EurekaAudioProcessor.from_pretrained(folder)
    settings = recipe.model.model_dump(exclude_none=True)
    if "feature_layers" in settings:
        settings["feature_layers"] = list(settings["feature_layers"])
    return join(str(recipe.encoder), str(recipe.language_model), **settings)


def _replace_encoder(model: EurekaAudioForConditionalGeneration, name: str) -> None:
    """Let a model hear with another encoder of the same shape."""
    tensors = lend_encoder(find_source(name), torch.float32).tensors
    try:
        model.audio_encoder.load_state_dict(dict(tensors))
    except RuntimeError as error:
        raise ConfigError(
            f"encoder: expected one of the same shape as that of the model to go on with, got "
            f"{name!r} ({' '.join(str(error).split())[:160]}); leave it out"
        ) from error
