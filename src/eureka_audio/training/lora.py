"""Low-rank updates: a large matrix stays as it is and a small product beside it learns.

    y = W x + (alpha / rank) U (D x)      W (O, I) frozen, U (O, rank) from zero, D (rank, I)

The layer keeps its name and its `weight`; `merge_lora` adds the product to it and leaves a plain
layer, so a merged model is an ordinary one.

Source: E. Hu et al., "LoRA: low-rank adaptation of large language models" (2021).
Departure: the paper trains the whole language model in Stage 2.
"""

from collections.abc import Sequence

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from eureka_audio.config import Config
from eureka_audio.errors import ConfigError


class LoraConfig(Config):
    """Which layers of the language model get an update, and of which rank."""

    rank: PositiveInt = 32
    alpha: PositiveFloat | None = None  # None: the rank, so that the product is added as it is
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")

    @property
    def scale(self) -> float:
        """What the product is multiplied by."""
        return 1.0 if self.alpha is None else self.alpha / self.rank


class LoraLinear(nn.Linear):
    """A linear layer with a low-rank update beside its weight."""

    def __init__(self, layer: nn.Linear, config: LoraConfig) -> None:
        with torch.device("meta"):
            super().__init__(layer.in_features, layer.out_features, bias=False)
        self.weight, self.bias = layer.weight, layer.bias
        self.scale = config.scale
        weight = layer.weight
        down = torch.empty(config.rank, layer.in_features, dtype=torch.float32)
        nn.init.kaiming_uniform_(down, a=5**0.5)
        self.lora_down = nn.Parameter(down.to(weight.device))
        self.lora_up = nn.Parameter(
            torch.zeros(layer.out_features, config.rank, device=weight.device)
        )

    def forward(self, input: Tensor) -> Tensor:
        """The layer's output `(..., O)`, its update added."""
        update = nn.functional.linear(nn.functional.linear(input, self.lora_down), self.lora_up)
        return super().forward(input) + self.scale * update

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """A plain layer of the same function; the weight is changed in place."""
        with torch.device("meta"):
            plain = nn.Linear(self.in_features, self.out_features, bias=False)
        self.weight += (self.scale * (self.lora_up @ self.lora_down)).to(self.weight.dtype)
        plain.weight, plain.bias = self.weight, self.bias
        return plain


def add_lora(part: nn.Module, config: LoraConfig) -> None:
    """Give every linear layer of `part` whose last name is a target an update.

    Raises:
        ConfigError: a target names no linear layer.
    """
    found = {
        name: layer
        for name, layer in part.named_modules()
        if isinstance(layer, nn.Linear) and name.rpartition(".")[2] in config.targets
    }
    missing = set(config.targets) - {name.rpartition(".")[2] for name in found}
    if missing:
        raise ConfigError(
            f"lora.targets: expected names of linear layers of the language model, got "
            f"{sorted(missing)}; it has {_linear_names(part)}"
        )
    for name, layer in found.items():
        part.set_submodule(name, LoraLinear(layer, config))


def merge_lora(part: nn.Module) -> None:
    """Add every update to its weight, and leave plain layers."""
    for name, layer in list(part.named_modules()):
        if isinstance(layer, LoraLinear):
            part.set_submodule(name, layer.merged())


def lora_factors(part: nn.Module) -> dict[str, tuple[Tensor, Tensor]]:
    """The updates `(A, B)` of shapes `(rank, I)` and `(O, rank)` by the name of their weight, which
    they raise by B A.
    """
    return {
        f"{name}.weight": (layer.lora_down.detach(), layer.scale * layer.lora_up.detach())
        for name, layer in part.named_modules()
        if isinstance(layer, LoraLinear)
    }


def _linear_names(part: nn.Module) -> Sequence[str]:
    return sorted(
        {
            name.rpartition(".")[2]
            for name, layer in part.named_modules()
            if isinstance(layer, nn.Linear)
        }
    )
