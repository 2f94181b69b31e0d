"""The judge measured by a person: precision and recall, from decisions on some of the items."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eureka_audio.dataflux.proportions import share, wilson
from eureka_audio.dataflux.review import GROUPS, Decisions


def summary(groups: Mapping[str, str], decisions: Decisions) -> dict[str, Any]:
    """The judge, and DataFlux as a whole, measured by a person.

    Args:
        groups: the group of every item of the run that the judge saw, by id.
        decisions: on some of them; those on others count as gone.
    """
    sizes = Counter(groups.values())
    known = {item: said for item, said in decisions.standing.items() if item in groups}
    decided = Counter(groups[item] for item in known)
    accepted = Counter(groups[item] for item, said in known.items() if said == "accept")
    rows = [Stratum(name, sizes[name], decided[name], accepted[name]) for name in GROUPS]
    judge = [GROUPS[row.name][0] for row in rows]
    whole = [GROUPS[row.name][1] for row in rows]
    return {
        "decided": len(known),
        "accepted": accepted.total(),
        "rejected": len(known) - accepted.total(),
        "blind": len(decisions.blind & known.keys()),
        "gone": len(decisions.standing) - len(known),
        "groups": [
            {
                "name": row.name,
                "items": row.items,
                "decided": row.decided,
                "accepted": row.accepted,
                "share": share(row.accepted, row.decided),
            }
            for row in rows
        ],
        "judge": {"precision": precision(rows, judge), "recall": recall(rows, judge)},
        "dataflux": {"precision": precision(rows, whole), "recall": recall(rows, whole)},
    }


@dataclass(frozen=True)
class Stratum:
    """A group: its items in the run, how many were decided on, how many of these accepted."""

    name: str
    items: int
    decided: int
    accepted: int

    def good(self) -> tuple[float | None, float, float]:
        """How many of its items a person would accept: at best guess, at least, at most (95 %)."""
        if not self.items:
            return 0.0, 0.0, 0.0
        value = share(self.accepted, self.decided)
        ends = wilson(value, self.decided) or {"low": 0.0, "high": 1.0}
        guess = None if value is None else value * self.items
        return guess, ends["low"] * self.items, ends["high"] * self.items


def precision(rows: Sequence[Stratum], keeps: Sequence[bool]) -> dict[str, float | None]:
    """Of the items that are held to be good, the share that a person accepts.

    The range takes each group at its worst and at its best end, so it is rather too wide; with a
    single group that has items it is the usual one.

    Args:
        rows: the groups.
        keeps: for each, whether its items are held to be good.
    """
    good = [row.good() for row, kept in zip(rows, keeps, strict=True) if kept]
    total = sum(row.items for row, kept in zip(rows, keeps, strict=True) if kept)
    values = [_total(guesses) for guesses in zip(*good, strict=True)]
    value, low, high = (None if v is None else share(v, total) for v in values)
    return {"value": value, "low": low, "high": high}


def recall(rows: Sequence[Stratum], keeps: Sequence[bool]) -> dict[str, float | None]:
    """Of the items that a person accepts, the share that is held to be good; as `precision`."""
    good = [row.good() for row in rows]
    held = [one for one, kept in zip(good, keeps, strict=True) if kept]
    lost = [one for one, kept in zip(good, keeps, strict=True) if not kept]
    ends = ((0, 0), (1, 2), (2, 1))  # at best guess; few held and many lost; many and few
    shares = []
    for mine, theirs in ends:
        found, missed = _total(one[mine] for one in held), _total(one[theirs] for one in lost)
        both = None if found is None or missed is None else found + missed
        shares.append(None if found is None or both is None else share(found, both))
    return {"value": shares[0], "low": shares[1], "high": shares[2]}


def _total(values: Iterable[float | None]) -> float | None:
    """The sum; None where part of it is unknown."""
    total = 0.0
    for value in values:
        if value is None:
            return None
        total += value
    return total


def summary_text(found: Mapping[str, Any]) -> str:
    """The summary for a terminal."""
    lines = [
        f"{found['decided']:,} items decided: {found['accepted']:,} accepted,"
        f" {found['rejected']:,} rejected; {found['blind']:,} before the verdict was seen."
    ]
    if found["gone"]:
        lines.append(f"{found['gone']:,} decisions are on items no longer in the books.")
    for row in found["groups"]:
        lines.append(
            f"  {row['name']:24} {row['accepted']:,} of {row['decided']:,} accepted"
            f" ({row['items']:,} items in the run)"
        )
    for who, name in (("judge", "Judge"), ("dataflux", "DataFlux as a whole")):
        for figure in ("precision", "recall"):
            lines.append(f"{name}, {figure}: {_range(found[who][figure])}")
    lines += [
        "Precision: of the items held to be good, the share that the person accepts.",
        "Recall: of the items that the person accepts, the share that is held to be good.",
    ]
    return "\n".join(lines)


def _range(figure: Mapping[str, float | None]) -> str:
    value, low, high = figure["value"], figure["low"], figure["high"]
    shown = "unknown until each group has a decision" if value is None else f"{100 * value:.1f} %"
    if value is None or low is None or high is None:
        return shown
    return f"{shown} ({100 * low:.1f} to {100 * high:.1f})"
