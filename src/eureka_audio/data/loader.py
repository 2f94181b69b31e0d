"""Batches in a stream: a plan of samples becomes tensors, on worker processes if wanted.

The stream is a pure function of the plan and the first step, so resuming is asking for a later
first step.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from eureka_audio.data.mixture import Batch, MixturePlan

TensorBatch = dict[str, Any]
Collate = Callable[[Batch], TensorBatch]


class _PlannedBatches(Dataset[TensorBatch]):
    """Maps a step to the tensors of its batch."""

    def __init__(self, plan: MixturePlan, collate: Collate) -> None:
        self.plan = plan
        self.collate = collate

    def __getitem__(self, step: int) -> TensorBatch:
        return self.collate(self.plan.batch(step))


def stream_batches(
    plan: MixturePlan, collate: Collate, *, steps: range, num_workers: int = 0
) -> Iterator[TensorBatch]:
    """The batches of these steps of the plan, in order.

    Args:
        plan: says which samples form the batch of a step.
        collate: turns them into tensors; must draw chance only from the samples' seeds.
        steps: from 0, or from where a checkpoint was saved; with gaps where several processes
            share a plan.
        num_workers: processes that prepare batches ahead; 0 prepares them in this one.
    """
    loader = DataLoader(
        _PlannedBatches(plan, collate),
        batch_size=None,
        sampler=steps,
        num_workers=num_workers,
        prefetch_factor=4 if num_workers else None,
        worker_init_fn=_one_thread,
        # The loader draws a seed when it starts. Drawn from torch's own generator, it would shift
        # every dropout mask after a resume.
        generator=torch.Generator(),
    )
    yield from loader


def _one_thread(worker_id: int) -> None:
    """Keep the workers from fighting the training step for cores."""
    torch.set_num_threads(1)
