"""The figures of a run, counted from its books: what `status` prints and the report shows."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from eureka_audio.asking.claim import read_claim
from eureka_audio.dataflux.control import accuracy
from eureka_audio.dataflux.items import FATES, Item
from eureka_audio.dataflux.run import SECONDS
from eureka_audio.dataflux.store import Store
from eureka_audio.dataflux.verdict import winning


def figures_of(store: Store) -> dict[str, Any]:
    """All figures, as JSON can hold them. What is unknown is null."""
    per_leaf = read_claim(store.folder).get("config.selection", {}).get("per_leaf", 0)
    fates: Counter[str] = Counter(dict.fromkeys(FATES, 0))
    reasons: Counter[tuple[str, str]] = Counter()
    leaves: dict[str, Counter[str]] = {}
    for (leaf, fate, reason), number in store.books().items():
        fates[fate] += number
        leaves.setdefault(leaf, Counter(dict.fromkeys(("items", *FATES), 0))).update(
            {"items": number, fate: number}
        )
        if fate != "kept":
            reasons[fate, reason] += number
    return {
        "items": fates.total(),
        "fates": dict(fates),
        "reasons": [
            {"fate": fate, "reason": reason, "items": number}
            for (fate, reason), number in sorted(reasons.items())
        ],
        "per_leaf": per_leaf,
        "leaves": {leaf: dict(row) for leaf, row in sorted(leaves.items())},
        "seconds": store.fact(SECONDS),
        "calls": calls_of(store),
        **answers_of(store),
    }


def calls_of(store: Store) -> dict[str, dict[str, Any]]:
    """Calls by step: how many, how many could not be read, tokens and cost.

    A sum is null where a part of it is unknown. Each call counts once, however many items rest on
    it and however often the run was resumed.
    """
    found: dict[str, dict[str, Any]] = {}
    for call in store.calls():
        row = found.setdefault(
            call.step,
            {
                "calls": 0,
                "refused": 0,
                "seconds": 0.0,
                "prompt_tokens": 0,
                "new_tokens": 0,
                "reasoning_tokens": 0,
                "cost": 0.0,
            },
        )
        row["calls"] += 1
        row["refused"] += bool(call.refusal)
        row["seconds"] += call.seconds
        for name in ("prompt_tokens", "new_tokens", "reasoning_tokens", "cost"):
            value = getattr(call, name)
            row[name] = None if None in (row[name], value) else row[name] + value
    return found


def answers_of(store: Store) -> dict[str, Any]:
    """Agreement, positions, controls and orders over all items that got so far.

    ``agreement[a][b]`` is the share of questions on which answerers, the key and the judge's winner
    chose the same, of those on which both chose; ``positions[who][n]`` counts choices of place n.
    """
    same: Counter[tuple[str, str]] = Counter()
    both: Counter[tuple[str, str]] = Counter()
    positions: dict[str, Counter[int]] = {}
    controls: dict[str, list[float]] = {}
    chances: list[float] = []
    first_wins: Counter[str] = Counter()
    for item in store.items():
        if item.question is None or not item.answers:
            continue
        voices = voices_of(item)
        for who, choice in voices.items():
            positions.setdefault(who, Counter())[choice] += 1
            for other, second in voices.items():
                both[who, other] += 1
                same[who, other] += choice == second
        for kind in ("no_audio", "other_audio"):
            share = accuracy(item.question, item.controls, kind)
            if share is not None:
                controls.setdefault(kind, []).append(share)
        if item.controls:
            chances.append(1 / len(item.question.choices))
        if item.verdict is not None:
            first_wins[item.verdict.winner] += 1
    names = sorted({who for who, _ in both})
    return {
        "agreement": {
            who: {
                other: same[who, other] / both[who, other] if both[who, other] else None
                for other in names
            }
            for who in names
        },
        "positions": {who: dict(sorted(count.items())) for who, count in positions.items()},
        "controls": {kind: sum(shares) / len(shares) for kind, shares in controls.items()},
        "chance": sum(chances) / len(chances) if chances else None,
        "winners": dict(sorted(first_wins.items())),
    }


def voices_of(item: Item) -> Mapping[str, int]:
    """What each answerer, the key and the judge's winner chose, where they chose."""
    assert item.question is not None, "only items with a question have answers"
    voices = {one.model: one.choice for one in item.answers if one.choice is not None}
    voices["key"] = item.question.answer
    if item.verdict is not None and (won := winning(item.verdict, item.answers)) is not None:
        voices["judge"] = won
    return voices
