"""A run folder's predictions become verdicts under every rule, and one summary with intervals.

DIR/<benchmark>/results.<rule>.jsonl   a verdict per item
DIR/summary.json                       scores, intervals, groups, books; the same bytes each time
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from eureka_audio.asking.claim import IDENTITY
from eureka_audio.asking.outcomes import CHOICE_SCORES
from eureka_audio.durable import atomic_write
from eureka_audio.errors import EvaluationError
from eureka_audio.evaluation.benchmarks import Benchmark, benchmark_named
from eureka_audio.evaluation.runner import PREDICTIONS
from eureka_audio.evaluation.scoring import score_file
from eureka_audio.evaluation.statistics import (
    Comparison,
    Measured,
    cluster_of,
    compare,
    confidence_interval,
    measure,
)

SUMMARY = "summary.json"
CONTROL = "@"  # sets a control apart from the benchmark it belongs to
_NEEDS_A_JUDGE = "judge"

Row = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """One benchmark's share of a run folder."""

    folder: Path
    benchmark: Benchmark

    @property
    def name(self) -> str:
        """The benchmark's name, with that of a control."""
        return self.folder.name

    @property
    def title(self) -> str:
        """What a table calls it."""
        control = self.name.partition(CONTROL)[2]
        return self.benchmark.title + (f" ({control})" if control else "")

    @property
    def rules(self) -> tuple[str, ...]:
        """The rules that need nobody's help, the one nearest to the paper first."""
        return tuple(rule for rule in self.benchmark.rules if rule != _NEEDS_A_JUDGE)

    def predictions(self) -> list[Row]:
        """One row per item."""
        return list(_rows(self.folder / PREDICTIONS))

    def results(self, rule: str) -> list[Row]:
        """One verdict per item, in the order of the predictions.

        Raises:
            EvaluationError: they were not scored under that rule.
        """
        path = self.folder / f"results.{rule}.jsonl"
        if not path.is_file():
            raise EvaluationError(
                f"expected verdicts of {self.name} under {rule} in {self.folder.parent}, found"
                " none; finish the run first (evaluate run)"
            )
        return list(_rows(path))

    def measured(self, rule: str) -> list[Measured]:
        """What each item adds to the score."""
        pairs = zip(self.results(rule), self.predictions(), strict=True)
        found = (measure(self.benchmark.kind, result, row) for result, row in pairs)
        return [item for item in found if item is not None]


def parts_of(folder: str | Path) -> list[Part]:
    """The benchmarks a run folder holds, by name.

    Raises:
        EvaluationError: it is no run folder, or holds no predictions yet.
    """
    folder = Path(folder)
    found = sorted(path.parent for path in folder.glob(f"*/{PREDICTIONS}"))
    if not (folder / IDENTITY).is_file() or not found:
        raise EvaluationError(
            f"expected the folder of a finished run at {folder}, found no {IDENTITY} with"
            " predictions; make one with evaluate run"
        )
    return [Part(path, benchmark_named(path.name.partition(CONTROL)[0])) for path in found]


def score_run(folder: str | Path, *, seed: int = 0) -> dict[str, Any]:
    """Score every benchmark of a run under every rule and write the summary.

    Args:
        folder: of the run.
        seed: of the dice some rules throw, and of the bootstrap.

    Returns:
        What ``summary.json`` holds.

    Raises:
        EvaluationError: no finished run is there.
        MissingDependencyError: a rule needs a package that is not installed.
    """
    folder = Path(folder)
    parts = []
    for part in parts_of(folder):
        rules = {rule: _scored(part, rule, seed) for rule in part.rules}
        parts.append(
            {
                "name": part.name,
                "benchmark": part.benchmark.name,
                "title": part.title,
                "kind": part.benchmark.kind,
                "metric": part.benchmark.metric,
                "failures": _failures(part.predictions()),
                "rules": rules,
            }
        )
    identity = json.loads((folder / IDENTITY).read_text(encoding="utf-8"))
    summary = {"run": identity, "parts": parts}
    with atomic_write(folder / SUMMARY) as stream:
        stream.write(json.dumps(summary, indent=1) + "\n")
    return summary


def _scored(part: Part, rule: str, seed: int) -> dict[str, Any]:
    """One rule's summary, its interval and, for MMAU and MMAR, the two ways to count."""
    out = part.folder / f"results.{rule}.jsonl"
    summary = score_file(part.benchmark, part.folder / PREDICTIONS, rule, out, seed=seed)
    summary["benchmark"] = part.name
    if num_chosen := sum(CHOICE_SCORES in row for row in part.predictions()):
        summary["chosen"] = num_chosen
        summary["notes"].append(
            f"{num_chosen:,} replies are the option the model finds most probable, not its own"
            " words: such a score is not comparable with one of free replies"
        )
    measured = part.measured(rule)
    summary["interval"] = _interval(part, measured, seed)
    if (chance := _chance(part.predictions())) is not None:
        summary["chance"] = chance
    if part.benchmark.metric == "accuracy" and summary["items"]:
        known = {item.uid for item in measured}
        missing = [row for row in part.predictions() if str(row["uid"]) not in known]
        wrong = [Measured(str(row["uid"]), cluster_of(row), (0, 1), False) for row in missing]
        summary["modes"] = {
            # Every item counts, one without a reply as wrong: the mode to quote.
            "strict": {
                "value": summary["details"]["over_all_items"],
                "items": summary["items"],
                "interval": _interval(part, [*measured, *wrong], seed),
            },
            # As the paper's MMAU figures are (995 of 1,000): items without a reply are left out.
            "paper": {
                "value": summary["value"],
                "items": summary["scored"],
                "dropped": [row["uid"] for row in missing],
            },
        }
    return summary


def _interval(part: Part, items: Sequence[Measured], seed: int) -> dict[str, float] | None:
    interval = confidence_interval(part.benchmark.kind, items, seed=seed)
    return None if interval is None else asdict(interval)


def _chance(rows: Sequence[Row]) -> float | None:
    """What guessing among the options gives; None where there are none to guess among."""
    counts = [len(row["choices"]) for row in rows if row.get("choices")]
    return sum(1 / count for count in counts) / len(rows) if counts else None


def _failures(rows: Sequence[Row]) -> dict[str, int]:
    """Items the model failed on, by kind of error."""
    kinds = [row["error"]["type"] for row in rows if row.get("error")]
    return {kind: kinds.count(kind) for kind in sorted(set(kinds))}


def read_summary(folder: str | Path) -> dict[str, Any]:
    """What `score_run` wrote.

    Raises:
        EvaluationError: nothing was written there.
    """
    path = Path(folder) / SUMMARY
    if not path.is_file():
        raise EvaluationError(
            f"expected {SUMMARY} in {folder}, found none; make it with evaluate run"
        )
    summary: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return summary


def compare_runs(first: str | Path, second: str | Path) -> Iterator[tuple[Part, str, Comparison]]:
    """Every benchmark and rule that two runs share, tested item by item.

    Raises:
        EvaluationError: one is no run folder, or they share no benchmark.
    """
    theirs = {part.name: part for part in parts_of(second)}
    shared = [part for part in parts_of(first) if part.name in theirs]
    if not shared:
        raise EvaluationError(
            f"expected {first} and {second} to share a benchmark, they share none; compare runs of"
            " the same benchmark"
        )
    for part in shared:
        for rule in part.rules:
            outcome = compare(
                part.benchmark.kind, part.measured(rule), theirs[part.name].measured(rule)
            )
            if outcome is not None:
                yield part, rule, outcome


def as_percent(value: float | None) -> str:
    """A fraction as tables print it."""
    return "undefined" if value is None else f"{100 * value:.2f}"


def interval_text(summary: Mapping[str, Any]) -> str:
    """The 95 % interval of a rule's summary, in percent."""
    interval = summary.get("interval")
    if interval is None:
        return ""
    return f"{100 * interval['low']:.2f} to {100 * interval['high']:.2f}"


def _rows(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8") as stream:
        yield from map(json.loads, stream)
