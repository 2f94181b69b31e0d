"""From a fact to a question: its wording, its choices, its answer."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from eureka_audio.records import AudioClip
from eureka_audio.tasks import identity, scene
from eureka_audio.tasks.facts import Fact
from eureka_audio.tasks.labels import reword
from eureka_audio.tasks.phrases import draw_question

MAX_CHOICES = 15
WHOLE_SET_SHARE = 0.35  # of lists of choices: all labels of a well-known data set
LIKELY_SHARE = 0.6  # of wrong choices, where there are any that need careful listening

SKILLS: Mapping[str, Callable[[AudioClip], list[Fact]]] = {
    skill.__name__: skill
    for skill in (
        identity.digit,
        identity.sound,
        identity.instrument,
        identity.music,
        identity.gender,
        identity.age,
        identity.emotion,
        identity.speaker,
        identity.speech,
        identity.words,
        scene.first,
        scene.last,
        scene.after,
        scene.before,
        scene.distinct,
        scene.times,
        scene.heard,
        scene.sequence,
        scene.background,
    )
}


class Asked(NamedTuple):
    """A question with its answer; ``choices`` is ``None`` for an open question."""

    question: str
    choices: tuple[str, ...] | None
    answer: str


def ask(skill: str, facts: Sequence[Fact], rng: np.random.Generator, *, offer: bool) -> Asked:
    """Ask about one of the facts; every answer among them is as likely, so that yes is no better a
    guess than no.

    Args:
        skill: whose wordings are used.
        facts: at least one.
        rng: decides everything.
        offer: list choices; the answer is then exactly one of them.
    """
    answers = list(dict.fromkeys(fact.answer for fact in facts))
    answer = answers[rng.integers(len(answers))]
    candidates = [fact for fact in facts if fact.answer == answer]
    fact = candidates[rng.integers(len(candidates))]
    question = draw_question(skill, fact.thing, rng, with_choices=offer)
    if not offer:
        return Asked(question, None, fact.answer)
    choices = draw_choices(fact, rng)
    names = reword(choices, fact.parallel, rng)
    return Asked(question, tuple(names[choice] for choice in choices), names[fact.answer])


def draw_choices(fact: Fact, rng: np.random.Generator) -> list[str]:
    """Two to fifteen labels in any order, the answer among them; now and then all labels of its
    data set.
    """
    if fact.closed_set and rng.random() < WHOLE_SET_SHARE:
        choices = list(fact.closed_set)
    else:
        most = min(MAX_CHOICES - 1, len(fact.others))
        number = int(rng.integers(1, most + 1))
        likely = [label for label in fact.likely if rng.random() < LIKELY_SHARE][:number]
        rest = [label for label in fact.others if label not in likely]
        drawn = rng.choice(len(rest), number - len(likely), replace=False)
        choices = [fact.answer, *likely, *(rest[index] for index in drawn)]
    return [choices[index] for index in rng.permutation(len(choices))]
