"""How sure a score is, and whether two runs differ: resampling over clips, and exact counting.

Items that share a clip are not independent, so clips are drawn, not items.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eureka_audio.evaluation.benchmarks import Kind

NUM_RESAMPLES = 2_000
CONFIDENCE = 0.95
_CHUNK = 100  # resamples at once, which bounds memory

Sums = NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """What one item adds to a score.

    Attributes:
        uid: the item.
        cluster: its clip; items of one clip are drawn together.
        sums: parts of the score that add up over items, see `measure`.
        correct: for a verdict that is right or wrong, which; else None.
    """

    uid: str
    cluster: str
    sums: tuple[float, ...]
    correct: bool | None = None


@dataclass(frozen=True)
class Interval:
    """A score with its confidence interval, as fractions."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """Run B against run A over the items both have.

    Attributes:
        items: how many.
        first: the score of A.
        second: the score of B.
        difference: B minus A, with its interval.
        p_bootstrap: two-sided, from resampled clips.
        only_first: items only A has right; None unless items are right or wrong.
        only_second: items only B has right.
        p_mcnemar: two-sided, exact, from these two counts; items taken as independent.
    """

    items: int
    first: float
    second: float
    difference: Interval
    p_bootstrap: float
    only_first: int | None = None
    only_second: int | None = None
    p_mcnemar: float | None = None


def measure(kind: Kind, result: Mapping[str, Any], row: Mapping[str, Any]) -> Measured | None:
    """What an item adds to the score; None when it is in none.

    Args:
        kind: of the benchmark.
        result: the item's row of the results.
        row: its row of the predictions.
    """
    if result.get("status") != "scored":
        return None
    uid = str(result["uid"])
    cluster = cluster_of(row)
    match kind:
        case "transcript":
            return Measured(uid, cluster, (result["edits"], result["ref_len"]))
        case "option_text" | "letter":
            correct = result["correct"]
            if correct is None:
                return None
            if "drawn" in result:
                correct = result["drawn"] == str(row.get("answer")).strip().upper()
            return Measured(uid, cluster, (correct, 1), correct)
        case "no_words":
            return Measured(uid, cluster, (result["silent"], 1), result["silent"])
        case "refusal":
            return Measured(uid, cluster, (result["refused"], 1), result["refused"])
        case "instructions":
            strict, loose = result["strict"], result["loose"]
            sums = (all(strict), all(loose), sum(strict), sum(loose), 1, len(strict))
            return Measured(uid, cluster, sums)
        case "events":
            found, missed, invented = (len(result[n]) for n in ("found", "missed", "invented"))
            return Measured(uid, cluster, (2 * found, 2 * found + missed + invented))


def cluster_of(row: Mapping[str, Any]) -> str:
    """The clip an item is about, or the item itself where there is none."""
    return str(row.get("audio") or row.get("clip") or row["uid"])


def score_of(kind: Kind, sums: Sums) -> Sums:
    """Sums ``(..., V)`` to scores ``(...)``; undefined ones are NaN."""
    with np.errstate(divide="ignore", invalid="ignore"):
        if kind != "instructions":
            return np.where(sums[..., 1] == 0, np.nan, sums[..., 0] / sums[..., 1])
        prompts, instructions = sums[..., 4], sums[..., 5]
        return np.asarray(
            (sums[..., 0] + sums[..., 1]) / prompts / 4
            + (sums[..., 2] + sums[..., 3]) / instructions / 4
        )


def confidence_interval(
    kind: Kind, items: Sequence[Measured], *, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> Interval | None:
    """The score and its percentile bootstrap interval.

    None when the score is undefined, or all items share one clip, which tells nothing of others.

    Example:
        >>> items = [Measured(str(n), str(n), (n % 4 > 0, 1)) for n in range(400)]
        >>> interval = confidence_interval("option_text", items)
        >>> interval.value, round(interval.high - interval.low, 1)
        (0.75, 0.1)
    """
    if len({item.cluster for item in items}) < 2:
        return None
    clusters = _by_cluster([item.cluster for item in items], [item.sums for item in items])
    value = float(score_of(kind, clusters.sum(axis=0)))
    if math.isnan(value):
        return None
    (scores,) = _resampled(kind, [clusters], num_resamples, seed)
    return _interval(value, scores)


def compare(
    kind: Kind,
    first: Sequence[Measured],
    second: Sequence[Measured],
    *,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> Comparison | None:
    """Test run B against run A, item by item; None when they share no item with a score."""
    theirs = {item.uid: item for item in second}
    pairs = [(mine, theirs[mine.uid]) for mine in first if mine.uid in theirs]
    if not pairs:
        return None
    names = [mine.cluster for mine, _ in pairs]
    sides = [_by_cluster(names, [pair[side].sums for pair in pairs]) for side in (0, 1)]
    before, after = (float(score_of(kind, side.sum(axis=0))) for side in sides)
    if math.isnan(before) or math.isnan(after):
        return None
    scores = _resampled(kind, sides, num_resamples, seed)
    differences = scores[1] - scores[0]
    differences = differences[~np.isnan(differences)]
    tail = min((differences <= 0).sum(), (differences >= 0).sum())
    p_bootstrap = min(1.0, 2 * float(tail + 1) / (len(differences) + 1))
    difference = _interval(after - before, differences)
    verdicts = [(mine.correct, other.correct) for mine, other in pairs]
    if any(None in pair for pair in verdicts):
        return Comparison(len(pairs), before, after, difference, p_bootstrap)
    only_first, only_second = verdicts.count((True, False)), verdicts.count((False, True))
    return Comparison(
        len(pairs),
        before,
        after,
        difference,
        p_bootstrap,
        only_first,
        only_second,
        mcnemar_exact(only_first, only_second),
    )


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """Two-sided p of so uneven a split, were the two runs equally good.

    Example:
        >>> mcnemar_exact(1, 9)
        0.021484375
    """
    total, fewer = only_first + only_second, min(only_first, only_second)
    ways: int = sum(math.comb(total, count) for count in range(fewer + 1))
    return float(min(1.0, 2 * ways / 2**total))


def _by_cluster(names: Sequence[str], sums: Sequence[tuple[float, ...]]) -> Sums:
    """Sums per cluster ``(C, V)``, clusters by name."""
    _, index = np.unique(np.asarray(names), return_inverse=True)
    values = np.asarray(sums, dtype=np.float64)
    clusters = np.zeros((int(index.max()) + 1, values.shape[1]))
    np.add.at(clusters, index, values)
    return clusters


def _resampled(kind: Kind, sides: Sequence[Sums], num_resamples: int, seed: int) -> list[Sums]:
    """Scores ``(R,)`` of each side, where the same clusters are drawn for all sides."""
    rng = np.random.default_rng(seed)
    count = len(sides[0])
    scores: list[list[Sums]] = [[] for _ in sides]
    for start in range(0, num_resamples, _CHUNK):
        size = min(_CHUNK, num_resamples - start)
        weights = rng.multinomial(count, np.full(count, 1 / count), size=size).astype(np.float64)
        for kept, side in zip(scores, sides, strict=True):
            kept.append(score_of(kind, weights @ side))
    return [np.concatenate(kept) for kept in scores]


def _interval(value: float, scores: Sums) -> Interval:
    tail = (1 - CONFIDENCE) / 2
    known = scores[~np.isnan(scores)]
    low, high = np.quantile(known, [tail, 1 - tail]) if len(known) else (value, value)
    return Interval(value, float(low), float(high))
