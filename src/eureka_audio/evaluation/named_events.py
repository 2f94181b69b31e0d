"""Which events a caption names, by the phrases that stand for them.

The phrases come with the item, so a file of predictions can be scored by itself.
"""

import re
from collections.abc import Mapping, Sequence

_QUOTED = re.compile(r'"[^"]*"')


def named_events(caption: str, phrases: Mapping[str, Sequence[str]]) -> set[str]:
    """The labels of which a phrase occurs in the caption, as whole words, in any letter case.

    What is quoted is what was said, not what was heard, and is passed over.

    Example:
        >>> phrases = {"dog barking": ["a dog barks"], "bell": ["a bell rings"]}
        >>> named_events('A dog barks, then a man says "a bell rings".', phrases)
        {'dog barking'}
    """
    text = _QUOTED.sub("", caption.lower())
    return {
        label
        for label, wordings in phrases.items()
        if any(re.search(rf"\b{re.escape(words)}\b", text) for words in wordings)
    }
