"""The figures of a run for a terminal."""

from collections.abc import Iterable, Sequence

from eureka_audio.dataflux.explained import TITLES
from eureka_audio.dataflux.witnesses import HEARING, Figures

KINDS = dict(zip(HEARING, ("its own audio", "another clip", "no audio"), strict=True))
Row = Sequence[str]


def terminal(figures: Figures) -> str:
    """All figures as tables, one under the other; those without a row are left out."""
    parts = [
        ("leaves", ("leaf", "tried", "questions", "kept", "hard", "discarded", "failed", "short",
                    "yield %"), _leaves(figures)),
        ("reasons", ("outcome", "reason", "items", "%"), _reasons(figures)),
        ("agreement", ("pair", "same", "of", "%"), _agreement(figures)),
        ("hearing", ("questions", "model", "hears", "right", "tries", "%", "95 %", "chance %"),
         _hearing(figures)),
        ("positions", ("who", "counts by place (even spread)", "p"), _positions(figures)),
        ("order", ("shown as", "wins", "even"), _order(figures)),
        ("cost", ("step", "model", "calls", "refused", "prompt tokens", "new tokens",
                  "reasoning tokens", "cost", "seconds"), _cost(figures)),
    ]  # fmt: skip
    lines = []
    for name, head, rows in parts:
        if listed := list(rows):
            lines += [TITLES[name], *_table([head, *listed]), ""]
    return "\n".join([*lines, _time(figures)])


def percent(value: float | None) -> str:
    """A share of 100, or a dash where there is none."""
    return "-" if value is None else f"{100 * value:.1f}"


def amount(row: Figures, name: str) -> str:
    """A sum, with how sure it is: "unknown", or "at least" where some calls did not tell."""
    value = row[name]
    if value is None:
        return "unknown"
    shown = f"{value:,.4f}" if name == "cost" else f"{value:,}"
    return f"at least {shown}" if row["unknown"][name] else shown


def _leaves(figures: Figures) -> Iterable[Row]:
    names = ("clips_tried", "questions", "kept", "hard", "discarded", "failed", "short")
    for row in [*figures["leaves"], {**figures["totals"], "leaf": "all"}]:
        numbers = ("-" if row[name] is None else f"{row[name]:,}" for name in names)
        yield (row["leaf"], *numbers, percent(row["yield"]))


def _reasons(figures: Figures) -> Iterable[Row]:
    for row in figures["reasons"]:
        yield row["fate"], row["meaning"], f"{row['count']:,}", percent(row["share"])


def _agreement(figures: Figures) -> Iterable[Row]:
    names, cells = figures["agreement"]["names"], figures["agreement"]["cells"]
    for row, first in enumerate(names):
        for column in range(row + 1, len(names)):
            cell = cells[row][column]
            pair = f"{first} and {names[column]}"
            yield pair, f"{cell['same']:,}", f"{cell['of']:,}", percent(cell["share"])
    if names:
        yield "two that guess", "", "", percent(figures["agreement"]["chance"])


def _hearing(figures: Figures) -> Iterable[Row]:
    for row in figures["hearing"]:
        interval = row["interval"]
        between = interval and f"{percent(interval['low'])} to {percent(interval['high'])}"
        yield (
            f"{row['among']} ({row['questions']:,})",
            row["model"],
            KINDS[row["kind"]],
            f"{row['right']:,}",
            f"{row['tries']:,}",
            percent(row["share"]),
            between or "-",
            percent(row["chance"]),
        )


def _positions(figures: Figures) -> Iterable[Row]:
    for row in figures["positions"]:
        counts = (f"{p['place']} {p['count']:,} ({p['even']:.1f})" for p in row["places"])
        yield row["name"], "  ".join(counts), "-" if row["p"] is None else f"{row['p']:.3f}"


def _order(figures: Figures) -> Iterable[Row]:
    for row in figures["order"]:
        yield row["place"], f"{row['wins']:,}", f"{row['even']:.1f}"


def _cost(figures: Figures) -> Iterable[Row]:
    cost = figures["cost"]
    for row in [*cost["rows"], cost["total"]] if cost["rows"] else ():
        told = ("prompt_tokens", "new_tokens", "reasoning_tokens", "cost")
        counts = (f"{row['calls']:,}", f"{row['refused']:,}", *(amount(row, n) for n in told))
        yield row["step"], row["model"], *counts, f"{row['seconds']:,.1f}"


def _time(figures: Figures) -> str:
    cost = figures["cost"]
    seconds = "unknown" if cost["seconds"] is None else f"{cost['seconds']:,.1f} seconds"
    each = "unknown" if cost["cost_per_kept"] is None else f"{cost['cost_per_kept']:,.4f}"
    return f"Time of the run: {seconds}. Cost of a kept item: {each}."


def _table(rows: Sequence[Row]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    cells = ([c.ljust(w) for c, w in zip(row, widths, strict=True)] for row in rows)
    return ["  " + "  ".join(row).rstrip() for row in cells]
