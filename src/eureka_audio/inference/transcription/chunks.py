"""A recording as chunks that can be heard, and the stretches between them that cannot."""

from dataclasses import dataclass

from eureka_audio.audio.decode import DecodedAudio
from eureka_audio.audio.window import Span, split_at_pauses


@dataclass(frozen=True)
class Plan:
    """How a recording is transcribed.

    Attributes:
        duration_seconds: of all of it.
        spans: they tile it; silent ones are not listened to.
        chunks: the sound of each span that is not silent, in order.
    """

    duration_seconds: float
    spans: tuple[Span, ...]
    chunks: tuple[DecodedAudio, ...]

    @property
    def sounding(self) -> tuple[Span, ...]:
        """The span of each chunk."""
        return tuple(span for span in self.spans if not span.is_silent)


def plan_chunks(audio: DecodedAudio, max_seconds: float) -> Plan:
    """Cut a recording at its pauses, into chunks of a length that a model knows."""
    spans = split_at_pauses(audio.waveform, max_seconds=max_seconds)
    chunks = [
        DecodedAudio(span.of(audio.waveform), audio.name) for span in spans if not span.is_silent
    ]
    return Plan(audio.duration_seconds, spans, tuple(chunks))
