"""The model a recipe begins with: joined from two parts, or a whole one to go on with."""

import torch

from eureka_audio.inference.loading import find_checkpoint
from eureka_audio.model.modeling import EurekaAudioForConditionalGeneration
from eureka_audio.model.weights import load_checkpoint
from eureka_audio.processor import EurekaAudioProcessor
from eureka_audio.training.recipe import Recipe


def starting_model(
    recipe: Recipe,
) -> tuple[EurekaAudioForConditionalGeneration, EurekaAudioProcessor]:
    """Model and processor, in float32 on the CPU.

    Raises:
        CheckpointError: a part cannot be had, or is not what it says.
    """
    if recipe.start is not None:
        folder = find_checkpoint(recipe.start)
        model = load_checkpoint(folder, dtype=torch.float32)
        return model, EurekaAudioProcessor.from_pretrained(folder)
    raise NotImplementedError
