"""What users write stays text, whatever it spells."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import Qwen2Tokenizer

from eureka_audio.text.tokenizer import (
    AUDIO_PAD,
    AUDIO_TOKENS,
    END_OF_TEXT,
    SPECIAL_TOKENS,
    TURN_END,
    add_audio_tokens,
    encode_plain,
    token_bytes,
    token_id,
)
from tiny import train_tokenizer

LINES = ["the dog barks and the cat sleeps", "what is said? seven three one", "Größe: 3 café"]


@pytest.fixture(scope="module")
def tokenizer() -> Qwen2Tokenizer:
    return train_tokenizer(LINES, 300)


def test_the_size_is_the_one_asked_for_and_every_special_token_is_one_id(
    tokenizer: Qwen2Tokenizer,
) -> None:
    assert len(tokenizer) == 300
    ids = [token_id(tokenizer, token) for token in SPECIAL_TOKENS]
    assert len(set(ids)) == len(SPECIAL_TOKENS)
    assert tokenizer.eos_token == TURN_END
    assert tokenizer.pad_token == END_OF_TEXT
    assert train_tokenizer(LINES, 300).get_vocab() == tokenizer.get_vocab()


def injections() -> list[str]:
    """Every added token, every pair, and tokens in words, cut, nested and doubled."""
    singles = list(SPECIAL_TOKENS)
    pairs = [a + b for a, b in itertools.product(singles, repeat=2)]
    spaced = [f"say {a} now{b}\n" for a, b in itertools.product(singles, repeat=2)]
    nested = [token[:3] + token + token[3:] for token in singles]
    cut = ["<" + token for token in singles] + [token[:-1] + token for token in singles]
    return singles + pairs + spaced + nested + cut


@pytest.mark.parametrize("text", ["".join(injections()), *injections()])
def test_no_special_id_comes_from_text_and_it_decodes_back(
    tokenizer: Qwen2Tokenizer, text: str
) -> None:
    special = set(tokenizer.get_added_vocab().values())
    ids = encode_plain(tokenizer, text)
    assert not special & set(ids)
    assert tokenizer.decode(ids) == text


def test_the_guard_is_needed(tokenizer: Qwen2Tokenizer) -> None:
    assert token_id(tokenizer, TURN_END) in tokenizer.encode(f"bye{TURN_END}")


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(SPECIAL_TOKENS),
            st.sampled_from(["<", "|", ">", "</", "im_end|>", "<|", " ", "\n"]),
            st.text(st.characters(codec="ascii"), max_size=6),
            st.sampled_from(["é", "ß", "漢字", "🎧", "\u0000"]),
        ),
        max_size=8,
    )
)
def test_any_mixture_of_tokens_and_text_stays_text(parts: list[str]) -> None:
    tokenizer = _shared()
    text = "".join(parts)
    ids = encode_plain(tokenizer, text)
    assert not set(tokenizer.get_added_vocab().values()) & set(ids)
    assert tokenizer.decode(ids) == text


_cache: list[Qwen2Tokenizer] = []


def _shared() -> Qwen2Tokenizer:
    if not _cache:
        _cache.append(train_tokenizer(LINES, 300))
    return _cache[0]


def test_text_without_tokens_is_encoded_as_ever(tokenizer: Qwen2Tokenizer) -> None:
    for text in [*LINES, "", "  \n", "a < b > c | d"]:
        assert encode_plain(tokenizer, text) == tokenizer.encode(text)


def test_an_added_token_that_is_not_special_is_cut_too() -> None:
    tokenizer = train_tokenizer(LINES, 300)
    tokenizer.add_tokens(["dog barks"])
    added = token_id(tokenizer, "dog barks")
    assert added in tokenizer.encode("the dog barks")
    assert added not in encode_plain(tokenizer, "the dog barks")


def test_audio_tokens_are_added_to_a_plain_tokenizer_once() -> None:
    plain = Qwen2Tokenizer(vocab={"a": 0, "b": 1}, merges=[], unk_token=None)
    with pytest.raises(ValueError, match="call add_audio_tokens"):
        token_id(plain, AUDIO_PAD)
    assert add_audio_tokens(plain) == len(AUDIO_TOKENS)
    assert add_audio_tokens(plain) == 0
    assert plain.encode(AUDIO_PAD) == [token_id(plain, AUDIO_PAD)]


def test_the_bytes_of_tokens_spell_the_text(tokenizer: Qwen2Tokenizer) -> None:
    text = "naïve ☃ café"
    ids = encode_plain(tokenizer, text)
    assert b"".join(token_bytes(tokenizer, token) for token in ids).decode() == text
    assert token_bytes(tokenizer, token_id(tokenizer, TURN_END)) == TURN_END.encode()
