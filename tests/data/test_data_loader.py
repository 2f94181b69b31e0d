"""The stream of batches: the same with any number of workers, and from any step on."""

import numpy as np
import pytest
import torch

from eureka_audio.data.loader import TensorBatch, stream_batches
from eureka_audio.data.mixture import Batch, MixturePlan

LAST = 14


def make_plan() -> MixturePlan:
    lengths = {"a": np.random.default_rng(0).uniform(0.5, 3.0, 25)}
    return MixturePlan(lengths, {"a": 1}, samples_per_epoch=25, batch_seconds=12.0, seed=3)


def collate(batch: Batch) -> TensorBatch:
    """Random numbers from the samples' own seeds, as augmentation draws them."""
    noise = [np.random.default_rng(sample.seed).standard_normal(5) for sample in batch.samples]
    return {
        "noise": torch.tensor(np.stack(noise)),
        "index": torch.tensor([sample.index for sample in batch.samples]),
    }


def batches(first_step: int, num_workers: int) -> list[TensorBatch]:
    return list(
        stream_batches(make_plan(), collate, steps=range(first_step, LAST), num_workers=num_workers)
    )


def same(left: list[TensorBatch], right: list[TensorBatch]) -> bool:
    return len(left) == len(right) and all(
        a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
        for a, b in zip(left, right, strict=True)
    )


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("first_step", [0, 1, 5, 13])
def test_workers_and_resuming_change_nothing(first_step: int, num_workers: int) -> None:
    whole = batches(0, 0)
    assert len(whole) == LAST
    assert same(batches(first_step, num_workers), whole[first_step:])


@pytest.mark.parametrize("num_workers", [0, 2])
def test_the_stream_leaves_the_random_state_of_training_alone(num_workers: int) -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state()
    batches(0, num_workers)
    assert torch.equal(torch.get_rng_state(), before)


def test_nothing_is_left_to_stream_at_the_end() -> None:
    assert batches(LAST, 0) == []


def test_processes_share_a_plan_without_meeting() -> None:
    whole = batches(0, 0)
    shares = [
        list(stream_batches(make_plan(), collate, steps=range(rank, LAST, 2))) for rank in (0, 1)
    ]
    assert same(shares[0], whole[0::2])
    assert same(shares[1], whole[1::2])
