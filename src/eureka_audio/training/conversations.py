"""What a batch of clips is asked: a conversation for each, and now and then a line of plain text.

Shared by training on sound (`multimodal.py`) and on the oracle (`oracle.py`).
"""

import logging
from collections.abc import Mapping, Sequence

import numpy as np

from eureka_audio.data.mixture import Batch
from eureka_audio.data.sources import ClipSource
from eureka_audio.errors import ConfigError
from eureka_audio.processor import EncodedConversation, EurekaAudioProcessor
from eureka_audio.records import AudioClip, Conversation
from eureka_audio.tasks import draw_task
from eureka_audio.training.text_pretraining import encode_line

logger = logging.getLogger(__name__)

FITNESS_CLIPS = 100  # clips of a source that are put to its tasks before training


class ConversationDraws:
    """Draws conversations and lines of text by a sample's own generator.

    Args:
        sources: clips by source.
        processor: encodes the lines.
        tasks: for each source, the weights of the tasks its clips are put to.
        text_lines: plain text to draw from.
        text_share: lines of text per clip.

    What share of a source's clips is fit for none of its tasks is logged at the start.

    Raises:
        ConfigError: no clip tried of a source is fit for any of its tasks, or there is no text to
            draw from.
    """

    def __init__(
        self,
        sources: Mapping[str, ClipSource],
        processor: EurekaAudioProcessor,
        tasks: Mapping[str, Mapping[str, float]],
        text_lines: Sequence[str] = (),
        text_share: float = 0.0,
    ) -> None:
        for name, source in sources.items():
            check_fitness(source, tasks.get(name, {}))
        if text_share > 0 and not text_lines:
            raise ConfigError(f"expected text for a text_share of {text_share}, got none")
        self.tokenizer = processor.tokenizer
        self.tasks = tasks
        self.text_lines = text_lines
        self.text_share = text_share

    def conversation(
        self, source: str, clip: AudioClip, audio: object, rng: np.random.Generator
    ) -> Conversation | None:
        """One of the tasks of a source, put to a clip; `None` where it is fit for none."""
        drawn = draw_task(clip, audio, self.tasks[source], rng)
        return None if drawn is None else drawn[1]

    def text(self, rng: np.random.Generator) -> list[EncodedConversation]:
        """A line of text, or none."""
        if rng.random() >= self.text_share:
            return []
        return [
            encode_line(self.text_lines[int(rng.integers(len(self.text_lines)))], self.tokenizer)
        ]


def check_fitness(source: ClipSource, weights: Mapping[str, float]) -> None:
    """Put some clips of a source to its tasks, all over it, and say how many are fit for none."""
    rng = np.random.default_rng(0)
    tried = source.clips[:: max(1, len(source.clips) // FITNESS_CLIPS)]
    unfit = sum(draw_task(clip, None, weights, rng) is None for clip in tried)
    if unfit == len(tried):
        raise ConfigError(
            f"expected tasks for source {source.name!r} that suit its clips, got {dict(weights)}, "
            f"which suit none of {unfit} clips tried"
        )
    if unfit:
        logger.warning(
            "%s: of %d clips tried, %d are fit for none of its tasks; such clips are left out",
            source.name,
            len(tried),
            unfit,
        )


def check_not_empty(encoded: Sequence[EncodedConversation], batch: Batch) -> None:
    """Refuse a batch in which no clip was fit for a task."""
    if not encoded:
        names = sorted({sample.source for sample in batch.samples})
        raise ConfigError(
            f"expected a batch with a clip that is fit for a task, got {len(batch.samples)} "
            f"clips of {names}, fit for none; give them tasks that suit more clips"
        )
