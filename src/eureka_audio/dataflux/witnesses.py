"""What the answerers, the judge and the writer of questions make of one another, counted.

Each figure is an object: `add` an item, then take the `result`, which JSON can hold.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from itertools import combinations
from string import ascii_uppercase
from typing import Any

from scipy.special import gammaincc

from eureka_audio.dataflux.items import Item
from eureka_audio.dataflux.proportions import share, wilson
from eureka_audio.dataflux.verdict import winners, winning

JUDGE, WRITER = "judge", "question writer"
Figures = dict[str, Any]


class Agreement:
    """How often two witnesses picked the same choice: answerers, the judge, the question's writer.

    The judge picks what its winner picked. A pair is counted where both picked something.
    """

    def __init__(self) -> None:
        self._same: Counter[tuple[str, str]] = Counter()
        self._both: Counter[tuple[str, str]] = Counter()
        self._chance: defaultdict[tuple[str, str], float] = defaultdict(float)
        self._names: dict[str, None] = {}

    def add(self, item: Item) -> None:
        """Count an item."""
        if item.question is None or not item.answers:
            return
        picked = {answer.model: answer.choice for answer in item.answers}
        self._names |= dict.fromkeys(sorted(picked))
        picked[JUDGE] = winning(item.verdict, item.answers) if item.verdict else None
        picked[WRITER] = item.question.answer
        for first, second in combinations(sorted(picked), 2):
            if picked[first] is not None and picked[second] is not None:
                self._both[first, second] += 1
                self._same[first, second] += picked[first] == picked[second]
                self._chance[first, second] += 1 / len(item.question.choices)

    def result(self) -> Figures:
        """Names, and for each pair how often they agree; chance is what two guessers would do."""
        names = [*self._names, JUDGE, WRITER] if self._names else []
        cells = [[self._cell(row, column) for column in names] for row in names]
        return {"names": names, "cells": cells, "chance": self._of_all()}

    def _cell(self, row: str, column: str) -> Figures | None:
        pair = (min(row, column), max(row, column))
        if row == column:
            return None
        same, both = self._same[pair], self._both[pair]
        return {"same": same, "of": both, "share": share(same, both)}

    def _of_all(self) -> float | None:
        return share(sum(self._chance.values()), self._both.total())


class Positions:
    """At which place among the choices the right one stands, and which places are picked."""

    def __init__(self) -> None:
        self._counts: defaultdict[str, Counter[tuple[int, int]]] = defaultdict(Counter)

    def add(self, item: Item) -> None:
        """Count an item."""
        if item.question is None:
            return
        size = len(item.question.choices)
        self._counts["right choice, all questions"][size, item.question.answer] += 1
        if item.fate == "kept":
            self._counts["right choice, kept items"][size, item.question.answer] += 1
        for answer in item.answers:
            if answer.choice is not None:
                self._counts[f"picked by {answer.model}"][size, answer.choice] += 1

    def result(self) -> list[Figures]:
        """A row for whom or what, with counts by place beside what evenness would give."""
        return [self._row(name, counts) for name, counts in self._counts.items()]

    def _row(self, name: str, counts: Counter[tuple[int, int]]) -> Figures:
        sizes: Counter[int] = Counter()
        for (size, _), count in counts.items():
            sizes[size] += count
        places = [
            {
                "place": ascii_uppercase[place],
                "count": sum(counts[size, place] for size in sizes),
                "even": sum(count / size for size, count in sizes.items() if size > place),
            }
            for place in range(max(sizes))
        ]
        number = counts.total()
        return {"name": name, "number": number, "places": places, "p": _evenness(counts, sizes)}


def _evenness(counts: Mapping[tuple[int, int], int], sizes: Mapping[int, int]) -> float | None:
    """The chance of counts as uneven as these, were all places equally likely (chi-square)."""
    freedom = sum(size - 1 for size in sizes)
    if not freedom:
        return None
    distance = 0.0
    for size, number in sizes.items():
        even = number / size
        seen = (counts.get((size, place), 0) for place in range(size))
        distance += sum((count - even) ** 2 / even for count in seen)
    return float(gammaincc(freedom / 2, distance / 2))


class Order:
    """How often the judge's winner stood first, second, ... among the answers it was shown.

    Only verdicts count that name one winner where the models disagree: elsewhere any name is right.
    """

    def __init__(self) -> None:
        self._wins: Counter[str] = Counter()
        self._even: defaultdict[str, float] = defaultdict(float)

    def add(self, item: Item) -> None:
        """Count an item."""
        names = winners(len(item.answers))[: len(item.answers)]
        disagree = len({answer.choice for answer in item.answers}) > 1
        if item.verdict is None or not disagree or item.verdict.winner not in names:
            return
        self._wins[item.verdict.winner] += 1
        for name in names:
            self._even[name] += 1 / len(names)

    def result(self) -> list[Figures]:
        """A row for each place."""
        total = self._wins.total()
        return [
            {"place": name, "wins": self._wins[name], "of": total, "even": self._even[name]}
            for name in sorted(self._even)
        ]


HEARING = ("with_audio", "other_audio", "no_audio")


class Hearing:
    """How often each model is right with the audio, with another clip's, and with none.

    Only questions that were put in all these ways count, so that like is compared with like; where
    none was put without its audio, all that were answered. Tries of one question are not
    independent: intervals count each question once.
    """

    def __init__(self) -> None:
        self._tallies: Counter[tuple[str, str, str, str]] = Counter()
        self._chance: defaultdict[tuple[str, str, str], float] = defaultdict(float)
        self._controlled = False

    def add(self, item: Item) -> None:
        """Count an item."""
        if item.question is None or not item.answers:
            return
        self._controlled |= bool(item.controls)
        group = "controlled" if item.controls else "not controlled"
        right = item.question.answer
        tries = [("with_audio", answer.model, answer.choice) for answer in item.answers]
        tries += [(control.kind, control.model, control.choice) for control in item.controls]
        for among in (group, *(["kept"] if item.fate == "kept" else [])):
            for kind, model, choice in tries:
                self._tallies[among, kind, model, "tries"] += 1
                self._tallies[among, kind, model, "right"] += choice == right
                self._chance[among, kind, model] += 1 / len(item.question.choices)
            for kind, model in {(kind, model) for kind, model, _ in tries}:
                self._tallies[among, kind, model, "questions"] += 1

    def result(self) -> list[Figures]:
        """A row for all or kept questions, each model and each way of hearing."""
        rows = []
        for among, group in (("all", "controlled" if self._controlled else "not controlled"),
                             ("kept", "kept")):  # fmt: skip
            models = sorted({model for found, _, model in self._chance if found == group})
            rows += [
                self._row(among, group, kind, model)
                for model in models
                for kind in HEARING
                if (group, kind, model) in self._chance
            ]
        return rows

    def _row(self, among: str, group: str, kind: str, model: str) -> Figures:
        key = (group, kind, model)
        tries, right, questions = (
            self._tallies[*key, name] for name in ("tries", "right", "questions")
        )
        value = share(right, tries)
        return {
            "among": among,
            "model": model,
            "kind": kind,
            "questions": questions,
            "tries": tries,
            "right": right,
            "share": value,
            "interval": wilson(value, questions),
            "chance": share(self._chance[key], tries),
        }
