"""The plan of batches: exact shares, every clip once, the same batch for the same step."""

import itertools
from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray

from eureka_audio.data.mixture import Batch, MixturePlan
from eureka_audio.errors import ConfigError


def durations(**counts: int) -> dict[str, NDArray[np.float64]]:
    return {
        name: np.random.default_rng(len(name)).uniform(0.5, 6.0, count)
        for name, count in counts.items()
    }


def make_plan(seed: int = 0, samples_per_epoch: int = 120, **settings: float) -> MixturePlan:
    lengths = durations(speech=70, sounds=30, digits=11)
    weights = {"speech": 3, "sounds": 2, "digits": 1}
    return MixturePlan(
        lengths,
        weights,
        seed=seed,
        samples_per_epoch=samples_per_epoch,
        batch_seconds=settings.pop("batch_seconds", 20.0),
        **settings,  # type: ignore[arg-type]
    )


def first_hearings(batches: list[Batch]) -> list[tuple[str, int]]:
    """What an epoch draws, without the clips that fill up a short last batch of a bucket."""
    return [(sample.source, sample.index) for batch in batches for sample in batch.samples]


def drawn(plan: MixturePlan, epoch: int) -> Counter[str]:
    """Clips of each source in an epoch, before short batches are filled."""
    return Counter({name: len(plan._draw(name, epoch)) for name in plan._quota})


def test_every_epoch_has_exact_shares() -> None:
    plan = make_plan()
    for epoch in range(5):
        assert drawn(plan, epoch) == {"speech": 60, "sounds": 40, "digits": 20}
        heard = Counter(name for name, _ in first_hearings(plan.epoch(epoch)))
        assert all(heard[name] >= count for name, count in drawn(plan, epoch).items())


def test_shares_that_do_not_divide_add_up_to_the_whole() -> None:
    lengths = durations(a=50, b=50, c=50)
    plan = MixturePlan(
        lengths, {"a": 1, "b": 1, "c": 1.5}, samples_per_epoch=100, batch_seconds=1e9
    )
    assert sum(plan._quota.values()) == 100
    assert all(
        abs(plan._quota[name] - exact) < 1
        for name, exact in {"a": 28.57, "b": 28.57, "c": 42.86}.items()
    )


@pytest.mark.parametrize("name", ["speech", "sounds", "digits"])
def test_every_clip_is_heard_once_before_any_twice(name: str) -> None:
    plan = make_plan()
    num_clips = {"speech": 70, "sounds": 30, "digits": 11}[name]
    chain = np.concatenate([plan._draw(name, epoch) for epoch in range(7)]).tolist()
    for start in range(0, len(chain) - num_clips + 1, num_clips):
        assert sorted(chain[start : start + num_clips]) == list(range(num_clips))
    assert chain[:num_clips] != chain[num_clips : 2 * num_clips]  # another order each time


def test_all_that_is_drawn_is_in_the_batches() -> None:
    plan = make_plan()
    for epoch in range(3):
        planned = Counter(first_hearings(plan.epoch(epoch)))
        for name in plan._quota:
            for index, count in Counter(plan._draw(name, epoch).tolist()).items():
                assert planned[name, index] >= count


def test_a_batch_is_a_function_of_seed_and_step_alone() -> None:
    plan = make_plan()
    steps = list(range(60))
    forward = [plan.batch(step) for step in steps]
    assert [make_plan().batch(step) for step in steps[::7]] == forward[::7]
    again = make_plan()
    shuffled = np.random.default_rng(1).permutation(steps).tolist()
    assert {step: again.batch(step) for step in shuffled} == dict(enumerate(forward))
    assert [make_plan(seed=1).batch(step) for step in steps] != forward


def test_every_sample_has_a_seed_of_its_own() -> None:
    plan = make_plan()
    seeds = [s.seed for step in range(60) for s in plan.batch(step).samples]
    assert len(set(seeds)) == len(seeds)


def test_batches_of_a_bucket_have_one_size_and_fit_the_budget() -> None:
    lengths = durations(speech=70, sounds=30, digits=11)
    plan = make_plan(max_batch_size=9)
    sizes: dict[int, set[int]] = {}
    for step in range(60):
        samples = plan.batch(step).samples
        buckets = {int(np.ceil(lengths[s.source][s.index] / 0.8)) for s in samples}
        assert len(buckets) == 1
        bucket = buckets.pop()
        sizes.setdefault(bucket, set()).add(len(samples))
        assert len(samples) == 1 or len(samples) * bucket * 0.8 <= 20.0
        assert len(samples) <= 9
    assert all(len(found) == 1 for found in sizes.values())


def test_one_clip_longer_than_the_budget_is_a_batch_of_its_own() -> None:
    plan = MixturePlan({"a": np.array([5.0])}, {"a": 1}, samples_per_epoch=2, batch_seconds=1.0)
    assert [len(batch.samples) for batch in plan.epoch(0)] == [1, 1]


def test_clips_that_are_too_long_are_left_out_and_counted() -> None:
    lengths = {"a": np.array([1.0, 40.0, 2.0, 31.0]), "unused": np.array([99.0])}
    plan = MixturePlan(lengths, {"a": 1, "unused": 0}, samples_per_epoch=10, batch_seconds=20.0)
    assert plan.num_too_long == 2
    heard = {s.index for epoch in range(3) for batch in plan.epoch(epoch) for s in batch.samples}
    assert heard == {0, 2}


def test_a_small_share_of_a_large_source_goes_on_where_it_stopped() -> None:
    lengths = durations(a=1000, b=10)
    plan = MixturePlan(lengths, {"a": 1, "b": 9}, samples_per_epoch=10, batch_seconds=20.0)
    chain = list(itertools.chain.from_iterable(plan._draw("a", epoch) for epoch in range(1000)))
    assert sorted(chain) == list(range(1000))


@pytest.mark.parametrize(
    ("weights", "settings", "message"),
    [
        ({"speech": 1, "missing": 1}, {}, r"do not exist: \['missing'\]"),
        ({"speech": -1}, {}, "expected weights of at least 0"),
        ({"speech": 0}, {}, "expected weights of at least 0, some above it"),
        ({"speech": float("nan")}, {}, "expected weights of at least 0"),
        ({"speech": 1}, {"max_clip_seconds": 0.1}, r"without a usable clip: \['speech'\]"),
        ({"speech": 1}, {"samples_per_epoch": 0}, "above 0, got 0"),
        ({"speech": 1}, {"batch_seconds": 0.0}, "above 0"),
    ],
)
def test_what_cannot_be_planned_is_refused(
    weights: dict[str, float], settings: dict[str, float], message: str
) -> None:
    arguments = {"samples_per_epoch": 10, "batch_seconds": 10.0, **settings}
    with pytest.raises(ConfigError, match=message):
        MixturePlan(durations(speech=5), weights, **arguments)  # type: ignore[arg-type]
