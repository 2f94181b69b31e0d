"""Muon: equal to torch's, by matrices of one shape at a time."""

import pytest
import torch
from torch import nn

from eureka_audio.training import muon
from eureka_audio.training.muon import Muon, orthogonalized

SHAPES = [(16, 48), (48, 16), (32, 32)]


@pytest.mark.parametrize("shape", [*SHAPES[:2], (1, 8)])
def test_singular_values_come_near_one_and_singular_vectors_stay(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    matrices = torch.randn(3, *shape)
    result = orthogonalized(matrices)
    values = torch.linalg.svdvals(result)
    assert 0.6 < values.min() <= values.max() < 1.3
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    turned = left.mT @ result @ right.mT
    off_diagonal = turned - torch.diag_embed(turned.diagonal(dim1=1, dim2=2))
    assert off_diagonal.abs().max() < 0.05


@pytest.mark.parametrize("work_type", [torch.float32, torch.bfloat16])
def test_steps_are_those_of_torch(work_type: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch's computes in bfloat16, so agreement is to a few percent of the step."""
    monkeypatch.setattr(muon, "fast_type", lambda device: work_type)
    torch.manual_seed(0)
    starts = [torch.randn(shape) for shape in SHAPES]
    ours, theirs = ([nn.Parameter(start.clone()) for start in starts] for _ in range(2))
    optimizers = (
        Muon(ours, lr=1e-2, weight_decay=0.1),
        torch.optim.Muon(theirs, lr=1e-2, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
    )
    for _ in range(3):
        for first, second in zip(ours, theirs, strict=True):
            first.grad = torch.randn_like(first)
            second.grad = first.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    for start, first, second in zip(starts, ours, theirs, strict=True):
        moved = (second - start).abs().mean()
        assert (first - second).abs().mean() < 0.05 * moved


def test_a_parameter_without_gradient_stays_and_the_state_travels() -> None:
    torch.manual_seed(0)
    first, second = nn.Parameter(torch.randn(4, 4)), nn.Parameter(torch.randn(4, 4))
    optimizer = Muon([first, second], lr=1e-2)
    first.grad = torch.randn(4, 4)
    before = second.detach().clone()
    optimizer.step()
    assert torch.equal(second, before)
    copy = Muon([first, second], lr=1e-2)
    copy.load_state_dict(optimizer.state_dict())
    assert torch.equal(
        copy.state[first]["momentum_buffer"], optimizer.state[first]["momentum_buffer"]
    )


def test_what_it_cannot_step_is_refused() -> None:
    with pytest.raises(ValueError, match="matrices only"):
        Muon([nn.Parameter(torch.zeros(3))])
    with pytest.raises(ValueError, match="no closure"):
        Muon([nn.Parameter(torch.zeros(2, 2))]).step(lambda: 0.0)
