"""An item as a page shows it to a person."""

from collections import defaultdict
from collections.abc import Iterable
from itertools import zip_longest
from typing import Any

from eureka_audio.dataflux.items import AUDIO, FATES, REASONS, Item
from eureka_audio.dataflux.verdict import winners

PER_LEAF_AND_FATE = 3
View = dict[str, Any]


def meaning(reason: str) -> str:
    """A reason in words; a failed item's is the step it failed in.

    Example:
        >>> meaning("verdict")
        'the step “verdict” failed'
    """
    if reason == AUDIO:
        return "the recording is not there"
    return REASONS.get(reason, f"the step “{reason}” failed")


def asked(item: Item) -> View:
    """What a person judges: the question, its choices, and which one is meant to be right."""
    question = item.question
    return {
        "id": item.id,
        "leaf": item.leaf,
        "clip": item.clip_id,
        "seconds": item.duration_seconds,
        "query": question and question.query,
        "choices": question and list(question.choices),
        "right": question and question.answer,
    }


def found(item: Item) -> View:
    """What became of it: the caption, the answers, the control, the verdict, the fate."""
    names = winners(len(item.answers))
    return {
        "caption": item.caption,
        "answers": [
            {
                "model": answer.model,
                "shown_as": name,
                "choice": answer.choice,
                "reasoning": answer.reasoning,
            }
            for name, answer in zip(names, item.answers, strict=False)
        ],
        "controls": _controls(item),
        "verdict": item.verdict and item.verdict.model_dump(),
        "fate": item.fate,
        "reason": item.reason and meaning(item.reason),
        "detail": item.detail,
    }


def _controls(item: Item) -> list[View]:
    """For each kind and model, how many tries were right."""
    tries: defaultdict[tuple[str, str], list[bool]] = defaultdict(list)
    for control in item.controls:
        right = item.question is not None and control.choice == item.question.answer
        tries[control.kind, control.model].append(right)
    return [
        {"kind": kind, "model": model, "right": sum(rights), "tries": len(rights)}
        for (kind, model), rights in tries.items()
    ]


class Samples:
    """A few items of every leaf and fate, in the order they come."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._groups: defaultdict[tuple[str, str], list[Item]] = defaultdict(list)

    def add(self, item: Item) -> None:
        """Look at an item; it is taken while its group lacks some."""
        group = self._groups[item.fate, item.leaf]
        if len(group) < PER_LEAF_AND_FATE:
            group.append(item)

    def result(self) -> list[Item]:
        """The first of every group, then the second ones, up to the limit; kept ones lead."""
        order: dict[str, int] = {fate: place for place, fate in enumerate(FATES)}
        groups = [self._groups[key] for key in sorted(self._groups, key=lambda k: (order[k[0]], k))]
        rounds: Iterable[tuple[Item | None, ...]] = zip_longest(*groups)
        taken = [item for one_of_each in rounds for item in one_of_each if item is not None]
        return taken[: self._limit]
