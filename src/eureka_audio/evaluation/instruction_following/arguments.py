"""The arguments of one instruction, and the rule for those that are missing."""

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

from eureka_audio.errors import EvaluationError

RELATIONS = ("less than", "at least")


class Arguments:
    """What an instruction was given, read by name and type.

    The official checkers invent a random value where an argument is missing or unusable. So does
    this class where a sensible range is known, from its own seeded generator, and it says so in
    ``invented``; where it is not (a keyword), it refuses.

    Args:
        given: argument name -> value, without those the rule ignores.
        draw: where invented values come from.
    """

    def __init__(self, given: Mapping[str, Any], draw: random.Random) -> None:
        self._given = given
        self._draw = draw
        self.invented: dict[str, Any] = {}

    def number(
        self, name: str, low: int, high: int, *, at_least: int = 0, at_most: float = math.inf
    ) -> int:
        """A whole number in ``at_least``..``at_most``; else one drawn from ``low``..``high``."""
        value = self._given.get(name)
        if value is not None and not isinstance(value, int | float):
            raise EvaluationError(f"expected a number as {name}, got {value!r}; correct the row")
        if value is None or not at_least <= value <= at_most:
            drawn: int = self._invent(name, self._draw.randint(low, high))
            return drawn
        return int(value)

    def relation(self, name: str = "relation") -> str:
        """Either ``less than`` or ``at least``."""
        value = self._given.get(name)
        if value is None:
            return str(self._invent(name, self._draw.choice(RELATIONS)))
        if value not in RELATIONS:
            raise EvaluationError(
                f"expected {name} to be one of {RELATIONS}, got {value!r}; correct the row"
            )
        return str(value)

    def text(self, name: str, options: Sequence[str] = ()) -> str:
        """A string, stripped; else one of ``options`` if there are any."""
        value = self._given.get(name)
        if isinstance(value, str) and (value or not options):
            return value.strip()
        if value is None and options:
            return str(self._invent(name, self._draw.choice(options)))
        raise EvaluationError(f"expected a string as {name}, got {value!r}; correct the row")

    def raw_text(self, name: str) -> str:
        """A string exactly as given."""
        value = self._given.get(name)
        if not isinstance(value, str) or not value:
            raise EvaluationError(f"expected a string as {name}, got {value!r}; correct the row")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """One or more strings."""
        value = self._given.get(name)
        if isinstance(value, str) or not isinstance(value, Sequence) or not value:
            raise EvaluationError(
                f"expected a list of strings as {name}, got {value!r}; correct the row"
            )
        return tuple(str(item) for item in value)

    def letter(self, name: str) -> str:
        """An English letter, lower case; anything else is replaced by a drawn one."""
        value = self._given.get(name)
        if isinstance(value, str) and len(value) == 1 and "a" <= value.lower() <= "z":
            return value.lower()
        return str(self._invent(name, self._draw.choice("abcdefghijklmnopqrstuvwxyz")))

    def _invent(self, name: str, value: Any) -> Any:
        self.invented[name] = value
        return value
