"""One answer token by token: stop strings, half characters held back, circles noticed."""

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eureka_audio.inference.growing_answer import GrowingAnswer, repeats_itself
from tiny import tiny_processor

END = 9999


def growing(limit: int = 1000, **ending: object) -> GrowingAnswer:
    tokenizer = tiny_processor().tokenizer
    return GrowingAnswer(tokenizer, {END}, limit, **ending)


def bytes_as_tokens(text: str) -> list[int]:
    """One token for each byte, so that characters and stop strings fall apart."""
    tokenizer = tiny_processor().tokenizer
    return [tokenizer.convert_tokens_to_ids(_SYMBOLS[byte]) for byte in text.encode()]


def _byte_symbols() -> list[str]:
    """What a byte-level vocabulary calls each byte."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    symbols = {byte: chr(byte) for byte in printable}
    symbols |= {byte: chr(256 + rank) for rank, byte in enumerate(others)}
    return [symbols[byte] for byte in range(256)]


_SYMBOLS = _byte_symbols()


def fill(answer: GrowingAnswer, tokens: Iterable[int]) -> list[str]:
    pieces = []
    for token in [*tokens, END]:
        answer.add(token)
        pieces.append(answer.new_text())
        if answer.has_finished:
            break
    return pieces


@pytest.mark.parametrize("text", ["plain words", "naïve café ☃ 你好", "a\nb\n\nc"])
def test_pieces_add_up_and_hold_no_half_character(text: str) -> None:
    answer = growing()
    pieces = fill(answer, bytes_as_tokens(text))
    assert "".join(pieces) == answer.text == text
    assert not any("\ufffd" in piece for piece in pieces)


@given(st.text(alphabet="ab☃ é", max_size=20), st.lists(st.text("ab☃", min_size=1), max_size=2))
def test_pieces_add_up_whatever_the_stop_strings(text: str, stop: list[str]) -> None:
    answer = growing(stop=stop)
    pieces = fill(answer, bytes_as_tokens(text))
    # The first stop string that is complete ends the answer.
    heads = (text[:end] for end in range(len(text) + 1))
    head = next((head for head in heads if any(s in head for s in stop)), text)
    places = [head.find(s) for s in stop if s in head]
    assert "".join(pieces) == answer.text == head[: min(places, default=None)]


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=12), st.integers(1, 5))
def test_text_looked_at_now_and_then_is_that_of_all_tokens(text: str, every: int) -> None:
    answer, tokens = growing(), bytes_as_tokens(text)
    for number, token in enumerate(tokens):
        answer.add(token)
        if number % every == 0:
            _ = answer.text
    whole = tiny_processor().tokenizer.decode(tokens, clean_up_tokenization_spaces=False)
    assert answer.text == whole


def test_a_stop_string_is_a_string_not_its_tokens() -> None:
    answer = growing(stop=["User:"])
    fill(answer, bytes_as_tokens("Use: r and User: no"))
    assert answer.text == "Use: r and "
    assert answer.finish_reason == "stop"


def test_broken_bytes_at_the_very_end_are_shown() -> None:
    answer = growing()
    pieces = fill(answer, bytes_as_tokens("☃")[:2])
    assert "".join(pieces) == answer.text == "\ufffd"


def test_an_answer_ends_at_its_limit() -> None:
    answer = growing(limit=3)
    fill(answer, bytes_as_tokens("abcdef"))
    assert (answer.text, answer.finish_reason) == ("abc", "length")


@pytest.mark.parametrize("group", ["a", "ab", "one two "])
def test_going_in_circles_ends_an_answer(group: str) -> None:
    answer = growing(max_repeats=8)
    fill(answer, bytes_as_tokens("start " + group * 50))
    assert answer.finish_reason == "repetition"
    assert answer.text in ("start " + group * 8, ("start " + group * 8).rstrip())
    assert fill(free := growing(), bytes_as_tokens(group * 50))
    assert free.text == group * 50


@given(st.lists(st.integers(0, 2), max_size=40), st.integers(2, 5))
def test_circles_are_those_a_plain_search_finds(ids: list[int], times: int) -> None:
    found = any(ids[-n:] * times == ids[-n * times :] for n in range(1, len(ids) // times + 1))
    assert repeats_itself(ids, times) == found
