"""A language model whose weights are rounded as it is loaded, to 8 bits each or to 4.

Its `nn.Embedding`, norms and attention stay as they are, in float32, and so does all that hears.
"""

from collections.abc import Callable

import torch
from torch import nn

from eureka_audio.errors import ConfigError
from eureka_audio.inference import int4, int8
from eureka_audio.model import EurekaAudioForConditionalGeneration


def rounded_to_4_bits(linear: nn.Linear) -> nn.Module:
    """A map in 4 bits, or in 8 where its weights come in no whole groups."""
    return int4.Int4Linear(linear) if int4.fits(linear) else int8.Int8Linear(linear)


ROUNDED: dict[str, Callable[[nn.Linear], nn.Module]] = {
    "int8": int8.Int8Linear,
    "int4": rounded_to_4_bits,
}


def quantize_weights(model: EurekaAudioForConditionalGeneration, kind: str) -> None:
    """Round the weights of the language model, in place; it can then be run, and no longer saved.

    Args:
        model: on a CPU.
        kind: of `ROUNDED`.

    Raises:
        ConfigError: the model lies on a GPU, or torch brings no such products for this CPU.
    """
    libraries = getattr(torch.backends.quantized, "supported_engines", ())
    if model.device.type != "cpu" or int8.LIBRARY not in libraries:
        raise ConfigError(
            f"dtype: expected a CPU that torch has products of rounded weights for, got "
            f"{model.device.type} with {', '.join(libraries) or 'none'}; choose bfloat16 or float32"
        )
    rounded = ROUNDED[kind]
    language_model = model.float().language_model
    for parent in list(language_model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear):
                setattr(parent, name, rounded(child))
