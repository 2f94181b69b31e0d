"""A trained model as the difference from the parts it was joined from.

    NAME                      a tensor of no part, or one that training changed
    NAME[49152:]              the part's own rows, then these: embeddings of added tokens
    NAME.lora_A, NAME.lora_B  the part's weight plus B A

What the parts bring unchanged is left out. Weights are compared, and added, in the type they are
saved in, so what is read is what was written.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from eureka_audio.errors import CheckpointError

LowRank = Mapping[str, tuple[Tensor, Tensor]]

ROWS = re.compile(r"(?P<name>.+)\[(?P<first>\d+):\]")
LORA_A, LORA_B = ".lora_A", ".lora_B"
LOW_RANK_TOLERANCE = 2.0**-6  # of the largest weight: a few roundings to bfloat16


def subtract(
    tensors: Mapping[str, Tensor], parts: Mapping[str, Tensor], low_rank: LowRank
) -> dict[str, Tensor]:
    """What has to be stored of a model beside its parts.

    Args:
        tensors: the model's, by name.
        parts: the parts' tensors, by the same names.
        low_rank: weights that are the part's plus B A, by name: `(A, B)`.

    Raises:
        CheckpointError: a weight is not its part's plus the B A given for it.
    """
    stored: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        part = parts.get(name)
        if part is None or part.shape[1:] != tensor.shape[1:] or len(part) > len(tensor):
            stored[name] = tensor
        elif name in low_rank:
            a, b = (factor.detach().to("cpu", tensor.dtype) for factor in low_rank[name])
            _check_low_rank(name, tensor, _raise_by(part, a, b))
            stored |= {name + LORA_A: a.contiguous(), name + LORA_B: b.contiguous()}
        elif not torch.equal(part.to(tensor.dtype), tensor[: len(part)]):
            stored[name] = tensor
        elif len(part) < len(tensor):
            stored[f"{name}[{len(part)}:]"] = tensor[len(part) :].contiguous()
    return stored


def add(parts: Mapping[str, Tensor], stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The whole model's tensors again.

    Raises:
        ValueError: what is stored does not fit the parts.
    """
    tensors = dict(parts)
    for name, tensor in stored.items():
        rows = ROWS.fullmatch(name)
        if rows:
            whole = rows["name"]
            part = _part(parts, whole)
            if len(part) != int(rows["first"]) or part.shape[1:] != tensor.shape[1:]:
                raise ValueError(f"{name} of shape {tuple(tensor.shape)} for {tuple(part.shape)}")
            tensors[whole] = torch.cat([part.to(tensor.dtype), tensor])
        elif name.endswith(LORA_A):
            whole = name.removesuffix(LORA_A)
            part, other = _part(parts, whole), stored.get(whole + LORA_B)
            if other is None or (len(other), tensor.shape[-1]) != tuple(part.shape):
                raise ValueError(f"{name} without a {LORA_B} that fits it and {whole}")
            tensors[whole] = _raise_by(part, tensor, other)
        elif not name.endswith(LORA_B):
            tensors[name] = tensor
        elif name.removesuffix(LORA_B) + LORA_A not in stored:
            raise ValueError(f"{name} without {LORA_A}")
    return tensors


def _part(parts: Mapping[str, Tensor], name: str) -> Tensor:
    if name not in parts:
        raise ValueError(f"a difference from {name}, which no part brings")
    return parts[name]


def _raise_by(part: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """The part's weight plus B A, added in float32, in the type of A."""
    return (part.float() + b.float() @ a.float()).to(a.dtype)


def _check_low_rank(name: str, tensor: Tensor, rebuilt: Tensor) -> None:
    off = float((tensor.float() - rebuilt.float()).abs().max())
    if off > LOW_RANK_TOLERANCE * float(tensor.abs().max()):
        raise CheckpointError(
            f"{name}: expected the part's weight plus B A, got one that differs by {off:.3g}; "
            "merge what was trained before saving, with its scale in B"
        )
