"""Words that a caller expects: they help to choose among what a search finds, and are never forced.

Each that occurs in an answer, whole, makes it more probable; so while answers grow, too, for a word
that was dropped early cannot be chosen late. What the sound does not bear stays less probable.

Unstated: the weight. A bonus of three nats outweighs a spelling twenty times as probable.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

HOTWORD_BONUS = 3.0  # nats for each occurrence
MAX_OCCURRENCES = 3  # of one word: more earn nothing, or a loop would pay
MIN_BEAMS = 8  # a search is needed to choose from
MIN_PROMPT_LETTERS = 5  # shorter words of a prompt are mostly everybody's


@dataclass(frozen=True)
class Hotwords:
    """Words or phrases that are likely to occur, in any case of letters."""

    phrases: tuple[str, ...]

    @classmethod
    def of(cls, phrases: Sequence[str], prompt: str | None = None) -> "Hotwords":
        """Those that were named, and the longer words of a prompt."""
        named = [" ".join(phrase.lower().split()) for phrase in phrases]
        found = re.findall(r"\w[\w'-]+", (prompt or "").lower())
        named += [word for word in found if len(word) >= MIN_PROMPT_LETTERS]
        return cls(tuple(dict.fromkeys(phrase for phrase in named if phrase)))

    def __bool__(self) -> bool:
        return bool(self.phrases)

    def bonus(self, text: str) -> float:
        """What the words of a text earn, in nats.

        Example:
            >>> Hotwords(("abelard",)).bonus("said Abelard to abelards friend")
            3.0
        """
        if self._pattern is None:
            return 0.0
        counts = Counter(self._pattern.findall(" ".join(text.lower().split())))
        return HOTWORD_BONUS * sum(min(count, MAX_OCCURRENCES) for count in counts.values())

    @cached_property
    def _pattern(self) -> re.Pattern[str] | None:
        longest_first = sorted(self.phrases, key=len, reverse=True)
        if not longest_first:
            return None
        return re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, longest_first)) + r")(?!\w)")
