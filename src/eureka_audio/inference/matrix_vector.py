"""Linear maps of a single row as matrix-vector products.

Decoding one conversation multiplies every weight with one vector. On a CPU, in bfloat16, `linear`
may take a path made for many rows there, which reads the weights at a fraction of the memory's
speed; the matrix-vector product does not. `eureka-audio bench` measures both.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


class MatrixVectorProducts(TorchFunctionMode):
    """While active, `linear` without bias of one row is `torch.mv`; all else stays as it is."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is nn.functional.linear and not kwargs and is_single_row(*args):
            row, weight = args[:2]
            return torch.mv(weight, row.reshape(-1)).view(*row.shape[:-1], -1)
        return func(*args, **(kwargs or {}))


def is_single_row(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> bool:
    """Whether a linear map has one row `(..., X)` to act on, and no bias."""
    return bias is None and input.numel() == weight.shape[-1]


def single_row_products(
    num_rows: int, device: torch.device, dtype: torch.dtype
) -> AbstractContextManager[Any]:
    """Matrix-vector products where they help: one row, on a CPU, in bfloat16."""
    if num_rows == 1 and device.type == "cpu" and dtype == torch.bfloat16:
        return MatrixVectorProducts()
    return nullcontext()
