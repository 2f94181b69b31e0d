"""When each letter of a sentence is said, from the places of its phones.

Letters and sounds of English agree well enough for it: they are paired in order at the least cost.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from eureka_audio.records import Phone
from eureka_audio.synthesis.phones import PHONES

VOWELS = frozenset(phone for phone in PHONES if phone[0] in "aeiou")
# The sounds an English letter often stands for, beside which any vowel stands for any vowel.
SOUNDS_OF = {
    **{"b": "b", "c": "k s ch sh", "d": "d jh t", "f": "f v", "g": "g jh f zh", "h": "hh"},
    **{"j": "jh", "k": "k", "l": "l", "m": "m", "n": "n ng", "p": "p f", "q": "k", "r": "r er"},
    **{"s": "s z sh zh", "t": "t dh th sh ch", "v": "v", "w": "w", "x": "k s z g", "z": "z s"},
    **{"a": "", "e": "", "i": "y", "o": "w", "u": "y w", "y": "y"},
}
WRITES_VOWELS = frozenset("aeiouyw")
UNLIKE, LIKE, SILENT_LETTER, UNWRITTEN_PHONE = 2.0, 0.6, 0.8, 0.9
TIE = 1e-9


def letter_times(words: str, phones: Sequence[Phone]) -> NDArray[np.float64]:
    """When each letter is said: the borders of all characters in seconds, `(characters + 1,)`.

    Letters and phones are paired in order at the least cost; a letter without a sound of its own
    lasts no time, and a space lasts until the next word begins.

    Args:
        words: lower case, single spaces.
        phones: at least one, in order.
    """
    letters = [character for character in words if character != " "]
    paired = _pair(letters, [phone.label for phone in phones])
    starts = np.array([phone.start_seconds for phone in phones])
    ends = np.array([phone.end_seconds for phone in phones])
    borders = np.empty(len(words) + 1)
    moment, letter, is_first = float(starts[0]), 0, True
    for place, character in enumerate(words):
        borders[place] = moment
        if character == " ":
            is_first = True
            continue
        first, end = paired[letter]
        if end > first:
            moment = float(ends[end - 1])
            if is_first:
                borders[place] = float(starts[first])
        letter, is_first = letter + 1, False
    borders[-1] = ends[-1]
    return borders


def _pair(letters: Sequence[str], phones: Sequence[str]) -> list[tuple[int, int]]:
    """For each letter the phones it stands for, first and end; every phone belongs to one."""
    num_letters, num_phones = len(letters), len(phones)
    kinds = sorted(set(letters))
    cost_of = {kind: np.array([_cost(kind, phone) for phone in phones]) for kind in kinds}
    across = UNWRITTEN_PHONE * np.arange(num_phones + 1)
    best = np.empty((num_letters + 1, num_phones + 1))
    best[0] = across
    for row, letter in enumerate(letters, start=1):
        down = best[row - 1] + SILENT_LETTER
        down[1:] = np.minimum(down[1:], best[row - 1, :-1] + cost_of[letter])
        best[row] = np.minimum.accumulate(down - across) + across
    ends = [num_phones] * num_letters
    row, column = num_letters, num_phones
    while row > 0:
        here = best[row, column] + TIE
        spoken = cost_of[letters[row - 1]][column - 1] if column else np.inf
        if column and best[row, column - 1] + UNWRITTEN_PHONE <= here:
            column -= 1  # it goes with the letter before it
            continue
        row -= 1
        if best[row, column - 1] + spoken <= here:
            column -= 1
        if row:
            ends[row - 1] = column
    firsts = [0, *ends[:-1]]
    return list(zip(firsts, ends, strict=True))


@cache  # few letters, few phones, many clips
def _cost(letter: str, phone: str) -> float:
    if phone in SOUNDS_OF.get(letter, "").split():
        return 0.0
    if letter in WRITES_VOWELS and phone in VOWELS:
        return 0.0 if letter in "aeiou" else LIKE
    return UNLIKE
