"""Did a free reply pick the right option? The matchers of MMAU and MMAR, under three names.

``official`` compares words, as the benchmarks' authors do; a reply of bare letters scores about 0.
``letter_mapped`` first puts the option's text in place of a stated letter, then does the same.
``judge`` asks a text model for yes or no (:mod:`eureka_audio.evaluation.judge`).

The three differ by tens of points on the same replies, so a score without its mode says little.
"""

import re
from collections.abc import Sequence

CHOICE_RULES = ("official", "letter_mapped", "judge")

_WORD = re.compile(r"\w+")
_OPEN = r"[\s*_\"'“‘(\[（【]*"
_CLOSE = r"[\s*_\"'”’)\]）】.,:;。，：；、!！]*"
_BARE_LETTER = re.compile(rf"{_OPEN}([A-Za-z]){_CLOSE}")
_LEADING_LETTER = re.compile(rf"{_OPEN}([A-Z])[*_]*[).:,\]．）：、】]")
_STATED_LETTER = re.compile(
    r"(?:\b(?:answer|option|choice)(?:\s+is)?|答案(?:是|为|选)?|选项?)\s*[:：]?\s*(?:option\s+)?"
    rf"{_OPEN}(?-i:([A-Z]))(?=[*_\"'”’\]）】]*(?:[).:,;。，：；、!！\n]|\s*$))",
    re.IGNORECASE,
)


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

    Understood are a bare letter in any wrapping ("B", "(b).", "**B**"), a capital letter set off at
    the start ("B. text", "(B) text") and one that is announced ("The answer is B.", "答案：B"; the
    last one counts). The letter wins over what follows it. A reply that is itself the text of an
    option is no letter: with the options C, D, G, A the reply "A" means the note.

    Unstated: no evaluator publishes this rule; the official matcher rejects letters altogether.
    """
    reply = prediction.strip()
    if any(reply.casefold() == choice.strip().casefold() for choice in choices):
        return prediction
    letter = None
    if match := _BARE_LETTER.fullmatch(reply) or _LEADING_LETTER.match(reply):
        letter = match[1]
    elif stated := list(_STATED_LETTER.finditer(reply)):
        letter = stated[-1][1]
    if letter is None:
        return prediction
    index = ord(letter.upper()) - ord("A")
    return choices[index] if index < len(choices) else prediction


def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text.lower()))
