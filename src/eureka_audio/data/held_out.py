"""Sentences that no training text may hold: a file, written by whoever makes data.

One sentence a line. Whoever makes speech for testing adds what is said in it; whoever reads text
to learn from it leaves out what says one of them, whatever the seed.
"""

from collections.abc import Iterable
from pathlib import Path

from eureka_audio.durable import atomic_write
from eureka_audio.errors import ConfigError
from eureka_audio.text.words import words_of

FILE_NAME = "held_out.txt"
FEWEST_WORDS = 4  # "yes" or "good morning" may be said anywhere


class HeldOut:
    """Held-out sentences, to be looked for in text by their words alone."""

    def __init__(self, sentences: Iterable[str] = ()) -> None:
        words = {tuple(words_of(sentence)) for sentence in sentences}
        self.sentences = frozenset(each for each in words if each)
        self._lengths = sorted({len(each) for each in self.sentences if len(each) >= FEWEST_WORDS})

    def is_in(self, text: str) -> bool:
        """Whether a text says one of the sentences; one of few words counts only if it is all."""
        words = tuple(words_of(text))
        return words in self.sentences or any(
            words[start : start + length] in self.sentences
            for length in self._lengths
            for start in range(len(words) - length + 1)
        )


def read_held_out(path: Path) -> list[str]:
    """The sentences of a file.

    Raises:
        ConfigError: there is none.
    """
    if not path.is_file():
        raise ConfigError(
            f"expected the held-out sentences at {path}, found no file; `eureka-audio synthesize "
            "speech` writes it, or take it out of the recipe's held_out"
        )
    return path.read_text(encoding="utf-8").splitlines()


def add_held_out(path: Path, sentences: Iterable[str]) -> None:
    """Write the sentences of a file and these, each once."""
    known = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    with atomic_write(path) as file:
        file.writelines(f"{each}\n" for each in sorted({*known, *sentences}))
