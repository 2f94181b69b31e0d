"""The tokenizer: Qwen's byte-level BPE with three audio tokens, and an encoding in which user text
cannot become special.

Source: paper section 3.1 (the backbone, and so its tokenizer, is Qwen3's); the audio tokens are
those of the released model.
"""

import re
from functools import cache
from itertools import pairwise

from tokenizers import AddedToken
from transformers.convert_slow_tokenizer import bytes_to_unicode
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

END_OF_TEXT = "<|endoftext|>"
TURN_START = "<|im_start|>"
TURN_END = "<|im_end|>"
AUDIO_START = "<|audio_start|>"
AUDIO_PAD = "<|audio_pad|>"
AUDIO_END = "<|audio_end|>"
THINK_START = "<think>"
THINK_END = "</think>"

AUDIO_TOKENS = (AUDIO_START, AUDIO_PAD, AUDIO_END)
SPECIAL_TOKENS = (END_OF_TEXT, TURN_START, TURN_END, *AUDIO_TOKENS, THINK_START, THINK_END)


def add_audio_tokens(tokenizer: PreTrainedTokenizerBase) -> int:
    """Make the audio tokens known to a plain Qwen tokenizer; returns how many were new."""
    return int(tokenizer.add_special_tokens({"additional_special_tokens": list(AUDIO_TOKENS)}))


def prepare_tokenizer(tokenizer: PreTrainedTokenizerBase) -> int:
    """Make a language model's own tokenizer able to write our conversations; returns how many
    tokens are new.

    Audio tokens are added, the tokens that open and close a turn where they are missing, and a
    padding token is named.
    """
    had = len(tokenizer)
    known = tokenizer.get_added_vocab()
    missing = [token for token in (TURN_START, TURN_END, *AUDIO_TOKENS) if token not in known]
    tokenizer.add_tokens([AddedToken(token, special=True, normalized=False) for token in missing])
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or TURN_END
    return len(tokenizer) - had


def encode_plain(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Ids of text as nothing but text: a special token spelled in it is cut in two before encoding.

    Every added token counts, special or not (`<think>` is an ordinary added token of Qwen3). The
    ids decode to `text`.
    """
    pattern = _added_token_pattern(tokenizer)
    cuts = [0, *(match.start() + 1 for match in pattern.finditer(text)), len(text)]
    ids: list[int] = []
    for start, end in pairwise(cuts):
        if start < end:
            ids.extend(tokenizer.encode(text[start:end], add_special_tokens=False))
    return ids


def token_id(tokenizer: PreTrainedTokenizerBase, token: str) -> int:
    """Id of a special token.

    Raises:
        ValueError: the tokenizer lacks it.
    """
    if token not in tokenizer.get_added_vocab():
        raise ValueError(f"this tokenizer has no {token}; call add_audio_tokens on it first")
    return int(tokenizer.convert_tokens_to_ids(token))


def token_bytes(tokenizer: PreTrainedTokenizerBase, token: int) -> bytes:
    """What one token stands for: bytes, not always whole characters; a special one by its name."""
    spelling = str(tokenizer.convert_ids_to_tokens(token))
    if spelling in tokenizer.get_added_vocab():
        return spelling.encode()
    table = _bytes_of_letters()
    return bytes(table[letter] for letter in spelling)


@cache
def _bytes_of_letters() -> dict[str, int]:
    return {letter: byte for byte, letter in bytes_to_unicode().items()}


def _added_token_pattern(tokenizer: PreTrainedTokenizerBase) -> re.Pattern[str]:
    """Matches, without consuming, every place where an added token begins."""
    tokens = sorted(tokenizer.get_added_vocab(), key=len, reverse=True)
    return (
        re.compile("(?=" + "|".join(map(re.escape, tokens)) + ")") if tokens else re.compile("(?!)")
    )
