"""The control: can the question be answered without its audio?

The same question is put without any audio, and with other clips in its place, each time with the
choices in another order. A model that is right more often than chance explains knows the answer
from the words alone, and the item teaches nothing about hearing.

Unstated: the paper has no such step. Tries count as independent only where what is asked differs:
without audio, two choices have two orders and no more, which is too few to tell anything, so for
such questions only other audio decides.
"""

import math
import random
from collections.abc import Iterable, Sequence

from eureka_audio.dataflux.config import ControlConfig
from eureka_audio.dataflux.items import Control, ControlKind
from eureka_audio.records import Question


def num_tries(num_choices: int, config: ControlConfig, kind: ControlKind) -> int:
    """As many tries as are asked for, or as it takes to tell something from chance."""
    needed = math.floor(math.log(config.level) / math.log(1 / num_choices)) + 1
    wanted = max(config.shuffles, needed)
    return min(wanted, math.factorial(num_choices)) if kind == "no_audio" else wanted


def orders(num_choices: int, number: int, seed: str) -> list[tuple[int, ...]]:
    """Orders of the choices, different ones as long as there are any."""
    dice, found = random.Random(seed), list[tuple[int, ...]]()
    while len(found) < number:
        round_of: set[tuple[int, ...]] = set()
        while len(found) < number and len(round_of) < math.factorial(num_choices):
            order = tuple(dice.sample(range(num_choices), num_choices))
            if order not in round_of:
                round_of.add(order)
                found.append(order)
    return found


def by_chance(num_right: int, num_tries: int, num_choices: int) -> float:
    """The probability of at least as many right choices by guessing.

    Example:
        >>> round(by_chance(4, 4, 4), 4)
        0.0039
    """
    chance = 1 / num_choices
    return sum(
        math.comb(num_tries, right) * chance**right * (1 - chance) ** (num_tries - right)
        for right in range(num_right, num_tries + 1)
    )


def finding(question: Question, controls: Iterable[Control], level: float) -> tuple[str, str]:
    """The reason to discard an item, and its figures; empty when the controls find nothing."""
    groups: dict[tuple[ControlKind, str], list[Control]] = {}
    for control in controls:
        groups.setdefault((control.kind, control.model), []).append(control)
    for (kind, model), tries in groups.items():
        right = sum(control.choice == question.answer for control in tries)
        probability = by_chance(right, len(tries), len(question.choices))
        if probability < level:
            reason = "answered_without_audio" if kind == "no_audio" else "answered_with_other_audio"
            return reason, f"{model}: {right} of {len(tries)} right (p = {probability:.4f})"
    return "", ""


def accuracy(question: Question, controls: Sequence[Control], kind: ControlKind) -> float | None:
    """The share of right choices among the tries of a kind; None where there are none."""
    tries = [control.choice == question.answer for control in controls if control.kind == kind]
    return sum(tries) / len(tries) if tries else None
