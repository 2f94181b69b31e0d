"""The figures of a run, counted item by item, so that memory does not grow with the run.

Each figure is an object: `add` an item (or a call), then take the `result`, which JSON can hold.
What is unknown is None, never guessed; a share of nothing is None too.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from eureka_audio.dataflux.items import FATES, CallRecord, Item
from eureka_audio.dataflux.proportions import share
from eureka_audio.dataflux.views import meaning
from eureka_audio.dataflux.witnesses import Agreement, Figures, Hearing, Order, Positions


class Yield:
    """What became of the items of each leaf, and what is still lacking.

    Args:
        wanted: for each leaf of the run, how many it was to keep; leaves met beside these count
            too, with no number wanted.
    """

    def __init__(self, wanted: Mapping[str, int]) -> None:
        self._wanted = dict(wanted)
        self._fates: Counter[tuple[str, str]] = Counter()
        self._questions: Counter[str] = Counter()
        self._ranks: defaultdict[str, set[int]] = defaultdict(set)

    def add(self, item: Item) -> None:
        """Count an item."""
        self._fates[item.leaf, item.fate] += 1
        self._questions[item.leaf] += item.question is not None
        self._ranks[item.leaf].add(item.rank)

    def result(self) -> Figures:
        """Totals, and a row for each leaf."""
        leaves = [self._leaf(leaf) for leaf in dict.fromkeys([*self._wanted, *self._ranks])]
        names = ("clips_tried", "questions", *FATES, "short")
        totals: Figures = {name: sum(row[name] or 0 for row in leaves) for name in names}
        totals["items"] = sum(totals[fate] for fate in FATES)
        totals["yield"] = share(totals["kept"], totals["questions"])
        return {"totals": totals, "leaves": leaves}

    def _leaf(self, leaf: str) -> Figures:
        fates: Figures = {fate: self._fates[leaf, fate] for fate in FATES}
        wanted = self._wanted.get(leaf)
        return {
            "leaf": leaf,
            "branch": leaf.partition("/")[0],
            "wanted": wanted,
            "clips_tried": len(self._ranks[leaf]),
            "questions": self._questions[leaf],
            **fates,
            "short": None if wanted is None else max(0, wanted - fates["kept"]),
            "yield": share(fates["kept"], self._questions[leaf]),
        }


class Reasons:
    """Why items were not kept."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()

    def add(self, item: Item) -> None:
        """Count an item."""
        if item.fate != "kept":
            self._counts[item.fate, item.reason] += 1

    def result(self) -> list[Figures]:
        """A row for each fate and reason, the most frequent first."""
        total = self._counts.total()
        return [
            {
                "fate": fate,
                "reason": reason,
                "meaning": meaning(reason),
                "count": count,
                "share": share(count, total),
            }
            for (fate, reason), count in self._counts.most_common()
        ]


COUNTED = ("prompt_tokens", "new_tokens", "reasoning_tokens", "cost")


class Cost:
    """Calls, tokens, money and time, by step and model.

    A sum is None where no call told the figure, and `unknown` says how many did not.
    """

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], Figures] = {}

    def add(self, call: CallRecord) -> None:
        """Count a call."""
        row = self._rows.setdefault((call.step, call.model), _blank(call.step, call.model))
        _count(row, call)

    def result(self, kept: int, seconds: float | None) -> Figures:
        """Rows, their sum, and what a kept item cost.

        Args:
            kept: items.
            seconds: from the beginning to the end of the run; None where unknown.
        """
        rows = [self._rows[key] for key in sorted(self._rows)]
        total = _blank("all", "all")
        for row in rows:
            _sum_into(total, row)
        whole = total["calls"] > 0 and total["unknown"]["cost"] == 0
        per_kept = share(total["cost"], kept) if whole and total["cost"] is not None else None
        return {"rows": rows, "total": total, "seconds": seconds, "cost_per_kept": per_kept}


def _blank(step: str, model: str) -> Figures:
    zero: Figures = {"step": step, "model": model, "calls": 0, "refused": 0, "seconds": 0.0}
    return zero | dict.fromkeys(COUNTED) | {"unknown": dict.fromkeys(COUNTED, 0)}


def _count(row: Figures, call: CallRecord) -> None:
    row["calls"] += 1
    row["refused"] += bool(call.refusal)
    row["seconds"] += call.seconds
    for name in COUNTED:
        value = getattr(call, name)
        row["unknown"][name] += value is None
        row[name] = _added(row[name], value)


def _sum_into(total: Figures, row: Figures) -> None:
    for name in ("calls", "refused", "seconds"):
        total[name] += row[name]
    for name in COUNTED:
        total["unknown"][name] += row["unknown"][name]
        total[name] = _added(total[name], row[name])


def _added(before: float | None, more: float | None) -> float | None:
    if more is None:
        return before
    return more if before is None else before + more


def figures_of(
    items: Iterable[Item],
    calls: Iterable[CallRecord],
    wanted: Mapping[str, int],
    seconds: float | None,
) -> Figures:
    """All figures of a run, from its items and calls, each seen once.

    Args:
        items: in any order.
        calls: in any order.
        wanted: see `Yield`.
        seconds: see `Cost.result`.
    """
    by_leaf, reasons, agreement = Yield(wanted), Reasons(), Agreement()
    positions, order, hearing, cost = Positions(), Order(), Hearing(), Cost()
    for item in items:
        for figure in (by_leaf, reasons, agreement, positions, order, hearing):
            figure.add(item)
    for call in calls:
        cost.add(call)
    counted = by_leaf.result()
    return {
        **counted,
        "reasons": reasons.result(),
        "agreement": agreement.result(),
        "positions": positions.result(),
        "order": order.result(),
        "hearing": hearing.result(),
        "cost": cost.result(counted["totals"]["kept"], seconds),
    }
