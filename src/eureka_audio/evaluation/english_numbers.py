"""Spoken English numbers become digits, exactly as Whisper's normaliser writes them.

The number under construction is either an ``int``, which arithmetic may still grow ("two" -> 2,
"two hundred" -> 200), or a ``str``, to which digits are only appended ("one oh" -> "10", "two
point" -> "2."). The quirks are part of the rule: a score is comparable only when both sides rewrite
alike.

Source: the description of Whisper's English normaliser; held against transformers' copy of it in
``tests/evaluation/test_whisper_english.py``.
"""

import re
from fractions import Fraction

# fmt: off
_UNITS = (
    "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_SCALES = (
    "thousand", "million", "billion", "trillion", "quadrillion", "quintillion", "sextillion",
    "septillion", "octillion", "nonillion", "decillion",
)
# fmt: on
_IRREGULAR_ORDINALS = {
    "first": (1, "st"),
    "second": (2, "nd"),
    "third": (3, "rd"),
    "fifth": (5, "th"),
    "eighth": (8, "th"),
    "twelfth": (12, "th"),
}

ZEROS = frozenset({"o", "oh", "zero"})
SMALL = {word: number for number, word in enumerate(_UNITS, start=1)}
TENS = {word: 10 * number for number, word in enumerate(_TENS, start=2)}
SCALES = {"hundred": 100} | {word: 1000**power for power, word in enumerate(_SCALES, start=1)}

SMALL_SUFFIXED = (
    {"sixes" if word == "six" else word + "s": (number, "s") for word, number in SMALL.items()}
    | {"zeroth": (0, "th")}
    | {word + "th": (n, "th") for word, n in SMALL.items() if n > 3 and n not in (5, 8, 12)}
    | _IRREGULAR_ORDINALS
)
TENS_SUFFIXED = {word[:-1] + "ies": (number, "s") for word, number in TENS.items()} | {
    word[:-1] + "ieth": (number, "th") for word, number in TENS.items()
}
SCALES_SUFFIXED = {word + "s": (number, "s") for word, number in SCALES.items()} | {
    word + "th": (number, "th") for word, number in SCALES.items()
}

SIGNS = {"minus": "-", "negative": "-", "plus": "+", "positive": "+"}
CURRENCIES = {
    "pound": "£",
    "pounds": "£",
    "euro": "€",
    "euros": "€",
    "dollar": "$",
    "dollars": "$",
    "cent": "¢",
    "cents": "¢",
}
_PREFIX_CHARACTERS = frozenset("-+£€$¢")
_REPEATS = {"double": 2, "triple": 3}
_BEFORE_HALF = frozenset({*SMALL, *TENS, *ZEROS, *SCALES})
_AFTER_POINT = frozenset({*SMALL, *TENS, *ZEROS})

NUMBER_WORDS = frozenset(
    {*ZEROS, *SMALL, *SMALL_SUFFIXED, *TENS, *TENS_SUFFIXED, *SCALES, *SCALES_SUFFIXED}
    | {*SIGNS, *CURRENCIES, *_REPEATS, "per", "percent", "and", "point"}
)

_NUMERAL = re.compile(r"\d+(?:\.\d+)?")
_ANY_DIGIT = re.compile(r"\d")
_AND_A_HALF = re.compile(r"\band\s+a\s+half\b")
_LETTER_DIGIT = re.compile(r"([a-z])([0-9])")
_DIGIT_LETTER = re.compile(r"([0-9])([a-z])")
_DETACHED_SUFFIX = re.compile(r"([0-9])\s+(st|nd|rd|th|s)\b")
_MONEY_AND_CENTS = re.compile(r"([€£$])([0-9]+) (?:and )?¢([0-9]{1,2})\b")
_ONLY_CENTS = re.compile(r"[€£$]0.([0-9]{1,2})\b")
_LONE_ONE = re.compile(r"\b1(s?)\b")


def standardize_numbers(text: str) -> str:
    """Rewrite the numbers of a lower-case text; words come back separated by single spaces."""
    if "half" in text:
        text = _spell_out_half(text)
    has_digits = _ANY_DIGIT.search(text) is not None
    if has_digits:
        text = _LETTER_DIGIT.sub(r"\1 \2", text)
        text = _DIGIT_LETTER.sub(r"\1 \2", text)
        text = _DETACHED_SUFFIX.sub(r"\1\2", text)
    words = text.split()
    if not has_digits and NUMBER_WORDS.isdisjoint(words):
        return " ".join(words)
    text = " ".join(NumberComposer(words).compose())
    text = _MONEY_AND_CENTS.sub(lambda m: f"{m[1]}{m[2]}.{int(m[3]):02d}", text)
    text = _ONLY_CENTS.sub(lambda m: f"¢{int(m[1])}", text)
    return _LONE_ONE.sub(r"one\1", text)


def _spell_out_half(text: str) -> str:
    """Turn "<number> and a half" into "<number> point five".

    After another word it stays; at the start of a text, or after itself, the rule loses it.
    """
    *heads, tail = _AND_A_HALF.split(text)
    pieces = []
    for head in heads:
        if words := head.split():
            pieces += [head, "point five" if words[-1] in _BEFORE_HALF else "and a half"]
    if tail.strip():
        pieces.append(tail)
    return " ".join(pieces)


def _is_numeral(word: str | None) -> bool:
    return word is not None and _NUMERAL.fullmatch(word) is not None


def _whole_product(value: str | int, scale: int) -> int | None:
    """``value`` times ``scale`` when that is a whole number ("2.5" million), else None."""
    try:
        product = Fraction(value) * scale
    except ValueError:
        return None
    return product.numerator if product.denominator == 1 else None


class NumberComposer:
    """Reads words from left to right and keeps the number that is being said.

    Args:
        words: lower-case words without inner spaces, none empty.
    """

    def __init__(self, words: list[str]) -> None:
        self._words = words
        self._out: list[str] = []
        self._value: int | str | None = None
        self._prefix = ""

    def compose(self) -> list[str]:
        """The words with every number written in digits."""
        words, skip = self._words, False
        for index, word in enumerate(words):
            if skip:
                skip = False
                continue
            before = words[index - 1] if index else None
            after = words[index + 1] if index + 1 < len(words) else None
            skip = self._read(word, before, after)
        self._flush()
        return self._out

    def _emit(self, text: str) -> None:
        """Write ``text`` with the pending sign or currency; the number in hand is done."""
        self._out.append(self._prefix + text)
        self._value, self._prefix = None, ""

    def _flush(self) -> None:
        if self._value is not None:
            self._emit(str(self._value))

    def _digits_so_far(self) -> str:
        """The digits said so far; a bare 0 counts as nothing said."""
        return str(self._value or "")

    def _read(self, word: str, before: str | None, after: str | None) -> bool:
        """Take one word in; True when the next word has been used up as well."""
        unsigned = word[1:] if word[0] in _PREFIX_CHARACTERS else word
        if _is_numeral(unsigned):
            self._read_numeral(word, unsigned)
        elif word not in NUMBER_WORDS:
            self._flush()
            self._emit(word)
        elif word in ZEROS:
            self._value = self._digits_so_far() + "0"
        elif word in SMALL:
            self._value = self._with_small(SMALL[word], before)
        elif word in SMALL_SUFFIXED:
            number, suffix = SMALL_SUFFIXED[word]
            self._emit(f"{self._with_small(number, before)}{suffix}")
        elif word in TENS:
            self._value = self._with_tens(TENS[word])
        elif word in TENS_SUFFIXED:
            number, suffix = TENS_SUFFIXED[word]
            self._emit(f"{self._with_tens(number)}{suffix}")
        elif word in SCALES:
            self._scale(SCALES[word])
        elif word in SCALES_SUFFIXED:
            self._scale_and_emit(*SCALES_SUFFIXED[word])
        elif word in SIGNS:
            self._flush()
            if after in NUMBER_WORDS or _is_numeral(after):
                self._prefix = SIGNS[word]
            else:
                self._emit(word)
        elif word in CURRENCIES:
            self._read_currency(word)
        elif word in ("per", "percent"):
            return self._read_percent(word, after)
        else:
            return self._read_connective(word, before, after)
        return False

    def _read_numeral(self, word: str, unsigned: str) -> None:
        if isinstance(self._value, str) and self._value.endswith("."):
            self._value += word  # decimals, or the parts of an address
            return
        self._flush()
        if word != unsigned:
            self._prefix = word[0]
        whole, _, decimals = unsigned.partition(".")
        try:
            self._value = unsigned if int(decimals or 0) else int(whole)
        except ValueError:  # Python converts at most 4,300 digits
            self._value = unsigned

    def _with_small(self, number: int, before: str | None) -> int | str:
        """What the value becomes when a number below twenty follows it."""
        value = self._value
        if value is None:
            return number
        if isinstance(value, str) and before in TENS and number < 10:
            return f"{value[:-1]}{number}"  # "twenty one": the zero of twenty gives way
        if isinstance(value, str) or before in SMALL:
            return f"{value}{number}"
        return value + number if value % (10 if number < 10 else 100) == 0 else f"{value}{number}"

    def _with_tens(self, number: int) -> int | str:
        """What the value becomes when twenty, thirty, ... follows it."""
        value = self._value
        if value is None:
            return number
        if isinstance(value, str) or value % 100:
            return f"{value}{number}"
        return value + number

    def _scale(self, scale: int) -> None:
        value = self._value
        if value is None:
            self._value = scale
        elif isinstance(value, str) or value == 0:
            product = _whole_product(value, scale)
            if product is None:
                self._flush()
            self._value = scale if product is None else product
        else:
            self._value = value // 1000 * 1000 + value % 1000 * scale

    def _scale_and_emit(self, scale: int, suffix: str) -> None:
        value: int | None = scale
        if isinstance(self._value, str):
            value = _whole_product(self._value, scale)
            if value is None:
                self._flush()
                value = scale
        elif self._value is not None:
            value = self._value // 1000 * 1000 + self._value % 1000 * scale
        self._emit(f"{value}{suffix}")

    def _read_currency(self, word: str) -> None:
        if self._value is None:
            self._emit(word)
        else:
            self._prefix = CURRENCIES[word]
            self._flush()

    def _read_percent(self, word: str, after: str | None) -> bool:
        split_in_two = word == "per"
        if self._value is not None and (not split_in_two or after == "cent"):
            self._emit(f"{self._value}%")
            return split_in_two
        self._flush()
        self._emit(word)
        return False

    def _read_connective(self, word: str, before: str | None, after: str | None) -> bool:
        """And, point, double, triple: they act only where a number can follow."""
        if after not in NUMBER_WORDS and not _is_numeral(after):
            self._flush()
            self._emit(word)
        elif word == "and":
            if before not in SCALES:  # "two hundred and five" swallows it
                self._flush()
                self._emit(word)
        elif word == "point":
            if after in _AFTER_POINT or _is_numeral(after):
                self._value = self._digits_so_far() + "."
        elif after in SMALL or after in ZEROS:
            self._value = self._digits_so_far() + str(SMALL.get(after, 0)) * _REPEATS[word]
            return True
        else:
            self._flush()
            self._emit(word)
        return False
