"""Weights in 8 bits: a quarter of the bytes that a token reads in float32.

Each row of a matrix is rounded to 255 steps of its own; what is multiplied with it is rounded, too,
for each product anew (FBGEMM, which torch brings). So answers may differ from those in float32, and
a little with the requests beside them.

FBGEMM takes one measure for all rows. Language models make one token, the first, hundreds of times
as loud as the others, which would leave these a few steps; so every row is brought to the same
loudness before, and back after.

Unstated: how the paper runs on a device. torch means to drop its quantised tensors one day;
`torch._weight_int8pack_mm`, which reads fewer weights a second, would take their place.
"""

import warnings
from functools import cache

import torch
from torch import Tensor, nn

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
        self._bias = None if linear.bias is None else linear.bias.detach().float()
        self._packed = torch.ops.quantized.linear_prepack(rounded, None)

    def forward(self, rows: Tensor) -> Tensor:
        """Rows `(..., in)` to `(..., out)`."""
        if rows.numel() == self.in_features:
            product = self._multiply(rows)
        else:
            loudest = rows.abs().amax(dim=-1, keepdim=True)
            loudest = loudest.clamp(min=torch.finfo(torch.float32).tiny)
            product = self._multiply(rows / loudest) * loudest
        return product if self._bias is None else product + self._bias

    def _multiply(self, rows: Tensor) -> Tensor:
        product: Tensor = torch.ops.quantized.linear_dynamic(
            rows, self._packed, products_saturate()
        )
        return product


@cache
def products_saturate() -> bool:
    """Whether this CPU's sums of products of bytes overflow unless activations keep a bit free.

    Those of AVX2 do; processors with 8-bit dot products have room for them.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls its quantised tensors old
        largest = torch.quantize_per_tensor(torch.ones(16, 64), 1 / 127, 0, torch.qint8)
    packed = torch.ops.quantized.linear_prepack(largest, None)
    product = torch.ops.quantized.linear_dynamic(torch.ones(1, 64), packed, False)
    return bool((product < 63).any())
