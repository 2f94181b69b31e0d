"""What may be said of a clip: the labels of each kind, their other names, and which of them exclude
one another.

An open question is answered with the label itself. A list of choices may name the same things in
other words, so that a model learns to match what it hears with what is offered, rather than a fixed
list of classes.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import yaml

FILE = "labels.yaml"

# Shares of lists of choices, set by hand: users list labels plainly most of the time.
PLAIN_SHARE = 0.45
CAPITALS_SHARE = 0.15
UNDERSCORES_SHARE = 0.05


@cache
def _tables() -> Mapping[str, Any]:
    text = files(__package__).joinpath(FILE).read_text(encoding="utf-8")
    tables: Mapping[str, Any] = yaml.safe_load(text)
    return tables


@cache
def labels_of(kind: str) -> tuple[str, ...]:
    """All labels of a kind of event: speech, sound, instrument or music."""
    return tuple(_tables()[kind])


@cache
def all_labels() -> tuple[str, ...]:
    """All labels of all kinds of events."""
    return tuple(
        label for kind in ("speech", "sound", "instrument", "music") for label in labels_of(kind)
    )


@cache
def names_of(label: str) -> tuple[str, ...]:
    """What else a label may be called; empty for a label that is not in the tables."""
    for kind in ("speech", "sound", "instrument", "music"):
        if label in _tables()[kind]:
            return tuple(_tables()[kind][label])
    return ()


@cache
def parallel_names(table: str) -> tuple[tuple[str, ...], ...]:
    """Ways to name a closed set, position by position; the first row holds the labels
    themselves.
    """
    return tuple(tuple(row) for row in _tables()["parallel"][table])


@cache
def could_be_both(first: str, second: str) -> bool:
    """Whether a clip of one label might be said to hold the other too (a chainsaw is an engine)."""
    either = _tables()["either"]
    if second in either.get(first, ()) or first in either.get(second, ()):
        return True
    kinds = {first in labels_of("music"), second in labels_of("music")}
    instruments = first in labels_of("instrument") or second in labels_of("instrument")
    return kinds == {True, False} and instruments


DIGITS = parallel_names("digit")[0]
COUNTS = parallel_names("count")[0]
GENDERS = parallel_names("gender")[0]
AGE_GROUPS = parallel_names("age")[0]
EMOTIONS = parallel_names("emotion")[0]
TRUTHS = parallel_names("truth")[0]
# The ten classes of ESC-10 in our words, in the data set's order.
ESC10_SOUNDS = (
    "dog barking",
    "rooster crowing",
    "rain",
    "sea waves",
    "crackling fire",
    "crying baby",
    "sneezing",
    "clock ticking",
    "helicopter",
    "chainsaw",
)
# Sounds that may lie under a whole clip.
TEXTURES = (
    "crickets",
    "wind",
    "rain",
    "sea waves",
    "engine",
    "crackling fire",
    "electric hum",
    "static noise",
)
# The fifteen instruments of the orchestra's recordings, and all that is struck as one.
ORCHESTRA_INSTRUMENTS = (
    "percussion",
    "cor anglais",
    "cello",
    "contrabassoon",
    "oboe",
    "mandolin",
    "saxophone",
    "clarinet",
    "trombone",
    "flute",
    "bass clarinet",
    "bassoon",
    "french horn",
    "double bass",
    "banjo",
    "guitar",
)


def reword(
    choices: Sequence[str], parallel: str | None, rng: np.random.Generator
) -> dict[str, str]:
    """What each choice is called in one list of choices; no two share a name.

    Args:
        choices: labels.
        parallel: the closed set they belong to, renamed as a whole; ``None`` renames one by one.
        rng: decides how.
    """
    names = {choice: choice for choice in choices}
    if rng.random() >= PLAIN_SHARE:
        if parallel is not None:
            rows = parallel_names(parallel)
            row = dict(zip(rows[0], rows[rng.integers(len(rows))], strict=True))
            names = {choice: row[choice] for choice in choices}
        else:
            names = {choice: _draw((choice, *names_of(choice)), rng) for choice in choices}
    style = rng.random()
    if style < CAPITALS_SHARE:
        return {choice: name[:1].upper() + name[1:] for choice, name in names.items()}
    if style < CAPITALS_SHARE + UNDERSCORES_SHARE:
        return {choice: name.replace(" ", "_") for choice, name in names.items()}
    return names


def _draw(options: Sequence[str], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]
