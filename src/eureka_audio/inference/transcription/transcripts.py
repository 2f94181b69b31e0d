"""From what was written for each chunk to one transcript.

The text is made of the words and of nothing else, so that text, segments and words cannot differ,
wherever a recording was cut.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from eureka_audio.audio.window import Span
from eureka_audio.inference.transcription.chunks import Plan
from eureka_audio.inference.transcription.loops import cut_loops
from eureka_audio.inference.transcription.times import spread_words, word_times
from eureka_audio.protocols import (
    FinishReason,
    Transcript,
    TranscriptSegment,
    TranscriptWarning,
    TranscriptWord,
    WarningKind,
)

SENTENCE_ENDS = (".", "?", "!", "\u3002", "\uff1f", "\uff01")
SEGMENT_PAUSE_SECONDS = 0.6  # a subtitle ends where nobody speaks for so long
MAX_SEGMENT_SECONDS = 7.0  # what can be read at once


@dataclass(frozen=True)
class Written:
    """What a model wrote for one chunk.

    Attributes:
        text: as it came.
        finish_reason: why it ended.
        ctc_logits: of the chunk's encoder frames `(L, letters)`; `None` where times are not wanted
            or cannot be told.
        num_new_tokens: generated.
        num_audio_tokens: heard.
    """

    text: str
    finish_reason: FinishReason = "stop"
    ctc_logits: Tensor | None = None
    num_new_tokens: int = 0
    num_audio_tokens: int = 0


@dataclass(frozen=True)
class TimedChunk:
    """The words of one chunk, with or without their times, and what to know of it."""

    span: Span
    words: tuple[TranscriptWord, ...]
    has_times: bool
    warnings: tuple[TranscriptWarning, ...]
    written: Written


def read_chunk(span: Span, written: Written, has_times: bool) -> TimedChunk:
    """Cut loops and find the times of words.

    Args:
        span: where the chunk lies.
        written: what came of it.
        has_times: whether the times of words are wanted; then there are CTC logits.
    """
    start, end = span.start_seconds, span.end_seconds
    warnings: list[TranscriptWarning] = []

    def warn(kind: WarningKind, message: str) -> None:
        warnings.append(TranscriptWarning(kind, message, start, end))

    text, was_cut = cut_loops(written.text, was_stopped=written.finish_reason == "repetition")
    if was_cut or written.finish_reason == "repetition":
        warn("repetition_cut", "the model repeated itself; one round was kept, read with care")
    if written.finish_reason == "length":
        warn("length_limit", "more text than the sound allows; what came last was cut off")
    if span.ends_in_speech:
        warn("cut_in_speech", "no pause to cut at: a word at its end may be wrong")
    names = text.split()
    if not names:
        warn("no_speech", "something sounds and no word was written")
    timed = None
    if has_times and names and written.ctc_logits is not None:
        log_probs_LV = written.ctc_logits.float().log_softmax(-1).cpu().numpy()
        timed = word_times(log_probs_LV, names, start, end)
        if timed is None:
            warn("times_estimated", "more letters than fit the sound; times are spread evenly")
    words = spread_words(names, start, end) if timed is None else timed
    kept = replace(written, ctc_logits=None)  # of hours they would fill the memory
    return TimedChunk(span, tuple(words), has_times, tuple(warnings), kept)


def assemble(
    plan: Plan,
    chunks: Sequence[TimedChunk],
    *,
    language: str | None = None,
    is_forced: bool = False,
    has_times: bool = False,
) -> Transcript:
    """One transcript of the chunks of a recording.

    Args:
        plan: how it was cut.
        chunks: what `read_chunk` made of each, in order.
        language: ISO 639-1 code, where it is known.
        is_forced: whether it was given rather than heard.
        has_times: whether the times of words are wanted.
    """
    warnings = [warning for chunk in chunks for warning in chunk.warnings]
    warnings += [
        TranscriptWarning(
            "silence_skipped", "nothing can be heard", span.start_seconds, span.end_seconds
        )
        for span in plan.spans
        if span.is_silent
    ]
    if is_forced:
        message = f"the language was given as {language} and not checked"
        warnings.append(TranscriptWarning("language_forced", message, 0.0, plan.duration_seconds))
    words = tuple(word for chunk in chunks for word in chunk.words)
    return Transcript(
        text=" ".join(word.word for word in words),
        language=language,
        duration_seconds=plan.duration_seconds,
        segments=tuple(segment for chunk in chunks for segment in _segments(chunk)),
        words=words if has_times else None,
        warnings=tuple(sorted(warnings, key=lambda warning: (warning.start, warning.end))),
        num_new_tokens=sum(chunk.written.num_new_tokens for chunk in chunks),
        num_audio_tokens=sum(chunk.written.num_audio_tokens for chunk in chunks),
        finish_reason=worst_reason([chunk.written.finish_reason for chunk in chunks]),
    )


def worst_reason(reasons: Sequence[FinishReason]) -> FinishReason:
    """What a reader should be warned of, if any chunk gives cause."""
    by_gravity: tuple[FinishReason, ...] = ("repetition", "length")
    return next((reason for reason in by_gravity if reason in reasons), "stop")


def _segments(chunk: TimedChunk) -> Iterator[TranscriptSegment]:
    """A chunk as stretches to be shown at once: all of it where the times of words are unknown."""
    if not chunk.has_times:
        if chunk.words:
            text = " ".join(word.word for word in chunk.words)
            yield TranscriptSegment(chunk.span.start_seconds, chunk.span.end_seconds, text)
        return
    group: list[TranscriptWord] = []
    for word in chunk.words:
        if group and (
            group[-1].word.endswith(SENTENCE_ENDS)
            or word.start - group[-1].end >= SEGMENT_PAUSE_SECONDS
            or word.end - group[0].start > MAX_SEGMENT_SECONDS
        ):
            yield _segment(group)
            group = []
        group.append(word)
    if group:
        yield _segment(group)


def _segment(words: Sequence[TranscriptWord]) -> TranscriptSegment:
    return TranscriptSegment(words[0].start, words[-1].end, " ".join(word.word for word in words))
