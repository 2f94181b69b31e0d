"""Intervals that cover, tests that find what is there and nothing else."""

import math
import random

import numpy as np
import pytest
from scipy.stats import binomtest

from eureka_audio.evaluation.statistics import (
    Measured,
    compare,
    confidence_interval,
    mcnemar_exact,
    measure,
    score_of,
)


def items(verdicts: list[bool], per_clip: int = 1) -> list[Measured]:
    return [Measured(str(n), str(n // per_clip), (v, 1), v) for n, v in enumerate(verdicts)]


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng, hits = random.Random(1), 0
    for trial in range(100):
        drawn = items([rng.random() < 0.7 for _ in range(150)])
        interval = confidence_interval("option_text", drawn, num_resamples=300, seed=trial)
        assert interval is not None
        hits += interval.low <= 0.7 <= interval.high
    assert 88 <= hits <= 100


def test_items_of_one_clip_are_not_independent() -> None:
    rng = random.Random(2)
    verdicts = [right for _ in range(50) for right in [rng.random() < 0.5] * 8]
    alone = confidence_interval("option_text", items(verdicts))
    shared = confidence_interval("option_text", items(verdicts, per_clip=8))
    assert alone is not None
    assert shared is not None
    assert shared.value == alone.value
    assert shared.high - shared.low > 2 * (alone.high - alone.low)


def test_equal_runs_do_not_differ_and_unequal_ones_do() -> None:
    rng = random.Random(3)
    weak = [rng.random() < 0.6 for _ in range(400)]
    strong = [right or rng.random() < 0.4 for right in weak]
    same = compare("option_text", items(weak), items(weak))
    assert same is not None
    assert (same.p_bootstrap, same.p_mcnemar, same.difference.value) == (1, 1, 0)
    better = compare("option_text", items(weak), items(strong))
    assert better is not None
    assert better.p_mcnemar is not None
    assert better.difference.low > 0
    assert better.p_bootstrap < 0.01 > better.p_mcnemar
    assert (better.only_first, better.only_second) == (0, sum(strong) - sum(weak))
    worse = compare("option_text", items(strong), items(weak))
    assert worse is not None
    assert worse.difference.value == -better.difference.value


def test_only_shared_items_are_compared() -> None:
    outcome = compare("option_text", items([True] * 6), items([True, False, True])[1:])
    assert outcome is not None
    assert (outcome.items, outcome.only_first) == (2, 1)
    assert compare("option_text", items([True]), []) is None


def test_mcnemar_agrees_with_the_binomial_test() -> None:
    for first, second in ((0, 0), (1, 9), (5, 5), (30, 12), (600, 700)):
        if first + second:
            expected = binomtest(first, first + second, 0.5).pvalue
            assert math.isclose(mcnemar_exact(first, second), expected, rel_tol=1e-9)
    assert mcnemar_exact(0, 0) == 1


@pytest.mark.parametrize(
    ("kind", "result", "sums"),
    [
        ("transcript", {"edits": 2, "ref_len": 5}, (2, 5)),
        ("option_text", {"correct": True}, (1, 1)),
        ("letter", {"correct": False, "extracted": None, "drawn": "B"}, (1, 1)),
        ("refusal", {"refused": True}, (1, 1)),
        ("instructions", {"strict": [True, False], "loose": [True, True]}, (0, 1, 1, 2, 1, 2)),
        ("events", {"found": ["a"], "missed": ["b"], "invented": []}, (2, 3)),
    ],
)
def test_what_an_item_adds(kind, result, sums) -> None:  # type: ignore[no-untyped-def]
    row = {"uid": 1, "audio": "clip.wav", "answer": " b"}
    measured = measure(kind, {"uid": 1, "status": "scored", **result}, row)
    assert measured is not None
    assert measured.sums == sums
    assert measured.cluster == "clip.wav"
    assert measure(kind, {"uid": 1, "status": "missing"}, row) is None


def test_scores_of_sums() -> None:
    assert score_of("transcript", np.array([1.0, 4.0])) == 0.25
    assert score_of("instructions", np.array([1.0, 2, 3, 4, 2, 4])) == (0.5 + 1 + 0.75 + 1) / 4
    assert confidence_interval("transcript", [Measured("a", "a", (1, 0))]) is None
    assert confidence_interval("transcript", []) is None
