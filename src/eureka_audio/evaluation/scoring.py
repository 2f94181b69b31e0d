"""A file of predictions becomes a file of verdicts and an honest summary.

Every row that goes in comes out, and the books balance exactly::

    items = scored + missing + failed

``scored`` rows have a mark. ``missing`` ones hold no prediction. ``failed`` ones could not be
scored and say why. ``unparseable`` counts replies from which no answer could be read: a scored row
without a letter, a failed one whose judge said neither yes nor no. ``skipped`` rows are those that
are in no score: the missing and the failed.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eureka_audio.durable import atomic_write
from eureka_audio.evaluation.benchmarks import Benchmark
from eureka_audio.evaluation.judge import Judge
from eureka_audio.evaluation.predictions import PredictionFile, PredictionRow, UnusableRowError
from eureka_audio.evaluation.scorers import Scorer, make_scorer

MAX_FAILED_SHARE = 0.01  # of the items; above it a summary is marked invalid


@dataclass
class Accounts:
    """Where every row went, and why."""

    items: int = 0
    scored: int = 0
    missing: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    unparseable: Counter[str] = field(default_factory=Counter)

    def as_dict(self) -> dict[str, Any]:
        """The counts, and under ``reasons`` why rows are missing, failed or unparseable."""
        missing, failed = self.missing.total(), self.failed.total()
        assert self.items == self.scored + missing + failed
        kinds = {"missing": self.missing, "failed": self.failed, "unparseable": self.unparseable}
        return {
            "items": self.items,
            "scored": self.scored,
            "missing": missing,
            "failed": failed,
            "unparseable": self.unparseable.total(),
            "skipped": missing + failed,
            "reasons": {kind: dict(sorted(reasons.items())) for kind, reasons in kinds.items()},
        }


@dataclass
class _Ratio:
    """Numerator and denominator of a pooled score."""

    numerator: int = 0
    denominator: int = 0

    def add(self, part: tuple[int, int]) -> None:
        self.numerator += part[0]
        self.denominator += part[1]

    @property
    def value(self) -> float | None:
        return self.numerator / self.denominator if self.denominator else None


def score_file(
    benchmark: Benchmark,
    predictions: str | Path,
    rule: str,
    out: str | Path,
    *,
    seed: int = 0,
    judge: Judge | None = None,
) -> dict[str, Any]:
    """Score a JSON-lines file of predictions and write one result per row, in order.

    Args:
        benchmark: what the predictions answer.
        predictions: rows with ``uid``, ``prediction`` and what the benchmark needs.
        rule: one of ``benchmark.rules``.
        out: where the results go; written whole or not at all.
        seed: of the dice that some rules throw.
        judge: asked under the rule ``judge`` about rows that hold no recorded judgement.

    Returns:
        The summary, ready for JSON: counts, reasons, the score as ``value`` (a fraction, None when
        undefined) and ``percent``, its details, groups and notes. An accuracy also comes
        ``over_all_items``, where missing and failed rows count as wrong.

    Raises:
        EvaluationError: the rule does not apply, or there is no such file.
        MissingDependencyError: the rule needs a package that is not installed.
    """
    scorer = make_scorer(benchmark, rule, seed, judge)
    source = PredictionFile(Path(predictions))
    accounts, total = Accounts(), _Ratio()
    groups: dict[str, dict[str, _Ratio]] = {}
    with atomic_write(out) as stream:
        for row in source:
            accounts.items += 1
            result, part = _score_row(scorer, row, accounts)
            stream.write(json.dumps(result) + "\n")
            if part is not None:
                total.add(part)
                for name in benchmark.groups:
                    if isinstance(member := row.fields.get(name), str):
                        groups.setdefault(name, {}).setdefault(member, _Ratio()).add(part)
    details = scorer.details()
    value = details.pop("value", total.value)
    if benchmark.metric == "accuracy" and accounts.items:
        details["over_all_items"] = total.numerator / accounts.items
    return {
        "benchmark": benchmark.name,
        "rule": rule,
        **accounts.as_dict(),
        "metric": benchmark.metric,
        "value": value,
        "percent": None if value is None else round(value * 100, 2),
        "details": details,
        "groups": {
            name: {
                member: {"value": ratio.value, "denominator": ratio.denominator}
                for member, ratio in sorted(members.items())
            }
            for name, members in groups.items()
        },
        "notes": _notes(benchmark, accounts, value) + scorer.notes(),
        "valid": accounts.failed.total() <= MAX_FAILED_SHARE * accounts.items,
        "predictions_sha256": source.sha256,
    }


def _score_row(
    scorer: Scorer, row: PredictionRow, accounts: Accounts
) -> tuple[dict[str, Any], tuple[int, int] | None]:
    """One row's result and its share of the score; the books are kept on the way."""
    try:
        if row.defect is not None:
            raise row.defect
        reason = "no prediction" if row.prediction is None else scorer.is_missing(row.prediction)
        if row.prediction is None or reason is not None:
            accounts.missing[reason or ""] += 1
            return _result(row, "missing", scorer.blank, reason), None
        mark = scorer.score(row, row.prediction)
    except UnusableRowError as error:
        accounts.failed[error.reason] += 1
        return _result(row, "failed", scorer.blank, str(error)), None
    why = mark.unparseable
    if why is not None:
        accounts.unparseable[why] += 1
    if why is not None and not mark.counts:
        accounts.failed[why] += 1
        return _result(row, "failed", mark.fields, why), None
    accounts.scored += 1
    return _result(row, "scored", mark.fields, why), mark.part


def _result(
    row: PredictionRow, status: str, fields: Mapping[str, Any], reason: str | None
) -> dict[str, Any]:
    why = {} if reason is None else {"reason": reason}
    return {"uid": row.uid, "status": status, **fields, **why}


def _notes(benchmark: Benchmark, accounts: Accounts, value: float | None) -> list[str]:
    notes = []
    if benchmark.num_items is not None and accounts.items != benchmark.num_items:
        notes.append(
            f"the public set has {benchmark.num_items:,} items, this file {accounts.items:,}"
        )
    if accounts.scored < accounts.items:
        notes.append(f"the score is over the {accounts.scored:,} scored items only")
    if value is None:
        notes.append("the score is undefined: nothing was scored, or every reference is empty")
    return notes
