"""Reports for a terminal, for Markdown, and the comparison of two runs."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from eureka_audio.evaluation.results import as_percent, compare_runs, interval_text

Summary = Mapping[str, Any]


def terminal(summaries: Sequence[Summary]) -> str:
    """One table per run: benchmark, rule, score, interval, items."""
    lines = []
    for summary in summaries:
        run = summary["run"]
        lines.append(f"{run['model']} on {run['benchmark']}")
        rows: list[Sequence[str]] = [
            ("benchmark", "rule", "score %", "95 % interval", "items", "no score")
        ]
        rows += list(_rows(summary))
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        for row in rows:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            lines.append("  " + "  ".join(cells).rstrip())
    return "\n".join(lines)


def _rows(summary: Summary) -> Iterable[tuple[str, ...]]:
    for part in summary["parts"]:
        for rule, scored in part["rules"].items():
            how = ", most probable option" if scored.get("chosen") else ""
            yield (
                f"{part['title']}, {part['metric']}{how}",
                rule,
                as_percent(scored["value"]),
                interval_text(scored),
                f"{scored['items']:,}",
                f"{scored['skipped']:,}",
            )


def markdown(summaries: Sequence[Summary], tables: Sequence[Mapping[str, Any]]) -> str:
    """Scores, groups and the paper's tables as a Markdown page."""
    lines = ["# Evaluation report", ""]
    for summary in summaries:
        run = summary["run"]
        lines += [f"## {_cell(run['model'])} on {_cell(run['benchmark'])}", ""]
        head = ("benchmark", "rule", "score, %", "95 % interval", "items", "without a score")
        lines += _table(head, _rows(summary))
        for part in summary["parts"]:
            lines += _details(part)
    lines += ["## The paper's tables", ""]
    for table in tables:
        better = "lower" if table["lower_is_better"] else "higher"
        lines += [f"Table {table['number']}. {table['title']}; {better} is better.", ""]
        head = ("model", "size", *(column["title"] for column in table["columns"]))
        lines += _table(head, (_paper_row(row, table["columns"]) for row in table["rows"]))
    return "\n".join(lines)


def _details(part: Mapping[str, Any]) -> list[str]:
    """Groups, modes and notes of one benchmark under its first rule."""
    rule, scored = next(iter(part["rules"].items()))
    lines = [f"### {_cell(part['title'])}, rule {rule}", ""]
    if modes := scored.get("modes"):
        strict, paper = modes["strict"], modes["paper"]
        dropped = ", ".join(_cell(str(uid)) for uid in paper["dropped"]) or "none"
        lines += [
            f"- strict (every item counts): {as_percent(strict['value'])} of {strict['items']:,}",
            f"- as in the paper (items without a reply left out): {as_percent(paper['value'])} of"
            f" {paper['items']:,}; left out: {dropped}",
        ]
    lines += [f"- no reply, {kind}: {count:,}" for kind, count in part["failures"].items()]
    lines += [f"- {note}" for note in scored["notes"]]
    for group, members in scored["groups"].items():
        rows = (
            (member, as_percent(share["value"]), f"{share['denominator']:,}")
            for member, share in members.items()
        )
        lines += ["", *_table((group, "score, %", "of"), rows)]
    return [*lines, ""]


def _paper_row(row: Mapping[str, Any], columns: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    values = row["values"]
    cells = (values.get(column["benchmark"]) for column in columns)
    model = f"**{row['model']}**" if row.get("ours") else row["model"]
    return (model, row["size"], *("" if cell is None else f"{cell:.2f}" for cell in cells))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [*("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines), ""]


def _cell(text: str) -> str:
    """Text that stays text inside a table."""
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def compared(first: Path, second: Path, *, as_json: bool = False) -> str:
    """Run B against run A, a paragraph (or a line of JSON) for each benchmark and rule.

    Raises:
        EvaluationError: they are no runs, or share no benchmark or no scored item.
    """
    lines = [] if as_json else [f"A: {first}", f"B: {second}"]
    for part, rule, outcome in compare_runs(first, second):
        if as_json:
            lines.append(json.dumps({"benchmark": part.name, "rule": rule, **asdict(outcome)}))
            continue
        change = outcome.difference
        lines += [
            f"{part.title}, rule {rule}, {outcome.items:,} items of both",
            f"  A {as_percent(outcome.first)} %   B {as_percent(outcome.second)} %   B minus A"
            f" {100 * change.value:+.2f} points (95 %: {100 * change.low:+.2f} to"
            f" {100 * change.high:+.2f}), paired"
            f" bootstrap over clips p = {outcome.p_bootstrap:.4f}",
        ]
        if outcome.p_mcnemar is not None:
            lines.append(
                f"  only A right {outcome.only_first:,}, only B right {outcome.only_second:,},"
                f" McNemar exact p = {outcome.p_mcnemar:.4f}"
            )
    return "\n".join(lines)
