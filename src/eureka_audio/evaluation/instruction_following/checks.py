"""IFEval's 25 checks. Each builder reads an instruction's arguments and gives a test for replies.

Source: the instruction-following evaluation of Google Research, rules in words. Where a rule
surprises (bold counts once, triple stars twice; a keyword is a regular expression) it is kept.
"""

import json
import re
from collections.abc import Callable

from eureka_audio.errors import EvaluationError
from eureka_audio.evaluation.instruction_following.arguments import Arguments
from eureka_audio.evaluation.instruction_following.language import (
    count_sentences,
    is_language,
    word_tokens,
)

Check = Callable[[str], bool]

_WORD = re.compile(r"\w+")
_STARS_DIVIDER = re.compile(r"\s?\*\*\*\s?")
_PLACEHOLDER = re.compile(r"\[.*?\]")
_STAR_BULLET = re.compile(r"^\s*\*[^\*].*$", re.MULTILINE)
_DASH_BULLET = re.compile(r"^\s*-.*$", re.MULTILINE)
_HIGHLIGHT = re.compile(r"\*[^\n\*]*\*")
_BOLD = re.compile(r"\*\*[^\n\*]*\*\*")
_TITLE = re.compile(r"<<[^\n]+>>")
_POSTSCRIPTS = {"P.S.": r"\s*p\.\s?s\..*$", "P.P.S": r"\s*p\.\s?p\.\s?s.*$"}
_WORD_ENDS = frozenset(".,?!'\"")
_CONSTRAINED = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
_TWO_RESPONSES_DIVIDER = "******"
_ENDINGS = ("Any other questions?", "Is there anything else I can help with?")


def build_check(instruction_id: str, arguments: Arguments) -> Check:
    """The test that an instruction asks for.

    Raises:
        EvaluationError: the instruction is unknown, or an argument is missing or unusable.
    """
    builder = _BUILDERS.get(instruction_id)
    if builder is None:
        raise EvaluationError(
            f"expected one of IFEval's {len(_BUILDERS)} instructions, got {instruction_id!r};"
            " correct the row"
        )
    try:
        return builder(arguments)
    except re.error as error:
        raise EvaluationError(
            f"expected keywords that are regular expressions, as {instruction_id} takes them, got"
            f" one that is not: {error}; correct the row"
        ) from error


def _compared(count: Callable[[str], int], relation: str, threshold: int) -> Check:
    if relation == "less than":
        return lambda reply: count(reply) < threshold
    return lambda reply: count(reply) >= threshold


# Keywords


def _existence(arguments: Arguments) -> Check:
    patterns = [re.compile(word, re.IGNORECASE) for word in arguments.texts("keywords")]
    return lambda reply: all(pattern.search(reply) for pattern in patterns)


def _frequency(arguments: Arguments) -> Check:
    pattern = re.compile(arguments.raw_text("keyword").strip(), re.IGNORECASE)
    threshold = arguments.number("frequency", 1, 3)
    return _compared(lambda reply: len(pattern.findall(reply)), arguments.relation(), threshold)


def _forbidden_words(arguments: Arguments) -> Check:
    patterns = [
        re.compile(rf"\b{word}\b", re.IGNORECASE) for word in arguments.texts("forbidden_words")
    ]
    return lambda reply: not any(pattern.search(reply) for pattern in patterns)


def _letter_frequency(arguments: Arguments) -> Check:
    letter = arguments.letter("letter")
    threshold = arguments.number("let_frequency", 1, 10)
    relation = arguments.relation("let_relation")
    return _compared(lambda reply: reply.lower().count(letter), relation, threshold)


# Length


def _number_words(arguments: Arguments) -> Check:
    threshold = arguments.number("num_words", 100, 500)
    return _compared(lambda reply: len(_WORD.findall(reply)), arguments.relation(), threshold)


def _number_sentences(arguments: Arguments) -> Check:
    threshold = arguments.number("num_sentences", 1, 20)
    return _compared(count_sentences, arguments.relation(), threshold)


def _divided_pieces(pieces: list[str]) -> list[str] | None:
    """The pieces around a divider; blank ones may only stand first or last, else None."""
    if any(not piece.strip() for piece in pieces[1:-1]):
        return None
    return [piece for piece in pieces if piece.strip()]


def _number_paragraphs(arguments: Arguments) -> Check:
    wanted = arguments.number("num_paragraphs", 1, 5)

    def check(reply: str) -> bool:
        paragraphs = _divided_pieces(_STARS_DIVIDER.split(reply))
        return paragraphs is not None and len(paragraphs) == wanted

    return check


def _nth_paragraph_first_word(arguments: Arguments) -> Check:
    wanted = arguments.number("num_paragraphs", 1, 5)
    nth = arguments.number("nth_paragraph", 1, wanted + 1, at_least=1, at_most=wanted)
    first_word = arguments.raw_text("first_word").lower()

    def check(reply: str) -> bool:
        pieces = reply.split("\n\n")
        num_paragraphs = sum(bool(piece.strip()) for piece in pieces)
        words = pieces[nth - 1].split() if nth <= num_paragraphs else []
        if not words:  # the n-th piece is blank, or there are too few
            return False
        return num_paragraphs == wanted and _bare_word(words[0]) == first_word

    return check


def _bare_word(word: str) -> str:
    """A word without leading quotes, up to its first punctuation mark, lower case."""
    word = word.lstrip("'").lstrip('"')
    end = next((i for i, character in enumerate(word) if character in _WORD_ENDS), len(word))
    return word[:end].lower()


# Content and format


def _number_placeholders(arguments: Arguments) -> Check:
    wanted = arguments.number("num_placeholders", 1, 4)
    return lambda reply: len(_PLACEHOLDER.findall(reply)) >= wanted


def _postscript(arguments: Arguments) -> Check:
    marker = arguments.text("postscript_marker", ("P.S.", "P.P.S"))
    source = _POSTSCRIPTS.get(marker, rf"\s*{marker.lower()}.*$")
    pattern = re.compile(source, re.MULTILINE)
    return lambda reply: pattern.search(reply.lower()) is not None


def _number_bullet_lists(arguments: Arguments) -> Check:
    wanted = arguments.number("num_bullets", 1, 5)
    return lambda reply: (
        len(_STAR_BULLET.findall(reply)) + len(_DASH_BULLET.findall(reply)) == wanted
    )


def _constrained_response(arguments: Arguments) -> Check:
    return lambda reply: any(option in reply.strip() for option in _CONSTRAINED)


def _number_highlighted_sections(arguments: Arguments) -> Check:
    wanted = arguments.number("num_highlights", 1, 4)

    def check(reply: str) -> bool:
        single = sum(bool(span.strip("*").strip()) for span in _HIGHLIGHT.findall(reply))
        double = sum(bool(span[2:-2].strip()) for span in _BOLD.findall(reply))
        return single + double >= wanted

    return check


def _multiple_sections(arguments: Arguments) -> Check:
    splitter = arguments.text("section_spliter", ("Section", "SECTION"))
    wanted = arguments.number("num_sections", 1, 5)
    pattern = re.compile(rf"\s?{splitter}\s?\d+\s?")
    return lambda reply: len(pattern.findall(reply)) >= wanted


def _json_format(arguments: Arguments) -> Check:
    def check(reply: str) -> bool:
        text = reply.strip()
        for fence in ("```json", "```Json", "```JSON", "```"):
            text = text.removeprefix(fence)
        try:
            json.loads(text.removesuffix("```").strip())
        except (ValueError, RecursionError):
            return False
        return True

    return check


def _title(arguments: Arguments) -> Check:
    return lambda reply: any(span.lstrip("<").rstrip(">").strip() for span in _TITLE.findall(reply))


# Combination, start and end


def _two_responses(arguments: Arguments) -> Check:
    def check(reply: str) -> bool:
        responses = _divided_pieces(reply.split(_TWO_RESPONSES_DIVIDER))
        return (
            responses is not None
            and len(responses) == 2
            and responses[0].strip() != responses[1].strip()
        )

    return check


def _repeat_prompt(arguments: Arguments) -> Check:
    prompt = arguments.raw_text("prompt_to_repeat").strip().lower()
    return lambda reply: reply.strip().lower().startswith(prompt)


def _end_checker(arguments: Arguments) -> Check:
    phrase = arguments.text("end_phrase", _ENDINGS).lower()
    return lambda reply: reply.strip().strip('"').lower().endswith(phrase)


def _quotation(arguments: Arguments) -> Check:
    def check(reply: str) -> bool:
        text = reply.strip()
        return len(text) > 1 and text[0] == '"' == text[-1]

    return check


# Language, case, punctuation


def _response_language(arguments: Arguments) -> Check:
    language = arguments.raw_text("language")
    return lambda reply: is_language(reply, language)


def _capital_word_frequency(arguments: Arguments) -> Check:
    threshold = arguments.number("capital_frequency", 1, 20)
    return _compared(
        lambda reply: sum(token.isupper() for token in word_tokens(reply)),
        arguments.relation("capital_relation"),
        threshold,
    )


def _english_capital(arguments: Arguments) -> Check:
    return lambda reply: reply.isupper() and is_language(reply, "en")


def _english_lowercase(arguments: Arguments) -> Check:
    return lambda reply: reply.islower() and is_language(reply, "en")


def _no_comma(arguments: Arguments) -> Check:
    return lambda reply: "," not in reply


_BUILDERS: dict[str, Callable[[Arguments], Check]] = {
    "keywords:existence": _existence,
    "keywords:frequency": _frequency,
    "keywords:forbidden_words": _forbidden_words,
    "keywords:letter_frequency": _letter_frequency,
    "language:response_language": _response_language,
    "length_constraints:number_sentences": _number_sentences,
    "length_constraints:number_paragraphs": _number_paragraphs,
    "length_constraints:number_words": _number_words,
    "length_constraints:nth_paragraph_first_word": _nth_paragraph_first_word,
    "detectable_content:number_placeholders": _number_placeholders,
    "detectable_content:postscript": _postscript,
    "detectable_format:number_bullet_lists": _number_bullet_lists,
    "detectable_format:constrained_response": _constrained_response,
    "detectable_format:number_highlighted_sections": _number_highlighted_sections,
    "detectable_format:multiple_sections": _multiple_sections,
    "detectable_format:json_format": _json_format,
    "detectable_format:title": _title,
    "combination:two_responses": _two_responses,
    "combination:repeat_prompt": _repeat_prompt,
    "startend:end_checker": _end_checker,
    "startend:quotation": _quotation,
    "change_case:capital_word_frequency": _capital_word_frequency,
    "change_case:english_capital": _english_capital,
    "change_case:english_lowercase": _english_lowercase,
    "punctuation:no_comma": _no_comma,
}
INSTRUCTIONS = tuple(_BUILDERS)
