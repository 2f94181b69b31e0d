"""The optimiser and its schedule.

Matrices inside transformer layers are stepped by Muon, everything else (embeddings, norms, biases,
convolutions, routers, stacked experts) by AdamW; or everything by AdamW.
"""

from typing import Literal

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat
from torch import nn

from eureka_audio.config import Config
from eureka_audio.errors import ConfigError
from eureka_audio.training.muon import Muon


class OptimizerConfig(Config):
    """How parameters are stepped.

    Unstated: the paper gives no optimiser, rate or schedule. The schedule is warm-up, constant,
    then a linear fall to zero over the last steps, because its constant part can be prolonged
    without having planned it. Muon's update is scaled to the size of AdamW's, so one rate may serve
    both; `adamw_learning_rate` is for what Muon does not step, if it is to differ.
    """

    name: Literal["adamw", "muon"] = "adamw"
    learning_rate: PositiveFloat = 1e-3
    adamw_learning_rate: PositiveFloat | None = None
    weight_decay: NonNegativeFloat = 0.05
    betas: tuple[float, float] = (0.9, 0.98)
    warmup_steps: NonNegativeInt = 300
    decay_steps: NonNegativeInt = 0
    max_grad_norm: PositiveFloat = 1.0


def build_optimizers(model: nn.Module, config: OptimizerConfig) -> list[torch.optim.Optimizer]:
    """Optimisers over what is trainable; each group keeps its peak rate as `peak_lr`.

    Raises:
        ConfigError: nothing is trainable.
    """
    matrices, decayed, plain = [], [], []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if config.name == "muon" and parameter.ndim == 2 and ".layers." in f".{name}":
            matrices.append(parameter)
        elif parameter.ndim >= 2 and "embed" not in name:
            decayed.append(parameter)
        else:
            plain.append(parameter)
    if not (matrices or decayed or plain):
        raise ConfigError("expected a part of the model to train, got none; see `trainable`")
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(
            [group for group in groups if group["params"]],
            lr=config.adamw_learning_rate or config.learning_rate,
            betas=config.betas,
            fused=True,
        )
    ]
    if matrices:
        optimizers.append(Muon(matrices, lr=config.learning_rate, weight_decay=config.weight_decay))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
    return optimizers


def rate_factor(step: int, max_steps: int, config: OptimizerConfig) -> float:
    """Share of the peak learning rate at optimiser step `step` of `max_steps`.

    Example:
        >>> config = OptimizerConfig(warmup_steps=2, decay_steps=4)
        >>> [rate_factor(step, 10, config) for step in (0, 1, 5, 8)]
        [0.5, 1.0, 1.0, 0.5]
    """
    warm = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    left = max_steps - step
    fall = min(1.0, left / config.decay_steps) if config.decay_steps else 1.0
    return warm * fall
