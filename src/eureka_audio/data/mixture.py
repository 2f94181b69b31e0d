"""Which samples make up which batch: a pure function of the seed and the step.

Nothing here holds a position. A run that resumes at step n asks for batch n and gets the very batch
an uninterrupted run would have had, with any number of workers; a sample brings its own seed, so
its augmentation is the
same too.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from eureka_audio.errors import ConfigError


@dataclass(frozen=True)
class Sample:
    """One draw: the `index`-th clip of `source`, with the seed of everything random about it."""

    source: str
    index: int
    seed: int


@dataclass(frozen=True)
class Batch:
    """The samples of one optimiser step's forward, similar in length."""

    samples: tuple[Sample, ...]


class MixturePlan:
    """Batches from several sources in exact proportions.

    Each epoch draws a fixed number of samples from each source (largest-remainder rounding of its
    weight), continuing that source's own shuffled cycle, so every clip of a source is heard once
    before any is heard twice.

    Args:
        durations_seconds: for each source, the duration of each of its clips `(num_clips,)`.
        weights: relative number of samples drawn from each source.
        samples_per_epoch: samples in one epoch over all sources.
        batch_seconds: padded seconds of audio in one batch.
        bucket_seconds: clips are batched with clips of the same length, rounded up to a multiple of
            this. All batches of a bucket hold the same number of clips, because each new shape
            costs a processor seconds.
        max_batch_size: most clips in one batch.
        seed: of the order and of every sample's seed.
        max_clip_seconds: longer clips are left out (and counted in `num_too_long`).

    Raises:
        ConfigError: a weight names no source, is negative, or nothing is left to draw.
    """

    def __init__(
        self,
        durations_seconds: Mapping[str, NDArray[np.float64]],
        weights: Mapping[str, float],
        *,
        samples_per_epoch: int,
        batch_seconds: float,
        bucket_seconds: float = 0.8,
        max_batch_size: int = 128,
        seed: int = 0,
        max_clip_seconds: float = 30.0,
    ) -> None:
        unknown = set(weights) - set(durations_seconds)
        if unknown:
            raise ConfigError(f"weights name sources that do not exist: {sorted(unknown)}")
        finite = all(math.isfinite(weight) and weight >= 0 for weight in weights.values())
        if not finite or not any(weights.values()):
            raise ConfigError(f"expected weights of at least 0, some above it, got {dict(weights)}")
        if samples_per_epoch < 1 or max_batch_size < 1 or batch_seconds <= 0 or bucket_seconds <= 0:
            raise ConfigError(
                "expected samples_per_epoch, max_batch_size, batch_seconds and bucket_seconds "
                f"above 0, got {samples_per_epoch}, {max_batch_size}, {batch_seconds} and "
                f"{bucket_seconds}"
            )
        self.seed = seed
        self.batch_seconds = batch_seconds
        self.bucket_seconds = bucket_seconds
        self.max_batch_size = max_batch_size
        self._durations = durations_seconds
        self._eligible = {
            name: np.flatnonzero(durations_seconds[name] <= max_clip_seconds)
            for name, weight in weights.items()
            if weight > 0
        }
        self.num_too_long = sum(
            len(durations_seconds[name]) - len(kept) for name, kept in self._eligible.items()
        )
        empty = [name for name, kept in self._eligible.items() if len(kept) == 0]
        if empty:
            raise ConfigError(f"sources without a usable clip: {empty}")
        self._quota = _largest_remainder(
            {name: weights[name] for name in self._eligible}, samples_per_epoch
        )
        self._epochs: dict[int, list[Batch]] = {}
        self._starts = [0]

    def batch(self, step: int) -> Batch:
        """The batch of optimiser step `step`, counted from 0."""
        epoch = 0
        while True:
            if epoch + 1 == len(self._starts):
                self._starts.append(self._starts[epoch] + len(self.epoch(epoch)))
            if step < self._starts[epoch + 1]:
                return self.epoch(epoch)[step - self._starts[epoch]]
            epoch += 1

    def epoch(self, epoch: int) -> list[Batch]:
        """All batches of one epoch, in order."""
        if epoch not in self._epochs:
            if len(self._epochs) > 2:
                self._epochs.clear()
            self._epochs[epoch] = self._plan(epoch)
        return self._epochs[epoch]

    def _plan(self, epoch: int) -> list[Batch]:
        rng = np.random.default_rng([self.seed, epoch])
        buckets: dict[int, list[Sample]] = {}
        for name in sorted(self._quota):
            for index in self._draw(name, epoch):
                seconds = float(self._durations[name][index])
                bucket = max(1, math.ceil(seconds / self.bucket_seconds))
                sample = Sample(name, int(index), int(rng.integers(2**62)))
                buckets.setdefault(bucket, []).append(sample)
        batches: list[Batch] = []
        for bucket, samples in sorted(buckets.items()):
            shuffled = [samples[i] for i in rng.permutation(len(samples))]
            size = self._batch_size(bucket)
            for start in range(0, len(shuffled), size):
                batches.append(self._full_batch(shuffled, start, size, rng))
        return [batches[i] for i in rng.permutation(len(batches))]

    def _batch_size(self, bucket: int) -> int:
        fitting = int(self.batch_seconds / (bucket * self.bucket_seconds))
        return max(1, min(self.max_batch_size, fitting))

    def _full_batch(
        self, samples: list[Sample], start: int, size: int, rng: np.random.Generator
    ) -> Batch:
        """`size` samples from `start` on; a short last batch hears others of its bucket again."""
        chosen = samples[start : start + size]
        while len(chosen) < size:
            again = samples[int(rng.integers(len(samples)))]
            chosen.append(replace(again, seed=int(rng.integers(2**62))))
        return Batch(tuple(chosen))

    def _draw(self, name: str, epoch: int) -> NDArray[np.int64]:
        """The clips of `name` in this epoch: a window of an endless chain of shuffled cycles."""
        kept, quota = self._eligible[name], self._quota[name]
        first, last = epoch * quota, (epoch + 1) * quota
        salt = sum(name.encode())
        cycles = [
            kept[np.random.default_rng([self.seed, salt, cycle]).permutation(len(kept))]
            for cycle in range(first // len(kept), -(-last // len(kept)))
        ]
        if not cycles:
            return np.empty(0, dtype=np.int64)
        offset = first - first // len(kept) * len(kept)
        return np.concatenate(cycles)[offset : offset + quota]


def _largest_remainder(weights: Mapping[str, float], total: int) -> dict[str, int]:
    """Share `total` in proportion to `weights`, in whole numbers that add up to it."""
    scale = total / sum(weights.values())
    exact = {name: weight * scale for name, weight in weights.items()}
    shares = {name: int(value) for name, value in exact.items()}
    by_remainder = sorted(exact, key=lambda name: (shares[name] - exact[name], name))
    for name in by_remainder[: total - sum(shares.values())]:
        shares[name] += 1
    return shares
