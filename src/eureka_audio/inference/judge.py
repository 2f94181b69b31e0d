"""Which of the answers that a search found is kept, and whether any is: second opinions weighed.

The engine hands back what it found; whoever asked judges it here, on a thread of its own.
"""

from collections.abc import Callable, Sequence

from torch import Tensor

from eureka_audio.errors import ConfigError
from eureka_audio.inference.beam_search import Beam, best_of
from eureka_audio.inference.growing_answer import GrowingAnswer
from eureka_audio.inference.rescoring import Opinions, spelling_log_probs
from eureka_audio.inference.sampling import GenerationOptions
from eureka_audio.inference.transcription.no_speech import no_speech_probability
from eureka_audio.model import EurekaAudioForConditionalGeneration
from eureka_audio.text.letters import CTC_VOCAB_SIZE


class Judge:
    """What a model's CTC head, and whoever asks, think of answers.

    Args:
        model: whose CTC head is heard.
        options: how much of a say it has.
        favour: what else the text of an answer earns, in nats, finished or not.

    Raises:
        ConfigError: the head is to be asked, and the checkpoint has none.
    """

    def __init__(
        self,
        model: EurekaAudioForConditionalGeneration,
        options: GenerationOptions,
        favour: Callable[[str], float] | None = None,
    ) -> None:
        opinions = Opinions(*(getattr(options, name) for name in Opinions._fields))
        for name in opinions.lacking(model):
            raise ConfigError(
                f"{name}: expected 0 for a checkpoint without a CTC head of {CTC_VOCAB_SIZE} "
                f"letters, got {getattr(opinions, name)}; leave it out"
            )
        self._opinions = opinions
        self._favour = favour

    @property
    def hint(self) -> Callable[[GrowingAnswer], float] | None:
        """What is added to the log-probability of answers while they grow."""
        favour = self._favour
        return None if favour is None else lambda answer: favour(answer.text)

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
        """What is added to the log-probabilities, per token, of answers to one conversation."""
        texts = [answer.text for answer in answers]
        bonuses = [0.0] * len(texts)
        weight = self._opinions.ctc_weight
        if weight > 0 and ctc_logits_LV is not None:
            bonuses = [weight * each for each in spelling_log_probs(ctc_logits_LV, texts)]
        if self._favour is not None:
            for place, (answer, text) in enumerate(zip(answers, texts, strict=True)):
                bonuses[place] += self._favour(text) / (len(answer.token_ids) + 1)
        return bonuses
