"""A language model whose weights take 8 bits each: a quarter of the bytes that a token reads.

Each row of a matrix is rounded to 255 steps of its own; what is multiplied with it is rounded, too,
for each product anew (FBGEMM, which torch brings; `nn.Embedding`, norms and attention stay as they
are). So answers may differ from those in float32, and a little with the requests beside them.

Unstated: how the paper runs on a device. Of what torch offers on a CPU without 8-bit dot products
this is the fastest: four times the weights a second of float32, where the products that round
weights alone reach 1.9 times (8 bits) and a quarter (4 bits). torch means to drop its quantised
tensors one day; `torch._weight_int8pack_mm`, the 1.9, would take their place.
"""

import warnings

import torch
from torch import Tensor, nn

from eureka_audio.errors import ConfigError
from eureka_audio.model import EurekaAudioForConditionalGeneration

LIBRARY = "fbgemm"


class Int8Linear(nn.Module):
    """A linear map of float32 rows, its weights `(out, in)` in 8 bits."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        weight = linear.weight.detach().float()
        scales = weight.abs().amax(dim=1).clamp(min=torch.finfo(torch.float32).tiny) / 127
        zeros = torch.zeros(len(scales), dtype=torch.long)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch calls its quantised tensors old
            rounded = torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8)
        bias = None if linear.bias is None else linear.bias.detach().float()
        self._packed = torch.ops.quantized.linear_prepack(rounded, bias)

    def forward(self, rows: Tensor) -> Tensor:
        """Rows `(..., in)` to `(..., out)`."""
        # Activations keep a bit free, or the sums of AVX2's products of bytes would overflow.
        product: Tensor = torch.ops.quantized.linear_dynamic(rows, self._packed, True)
        return product


def quantize_weights(model: EurekaAudioForConditionalGeneration) -> None:
    """Round the weights of the language model, in place; it can then be run, and no longer saved.

    Raises:
        ConfigError: the model lies on a GPU, or torch brings no such products for this CPU.
    """
    libraries = getattr(torch.backends.quantized, "supported_engines", ())
    if model.device.type != "cpu" or LIBRARY not in libraries:
        raise ConfigError(
            f"dtype: expected a CPU that torch has 8-bit products for, got {model.device.type} "
            f"with {', '.join(libraries) or 'none'}; choose bfloat16 or float32"
        )
    language_model = model.float().language_model
    for parent in list(language_model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear):
                setattr(parent, name, Int8Linear(child))
