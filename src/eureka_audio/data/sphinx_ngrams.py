"""The trigram model of everyday English that pocketsphinx comes with: read, and made small.

It knows 72,547 words, two million pairs and 1.7 million triples of them, from text that nobody
could gather here, and takes 27 MB. Most pairs and triples say little that a shorter history does
not: those are kept whose loss would change its predictions most, and the back-offs are computed
anew. What is left is a fifth of the size and chooses transcripts as well (`docs/decisions.md`).

    en-us.lm.bin    Debian's `pocketsphinx-en-us`    2-clause BSD licence (notice kept)

Source: pruning by relative entropy, Stolcke (1998), one n-gram at a time.
Unstated: the paper's decoder is Qwen3, which needs no such help.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eureka_audio.errors import ConfigError, MissingDependencyError
from eureka_audio.text.ngrams import END, MAX_WORDS, START, Ngrams

SPHINX = Path("/usr/share/pocketsphinx/model/en-us/en-us.lm.bin")
MAGIC = b"Trie Language Model"
LN_BASE = np.log(1.0001)  # its logarithms are to this base
NUM_BINS = 2**16  # of its quantised logarithms
QUANT_BITS = 16
NUM_PAIRS, NUM_TRIPLES = 400_000, 400_000  # that are kept
LEAST_LEFT = 1e-4  # probability that a history leaves for words not seen after it

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class BackoffModel:
    """A trigram model with natural logarithms, before it is packed.

    Attributes:
        words: `V` words.
        unigrams: log-probabilities and back-offs `(V,)`.
        pairs: numbers of words `(N, 2)`, in the order they are said; each comes once.
        pair_log_probs: `(N,)`; pair_backoffs: `(N,)`.
        triples: `(N, 3)`; the first two and the last two of each are among the pairs.
        triple_log_probs: `(N,)`.
    """

    words: tuple[str, ...]
    unigrams: tuple[Floats, Floats]
    pairs: Numbers
    pair_log_probs: Floats
    pair_backoffs: Floats
    triples: Numbers
    triple_log_probs: Floats

    def find_pairs(self, wanted: Numbers) -> Numbers:
        """Where each of `(N, 2)` is among the pairs; -1 for none."""
        size = len(self.words)
        keys = self.pairs[:, 0] * size + self.pairs[:, 1]
        order = np.argsort(keys)
        sought = wanted[:, 0] * size + wanted[:, 1]
        at = np.minimum(np.searchsorted(keys[order], sought), len(keys) - 1)
        return np.where(keys[order][at] == sought, order[at], -1)

    def packed(self) -> Ngrams:
        """The same, small and to be looked up."""
        return Ngrams.build(
            self.words,
            self.unigrams,
            (self.pairs, self.pair_log_probs, self.pair_backoffs),
            (self.triples, self.triple_log_probs),
        )


def everyday_ngrams(path: Path = SPHINX) -> Ngrams:
    """What is kept of pocketsphinx's model.

    Raises:
        MissingDependencyError: it is not installed.
        ConfigError: the file is something else.
    """
    if not path.is_file():
        raise MissingDependencyError(
            f"{path}: expected pocketsphinx's model of English; install Debian's "
            "pocketsphinx-en-us, or set text.everyday_ngrams=false"
        )
    return prune(most_probable_words(read_sphinx(path)), NUM_PAIRS, NUM_TRIPLES).packed()


def read_sphinx(path: Path) -> BackoffModel:
    """Read a trigram model in the binary form of sphinxbase.

    A trie from the last word of an n-gram to its first; numbers are packed bit by bit.

    Raises:
        ConfigError: the file is something else.
    """
    data = path.read_bytes()
    if not data.startswith(MAGIC) or data[len(MAGIC)] != 3:
        raise ConfigError(f"{path}: expected a trigram model in the form of sphinxbase")
    place = len(MAGIC) + 1

    def take(kind: np.dtype[np.void] | str, count: int) -> NDArray[np.void]:
        nonlocal place
        if len(data) - place < np.dtype(kind).itemsize * count:
            raise ConfigError(f"{path}: expected more than {len(data)} bytes; it was cut short")
        values = np.frombuffer(data, kind, count, place)
        place += values.nbytes
        return values

    num_words, num_pairs, num_triples = (int(count) for count in take("<u4", 3))
    take("<u4", 1)  # says nothing
    bins = [take("<f4", NUM_BINS).astype(np.float64) * LN_BASE for _ in range(3)]
    node = np.dtype([("log_prob", "<f4"), ("backoff", "<f4"), ("children", "<u4")])
    unigrams = take(node, num_words + 1)
    word_bits, child_bits = num_words.bit_length(), num_triples.bit_length()
    pair_fields = _unpacked(
        take("u1", _num_bytes(num_pairs + 1, word_bits + 2 * QUANT_BITS + child_bits)),
        num_pairs + 1, (word_bits, QUANT_BITS, QUANT_BITS, child_bits),
    )  # fmt: skip
    triple_fields = _unpacked(
        take("u1", _num_bytes(num_triples + 1, word_bits + QUANT_BITS)),
        num_triples, (word_bits, QUANT_BITS),
    )  # fmt: skip
    size = int(take("<u4", 1)[0])
    words = take("u1", size).tobytes().decode("utf-8").split("\0")[:num_words]

    starts = unigrams["children"].astype(np.int64)
    num_pairs = int(starts[num_words])  # some are counted that are not there
    second = np.repeat(np.arange(num_words), np.diff(starts))
    first, backoff, log_prob, children = (field[:num_pairs] for field in pair_fields)
    children = np.r_[children, pair_fields[3][num_pairs]]
    of_pair = np.repeat(np.arange(num_pairs), np.diff(children))
    return BackoffModel(
        tuple(words),
        (
            unigrams["log_prob"][:num_words] * LN_BASE,
            unigrams["backoff"][:num_words] * LN_BASE,
        ),
        np.stack([first, second], 1),
        bins[0][log_prob],
        bins[1][backoff],
        np.stack([triple_fields[0], first[of_pair], second[of_pair]], 1),
        bins[2][triple_fields[1]],
    )


def _num_bytes(count: int, bits: int) -> int:
    return (count * bits + 7) // 8 + 8


def _unpacked(packed: NDArray[np.void], count: int, widths: tuple[int, ...]) -> list[Numbers]:
    """Columns of ``count`` rows of numbers of these widths in bits, the lowest bits first."""
    columns, offset = [], 0
    for width in widths:
        bits = np.arange(count) * sum(widths) + offset
        value = np.zeros(count, np.int64)
        for byte in range(5):
            value |= packed[(bits >> 3) + byte].astype(np.int64) << (8 * byte)
        columns.append((value >> (bits & 7)) & ((1 << width) - 1))
        offset += width
    return columns


def most_probable_words(model: BackoffModel, count: int = MAX_WORDS) -> BackoffModel:
    """The model without all but the most probable words, and without what holds the others."""
    log_probs = model.unigrams[0].copy()
    for mark in (START, END):
        log_probs[model.words.index(mark)] = 0.0
    kept = np.sort(np.argsort(-log_probs, kind="stable")[:count])
    number = np.full(len(model.words), -1)
    number[kept] = np.arange(len(kept))
    pairs, triples = number[model.pairs], number[model.triples]
    has_pair, has_triple = (pairs >= 0).all(1), (triples >= 0).all(1)
    return BackoffModel(
        tuple(model.words[place] for place in kept),
        (model.unigrams[0][kept], model.unigrams[1][kept]),
        pairs[has_pair],
        model.pair_log_probs[has_pair],
        model.pair_backoffs[has_pair],
        triples[has_triple],
        model.triple_log_probs[has_triple],
    )


def prune(model: BackoffModel, num_pairs: int, num_triples: int) -> BackoffModel:
    """Keep what changes predictions most, and the pairs that what is kept of triples needs."""
    log_probs, backoffs = model.unigrams
    first, second = model.pairs.T
    history, shorter = (model.find_pairs(model.triples[:, at]) for at in ([0, 1], [1, 2]))
    said_first = log_probs.copy()
    said_first[model.words.index(START)] = log_probs[model.words.index(END)]

    without = model.pair_backoffs[history] + model.pair_log_probs[shorter]
    often = said_first[model.triples[:, 0]] + model.pair_log_probs[history]
    change = np.exp(often + model.triple_log_probs) * np.abs(model.triple_log_probs - without)
    keeps_triple = _largest(change, num_triples)

    without = backoffs[first] + log_probs[second]
    often = said_first[first] + model.pair_log_probs
    keeps_pair = _largest(np.exp(often) * np.abs(model.pair_log_probs - without), num_pairs)
    keeps_pair[history[keeps_triple]] = True
    keeps_pair[shorter[keeps_triple]] = True

    backoffs = _left_over(
        first[keeps_pair], model.pair_log_probs[keeps_pair], log_probs[second[keeps_pair]],
        len(model.words),
    )  # fmt: skip
    pair_backoffs = _left_over(
        history[keeps_triple], model.triple_log_probs[keeps_triple],
        model.pair_log_probs[shorter[keeps_triple]], len(model.pairs),
    )  # fmt: skip
    return BackoffModel(
        model.words,
        (log_probs, backoffs),
        model.pairs[keeps_pair],
        model.pair_log_probs[keeps_pair],
        pair_backoffs[keeps_pair],
        model.triples[keeps_triple],
        model.triple_log_probs[keeps_triple],
    )


def _largest(values: Floats, count: int) -> NDArray[np.bool_]:
    kept = np.zeros(len(values), bool)
    kept[np.argsort(-values, kind="stable")[:count]] = True
    return kept


def _left_over(history: Numbers, log_probs: Floats, shorter: Floats, size: int) -> Floats:
    """Back-offs `(size,)`: the probability that each history leaves for words not seen after it,
    by what the shorter history gives these.
    """
    left, given = (
        np.clip(1 - np.bincount(history, np.exp(values), size), LEAST_LEFT, 1)
        for values in (log_probs, shorter)
    )
    return np.log(left / given)
