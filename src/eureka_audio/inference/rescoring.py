"""A second opinion on the transcripts that a decoder has found: that of the encoder.

A decoder may write a likely word that was not said. A CTC head over the encoder knows no words and
takes each letter from the sound. Of what a beam search finds, a transcript that it, too, finds
probable is right more often than the decoder's first. And where it finds it more probable that
nothing is said than that these words are, nothing is written: a decoder that was asked for words
always has some.

Source: hybrid CTC/attention decoding (Watanabe et al., 2017), here as a choice among whole answers.
Departure: the paper's model has no such head; a checkpoint without one is transcribed as before.
"""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from eureka_audio.inference.transcription.no_speech import text_log_probs
from eureka_audio.model import EurekaAudioForConditionalGeneration
from eureka_audio.text.letters import CTC_VOCAB_SIZE, encode_characters


class Opinions(NamedTuple):
    """How much of a say a model's CTC head has in its transcripts: 0 for none
    (`GenerationOptions`).
    """

    ctc_weight: float = 0.0
    no_speech_threshold: float = 0.0

    def of_one_beam(self) -> "Opinions":
        """Those that are heard where there is nothing to choose from."""
        return Opinions(no_speech_threshold=self.no_speech_threshold)

    def lacking(self, model: EurekaAudioForConditionalGeneration) -> list[str]:
        """The names of those that are asked for where the model has no head to ask."""
        if model.config.ctc_vocab_size == CTC_VOCAB_SIZE:
            return []
        return [name for name, weight in self._asdict().items() if weight > 0]


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
