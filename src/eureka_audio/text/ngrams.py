"""How probable a word is after the two before it: a trigram model of words, small enough to ship.

A decoder of a few million weights has read little. Which words follow one another in everyday
English is known from far more text than it could learn from, and fits into a few megabytes.

Three words that were seen together have a probability of their own; others take that of the last
two, times what the first two leave over (their back-off), and so on down to the single word. All of
it lies in flat arrays, a trie: the words seen after word `i` are
`bigram_words[bigram_starts[i]:bigram_starts[i + 1]]`, in order, and so on. Log-probabilities are
natural and kept to a sixteenth.

Source: back-off models of words, Katz (1987).
"""

from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from eureka_audio.errors import CheckpointError

START, END = "<s>", "</s>"
STEPS = 16.0  # of a natural logarithm that are told apart
LEAST = -255 / STEPS
MAX_WORDS = 2**16
UNKNOWN = -14.0  # log-probability of a word that it does not have: as rare as its rarest

Floats = NDArray[np.floating]
Integers = NDArray[np.integer]

KINDS = {
    "words": np.uint8,
    "unigram_log_probs": np.uint8,
    "unigram_backoffs": np.int8,
    "bigram_starts": np.uint32,
    "bigram_words": np.uint16,
    "bigram_log_probs": np.uint8,
    "bigram_backoffs": np.int8,
    "trigram_starts": np.uint32,
    "trigram_words": np.uint16,
    "trigram_log_probs": np.uint8,
}


class Ngrams:
    """A trigram model of words.

    Args:
        arrays: what `KINDS` names, as its file holds them.

    Raises:
        ValueError: they do not fit together.
    """

    def __init__(self, arrays: dict[str, NDArray[np.generic]]) -> None:
        if {name: array.dtype.type for name, array in arrays.items()} != KINDS:
            raise ValueError(f"expected arrays {sorted(KINDS)} of their kinds")
        self._arrays = arrays
        words = arrays["words"].tobytes().decode("utf-8").split("\n")
        for of, starts, values in (
            (len(words), "bigram_starts", "bigram_words"),
            (len(arrays["bigram_words"]), "trigram_starts", "trigram_words"),
        ):
            steps = np.diff(arrays[starts].astype(np.int64))
            if len(steps) != of or (steps < 0).any() or steps.sum() != len(arrays[values]):
                raise ValueError(f"{starts} does not fit to {values}")
        self._ids = {word: number for number, word in enumerate(words)}

    def __len__(self) -> int:
        """How many words it has."""
        return len(self._ids)

    def log_prob(self, word: str, before: Sequence[str] = ()) -> float:
        """How probable a word is after others.

        Args:
            word: in lower case, or `END`.
            before: the words before it, of which the last two count, or `START`.

        Returns:
            A natural logarithm; `UNKNOWN` of a word that the model does not have.
        """
        last = self._ids.get(word)
        if last is None:
            return UNKNOWN
        history = [self._ids.get(each) for each in before[-2:]]
        second = history[-1] if history else None
        if second is None:
            return self._unigram(last)
        first = history[0] if len(history) > 1 else None
        pair = None if first is None else self._find("bigram", first, second)
        if pair is None:
            return self._bigram(second, last)
        place = self._find("trigram", pair, last)
        if place is not None:
            return -float(self._arrays["trigram_log_probs"][place]) / STEPS
        return float(self._arrays["bigram_backoffs"][pair]) / STEPS + self._bigram(second, last)

    def _bigram(self, first: int, last: int) -> float:
        place = self._find("bigram", first, last)
        if place is not None:
            return -float(self._arrays["bigram_log_probs"][place]) / STEPS
        return float(self._arrays["unigram_backoffs"][first]) / STEPS + self._unigram(last)

    def _unigram(self, word: int) -> float:
        return -float(self._arrays["unigram_log_probs"][word]) / STEPS

    def _find(self, order: str, node: int, word: int) -> int | None:
        """Where the trie holds a word below a node, if it does."""
        starts, words = self._arrays[f"{order}_starts"], self._arrays[f"{order}_words"]
        low, high = int(starts[node]), int(starts[node + 1])
        place = bisect_left(words, word, low, high)
        return place if place < high and words[place] == word else None

    def save(self, path: Path) -> None:
        """Write what `load` reads."""
        save_file(self._arrays, path)

    @classmethod
    def load(cls, path: Path) -> "Ngrams":
        """Read what `save` wrote.

        Raises:
            CheckpointError: it is not such a file.
        """
        try:
            return cls(load_file(path))
        except (SafetensorError, ValueError) as error:
            raise CheckpointError(f"{path}: expected a trigram model, got {error}") from error

    @classmethod
    def build(
        cls,
        words: Sequence[str],
        unigrams: tuple[Floats, Floats],
        bigrams: tuple[Integers, Floats, Floats],
        trigrams: tuple[Integers, Floats],
    ) -> "Ngrams":
        """A model of its parts.

        Args:
            words: `V`, at most 65,536; a word's number is its place here.
            unigrams: log-probabilities and back-offs `(V,)`.
            bigrams: numbers of the words `(N, 2)`, log-probabilities and back-offs `(N,)`.
            trigrams: numbers of the words `(N, 3)` and log-probabilities `(N,)`; the first two
                words of each are among the bigrams.

        Raises:
            ValueError: more words than can be numbered, or a trigram without its bigram.
        """
        if len(words) > MAX_WORDS:
            raise ValueError(f"expected at most {MAX_WORDS} words, got {len(words)}")
        pairs, pair_log_probs, pair_backoffs = bigrams
        by_pair = np.lexsort((pairs[:, 1], pairs[:, 0]))
        pairs = pairs[by_pair].astype(np.int64)
        triples, triple_log_probs = trigrams
        by_triple = np.lexsort((triples[:, 2], triples[:, 1], triples[:, 0]))
        triples = triples[by_triple].astype(np.int64)
        keys = pairs[:, 0] * len(words) + pairs[:, 1]
        wanted = triples[:, 0] * len(words) + triples[:, 1]
        node = np.searchsorted(keys, wanted)
        if len(wanted) and not np.array_equal(keys[np.minimum(node, len(keys) - 1)], wanted):
            raise ValueError("expected the first two words of each trigram among the bigrams")
        return cls(
            {
                "words": np.frombuffer("\n".join(words).encode(), np.uint8),
                "unigram_log_probs": _log_probs(unigrams[0]),
                "unigram_backoffs": _backoffs(unigrams[1]),
                "bigram_starts": _starts(pairs[:, 0], len(words)),
                "bigram_words": pairs[:, 1].astype(np.uint16),
                "bigram_log_probs": _log_probs(pair_log_probs[by_pair]),
                "bigram_backoffs": _backoffs(pair_backoffs[by_pair]),
                "trigram_starts": _starts(node, len(pairs)),
                "trigram_words": triples[:, 2].astype(np.uint16),
                "trigram_log_probs": _log_probs(triple_log_probs[by_triple]),
            }
        )


def _log_probs(values: Floats) -> NDArray[np.uint8]:
    return np.rint(-values * STEPS).clip(0, 255).astype(np.uint8)


def _backoffs(values: Floats) -> NDArray[np.int8]:
    return np.rint(values * STEPS).clip(-128, 127).astype(np.int8)


def _starts(nodes: Integers, count: int) -> NDArray[np.uint32]:
    """Where the children of each of ``count`` nodes begin, and where the last ones end."""
    return np.searchsorted(nodes, np.arange(count + 1)).astype(np.uint32)
