"""Transcripts that go round in circles: found, and cut to one round.

A decoder that has lost the sound may write the same words again and again. A person who says a
thing eight times is rarer than that, and one round of what was said is kept.
"""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

MIN_ROUNDS = 8  # of words, in the middle of a text
MAX_GROUP = 100  # words, or letters
MIN_ROUNDS_AT_STOP = 4  # where decoding was stopped because its tokens went round


def cut_loops(text: str, *, was_stopped: bool = False) -> tuple[str, bool]:
    """A text without rounds beyond the first, and whether any were taken out.

    Args:
        text: what was written.
        was_stopped: decoding was ended because the last tokens repeated themselves; then fewer
            rounds are enough, and they may lie within a word.

    Example:
        >>> cut_loops("so " + "thank you " * 9 + "all")
        ('so thank you all', True)
        >>> cut_loops("no no no")
        ('no no no', False)
    """
    words = text.split()
    kept = without_rounds(words, MIN_ROUNDS_AT_STOP if was_stopped else MIN_ROUNDS)
    if was_stopped and len(kept) == len(words):
        joined = "".join(without_rounds(" ".join(words), MIN_ROUNDS_AT_STOP))
        kept = joined.split()
        return " ".join(kept), joined != " ".join(words)
    return " ".join(kept), len(kept) < len(words)


def without_rounds(items: Sequence[T], min_rounds: int) -> list[T]:
    """A sequence in which a group that comes `min_rounds` times in a row or more comes once."""
    kept: list[T] = []
    place = 0
    while place < len(items):
        length, rounds = _rounds_at(items, place, min_rounds)
        kept += items[place : place + length]
        place += length * rounds
    return kept


def _rounds_at(items: Sequence[T], place: int, min_rounds: int) -> tuple[int, int]:
    """The shortest group that repeats itself from a place on, and how often; else one item once."""
    longest = min(MAX_GROUP, (len(items) - place) // min_rounds)
    for length in range(1, longest + 1):
        rounds, group = 1, items[place : place + length]
        while items[place + rounds * length : place + (rounds + 1) * length] == group:
            rounds += 1
        if rounds >= min_rounds:
            return length, rounds
    return 1, 1
