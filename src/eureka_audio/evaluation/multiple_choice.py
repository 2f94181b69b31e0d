"""Did a free reply pick the right option? The matchers of MMAU and MMAR, under three names.

``official`` compares words, as the benchmarks' authors do; a reply of bare letters scores about 0.
``letter_mapped`` first puts the option's text in place of a stated letter, then does the same.
``judge`` asks a text model for yes or no (:mod:`eureka_audio.evaluation.judge`).

The three differ by tens of points on the same replies, so a score without its mode says little.
"""

import re
import unicodedata
from collections.abc import Sequence, Set

CHOICE_RULES = ("official", "letter_mapped", "judge")

_WORD = re.compile(r"\w+")
_REASONING = (
    re.compile(r".*<\|channel\|>final<\|message\|>(.*?)(?:<\|(?:end|return)\|>.*)?", re.DOTALL),
    re.compile(r"analysis.*assistantfinal(.*)", re.DOTALL),
    re.compile(r"\s*<think>.*</think>(.*)", re.DOTALL),
)
# Replies are read in their compatibility form (NFKC), in which wide letters and marks are plain.
_MARKUP = re.compile(r"\\(?:boxed|text|textbf|mathbf)\{|\\[()\[\]]|[{}$]|</?(?:final_)?answer>")
_OPEN = r"[\s*_\"'“‘(\[【]*"
_CLOSE = r"[\s*_\"'”’)\]】.,:;。、!]*"
_ENDS = r"(?=[*_\"'”’\]】]*(?:[).,;。、!\n]|:(?!\S)|\s*$))"
_BARE_LETTER = re.compile(rf"{_OPEN}([A-Za-z]){_CLOSE}")
_LEADING_LETTER = re.compile(rf"{_OPEN}([A-Z])[*_]*(?:[).,\]、】]|:(?!\S))")
_STATED_LETTER = re.compile(
    r"(?:\b(?:answer|option|choice)(?:\s+(?:is|would\s+be|should\s+be))?"
    r"|\b(?:choose|select|pick|go\s+with)|答案(?:是|为|选)?|选(?:项|择)?)"
    rf"\s*:?\s*(?:option\s+)?{_OPEN}([A-Z]){_ENDS}",
    re.IGNORECASE,
)
_PRAISED_LETTER = re.compile(
    rf"{_OPEN}([A-Z])[)\]\"'*_]*\s*(?:is\s+(?:the\s+)?(?:correct|right|best)\b|是正确).*",
    re.DOTALL,
)
_TWO_LETTERS = re.compile(rf"\b[A-H][)\]*_]*\s*(?:[,/&、]|and\b|or\b|和|或)\s*{_OPEN}[A-H]{_ENDS}")


def matches_answer(prediction: str, answer: str, choices: Sequence[str]) -> bool:
    """MMAU's and MMAR's own matcher, which compares sets of words.

    A word is a run of Unicode letters, digits and underscores of the lower-cased text. The reply is
    right when it has every word of the answer and none that only a wrong choice has; order and
    repetition do not matter, and neither does anything else it says.
    """
    said = _words(prediction)
    wanted = _words(answer)
    forbidden = {word for choice in choices for word in _words(choice)} - wanted
    return bool(said) and wanted <= said and said.isdisjoint(forbidden)


def map_letter(prediction: str, choices: Sequence[str]) -> str:
    """Put the option's text in place of a reply that states its letter; leave others alone.

    Understood are, in this order, a bare letter in any wrapping ("B", "(b).", "**B**"), one that is
    announced ("The answer is B.", "I choose B", "答案：B"; the last one counts), one that is called
    right at the start ("B is correct") and a capital letter set off at the start ("B. text",
    "(B) text"); the letter wins over what follows it. A reply that names two letters side by side
    ("A or B", "A, B") picks none of them. Where an option's text is that very letter, it is left
    alone: with the options C, D, G, A the reply "A" means the note.

    Unstated: no evaluator publishes this rule; the official matcher rejects letters altogether.
    """
    texts = {choice.strip() for choice in choices}
    letter = None if prediction.strip() in texts else _stated_letter(prediction, texts)
    index = -1 if letter is None else ord(letter) - ord("A")
    return choices[index] if 0 <= index < len(choices) else prediction


def _stated_letter(prediction: str, texts: Set[str]) -> str | None:
    """The one letter that a reply states, unless it is itself the text of an option."""
    reply = _MARKUP.sub("", unicodedata.normalize("NFKC", prediction)).strip()
    if _TWO_LETTERS.search(reply):
        return None
    if match := _BARE_LETTER.fullmatch(reply):
        letter = match[1]
    elif stated := list(_STATED_LETTER.finditer(reply)):
        letter = stated[-1][1]
    elif match := _PRAISED_LETTER.fullmatch(reply):
        letter = match[1]
    elif match := _LEADING_LETTER.match(reply):
        return match[1]
    else:
        return None
    return None if texts & {letter, letter.upper()} else letter.upper()


def final_answer(reply: str) -> str:
    """What a reasoning text model answers in the end, without its thoughts.

    Understood are the channels of GPT-OSS, spelled as special tokens or decoded without them, and a
    closed ``<think>`` block; any other reply comes back as it is.
    """
    for pattern in _REASONING:
        if match := pattern.fullmatch(reply):
            return match[1].strip()
    return reply


def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text.lower()))
