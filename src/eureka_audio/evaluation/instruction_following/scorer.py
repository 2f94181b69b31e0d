"""Strict and loose verdicts on one reply, instruction by instruction."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eureka_audio.errors import EvaluationError
from eureka_audio.evaluation.instruction_following.arguments import Arguments
from eureka_audio.evaluation.instruction_following.checks import build_check
from eureka_audio.evaluation.voicebench import without_speaker_tag

INSTRUCTION_RULES = ("voicebench", "google")
_USER_TAG = "<|user|>"


@dataclass(frozen=True)
class Followed:
    """Which instructions a reply followed.

    Attributes:
        strict: per instruction, judged on the reply as it is.
        loose: per instruction, judged on the best of eight trimmed variants.
        invented: arguments that were missing and drawn at random, as the official checks do.
    """

    strict: tuple[bool, ...]
    loose: tuple[bool, ...]
    invented: Mapping[str, Any]


def judge_reply(
    reply: str,
    instruction_ids: Sequence[str],
    arguments: Sequence[Mapping[str, Any] | None],
    rule: str = "voicebench",
    seed: str | int = 0,
) -> Followed:
    """Check one reply against its instructions.

    Args:
        reply: the model's words.
        instruction_ids: such as ``punctuation:no_comma``.
        arguments: for each instruction, its arguments by name.
        rule: ``voicebench`` or ``google``.
        seed: of the values drawn where an argument is missing; the same for strict and loose.

    Raises:
        EvaluationError: the lists differ in length, or an instruction cannot be checked.
    """
    if len(instruction_ids) != len(arguments):
        raise EvaluationError(
            f"expected one set of arguments for each of {len(instruction_ids)} instructions, got"
            f" {len(arguments)}; correct the row"
        )
    if rule == "voicebench":
        reply = _without_tags(reply)
    variants = _loose_variants(reply)
    draw = random.Random(seed)
    strict: list[bool] = []
    loose: list[bool] = []
    invented: dict[str, Any] = {}
    for instruction_id, given in zip(instruction_ids, arguments, strict=True):
        kept = Arguments(_kept_arguments(given or {}, rule), draw)
        check = build_check(instruction_id, kept)
        strict.append(bool(reply.strip()) and check(reply))
        loose.append(strict[-1] or any(check(variant) for variant in variants if variant.strip()))
        invented |= {f"{instruction_id}/{name}": value for name, value in kept.invented.items()}
    return Followed(tuple(strict), tuple(loose), invented)


def _without_tags(reply: str) -> str:
    reply = without_speaker_tag(reply)
    return reply.removesuffix(_USER_TAG).strip() if reply.endswith(_USER_TAG) else reply


def _kept_arguments(given: Mapping[str, Any], rule: str) -> dict[str, Any]:
    if rule == "voicebench":
        return {name: value for name, value in given.items() if value}
    return {name: value for name, value in given.items() if value is not None}


def _loose_variants(reply: str) -> list[str]:
    """The reply, without its first line, without its last, without both; then all without stars."""
    lines = reply.split("\n")
    trimmed = ["\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1])]
    variants = [reply, *trimmed]
    return variants + [variant.replace("*", "") for variant in variants]
