"""When words are said: the best path against all paths, and words without letters."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eureka_audio.inference.transcription.loops import cut_loops, without_rounds
from eureka_audio.inference.transcription.times import align_letters, spread_words, word_times
from eureka_audio.text.letters import BLANK, CTC_VOCAB_SIZE, encode_characters


def log_probs(num_frames: int, num_letters: int, seed: int) -> np.ndarray:
    logits = np.random.default_rng(seed).standard_normal((num_frames, num_letters)) * 3
    return (logits - np.log(np.exp(logits).sum(1, keepdims=True))).astype(np.float32)


def spelling(path: tuple[int, ...]) -> list[int]:
    return [letter for letter, _ in itertools.groupby(path) if letter != BLANK]


@given(st.integers(0, 10_000), st.lists(st.integers(1, 3), min_size=1, max_size=4))
def test_the_best_path_is_the_best_of_all_paths(seed: int, letters: list[int]) -> None:
    scores = log_probs(6, 4, seed)
    paths = [path for path in itertools.product(range(4), repeat=6) if spelling(path) == letters]
    found = align_letters(scores, letters)
    if not paths:
        assert found is None
        return
    best = max(sum(scores[f, letter] for f, letter in enumerate(path)) for path in paths)
    path = [BLANK] * 6
    for letter, place in zip(letters, found, strict=True):
        assert place.start < place.end
        path[place.start : place.end] = [letter] * (place.end - place.start)
    assert spelling(tuple(path)) == letters
    total = sum(scores[frame, letter] for frame, letter in enumerate(path))
    assert total == pytest.approx(best, abs=1e-4)


def spoken(*parts: tuple[str, int]) -> np.ndarray:
    """Log-probabilities of someone who says these texts, each over so many frames a letter."""
    ids = [i for text, frames in parts for c in text for i in encode_characters(c) * frames]
    scores = np.full((len(ids), CTC_VOCAB_SIZE), -12.0, dtype=np.float32)
    for frame, letter in enumerate(ids):
        scores[frame, letter] = -0.01
    return scores


def test_words_lie_where_they_are_said() -> None:
    words = word_times(spoken(("go", 5), (" ", 10), ("on", 5)), ["Go,", "on!"], 2.0, 2.6)
    assert [(word.word, word.start, word.end) for word in words] == [
        ("Go,", 2.0, pytest.approx(2.2)),
        ("on!", pytest.approx(2.4), pytest.approx(2.6)),
    ]
    assert all(0.98 < word.probability < 1 for word in words)


def test_a_word_without_letters_lies_between_its_neighbours() -> None:
    frames = spoken(("go", 5), (" ", 10), ("on", 5))
    before, number, after = word_times(frames, ["go", "22", "on"], 0.0, 0.6)
    assert before.end <= number.start <= number.end <= after.start
    assert number.probability is None
    only = word_times(frames, ["1", "22"], 0.0, 0.6)
    assert [(word.start, word.end) for word in only] == [
        (0.0, pytest.approx(0.2)),
        (pytest.approx(0.2), 0.6),
    ]


def test_words_that_do_not_fit_have_no_place() -> None:
    assert word_times(spoken(("go", 1)), ["go", "on"], 0.0, 1.0) is None
    assert word_times(spoken(("o", 2)), ["oo"], 0.0, 1.0) is None
    assert align_letters(spoken(("o", 2)), []) == []
    assert spread_words([], 0.0, 1.0) == []


@given(st.lists(st.sampled_from("abc"), max_size=40), st.integers(2, 5))
def test_no_round_is_left_and_nothing_else_goes(items: list[str], rounds: int) -> None:
    kept = without_rounds(items, rounds)
    assert set(kept) == set(items)
    if kept == items:
        for length in range(1, len(items) // rounds + 1):
            for start in range(len(items) - length * rounds + 1):
                group = items[start : start + length]
                assert items[start : start + length * rounds] != group * rounds


def test_loops_are_cut_and_people_are_not() -> None:
    assert cut_loops("one two " * 8 + "three") == ("one two three", True)
    assert cut_loops("no no no no no no") == ("no no no no no no", False)
    assert cut_loops("ha" * 30, was_stopped=True) == ("ha", True)
    assert cut_loops("well no no no no", was_stopped=True) == ("well no", True)
    assert cut_loops("well", was_stopped=True) == ("well", False)
    assert cut_loops(" a \n b ") == ("a b", False)
