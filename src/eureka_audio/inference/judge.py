"""Which of the answers that a search found is kept, and whether any is: second opinions weighed.

The engine hands back what it found; whoever asked judges it here, on a thread of its own.
"""

from collections.abc import Callable, Sequence

from torch import Tensor

from eureka_audio.errors import ConfigError
from eureka_audio.inference.beam_search import Beam, best_of
from eureka_audio.inference.fluency import WHILE_GROWING, Fluency
from eureka_audio.inference.growing_answer import GrowingAnswer
from eureka_audio.inference.rescoring import (
    Opinions,
    share_of_unknown_words,
    spelling_log_probs,
)
from eureka_audio.inference.sampling import GenerationOptions
from eureka_audio.inference.transcription.no_speech import no_speech_probability
from eureka_audio.model import EurekaAudioForConditionalGeneration
from eureka_audio.processor import EurekaAudioProcessor


class Judge:
    """What a model's CTC head, its list and its model of words think of answers.

    Args:
        model: whose CTC head is heard.
        processor: whose words are known.
        options: how much of a say each has.
        favour: what else the text of an answer earns, in nats, finished or not.

    Raises:
        ConfigError: one is to be asked that the checkpoint does not have.
    """

    def __init__(
        self,
        model: EurekaAudioForConditionalGeneration,
        processor: EurekaAudioProcessor,
        options: GenerationOptions,
        favour: Callable[[str], float] | None = None,
    ) -> None:
        opinions = Opinions(*(getattr(options, name) for name in Opinions._fields))
        for name, what in opinions.lacking(model, processor):
            raise ConfigError(
                f"{name}: expected 0 for a checkpoint without a {what}, got "
                f"{getattr(opinions, name)}; leave it out"
            )
        self._processor = processor
        self._opinions = opinions
        self._favour = favour

    @property
    def hint(self) -> Callable[[GrowingAnswer], float] | None:
        """What the model of words adds to the log-probability of answers while they grow."""
        favour = self._favour
        if self._opinions.ngram_weight == 0 or self._processor.ngrams is None:
            return None if favour is None else lambda answer: favour(answer.text)
        fluency = Fluency(self._processor.ngrams)
        weight = WHILE_GROWING * self._opinions.ngram_weight

        def of(answer: GrowingAnswer) -> float:
            text = answer.text
            more = 0.0 if favour is None else favour(text)
            return weight * fluency.of_growing(text, answer.has_finished) + more

        return of

    def best(self, beams: Sequence[Beam], ctc_logits_LV: Tensor | None) -> GrowingAnswer:
        """The answer to keep of those that a search found.

        Args:
            beams: what it found.
            ctc_logits_LV: of what the conversation lets hear, if it does.
        """
        return best_of(beams, self._bonuses([beam.answer for beam in beams], ctc_logits_LV))

    def hush(self, answer: GrowingAnswer, ctc_logits_LV: Tensor | None) -> None:
        """Clear an answer where it is more probable that nothing is said."""
        threshold = self._opinions.no_speech_threshold
        if threshold == 0 or ctc_logits_LV is None:
            return
        if no_speech_probability(ctc_logits_LV, answer.text) > threshold:
            answer.clear()

    def _bonuses(
        self, answers: Sequence[GrowingAnswer], ctc_logits_LV: Tensor | None
    ) -> list[float]:
        """What second opinions add to the log-probabilities of answers to one conversation."""
        texts = [answer.text for answer in answers]
        bonuses = [0.0] * len(texts)
        opinions = self._opinions
        if opinions.ctc_weight > 0 and ctc_logits_LV is not None:
            log_probs = spelling_log_probs(ctc_logits_LV, texts)
            bonuses = [opinions.ctc_weight * log_prob for log_prob in log_probs]
        if opinions.unknown_word_penalty > 0:
            known = self._processor.known_words
            for place, text in enumerate(texts):
                share = share_of_unknown_words(text, known)
                bonuses[place] -= opinions.unknown_word_penalty * share
        if opinions.ngram_weight > 0 and self._processor.ngrams is not None:
            fluency = Fluency(self._processor.ngrams)
            for place, (answer, text) in enumerate(zip(answers, texts, strict=True)):
                num_tokens = len(answer.token_ids) + 1
                bonuses[place] += opinions.ngram_weight * fluency.of(text) / num_tokens
        if self._favour is not None:
            for place, (answer, text) in enumerate(zip(answers, texts, strict=True)):
                bonuses[place] += self._favour(text) / (len(answer.token_ids) + 1)
        return bonuses
