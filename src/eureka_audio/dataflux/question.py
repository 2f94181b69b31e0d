"""Step 1, second half: a caption becomes multiple-choice questions of one category.

The caption is held against the category first; then up to five questions are written. The writer
gives the index of the right option apart, so that no question reveals it; we put the options into
an order of our own, in which every position is right as often.

Departure: the paper's writer returns question and options as one string, in an order of its own,
and names no answer. Known answers make positions balanced and give the verdict a third witness.
"""

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from typing import Any

from eureka_audio.dataflux.config import QuestionConfig
from eureka_audio.dataflux.letters import plain
from eureka_audio.dataflux.prompts import read_template
from eureka_audio.dataflux.refusals import RefusalError, checked_object, read_object
from eureka_audio.dataflux.taxonomy import Exemplar, Leaf
from eureka_audio.protocols import Reply, Request
from eureka_audio.records import AudioClip, Question

VALUES = frozenset({"path", "description", "exemplars", "number"})
DATA = frozenset({"caption"})
MIN_OPTIONS, MAX_OPTIONS = 2, 8
MAX_WORDS = 60
# A listener has only the recording before him.
_NOT_HEARD = frozenset({"caption", "captions", "description", "transcript", "passage"})


def ask(
    clip: AudioClip,
    caption: str,
    leaf: Leaf,
    step: QuestionConfig,
    seed: int,
    hard: Sequence[Exemplar] = (),
) -> Request:
    """Ask for questions about a caption; `hard` are exemplars that earlier models failed on."""
    exemplars = [*hard, *leaf.exemplars][: step.max_exemplars]
    values = {
        "path": leaf.path,
        "description": leaf.description,
        "exemplars": "\n".join(json.dumps(one.model_dump()) for one in exemplars),
        "number": str(step.number),
    }
    conversation, _ = read_template(step.prompt).fill(values, {"caption": caption}, None)
    return Request(
        conversation,
        schema=schema(step.number),
        max_new_tokens=step.max_new_tokens,
        temperature=step.temperature,
        seed=seed,
        inputs={"clip": clip, "caption": caption, "leaf": leaf, "number": step.number},
    )


def schema(number: int) -> Mapping[str, Any]:
    """What a reply must look like."""
    options = {
        "type": "array",
        "items": {"type": "string"},
        "minItems": MIN_OPTIONS,
        "maxItems": MAX_OPTIONS,
    }
    question = {
        "type": "object",
        "properties": {
            "question": {"type": "string"},
            "options": options,
            "answer": {"type": "integer", "minimum": 0, "maximum": MAX_OPTIONS - 1},
        },
        "required": ["question", "options", "answer"],
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {
            "is_success": {"type": "boolean"},
            "questions": {"type": "array", "items": question, "maxItems": number},
        },
        "required": ["is_success", "questions"],
        "additionalProperties": False,
    }


Written = tuple[
    Question, str
]  # a question as it was written, and what is wrong with it, if anything


def read(reply: Reply, number: int) -> list[Written]:
    """The questions, the right option of each still where the writer put it; none on a mismatch.

    Raises:
        RefusalError: the reply is not what was asked for.
    """
    found = read_object(reply.text.strip(), {"is_success": bool, "questions": list})
    if not found["is_success"]:
        return []
    if not 1 <= len(found["questions"]) <= number:
        raise RefusalError(f"expected 1 to {number} questions, got {len(found['questions'])}")
    written = []
    for row in found["questions"]:
        keys = {"question": str, "options": list, "answer": int}
        one = checked_object(row, keys)
        if not all(isinstance(option, str) for option in one["options"]):
            raise RefusalError(f"expected options in words, got {one['options']!r:.120}")
        question = Question(
            query=one["question"].strip(),
            choices=tuple(option.strip() for option in one["options"]),
            answer=one["answer"],
        )
        written.append((question, fault_of(question)))
    return written


def fault_of(question: Question) -> str:
    """Why a question cannot be asked; empty when it can."""
    names = [plain(choice) for choice in question.choices]
    words = plain(question.query).split()
    if not MIN_OPTIONS <= len(names) <= MAX_OPTIONS:
        return f"expected {MIN_OPTIONS} to {MAX_OPTIONS} options, got {len(names)}"
    if not 0 <= question.answer < len(names):
        return f"the right option is number {question.answer} of {len(names)}"
    if not all(names) or len(set(names)) < len(names):
        return "options are empty or alike"
    if not words or len(words) > MAX_WORDS:
        return f"expected a question of at most {MAX_WORDS} words, got {len(words)}"
    if found := _NOT_HEARD.intersection(words):
        return f"speaks of a {min(found)}, which nobody hears"
    query = f" {' '.join(words)} "
    given = [index for index, name in enumerate(names) if f" {name} " in query]
    return "the question gives its answer away" if given == [question.answer] else ""


def arranged(question: Question, place: int, seed: str) -> Question:
    """The question with its right choice at a place (counted round and round), the rest at random.

    Args:
        question: as written.
        place: counts up over a run, so that every position is right as often.
        seed: decides the order of the wrong choices.
    """
    right = question.choices[question.answer]
    wrong = [choice for choice in question.choices if choice != right]
    random.Random(seed).shuffle(wrong)
    place %= len(question.choices)
    choices = (*wrong[:place], right, *wrong[place:])
    return Question(query=question.query, choices=choices, answer=place)


def item_id(audio_sha256: str, leaf: str, question: Question | None) -> str:
    """The name of an item, the same whenever the same is asked of the same audio."""
    words = [] if question is None else [question.query, sorted(question.choices)]
    content = json.dumps([audio_sha256, leaf, words])
    return hashlib.sha256(content.encode()).hexdigest()[:20]
