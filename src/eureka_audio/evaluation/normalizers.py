"""The scoring rules of speech recognition, by name: text in, the tokens to compare out.

| rule | English | Mandarin | any other language |
|---|---|---|---|
| ``kimi`` | Whisper English + basic, sacreBLEU zh | numbers spoken out, sacreBLEU zh | - |
| ``qwen2_audio`` | Whisper English + basic, words | numbers spoken out, characters | basic, words |
| ``whisper`` | Whisper English, words as jiwer splits them | - | Whisper basic, words |
| ``wenet`` | ``compute-wer --char=1`` | ``compute-wer --char=1`` | ``compute-wer --char=1`` |

Source: the evaluators' own programs, in words. Unstated: the paper (section 6) names neither a rule
nor an evaluator; its rows for LibriSpeech and AISHELL-2 agree best with ``kimi``.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from eureka_audio.errors import EvaluationError
from eureka_audio.evaluation.mandarin import normalize_mandarin
from eureka_audio.evaluation.tokens import sacrebleu_zh_tokens, wenet_tokens, word_tokens
from eureka_audio.evaluation.whisper_english import normalize_basic, normalize_english

ASR_RULES = ("kimi", "whisper", "qwen2_audio", "wenet")
NULL_PREDICTION = "null"

_SPECIAL_TAG = re.compile(r"<\|.*?\|>")
_WHITESPACE = re.compile(r"\s+")
_SPACE_BEFORE_PUNCTUATION = re.compile(r" ([!,.?;:])")


@dataclass(frozen=True)
class AsrRule:
    """How one evaluator turns a transcript into tokens.

    Attributes:
        name: the rule's name.
        language: ``en``, ``zh``, or another ISO 639-1 code.
        tokens: text -> tokens; errors are counted between two such lists.
        null_is_missing: whether the literal prediction ``null`` is left out, as Kimi-Audio-Evalkit
            does.
    """

    name: str
    language: str
    tokens: Callable[[str], list[str]]
    null_is_missing: bool = False


def asr_rule(name: str, language: str = "en") -> AsrRule:
    """The rule of that name for that language.

    Raises:
        EvaluationError: there is no such rule, or it says nothing about that language.
    """
    if name not in ASR_RULES:
        raise EvaluationError(
            f"expected a speech recognition rule, one of {', '.join(ASR_RULES)}, got {name!r}"
        )
    kind = language if language in ("en", "zh") else "other"
    tokens = _TOKENS.get((name, kind))
    if tokens is None:
        able = ", ".join(rule for rule, spoken in _TOKENS if spoken == kind)
        raise EvaluationError(
            f"expected a rule for language {language!r}, one of {able}, got {name!r}"
        )
    return AsrRule(name, language, tokens, null_is_missing=name == "kimi")


def clean_transcript(text: str, *, keep_spaces: bool = True) -> str:
    """What Qwen2-Audio's and Kimi-Audio's evaluators do first: no tags, even white space."""
    if "<|" in text:
        text = _SPECIAL_TAG.sub(" ", text)
    if not keep_spaces:
        return _WHITESPACE.sub("", text)
    return _SPACE_BEFORE_PUNCTUATION.sub(r"\1", _WHITESPACE.sub(" ", text)).lstrip(" ")


def _twice_normalized(text: str) -> str:
    return normalize_basic(normalize_english(clean_transcript(text)))


def _kimi_english(text: str) -> list[str]:
    return sacrebleu_zh_tokens(_twice_normalized(text))


def _qwen2_english(text: str) -> list[str]:
    return word_tokens(_twice_normalized(text))


def _qwen2_other(text: str) -> list[str]:
    return word_tokens(normalize_basic(clean_transcript(text)))


def _kimi_mandarin(text: str) -> list[str]:
    return sacrebleu_zh_tokens(normalize_mandarin(clean_transcript(text, keep_spaces=False)))


def _qwen2_mandarin(text: str) -> list[str]:
    words = word_tokens(normalize_mandarin(clean_transcript(text, keep_spaces=False)))
    return list("".join(words))


def _whisper_english(text: str) -> list[str]:
    return normalize_english(text).split()


def _whisper_other(text: str) -> list[str]:
    return normalize_basic(text).split()


_TOKENS: dict[tuple[str, str], Callable[[str], list[str]]] = {
    ("kimi", "en"): _kimi_english,
    ("kimi", "zh"): _kimi_mandarin,
    ("whisper", "en"): _whisper_english,
    ("whisper", "other"): _whisper_other,
    ("qwen2_audio", "en"): _qwen2_english,
    ("qwen2_audio", "zh"): _qwen2_mandarin,
    ("qwen2_audio", "other"): _qwen2_other,
    ("wenet", "en"): wenet_tokens,
    ("wenet", "zh"): wenet_tokens,
    ("wenet", "other"): wenet_tokens,
}
