"""Weights at a byte each: for a pretrained encoder that ships inside the package.

Every matrix and convolution is stored as int8 with one float32 scale for each output channel,
symmetric about zero, and becomes a float weight again when it is read. LayerNorms, biases and
positions stay as they are.
"""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

LEVELS = 127
SCALE_SUFFIX = ".scale"
KEPT_SUFFIXES = ("embed_positions.weight",)


def quantise(tensors: Mapping[str, Tensor], prefixes: Iterable[str]) -> dict[str, Tensor]:
    """Store the weights under some prefixes in int8, each beside its `NAME.scale`.

    Example:
        >>> stored = quantise({"encoder.w": torch.tensor([[0.5, -1.0], [4.0, 2.0]])}, ["encoder."])
        >>> stored["encoder.w"].tolist(), stored["encoder.w.scale"].shape
        ([[64, -127], [127, 64]], torch.Size([2]))
    """
    stored: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        chosen = name.startswith(tuple(prefixes)) and not name.endswith(KEPT_SUFFIXES)
        if not chosen or tensor.ndim < 2 or not tensor.is_floating_point():
            stored[name] = tensor
            continue
        rows = tensor.detach().float().flatten(1)
        scales = rows.abs().amax(dim=1).clamp(min=torch.finfo(torch.float32).tiny) / LEVELS
        levels = (rows / scales[:, None]).round().clamp(-LEVELS, LEVELS)
        stored[name] = levels.to(torch.int8).view(tensor.shape)
        stored[name + SCALE_SUFFIX] = scales
    return stored


def dequantise(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights that `quantise` stored, in float32 where they were int8.

    Raises:
        ValueError: an int8 weight has no scale for each of its output channels.
    """
    tensors: dict[str, Tensor] = {}
    for name, tensor in stored.items():
        if tensor.dtype != torch.int8:
            if not (name.endswith(SCALE_SUFFIX) and name.removesuffix(SCALE_SUFFIX) in stored):
                tensors[name] = tensor
            continue
        scales = stored.get(name + SCALE_SUFFIX)
        if scales is None or scales.shape != tensor.shape[:1]:
            raise ValueError(f"{name} in int8 without a scale for each of its rows")
        tensors[name] = tensor.float() * scales.view(-1, *[1] * (tensor.ndim - 1))
    return tensors


@torch.no_grad()
def round_to_int8(module: torch.nn.Module) -> None:
    """Give a module the weights it will have after an int8 export, so that what is trained on top
    of it has met them.
    """
    tensors = dequantise(quantise(module.state_dict(), [""]))
    module.load_state_dict({name: tensors[name] for name in module.state_dict()})
