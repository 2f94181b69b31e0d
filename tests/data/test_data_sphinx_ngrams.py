"""pocketsphinx's model of English: read bit by bit, and pruned."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest

from eureka_audio.data.sphinx_ngrams import (
    LN_BASE,
    MAGIC,
    NUM_BINS,
    SPHINX,
    BackoffModel,
    everyday_ngrams,
    most_probable_words,
    prune,
    read_sphinx,
)
from eureka_audio.errors import ConfigError, MissingDependencyError
from eureka_audio.text.ngrams import END, START

WORDS = (START, END, "a", "bee", "hums")
SIZE = len(WORDS)


def made_up(seed: int = 0) -> BackoffModel:
    """A model over all pairs and triples of a few words, each history's probabilities adding to
    one: nothing is left over.
    """
    rng = np.random.default_rng(seed)
    pairs = np.array(list(itertools.product(range(SIZE), repeat=2)))
    triples = np.array(list(itertools.product(range(SIZE), repeat=3)))

    def drawn(*shape: int) -> np.ndarray:
        return np.log(rng.dirichlet(np.full(SIZE, 0.5), shape)).reshape(-1)

    return BackoffModel(
        WORDS,
        (drawn(1), np.zeros(SIZE)),
        pairs,
        drawn(SIZE),
        np.zeros(len(pairs)),
        triples,
        drawn(SIZE, SIZE),
    )


def write_sphinx(path: Path, model: BackoffModel) -> None:
    """The binary form of sphinxbase, written as `read_sphinx` reads it; the trie is from the last
    word to the first.
    """
    by_last = np.lexsort((model.pairs[:, 0], model.pairs[:, 1]))
    pairs = model.pairs[by_last]
    t = model.triples
    by_last_too = np.lexsort((t[:, 0], t[:, 1], t[:, 2]))
    triples = t[by_last_too]
    bins = [
        np.resize(np.sort(values) / LN_BASE, NUM_BINS).astype("<f4")
        for values in (model.pair_log_probs, model.pair_backoffs, model.triple_log_probs)
    ]
    ranks = [
        np.argsort(np.argsort(values[order]))
        for values, order in (
            (model.pair_log_probs, by_last),
            (model.pair_backoffs, by_last),
            (model.triple_log_probs, by_last_too),
        )
    ]

    def packed(columns: list[np.ndarray], widths: tuple[int, ...], rows: int) -> bytes:
        total, at = 0, 0
        for row in range(rows):
            for column, width in zip(columns, widths, strict=True):
                total |= int(column[row]) << at
                at += width
        return total.to_bytes((at + 7) // 8 + 8, "little")

    word_bits, child_bits = SIZE.bit_length(), len(triples).bit_length()
    keys = triples[:, 2] * SIZE + triples[:, 1]
    children = np.searchsorted(keys, np.r_[pairs[:, 1] * SIZE + pairs[:, 0], SIZE * SIZE])
    unigrams = np.zeros(SIZE + 1, [("p", "<f4"), ("b", "<f4"), ("c", "<u4")])
    unigrams["p"][:SIZE], unigrams["b"][:SIZE] = (each / LN_BASE for each in model.unigrams)
    unigrams["c"] = np.searchsorted(pairs[:, 1], np.arange(SIZE + 1))
    text = "".join(f"{word}\0" for word in WORDS).encode()
    counts = np.array([SIZE, len(pairs), len(triples), 1], "<u4")
    one_more = [np.r_[each, 0] for each in (pairs[:, 0], ranks[1], ranks[0])]
    path.write_bytes(
        MAGIC
        + bytes([3])
        + counts.tobytes()
        + b"".join(each.tobytes() for each in bins)
        + unigrams.tobytes()
        + packed([*one_more, children], (word_bits, 16, 16, child_bits), len(pairs) + 1)
        + packed([np.r_[triples[:, 0], 0], np.r_[ranks[2], 0]], (word_bits, 16), len(triples) + 1)
        + np.array([len(text)], "<u4").tobytes()
        + text
    )


def test_what_was_written_is_read(tmp_path: Path) -> None:
    model = made_up()
    write_sphinx(tmp_path / "lm.bin", model)
    read = read_sphinx(tmp_path / "lm.bin")
    assert read.words == model.words
    np.testing.assert_allclose(read.unigrams, model.unigrams, atol=1e-4)
    at = read.find_pairs(model.pairs)
    np.testing.assert_array_equal(read.pairs[at], model.pairs)
    np.testing.assert_allclose(read.pair_log_probs[at], model.pair_log_probs, atol=1e-4)
    np.testing.assert_allclose(read.pair_backoffs[at], model.pair_backoffs, atol=1e-4)
    order = np.lexsort(read.triples.T[::-1])
    np.testing.assert_array_equal(read.triples[order], model.triples)
    np.testing.assert_allclose(read.triple_log_probs[order], model.triple_log_probs, atol=1e-4)


def test_what_is_dropped_is_backed_off_to_and_all_adds_to_one() -> None:
    model = made_up(1)
    pruned = prune(model, 12, 20)
    assert len(pruned.triples) == 20
    assert 12 <= len(pruned.pairs) < len(model.pairs) or len(pruned.pairs) == len(model.pairs)
    packed = pruned.packed()
    for history in itertools.product(WORDS, repeat=2):
        total = sum(math.exp(packed.log_prob(word, history)) for word in WORDS)
        assert total == pytest.approx(1, abs=0.08)  # kept to a sixteenth


def test_what_says_least_is_dropped() -> None:
    model = made_up(2)
    second = model.find_pairs(model.triples[:, 1:])
    same = np.arange(0, len(model.triples), 2)
    log_probs = model.triple_log_probs.copy()
    log_probs[same] = model.pair_log_probs[second[same]]  # no more than the pair says
    told = BackoffModel(
        model.words, model.unigrams, model.pairs, model.pair_log_probs, model.pair_backoffs,
        model.triples, log_probs,
    )  # fmt: skip
    kept = {tuple(words) for words in prune(told, 25, len(log_probs) - len(same)).triples}
    assert kept == {tuple(words) for words in np.delete(model.triples, same, axis=0)}


def test_the_rarest_words_go_with_all_that_holds_them() -> None:
    model = made_up(3)
    rarest = min(
        (p, word) for p, word in zip(model.unigrams[0], WORDS, strict=True) if word[0] != "<"
    )
    fewer = most_probable_words(model, SIZE - 1)
    assert set(fewer.words) == set(WORDS) - {rarest[1]}
    assert len(fewer.pairs) == (SIZE - 1) ** 2
    assert len(fewer.triples) == (SIZE - 1) ** 3
    for words, log_prob in zip(fewer.triples, fewer.triple_log_probs, strict=True):
        before = [model.words.index(fewer.words[number]) for number in words]
        assert log_prob == model.triple_log_probs[np.dot(before, [SIZE**2, SIZE, 1])]


def test_a_model_that_is_not_there_or_something_else(tmp_path: Path) -> None:
    with pytest.raises(MissingDependencyError, match="pocketsphinx-en-us"):
        everyday_ngrams(tmp_path / "lm.bin")
    (tmp_path / "lm.bin").write_bytes(b"\\data\\ ngram 1=5" * 3)
    with pytest.raises(ConfigError, match="in the form of sphinxbase"):
        everyday_ngrams(tmp_path / "lm.bin")


def test_a_model_that_was_cut_short_says_so(tmp_path: Path) -> None:
    path = tmp_path / "lm.bin"
    write_sphinx(path, made_up())
    whole = path.read_bytes()
    for length in (len(MAGIC) + 5, len(whole) // 2, len(whole) - 3):
        path.write_bytes(whole[:length])
        with pytest.raises(ConfigError, match="cut short"):
            read_sphinx(path)


@pytest.mark.skipif(not SPHINX.is_file(), reason="needs Debian's pocketsphinx-en-us")
def test_the_model_of_english_knows_english() -> None:
    model = everyday_ngrams()

    def told(words: list[str]) -> float:
        return sum(model.log_prob(word, (START, *words[:at])) for at, word in enumerate(words))

    words = ["i", "like", "to", "play", "football"]
    assert told(words) > told(words[::-1]) + 10
