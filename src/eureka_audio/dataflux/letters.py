"""Choices and answers by letter, and which choice a reply means."""

import re
from collections.abc import Sequence
from functools import lru_cache
from string import ascii_uppercase

from eureka_audio.dataflux.refusals import RefusalError, read_object

_LETTER = re.compile(r"\(?([A-H])[).:]?(?:\s|$)")


def lettered(choices: Sequence[str]) -> str:
    """Choices one a line, each behind its letter.

    Example:
        >>> print(lettered(["rain", "wind"]))
        A. rain
        B. wind
    """
    return "\n".join(
        f"{letter}. {choice}" for letter, choice in zip(ascii_uppercase, choices, strict=False)
    )


@lru_cache(maxsize=8192)
def plain(text: str) -> str:
    """A text in small letters and digits, words parted by one space.

    Example:
        >>> plain(" A Dog, barking! ")
        'a dog barking'
    """
    return " ".join(re.findall(r"\w+", text.lower()))


def read_choice(text: str, choices: Sequence[str]) -> tuple[int, str]:
    """The index of the choice that a reply means, and its reasoning.

    A reply is JSON with "reasoning" and "answer", or the choice in words, or its letter, or a
    sentence in which exactly one of the choices occurs.

    Raises:
        RefusalError: it means none of them, or several.
    """
    stripped = text.strip()
    if stripped.startswith("{"):
        found = read_object(stripped, {"reasoning": str, "answer": str})
        return _one_choice(found["answer"].strip(), choices), found["reasoning"]
    return _one_choice(stripped, choices), ""


def _one_choice(said: str, choices: Sequence[str]) -> int:
    exact = [index for index, choice in enumerate(choices) if plain(choice) == plain(said)]
    if exact and plain(said):
        return exact[0]
    letter = _LETTER.match(said)
    if letter and (index := ascii_uppercase.index(letter[1])) < len(choices):
        return index
    words = f" {plain(said)} "
    named = [
        i for i, choice in enumerate(choices) if plain(choice) and f" {plain(choice)} " in words
    ]
    # "a dog barking" names "dog" too: the longest that holds the others is what is meant.
    longest = [i for i in named if all(plain(choices[j]) in plain(choices[i]) for j in named)]
    if len(longest) == 1:
        return longest[0]
    raise RefusalError(f"expected one of {len(choices)} choices, got {said[:80]!r}")
