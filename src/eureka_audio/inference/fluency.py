"""How well the words of a transcript go together, as a trigram model of words sees them.

The decoder has its own idea of what people say, from the little it has read. A model of words that
knows more text is asked twice (`ngram_weight`): while answers grow, so that a beam of likely words
is not crowded out by one of likely letters, and at the end, when one is chosen.

What it thinks of a word by itself counts for half: whether a rare word was said is for those to
say who hear it.

Source: shallow fusion (Gülçehre et al., 2015).
Departure: the paper's model has nothing like it; a checkpoint without it is transcribed as before.
"""

from eureka_audio.text.ngrams import END, START, Ngrams
from eureka_audio.text.words import words_of

WORD_SHARE = 0.5  # of a word's own log-probability, that does not count
WHILE_GROWING = 0.5  # of the weight; a word costs its beam all at once, when it is complete
PER_WORD = 2.4  # about what one costs: without it, answers of few and long words would be kept


class Fluency:
    """The words of the answers to one conversation.

    Args:
        ngrams: the model of words.
    """

    def __init__(self, ngrams: Ngrams) -> None:
        self._ngrams = ngrams
        self._told: dict[tuple[str, ...], float] = {(): 0.0}

    def of(self, text: str) -> float:
        """How well the words of a complete text go together: a log-ratio."""
        words = tuple(words_of(text))
        return self._of_words(words) + self._of_word(END, words)

    def of_growing(self, text: str, is_complete: bool) -> float:
        """The same of a text to which more will be added; each of its words brings `PER_WORD`.

        A word that ends the text may be half a word, and counts once another one has begun.
        """
        words = tuple(words_of(text))
        if is_complete:
            return self.of(text) + PER_WORD * len(words)
        if words and text[-1].isalpha():
            words = words[:-1]
        return self._of_words(words) + PER_WORD * len(words)

    def _of_words(self, words: tuple[str, ...]) -> float:
        known = len(words)
        while words[:known] not in self._told:
            known -= 1
        total = self._told[words[:known]]
        for end in range(known, len(words)):
            total += self._of_word(words[end], words[:end])
            self._told[words[: end + 1]] = total
        return total

    def _of_word(self, word: str, before: tuple[str, ...]) -> float:
        after = self._ngrams.log_prob(word, (START, *before[-2:]))
        return after - WORD_SHARE * self._ngrams.log_prob(word)
