"""A review under way: which item comes next, what of it may be seen, and every decision on disk."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any

from eureka_audio.asking.ledger import Ledger, open_ledger, read_ledger
from eureka_audio.dataflux.items import Item
from eureka_audio.dataflux.review import REVIEW, Choice, Decisions, Pool, decisions_of
from eureka_audio.dataflux.review_summary import summary
from eureka_audio.dataflux.views import asked, found


@dataclass
class Session:
    """What the page talks to; its methods may be called from several threads.

    Attributes:
        pool: the items, in order.
        ledger: where decisions go.
        blind: whether captions, answers and verdicts stay hidden until an item is decided.
        decisions: as they stand.
    """

    pool: Pool
    ledger: Ledger
    blind: bool
    decisions: Decisions
    _lock: Lock = field(default_factory=Lock)

    def __post_init__(self) -> None:
        self._places = {item.id: place for place, item in enumerate(self.pool.items)}

    def view(self, place: int) -> dict[str, Any]:
        """An item as the person may see it now, by its place from 0."""
        with self._lock:
            return self._view(place)

    def decide(self, item: str, choice: Choice) -> dict[str, Any]:
        """Accept or reject an item of the pool; when this returns, it is on disk."""
        with self._lock:
            blind = self.blind and item not in self.decisions.seen
            self._append(item, choice, blind)
            return self._view(self._places[item])

    def undo(self) -> dict[str, Any] | None:
        """Take back the latest decision on an item of the pool; None when there is none."""
        with self._lock:
            ours = [item for item in self.decisions.standing if item in self._places]
            if not ours:
                return None
            self._append(ours[-1], None, blind=False)
            return self._view(self._places[ours[-1]])

    def summary(self) -> dict[str, Any]:
        """The judge, measured so far."""
        with self._lock:
            return summary(self.pool.groups, self.decisions)

    def item(self, place: int) -> Item:
        """An item by its place."""
        return self.pool.items[place]

    def holds(self, item: str) -> bool:
        """Whether an item is in the pool."""
        return item in self._places

    def _append(self, item: str, decision: Choice | None, blind: bool) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        row = {"item": item, "decision": decision, "blind": blind, "time": now}
        self.ledger.append([row])
        self.decisions.apply(row)

    def _view(self, place: int) -> dict[str, Any]:
        item = self.pool.items[place]
        decision = self.decisions.standing.get(item.id)
        decided = sum(one.id in self.decisions.standing for one in self.pool.items)
        return {
            "place": place,
            "total": len(self.pool.items),
            "decided": decided,
            "decision": decision,
            "next_open": self._next_open(place),
            "item": asked(item),
            "found": found(item) if decision or not self.blind else None,
        }

    def _next_open(self, place: int) -> int | None:
        """The next undecided item after a place, round about; None when all are decided."""
        total = len(self.pool.items)
        for step in range(1, total + 1):
            other = (place + step) % total
            if self.pool.items[other].id not in self.decisions.standing:
                return other
        return None

    def first_open(self) -> int:
        """Where the review goes on: the first undecided item, or the very first."""
        with self._lock:
            return self._next_open(-1) or 0


@contextmanager
def open_session(folder: Path, pool: Pool, *, blind: bool) -> Iterator[Session]:
    """Begin or resume the review of a run, in this process alone.

    Raises:
        RunError: another process reviews this run, or the file of decisions is damaged.
    """
    with open_ledger(folder / REVIEW) as ledger:
        yield Session(pool, ledger, blind, decisions_of(ledger.rows))


def read_decisions(folder: Path) -> Decisions:
    """The decisions on a run as they stand, while it may be under review.

    Raises:
        RunError: the file of decisions is damaged.
    """
    return decisions_of(read_ledger(folder / REVIEW))
