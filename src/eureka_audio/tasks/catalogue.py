"""Every task formulation, by name: a clip becomes a conversation that ends with what is to be
learnt.

``transcribe`` and ``caption`` are the paper's tasks; each question has an open form (``digit``) and
one with choices (``digit_choice``); ``asked`` is a question that the clip's manifest brings;
``no_speech`` is the empty transcript of a clip in which nobody speaks. Requests are made by the
functions that make them at inference, so both agree word for word.

Source: paper sections 4 and 5.1 name the task families. Unstated: their wording; all of it is ours.
"""

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import Literal

import numpy as np

from eureka_audio.errors import ConfigError
from eureka_audio.records import AudioClip, AudioEvent, Conversation
from eureka_audio.tasks.captions import Heard, clause
from eureka_audio.tasks.identity import only_speaker, only_words
from eureka_audio.tasks.questions import SKILLS, ask
from eureka_audio.text.chat import (
    answered,
    caption_request,
    question_request,
    transcription_request,
)

QUESTIONS = "questions"  # a weight under this name is shared by all questions that fit the clip
LANGUAGES = {"en": "English"}
NAMED_LANGUAGE_SHARE = 0.2
OPEN_ONLY = ("words",)  # what is said cannot be chosen from a list


@dataclass(frozen=True)
class Task:
    """One formulation: whether a clip says enough for it, and the conversation it makes of the
    clip.

    ``build(clip, audio, rng)`` puts ``audio`` into the conversation as it is; it may be called only
    where ``applies``.
    """

    name: str
    kind: Literal["transcribe", "caption", "question"]
    applies: Callable[[AudioClip], bool]
    build: Callable[[AudioClip, object, np.random.Generator], Conversation]


def _can_transcribe(clip: AudioClip) -> bool:
    return bool(clip.transcript and clip.transcript.strip()) and clip.language in LANGUAGES


def _transcribe(clip: AudioClip, audio: object, rng: np.random.Generator) -> Conversation:
    named = rng.random() < NAMED_LANGUAGE_SHARE
    language = LANGUAGES[clip.language or "en"] if named else None
    return answered(transcription_request(audio, language), clip.transcript or "")


def dense_caption(clip: AudioClip) -> str | None:
    """A caption that names all of a clip: its own, or one made of the only event it has; ``None``
    when not all is known.
    """
    if clip.dense_caption is not None:
        return clip.dense_caption
    if clip.events is None or len(clip.events) != 1 or clip.background is not None:
        return None
    return f"{clause(Heard(clip.events[0]))}."


def speech_caption(clip: AudioClip) -> str | None:
    """Who says what, for a recording of speech whose events were never listed.

    Departure: such a clip may hold noises that go unmentioned; read speech rarely does.
    """
    words = only_words(clip)
    if clip.events is not None or clip.dense_caption is not None or not words:
        return None
    event = AudioEvent(
        kind="speech",
        label="speech",
        end_seconds=clip.duration_seconds,
        transcript=words,
        speaker=only_speaker(clip),
    )
    return f"{clause(Heard(event))}."


def _describe(
    describe: Callable[[AudioClip], str | None],
    clip: AudioClip,
    audio: object,
    rng: np.random.Generator,
) -> Conversation:
    return answered(caption_request(audio), describe(clip) or "")


def _question(
    skill: str, offer: bool, clip: AudioClip, audio: object, rng: np.random.Generator
) -> Conversation:
    asked = ask(skill, SKILLS[skill](clip), rng, offer=offer)
    return answered(question_request(audio, asked.question, asked.choices), asked.answer)


def _asked(clip: AudioClip, audio: object, rng: np.random.Generator) -> Conversation:
    own = clip.questions[int(rng.integers(len(clip.questions)))]
    return answered(question_request(audio, own.question, own.choices or None), own.answer)


def _is_known(skill: str, offer: bool, clip: AudioClip) -> bool:
    facts = SKILLS[skill](clip)
    return bool(facts) and (not offer or all(fact.others for fact in facts))


def _catalogue() -> Iterator[Task]:
    yield Task("transcribe", "transcribe", _can_transcribe, _transcribe)
    yield Task("no_speech", "transcribe", attrgetter("is_speechless"), _transcribe)
    for name, describe in (("caption", dense_caption), ("speech_caption", speech_caption)):
        yield Task(name, "caption", partial(_has, describe), partial(_describe, describe))
    yield Task("asked", "question", lambda clip: bool(clip.questions), _asked)
    for skill in SKILLS:
        for offer in (False,) if skill in OPEN_ONLY else (False, True):
            name = f"{skill}_choice" if offer else skill
            known, build = partial(_is_known, skill, offer), partial(_question, skill, offer)
            yield Task(name, "question", known, build)


def _has(describe: Callable[[AudioClip], str | None], clip: AudioClip) -> bool:
    return describe(clip) is not None


TASKS: Mapping[str, Task] = {task.name: task for task in _catalogue()}


def draw_task(
    clip: AudioClip, audio: object, weights: Mapping[str, float], rng: np.random.Generator
) -> tuple[str, Conversation] | None:
    """Put a clip to one of the tasks it is fit for, in proportion to their weights.

    Args:
        clip: what is known of the recording.
        audio: goes into the conversation untouched.
        weights: by task; ``questions`` stands for all questions that are not named, which share its
            weight.
        rng: decides the task and its wording.

    Returns:
        The task's name and the conversation, or ``None`` where the clip is fit for none of them.

    Raises:
        ConfigError: a name is unknown or a weight is negative or not finite.
    """
    check_weights(weights)
    chances = {name: weights[name] for name in weights if name != QUESTIONS and weights[name] > 0}
    fit = {name: chance for name, chance in chances.items() if TASKS[name].applies(clip)}
    if weights.get(QUESTIONS, 0.0) > 0:
        unnamed = [
            name
            for name, task in TASKS.items()
            if task.kind == "question" and name not in weights and task.applies(clip)
        ]
        fit.update({name: weights[QUESTIONS] / len(unnamed) for name in unnamed})
    if not fit:
        return None
    names, shares = list(fit), np.array(list(fit.values()))
    name = names[int(rng.choice(len(names), p=shares / shares.sum()))]
    return name, TASKS[name].build(clip, audio, rng)


def check_weights(weights: Mapping[str, float]) -> None:
    """Refuse weights that could not be meant.

    Raises:
        ConfigError: a name is unknown, or a weight is negative or not finite.
    """
    for name, weight in weights.items():
        if name not in TASKS and name != QUESTIONS:
            near = difflib.get_close_matches(name, [*TASKS, QUESTIONS], n=1, cutoff=0.0)[0]
            raise ConfigError(
                f"expected the name of a task, got {name!r} among the task weights; "
                f"did you mean {near!r}?"
            )
        if not (np.isfinite(weight) and weight >= 0):
            raise ConfigError(
                f"expected a task weight of at least 0, got {weight} for {name!r}; "
                "use 0 to leave the task out"
            )
