"""Step 3: a judge weighs the answers against the caption, under the rules of the branch.

Captions, options, reasoning and answers are evidence, not instructions: they stand inside fences,
and a reply counts only when it carries the nonce of the fences, holds exactly what was asked for,
and does not contradict what can be checked without a judge.
"""

from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Any, get_args

from eureka_audio.dataflux.config import VerdictConfig
from eureka_audio.dataflux.letters import lettered
from eureka_audio.dataflux.prompts import read_template
from eureka_audio.dataflux.refusals import RefusalError, read_object
from eureka_audio.dataflux.taxonomy import Leaf
from eureka_audio.protocols import Reply, Request
from eureka_audio.records import Answer, AudioClip, Consistency, FinalAction, Question, Verdict

VALUES = frozenset({"path", "rules", "winners"})
DATA = frozenset({"caption", "question", "answers"})
TIE, NONE = "TIE", "NONE"


def ask(
    clip: AudioClip,
    caption: str,
    leaf: Leaf,
    question: Question,
    answers: Sequence[Answer],
    step: VerdictConfig,
    seed: int,
) -> tuple[Request, str]:
    """Ask for a verdict on answers, shown as MODEL_A, MODEL_B and so on; and the nonce it needs.

    The question's key is not shown: it is a witness of its own.
    """
    names = winners(len(answers))
    values = {
        "path": leaf.path,
        "rules": "\n".join(f"- {rule}" for rule in leaf.rules),
        "winners": ", ".join(f'"{name}"' for name in names[:-2]),
    }
    data = {
        "caption": caption,
        "question": f"{question.query}\n{lettered(question.choices)}",
        "answers": "\n\n".join(
            f"{name}\n{_shown(question, answer)}"
            for name, answer in zip(names, answers, strict=False)
        ),
    }
    conversation, nonce = read_template(step.prompt).fill(values, data, None, salt=str(seed))
    inputs = {"clip": clip, "caption": caption, "leaf": leaf, "question": question}
    request = Request(
        conversation,
        schema=schema(len(answers), nonce),
        max_new_tokens=step.max_new_tokens,
        temperature=step.temperature,
        seed=seed,
        inputs={**inputs, "answers": tuple(answers), "nonce": nonce},
    )
    return request, nonce


def _shown(question: Question, answer: Answer) -> str:
    """One model's reasoning and choice."""
    said = "(none)"
    if answer.choice is not None:
        said = f"{ascii_uppercase[answer.choice]}. {question.choices[answer.choice]}"
    return f"reasoning: {answer.reasoning or '(none given)'}\nanswer: {said}"


def winners(num_answers: int) -> list[str]:
    """What a winner may be called: the models in order, then TIE and NONE."""
    return [*(f"MODEL_{letter}" for letter in ascii_uppercase[:num_answers]), TIE, NONE]


def schema(num_answers: int, nonce: str) -> Mapping[str, Any]:
    """What a verdict must look like."""
    properties = {
        "nonce": {"type": "string", "enum": [nonce]},
        "consensus": {"type": "boolean"},
        "consistency_with_caption": {"type": "string", "enum": list(get_args(Consistency))},
        "winner": {"type": "string", "enum": winners(num_answers)},
        "reasoning": {"type": "string"},
        "final_action": {"type": "string", "enum": list(get_args(FinalAction))},
    }
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def read(reply: Reply, answers: Sequence[Answer], nonce: str) -> Verdict:
    """The verdict.

    Raises:
        RefusalError: the reply is not exactly a verdict, carries another nonce, or contradicts
            itself or the answers.
    """
    keys = {"nonce": str, "consensus": bool, "consistency_with_caption": str, "winner": str}
    found = read_object(reply.text.strip(), {**keys, "reasoning": str, "final_action": str})
    if found.pop("nonce") != nonce:
        raise RefusalError("expected the nonce of this request, got another")
    for name, allowed in (
        ("consistency_with_caption", get_args(Consistency)),
        ("final_action", get_args(FinalAction)),
        ("winner", winners(len(answers))),
    ):
        if found[name] not in allowed:
            raise RefusalError(f"expected {name} to be one of {', '.join(allowed)}, got another")
    verdict = Verdict(**found)
    if verdict.consensus != agree(answers):
        raise RefusalError(f"expected consensus to be {agree(answers)}, as the answers have it")
    if verdict.final_action == "KEEP_USING_WINNER" and winning(verdict, answers) is None:
        raise RefusalError(f"expected a winner to keep, got {verdict.winner}")
    return verdict


def agree(answers: Sequence[Answer]) -> bool:
    """Whether all chose the same."""
    return len({answer.choice for answer in answers}) == 1 and answers[0].choice is not None


def winning(verdict: Verdict, answers: Sequence[Answer]) -> int | None:
    """The index of the winning choice; a tie wins only where all agree."""
    if verdict.winner == NONE:
        return None
    if verdict.winner == TIE:
        return answers[0].choice if agree(answers) else None
    return answers[winners(len(answers)).index(verdict.winner)].choice
