"""The loop closes: hard items come back as exemplars, and two versions of a set are compared."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from eureka_audio.dataflux.store import Store
from eureka_audio.dataflux.taxonomy import Exemplar
from eureka_audio.records import ConversationRow

EXEMPLARS = "hard_exemplars"
MAX_PER_LEAF = 3


def hard_exemplars_of(store: Store) -> dict[str, list[Exemplar]]:
    """Questions on which models disagreed, as exemplars of their leaves, the right choice first."""
    found: dict[str, list[Exemplar]] = {}
    for item in store.items("hard"):
        some = found.setdefault(item.leaf, [])
        if item.question is not None and len(some) < MAX_PER_LEAF:
            right = item.question.choices[item.question.answer]
            wrong = tuple(choice for choice in item.question.choices if choice != right)
            some.append(Exemplar(question=item.question.query, options=(right, *wrong)))
    return found


@dataclass
class SetDiff:
    """What became of a set from one version to the next.

    Attributes:
        added, removed: ids of rows that are in one only.
        changed: ids of rows whose conversation differs.
        same: how many rows are alike.
        by_leaf: rows added less rows removed, where that is not 0.
    """

    added: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    same: int = 0
    by_leaf: Counter[str] = field(default_factory=Counter)


def diff(before: Iterable[ConversationRow], after: Iterable[ConversationRow]) -> SetDiff:
    """Compare two versions row by row."""
    old = {row.id: row for row in before}
    new = {row.id: row for row in after}
    found = SetDiff()
    for name, row in new.items():
        if name not in old:
            found.added.append(name)
            found.by_leaf[str(row.meta.get("leaf", ""))] += 1
        elif row.messages != old[name].messages:
            found.changed.append(name)
        else:
            found.same += 1
    for name, row in old.items():
        if name not in new:
            found.removed.append(name)
            found.by_leaf[str(row.meta.get("leaf", ""))] -= 1
    return found
