"""The letters that a CTC head spells with: lower case, the apostrophe and the space."""

BLANK = 0
CHARACTERS = " 'abcdefghijklmnopqrstuvwxyz"
CTC_VOCAB_SIZE = len(CHARACTERS) + 1  # the blank among them


def encode_characters(text: str) -> list[int]:
    """Lower-case words -> character ids; a character outside the alphabet is left out.

    Example:
        >>> encode_characters("A cab!")
        [3, 1, 5, 3, 4]
    """
    return [CHARACTERS.index(c) + 1 for c in text.lower() if c in CHARACTERS]
