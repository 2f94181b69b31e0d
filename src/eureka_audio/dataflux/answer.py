"""Step 2: a model hears the audio, reasons and chooses."""

from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Any

from eureka_audio.dataflux.config import AnswerConfig
from eureka_audio.dataflux.letters import lettered, read_choice
from eureka_audio.dataflux.prompts import read_template
from eureka_audio.dataflux.refusals import RefusalError
from eureka_audio.protocols import Reply, Request
from eureka_audio.records import Answer, Question

VALUES = frozenset({"question", "lettered", "choices"})
DATA = frozenset[str]()


def ask(
    question: Question, order: Sequence[int], audio: str | None, step: AnswerConfig, seed: int
) -> Request:
    """Put a question.

    Args:
        question: what is asked.
        order: indices of its choices, as they are to be shown.
        audio: path of what is heard; None for nothing.
        step: who answers, and how.
        seed: of the sampling.
    """
    shown = tuple(question.choices[index] for index in order)
    template = read_template(step.prompt)
    values = {
        "question": question.query,
        "lettered": lettered(shown),
        "choices": ", ".join(shown),
    }
    conversation, _ = template.fill(values, {}, audio)
    is_lettered = (False, "lettered") in template.holes
    return Request(
        conversation,
        choices=shown,
        schema=schema(len(shown)) if is_lettered else None,
        max_new_tokens=step.max_new_tokens,
        temperature=step.temperature,
        seed=seed,
        inputs={"question": question, "choices": shown, "audio": audio},
    )


def schema(num_choices: int) -> Mapping[str, Any]:
    """What a reply must look like where choices have letters."""
    letters = list(ascii_uppercase[:num_choices])
    return {
        "type": "object",
        "properties": {
            "reasoning": {"type": "string"},
            "answer": {"type": "string", "enum": letters},
        },
        "required": ["reasoning", "answer"],
        "additionalProperties": False,
    }


def read(reply: Reply, question: Question, order: Sequence[int], model: str) -> Answer:
    """The answer, its choice in the question's own order.

    Raises:
        RefusalError: no single choice can be read from the reply, or it was cut short.
    """
    if reply.finish_reason != "stop":
        raise RefusalError(f"expected a whole answer, got one that ended by {reply.finish_reason}")
    shown = [question.choices[index] for index in order]
    place, reasoning = read_choice(reply.text, shown)
    return Answer(model=model, choice=order[place], reasoning=reasoning or reply.reasoning)
