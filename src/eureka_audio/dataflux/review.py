"""Reviewing: a person accepts or rejects items, and so measures the judge.

    DIR/review.jsonl   every decision and every undoing, a line each, on disk before it counts

Items are drawn from four groups in turn by chance, so that few decisions say something of each, and
each group then weighs as much as it has items: precision and recall are those of the whole run.

Unstated: the paper tells of no review by people.
"""

import hashlib
import heapq
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from eureka_audio.dataflux.items import REJECTED, Item
from eureka_audio.dataflux.verdict import winning

REVIEW = "review.jsonl"
DEFAULT_LIMIT = 400
Choice = Literal["accept", "reject"]
CHOICES: tuple[Choice, ...] = ("accept", "reject")
Row = Mapping[str, Any]

# The groups items are drawn from: whether the judge, and whether DataFlux as a whole, holds such an
# item to be good. One that was good but not needed (surplus, near duplicates) is good.
GROUPS: dict[str, tuple[bool, bool]] = {
    "kept": (True, True),
    "good but not needed": (True, True),
    "kept by the judge alone": (True, False),
    "dropped by the judge": (False, False),
}
_NOT_NEEDED = ("surplus", "near_duplicate")


def group_of(item: Item) -> str | None:
    """The group an item is drawn from; None where the judge never saw it.

    The judge keeps an item when it says so and its winner picked the choice that was written as
    right: this is what a person who accepts it says too.
    """
    if item.question is None or item.verdict is None:
        return None
    if item.fate == "kept" or item.reason == REJECTED:
        return "kept"
    if item.reason in _NOT_NEEDED:
        return "good but not needed"
    keeps = item.verdict.final_action == "KEEP_USING_WINNER"
    if keeps and winning(item.verdict, item.answers) == item.question.answer:
        return "kept by the judge alone"
    return "dropped by the judge"


@dataclass
class Pool:
    """The items that may be reviewed, in the order in which they are.

    Attributes:
        items: drawn.
        groups: the group of every item of the run that the judge saw, by id.
    """

    items: list[Item]
    groups: dict[str, str]


def draw(items: Iterable[Item], limit: int = DEFAULT_LIMIT, *, kept_only: bool = False) -> Pool:
    """Draw items to review; the order hangs on their ids alone and gives no verdict away.

    Args:
        items: of a run.
        limit: how many are drawn at most.
        kept_only: whether a person wants to see kept ones only.
    """
    groups: dict[str, str] = {}
    members: dict[str, list[tuple[str, str, Item]]] = {group: [] for group in GROUPS}
    for item in items:
        group = group_of(item)
        if group is None or item.id in groups:
            continue
        groups[item.id] = group
        if group == "kept" or not kept_only:
            mixed = hashlib.sha256(item.id.encode()).hexdigest()
            members[group].append((mixed, item.id, item))
            if len(members[group]) > 2 * limit:  # memory holds no more than this of a large run
                members[group] = heapq.nsmallest(limit, members[group])
    queues = [iter([item for *_, item in sorted(found)]) for found in members.values() if found]
    return Pool(list(_mixed(queues, limit)), groups)


def _mixed(queues: list[Iterator[Item]], limit: int) -> Iterator[Item]:
    """The next of a queue drawn by dice, again and again, until all are empty."""
    dice, drawn = random.Random(0), 0
    while queues and drawn < limit:
        queue = dice.choice(queues)
        if (item := next(queue, None)) is None:
            queues.remove(queue)
        else:
            drawn += 1
            yield item


@dataclass
class Decisions:
    """What a person decided, as it stands after every change of mind.

    Attributes:
        standing: the decision on each item by its id, the latest last.
        blind: ids of items that were decided before the verdict was seen.
        seen: ids of items that were ever decided, whose verdict is no secret any more.
    """

    standing: dict[str, Choice] = field(default_factory=dict)
    blind: set[str] = field(default_factory=set)
    seen: set[str] = field(default_factory=set)

    def apply(self, row: Row) -> None:
        """Take in a line of the file."""
        item, decision = str(row["item"]), row["decision"]
        self.standing.pop(item, None)
        self.blind.discard(item)
        self.seen.add(item)
        if decision in CHOICES:
            self.standing[item] = decision
            if row.get("blind"):
                self.blind.add(item)

    @property
    def rejected(self) -> frozenset[str]:
        """Ids of the items that stand rejected: these are in no set."""
        return frozenset(item for item, said in self.standing.items() if said == "reject")

    @property
    def latest(self) -> str | None:
        """The item decided last, whose decision is undone first."""
        return next(reversed(self.standing), None)


def decisions_of(rows: Iterable[Row]) -> Decisions:
    """The decisions that stand after all lines of the file."""
    decisions = Decisions()
    for row in rows:
        decisions.apply(row)
    return decisions
