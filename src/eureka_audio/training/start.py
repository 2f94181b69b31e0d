"""The model a recipe begins with: joined from two parts, or a whole one to go on with."""

import torch

from eureka_audio.joining import join
from eureka_audio.model.int8 import round_to_int8
from eureka_audio.model.modeling import EurekaAudioForConditionalGeneration
from eureka_audio.model.weights import load_checkpoint
from eureka_audio.parts.names import find_checkpoint
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
        return model, EurekaAudioProcessor.from_pretrained(folder)
    settings = recipe.model.model_dump(exclude_none=True)
    if "feature_layers" in settings:
        settings["feature_layers"] = list(settings["feature_layers"])
    return join(str(recipe.encoder), str(recipe.language_model), **settings)
