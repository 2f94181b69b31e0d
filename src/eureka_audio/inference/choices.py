"""Questions with choices: the model says how probable each whole answer is.

Unstated: how a choice is scored. Here by the log-probability of all its tokens and of the token
that ends the turn, so that the choices are compared as complete answers; no division by length,
which would be no probability any more. The softmax over the choices is reported as their scores.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from eureka_audio.errors import MessageError
from eureka_audio.inference.decoding import Decoding
from eureka_audio.inference.runner import ModelRunner
from eureka_audio.processor import EncodedConversation
from eureka_audio.text.tokenizer import TURN_END, encode_plain, token_id

MAX_BRANCHES = 64  # answers read at once; each takes a copy of its prompt's cache


def check_text(text: object, name: str) -> str:
    """Text that a model can read.

    Raises:
        MessageError: it is no text, is blank, or is not valid Unicode.
    """
    if not isinstance(text, str) or not text.strip():
        raise MessageError(f"{name}: expected some text, got {text!r:.80}; write something")
    check_unicode(text, name)
    return text


def check_unicode(text: str, name: str) -> None:
    """Refuse surrogates, halves of characters, which no tokenizer can encode.

    Raises:
        MessageError: the text holds one.
    """
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise MessageError(f"{name}: expected valid Unicode, got half a character in {text!r:.80}")


def check_choices(choices: Sequence[str]) -> tuple[str, ...]:
    """Choices that can be told apart.

    Raises:
        MessageError: fewer than two, one given twice, or one that `check_text` refuses.
    """
    if isinstance(choices, str):
        raise MessageError(f"choices: expected a list of texts, got one text {choices!r:.80}")
    for choice in choices:
        check_text(choice, "choices")
    if len(choices) < 2 or len(set(choices)) < len(choices):
        raise MessageError(f"choices: expected at least two different ones, got {choices!r:.80}")
    return tuple(choices)


def choice_token_ids(runner: ModelRunner, choice: str) -> list[int]:
    """A choice as the model would write it as its whole answer."""
    return [*encode_plain(runner.tokenizer, choice), token_id(runner.tokenizer, TURN_END)]


@torch.inference_mode()
def score_choices(
    runner: ModelRunner,
    encoded: Sequence[EncodedConversation],
    choices: Sequence[Sequence[str]],
) -> list[dict[str, float]]:
    """Log-probability of each choice of each conversation, as its complete answer."""
    decoding, logits_BV = runner.prefill(encoded)
    branches = [
        (row, choice_token_ids(runner, choice))
        for row, offered in enumerate(choices)
        for choice in offered
    ]
    scores: list[float] = []
    for start in range(0, len(branches), MAX_BRANCHES):
        scores += _score_branches(
            runner, decoding, logits_BV, branches[start : start + MAX_BRANCHES]
        )
    remaining = iter(scores)
    return [{choice: next(remaining) for choice in offered} for offered in choices]


def _score_branches(
    runner: ModelRunner,
    decoding: Decoding,
    logits_BV: Tensor,
    branches: Sequence[tuple[int, list[int]]],
) -> list[float]:
    """Log-probability of each answer, given as (row, tokens), in one pass over all of them."""
    rows = [row for row, _ in branches]
    first_BV = logits_BV[rows].float().log_softmax(dim=-1)
    longest = max(len(ids) for _, ids in branches) - 1  # the last token is predicted, never read
    read = [[*ids[:-1], *[0] * (longest + 1 - len(ids))] for _, ids in branches]
    logits_BTV = decoding.fork(rows).extend(runner.embed_tokens(read), keep_all=True)
    scores = []
    for row, (_, ids) in enumerate(branches):
        later_TV = logits_BTV[row, : len(ids) - 1].float().log_softmax(dim=-1)
        targets = torch.tensor(ids[1:], device=later_TV.device)[:, None]
        scores.append(float(first_BV[row, ids[0]] + later_TV.gather(1, targets).sum()))
    return scores


def relative_probabilities(scores: Mapping[str, float]) -> dict[str, float]:
    """Softmax of log-probabilities: how probable each choice is among the choices.

    Example:
        >>> relative_probabilities({"cat": -2.0, "dog": -2.0})
        {'cat': 0.5, 'dog': 0.5}
    """
    best = max(scores.values())
    weights = {choice: math.exp(score - best) for choice, score in scores.items()}
    total = sum(weights.values())
    return {choice: weight / total for choice, weight in weights.items()}
