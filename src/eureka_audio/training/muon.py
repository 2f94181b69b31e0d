"""Muon: momentum whose every matrix is replaced by the nearest one with equal singular values.

As torch's own `Muon`, with two differences that matter on a CPU: matrices of one shape are
orthogonalised together, and in float32 where the processor has no bfloat16 arithmetic, on which
torch's takes longer than the training step itself.

Source: K. Jordan et al., "Muon: an optimizer for hidden layers" (2024), for the iteration and its
coefficients; J. Liu et al., "Muon is scalable for LLM training" (2025), for the scale that matches
AdamW's.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import overload

import torch
from torch import Tensor

from eureka_audio.training.precision import fast_type

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
NUM_ITERATIONS = 5
EPSILON = 1e-7
ADAMW_RMS = 0.2  # root mean square of an AdamW update at rate 1


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised; decoupled weight decay.

    Args:
        params: matrices only.
        lr: of the size of AdamW's.
        momentum: of the running mean of gradients.
        weight_decay: times `lr`, taken off the weights at each step.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        for group in self.param_groups:
            if any(parameter.ndim != 2 for parameter in group["params"]):
                raise ValueError("expected matrices only, got a parameter of another rank")

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step; `closure` is refused, since nothing here needs the loss again."""
        if closure is not None:
            raise ValueError("expected no closure: this optimiser evaluates the loss once")
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape[parameter.shape].append(parameter)
            for parameters in by_shape.values():
                updates = [
                    self._direction(parameter, group["momentum"]) for parameter in parameters
                ]
                scale = ADAMW_RMS * max(parameters[0].shape) ** 0.5
                for parameter, update in zip(
                    parameters, orthogonalized(torch.stack(updates)), strict=True
                ):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.add_(update, alpha=-group["lr"] * scale)
        return None

    def _direction(self, parameter: Tensor, momentum: float) -> Tensor:
        """The Nesterov direction `(O, I)`; the parameter's momentum goes on."""
        assert parameter.grad is not None
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        buffer: Tensor = state["momentum_buffer"]
        buffer.lerp_(parameter.grad, 1 - momentum)
        return parameter.grad.lerp(buffer, momentum)


def orthogonalized(matrices: Tensor) -> Tensor:
    """Matrices `(N, O, I)` with all singular values brought near 1 (0.7 to 1.2), in float32.

    Five steps of a Newton-Schulz iteration; singular vectors stay.
    """
    work = matrices.to(fast_type(matrices.device))
    is_tall = work.shape[-2] > work.shape[-1]
    if is_tall:
        work = work.mT
    work = work / work.norm(dim=(-2, -1), keepdim=True).clamp(min=EPSILON)
    a, b, c = COEFFICIENTS
    for _ in range(NUM_ITERATIONS):
        gram = work @ work.mT
        work = a * work + (b * gram + c * gram @ gram) @ work
    return (work.mT if is_tall else work).to(torch.float32)
