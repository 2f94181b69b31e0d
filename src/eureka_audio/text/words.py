"""The words of a text."""

import re

_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")


def words_of(text: str) -> list[str]:
    """The words of a text in lower case; what is no letter and no apostrophe within parts them.

    Example:
        >>> words_of("It's 5 o'clock, said Zoe.")
        ["it's", "o'clock", 'said', 'zoe']
    """
    return _WORD.findall(text.lower())
