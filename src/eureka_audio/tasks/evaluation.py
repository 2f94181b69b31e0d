"""The fixed questions of the acceptance table: one wording, one order of choices, the same for
every clip.
"""

from typing import NamedTuple

from eureka_audio.records import AudioClip
from eureka_audio.tasks.labels import labels_of
from eureka_audio.tasks.phrases import plain_question
from eureka_audio.tasks.questions import SKILLS

CLOSED_SKILLS = ("digit", "sound", "instrument", "gender", "age", "emotion", "distinct")
ORDER_SKILLS = ("first", "last", "after", "before")


class EvaluationItem(NamedTuple):
    """One question of an evaluation; ``choices`` is ``None`` for an open question."""

    name: str
    question: str
    choices: tuple[str, ...] | None
    answer: str


def evaluation_items(clip: AudioClip, *, unseen_wording: bool = False) -> list[EvaluationItem]:
    """The questions a clip is fit for, each skill at most once.

    Sounds are chosen among ESC-10's ten labels, instruments among the orchestra's sixteen (an
    instrument outside of them: among all that are known), digits, genders, ages and emotions among
    all.
    Questions of order choose among what is heard in the clip, so that naming a sound that is there
    does not answer them; ``after`` and ``before`` ask for clips of three labels or more.

    Args:
        clip: what is known of the recording.
        unseen_wording: ask in words that training never uses.
    """
    items = []
    for name in CLOSED_SKILLS:
        for fact in SKILLS[name](clip):
            choices = fact.closed_set
            if name == "instrument" and not choices:
                choices = labels_of("instrument")
            if choices:
                question = plain_question(name, unseen=unseen_wording)
                items.append(EvaluationItem(name, question, choices, fact.answer))
    for name in ORDER_SKILLS:
        for fact in SKILLS[name](clip)[:1]:
            choices = tuple(sorted((fact.answer, *fact.likely)))
            if len(choices) > 1:
                question = plain_question(name, fact.thing, unseen=unseen_wording)
                items.append(EvaluationItem(name, question, choices, fact.answer))
    for fact in SKILLS["times"](clip)[:1]:
        question = plain_question("times", fact.thing, unseen=unseen_wording)
        items.append(EvaluationItem("times", question, fact.closed_set, fact.answer))
    return items
