"""Texts become the tokens that errors are counted in.

Two official tokenisations that are easily confused: sacreBLEU's ``zh``, which Kimi-Audio-Evalkit
uses for English as well as Mandarin, and the character splitting of WeNet's ``compute-wer
--char=1``.
"""

import re
import unicodedata

# Isolated by sacreBLEU 1.5.1. The two ranges marked with (!) were meant as planes 2 and 3, but were
# written with five hex digits where Python reads four; the rule keeps what the program does.
_CJK_RANGES = (
    "\u2001-\u2a6d"  # (!)
    "\u2e80-\u2fdf"
    "\u2ff0-\u303f"
    "\u3100-\u312f"
    "\u31a0-\u31bf"
    "\u31c0-\u31ef"
    "\u3200-\u4db5"
    "\u4e00-\u9fbb"
    "\uf900-\ufa2d"
    "\ufa30-\ufa6a"
    "\ufa70-\ufad9"
    "\ufe10-\ufe1f"
    "\ufe30-\ufe4f"
    "\uff00-\uffef"
)
_CJK = re.compile(f"([{_CJK_RANGES}])")
_ASCII_SYMBOL = re.compile(r"([!-&(-+:-@/\[-`{-~ ])")
_POINT_AFTER_NON_DIGIT = re.compile(r"([^0-9])([.,])")
_POINT_BEFORE_NON_DIGIT = re.compile(r"([.,])([^0-9])")
_HYPHEN_AFTER_DIGIT = re.compile(r"([0-9])(-)")
_HAS_SYMBOL = re.compile(r"[!-&(-/:-@\[-`{-~]")

_WENET_PUNCTUATION = frozenset("!,?、。！，；？：「」︰『』《》")
_WENET_SPACES = frozenset(" \t\r\n")
_TAG = re.compile(r"<[^>]*>?")


def sacrebleu_zh_tokens(text: str) -> list[str]:
    """The ``zh`` tokens of sacreBLEU 1.5.1, lower case, without those that are punctuation only."""
    text = _CJK.sub(r" \1 ", text.strip())
    if _HAS_SYMBOL.search(text):
        text = _ASCII_SYMBOL.sub(r" \1 ", text)
        text = _POINT_AFTER_NON_DIGIT.sub(r"\1 \2 ", text)
        text = _POINT_BEFORE_NON_DIGIT.sub(r" \1 \2", text)
        text = _HYPHEN_AFTER_DIGIT.sub(r"\1 \2 ", text)
    return word_tokens(" ".join(text.split()))


def word_tokens(text: str) -> list[str]:
    """Lower-case words; a stretch between two spaces that is punctuation only does not count."""
    kept = [word for word in text.split(" ") if not _is_punctuation(word)]
    return " ".join(kept).lower().split()


def _is_punctuation(word: str) -> bool:
    return not word.isalnum() and all(unicodedata.category(c)[0] == "P" for c in word)


def wenet_tokens(text: str) -> list[str]:
    """WeNet's ``--char=1`` tokens, upper case.

    A letter of a script without case stands alone; anything else runs on over ASCII.
    """
    tokens = []
    position = 0
    while position < len(text):
        character = text[position]
        category = unicodedata.category(character)
        end = position + 1
        if (
            character in _WENET_PUNCTUATION
            or category in ("Zs", "Cn")
            or character in _WENET_SPACES
        ):
            position = end
            continue
        if category != "Lo":
            end = _end_of_run(text, end, closing=">" if character == "<" else " ")
        token = _TAG.sub("", text[position:end].upper())
        if token:
            tokens.append(token)
        position = end
    return tokens


def _end_of_run(text: str, start: int, closing: str) -> int:
    """Where a run ends: at white space, before a character beyond ASCII, or after a tag."""
    for index in range(start, len(text)):
        character = text[index]
        if not character.isascii() or character in _WENET_SPACES or character == closing:
            return index + (character == ">")
    return len(text)
