"""A trigram model of words: what it says, and what it refuses."""

from math import log
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from eureka_audio.errors import CheckpointError
from eureka_audio.text.ngrams import END, LEAST, MAX_WORDS, START, UNKNOWN, Ngrams

WORDS = (START, END, "a", "dog", "barks")
UNIGRAMS = {START: 1e-9, END: 0.2, "a": 0.4, "dog": 0.25, "barks": 0.15}
BACKOFFS = {START: 0.5, END: 1.0, "a": 0.25, "dog": 0.75, "barks": 1.0}
BIGRAMS = {  # probability, back-off
    ("a", "dog"): (0.6, 0.5),
    ("dog", "barks"): (0.3, 1.0),
    (START, "a"): (0.5, 1.0),
    ("dog", "a"): (0.01, 1.0),
}
TRIGRAMS = {("a", "dog", "barks"): 0.7, (START, "a", "dog"): 0.9}
STEP = 1 / 16  # to which logarithms are kept


def numbers(ngrams: list[tuple[str, ...]]) -> np.ndarray:
    return np.array([[WORDS.index(word) for word in words] for words in ngrams])


def logs(values: list[float]) -> np.ndarray:
    return np.log(np.array(values))


def small_model() -> Ngrams:
    return Ngrams.build(
        WORDS,
        (logs([UNIGRAMS[word] for word in WORDS]), logs([BACKOFFS[word] for word in WORDS])),
        (
            numbers(list(BIGRAMS)),
            logs([p for p, _ in BIGRAMS.values()]),
            logs([b for _, b in BIGRAMS.values()]),
        ),
        (numbers(list(TRIGRAMS)), logs(list(TRIGRAMS.values()))),
    )


@pytest.mark.parametrize(
    ("before", "word", "expected"),
    [
        ((), "dog", log(0.25)),
        (("a",), "dog", log(0.6)),
        (("a", "dog"), "barks", log(0.7)),
        ((START, "a"), "dog", log(0.9)),
        (("barks", "and", START, "a"), "dog", log(0.9)),  # only the last two count
        (("barks", "a"), "dog", log(0.6)),  # a pair never seen: the last word alone
        (("a", "dog"), "a", log(0.5 * 0.01)),  # back-off to a pair
        (("a", "dog"), END, log(0.5 * 0.75 * 0.2)),  # and on to the word
        (("dog",), "dog", log(0.75 * 0.25)),
        (("cat", "dog"), "barks", log(0.3)),  # a word it does not know before them
        (("a", "cat"), "dog", log(0.25)),
        (("a", "dog"), "cat", UNKNOWN),
    ],
)
def test_what_was_not_seen_backs_off(before: tuple[str, ...], word: str, expected: float) -> None:
    assert small_model().log_prob(word, before) == pytest.approx(expected, abs=3 * STEP / 2)


def test_what_is_rarer_than_can_be_kept_is_as_rare_as_that() -> None:
    assert small_model().log_prob(START) == LEAST


def test_it_can_be_kept(tmp_path: Path) -> None:
    model = small_model()
    model.save(tmp_path / "ngrams.safetensors")
    loaded = Ngrams.load(tmp_path / "ngrams.safetensors")
    assert len(loaded) == len(WORDS)
    for words in (*BIGRAMS, *TRIGRAMS):
        assert loaded.log_prob(words[-1], words[:-1]) == model.log_prob(words[-1], words[:-1])


@pytest.mark.parametrize("damage", ["cut", "kind", "missing", "starts", "words"])
def test_a_damaged_file_is_a_typed_error(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "ngrams.safetensors"
    small_model().save(path)
    arrays = load_file(path)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:40])
    elif damage == "kind":
        arrays["bigram_words"] = arrays["bigram_words"].astype(np.int64)
    elif damage == "missing":
        del arrays["trigram_words"]
    elif damage == "starts":
        arrays["trigram_starts"] = arrays["trigram_starts"][::-1].copy()
    else:
        arrays["words"] = arrays["words"][:3]
    if damage != "cut":
        save_file(arrays, path)
    with pytest.raises(CheckpointError, match=r"ngrams\.safetensors: expected a trigram model"):
        Ngrams.load(path)


def test_more_words_than_can_be_numbered_are_refused() -> None:
    count = MAX_WORDS + 1
    none = (np.zeros((0, 2), int), np.zeros(0), np.zeros(0))
    with pytest.raises(ValueError, match="at most 65536 words"):
        Ngrams.build(
            [str(number) for number in range(count)],
            (np.zeros(count), np.zeros(count)),
            none,
            (np.zeros((0, 3), int), np.zeros(0)),
        )


def test_three_words_need_their_first_two() -> None:
    with pytest.raises(ValueError, match="first two words"):
        Ngrams.build(
            WORDS,
            (np.zeros(5), np.zeros(5)),
            (numbers([("a", "dog")]), np.zeros(1), np.zeros(1)),
            (numbers([("dog", "a", "barks")]), np.zeros(1)),
        )
