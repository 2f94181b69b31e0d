"""What was said, with its times: the record that every format of an answer is made of."""

from dataclasses import dataclass

from eureka_audio.protocols import FinishReason


@dataclass(frozen=True, slots=True)
class Word:
    """One word and its place in the recording."""

    text: str
    start_seconds: float
    end_seconds: float


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch that was written down at once."""

    text: str
    start_seconds: float
    end_seconds: float
    token_ids: tuple[int, ...] = ()
    mean_log_prob: float = 0.0
    no_speech_probability: float = 0.0


@dataclass(frozen=True, slots=True)
class Transcript:
    """A whole recording, written down.

    Attributes:
        text: all words; those of the segments, joined by spaces.
        segments: in order.
        words: in order, with times; None where nobody asked or the model cannot tell.
        language: the English name of the language it was written down in; None if unknown.
        duration_seconds: of the recording.
        warnings: what a reader should know: repetition cut, silence skipped, language forced.
    """

    text: str
    duration_seconds: float
    segments: tuple[Segment, ...] = ()
    words: tuple[Word, ...] | None = None
    language: str | None = None
    warnings: tuple[str, ...] = ()
    num_audio_tokens: int = 0
    num_new_tokens: int = 0
    finish_reason: FinishReason = "stop"
