"""The wordings of questions, read from ``phrases.yaml`` and varied in small ways when drawn."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
import yaml

from eureka_audio.tasks.captions import CLAUSES, with_article
from eureka_audio.tasks.labels import labels_of, names_of

FILE = "phrases.yaml"
THING = "{thing}"

# Shares of questions, set by hand.
CAPITAL_SHARE = 0.5
NO_MARK_SHARE = 0.3
OPENING_SHARE = 0.15
OTHER_NAME_SHARE = 0.3
OPENINGS = (
    "listen to the clip. ",
    "listen: ",
    "question: ",
    "please answer: ",
    "here is a recording. ",
    "please tell me: ",
    "about this recording: ",
)


@dataclass(frozen=True)
class Phrases:
    """All wordings of one skill's question.

    Attributes:
        plain: the fixed wording of evaluations, which is also trained on.
        unseen: never trained on; measures whether new wordings are understood.
        phrases: trained on, with and without choices.
        with_choices: trained on where choices follow.
    """

    plain: str
    unseen: str
    phrases: tuple[str, ...]
    with_choices: tuple[str, ...] = ()


@cache
def phrases() -> Mapping[str, Phrases]:
    """Wordings by skill."""
    text = files(__package__).joinpath(FILE).read_text(encoding="utf-8")
    return {
        skill: Phrases(
            row["plain"],
            row["unseen"],
            tuple(row["phrases"]),
            tuple(row.get("with_choices", ())),
        )
        for skill, row in yaml.safe_load(text).items()
    }


def draw_question(
    skill: str, thing: str | None, rng: np.random.Generator, *, with_choices: bool
) -> str:
    """One wording of a skill's question, about `thing` where it mentions one."""
    wordings = phrases()[skill]
    options = (wordings.plain, *wordings.phrases, *(wordings.with_choices if with_choices else ()))
    phrase = options[rng.integers(len(options))]
    if thing is not None:
        phrase = phrase.replace(THING, _draw_mention(thing, phrase, rng))
    if rng.random() < OPENING_SHARE:
        phrase = OPENINGS[rng.integers(len(OPENINGS))] + phrase
    if rng.random() < NO_MARK_SHARE:
        phrase = phrase.rstrip("?.")
    return phrase[0].upper() + phrase[1:] if rng.random() < CAPITAL_SHARE else phrase


def plain_question(skill: str, thing: str | None = None, *, unseen: bool = False) -> str:
    """The fixed wording of a skill's question, or the one that training never sees."""
    phrase = phrases()[skill].unseen if unseen else phrases()[skill].plain
    return phrase if thing is None else phrase.replace(THING, mention(thing, thing, phrase))


def _draw_mention(label: str, phrase: str, rng: np.random.Generator) -> str:
    """A label or another name of it, as it stands in the middle of a question."""
    nouns = [
        name
        for name in names_of(label)
        if name != CLAUSES.get(label)
        and not name.startswith("someone ")
        and not (_has_article(phrase) and name.startswith(("a ", "an ", "the ")))
    ]
    name = label
    if nouns and rng.random() < OTHER_NAME_SHARE:
        name = nouns[rng.integers(len(nouns))]
    return mention(label, name, phrase)


def mention(label: str, name: str, phrase: str) -> str:
    """How a name of a label stands in a phrase.

    Instruments take an article ("an oboe") unless the phrase has one; other labels stand
    bare.
    """
    countable = label in labels_of("instrument") and label != "percussion"
    if not countable or _has_article(phrase) or name.startswith(("a ", "an ", "the ")):
        return name
    return with_article(name)


def _has_article(phrase: str) -> bool:
    return f"the {THING}" in phrase
