"""Second opinions on the transcripts that a decoder has found.

A decoder may write a likely word that was not said, or spell one that does not exist. A CTC head
over the encoder knows no words and takes each letter from the sound; a list of words knows no
sound. Of what a beam search finds, a transcript that they, too, find probable is right more often
than the decoder's first. And where the CTC head finds it more probable that nothing is said than
that these words are, nothing is written: a decoder that was asked for words always has some.

Source: hybrid CTC/attention decoding (Watanabe et al., 2017), here as a choice among whole answers.
Departure: the paper's model has neither; a checkpoint without them is transcribed as before.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from torch import Tensor

from eureka_audio.inference.transcription.no_speech import text_log_probs
from eureka_audio.model import EurekaAudioForConditionalGeneration
from eureka_audio.processor import NGRAMS_FILE, WORDS_FILE, EurekaAudioProcessor
from eureka_audio.text.letters import CTC_VOCAB_SIZE, encode_characters
from eureka_audio.text.words import words_of


class Opinions(NamedTuple):
    """How much of a say a model's CTC head, its list and its model of words have in its
    transcripts: 0 for none (`GenerationOptions`).
    """

    ctc_weight: float = 0.0
    unknown_word_penalty: float = 0.0
    ngram_weight: float = 0.0
    no_speech_threshold: float = 0.0

    def of_one_beam(self) -> "Opinions":
        """Those that are heard where there is nothing to choose from."""
        return Opinions(no_speech_threshold=self.no_speech_threshold)

    def lacking(
        self, model: EurekaAudioForConditionalGeneration, processor: EurekaAudioProcessor
    ) -> Iterator[tuple[str, str]]:
        """The name of each that is asked for and is not there, and what would have to be."""
        if model.config.ctc_vocab_size != CTC_VOCAB_SIZE:
            for name in ("ctc_weight", "no_speech_threshold"):
                if getattr(self, name) > 0:
                    yield name, f"CTC head of {CTC_VOCAB_SIZE} letters"
        if self.unknown_word_penalty > 0 and not processor.known_words:
            yield "unknown_word_penalty", f"list of words ({WORDS_FILE})"
        if self.ngram_weight > 0 and processor.ngrams is None:
            yield "ngram_weight", f"model of words ({NGRAMS_FILE})"


def spelling_log_probs(ctc_logits_LV: Tensor, texts: Sequence[str]) -> list[float]:
    """How probable each text is as the spelling of a sound: a log-probability per letter.

    Args:
        ctc_logits_LV: of every encoder frame, `(L, letters)`.
        texts: what might have been said; what is no letter is passed over.

    Returns:
        One number for each text; ``-inf`` for one with more letters than fit into the frames.
    """
    log_probs = text_log_probs(ctc_logits_LV, texts)
    return [
        log_prob / max(1, len(encode_characters(text)))
        for log_prob, text in zip(log_probs, texts, strict=True)
    ]


def share_of_unknown_words(text: str, known_words: Collection[str]) -> float:
    """Which share of a text's words is none of the known ones.

    Example:
        >>> share_of_unknown_words("A bule bird", {"a", "blue", "bird"})
        0.3333333333333333
    """
    words = words_of(text)
    return sum(word not in known_words for word in words) / max(1, len(words))
