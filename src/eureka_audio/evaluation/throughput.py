"""How fast a model answers about sound: seconds per batch become the figures of a table.

Source: paper 8.5, which gives 200 clips, at most 2,000 new tokens, and "the average number of
decoded tokens per second". Unstated: what is asked (here: a dense caption), the batch size (here:
swept), and whether hearing counts. So three figures stand apart, and each says what it covers:

    decode_tokens_per_second   tokens after the first, over the time spent on them: no hearing
    tokens_per_second          all tokens, over opening, hearing, reading and writing
    clip_tokens_per_second     the mean over clips of what one waiting user sees, from first token
                               to last

A token that ends an answer is counted: it costs a step like any other.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from eureka_audio.errors import EurekaAudioError
from eureka_audio.protocols import AudioLanguageModel, Reply
from eureka_audio.records import Conversation

NUM_CLIPS, MAX_NEW_TOKENS = 200, 2_000  # paper, 8.5
BATCH_SIZES = (1, 4, 16)


@dataclass(frozen=True)
class ClipTiming:
    """One clip of a batch; times count from when the batch was handed over.

    Attributes:
        audio_seconds: length of the clip.
        num_tokens: tokens decoded.
        last_token_seconds: when its answer was there.
    """

    audio_seconds: float
    num_tokens: int
    last_token_seconds: float


@dataclass(frozen=True)
class BatchTiming:
    """Clips answered together.

    Attributes:
        clips: those that were answered.
        seconds: from handing over the recordings to the last answer.
        prepare_seconds: opening and features; None when the model does not tell.
        prefill_seconds: encoder, adapter and prompt, up to the first token; None likewise.
        failed: why clips got no answer.
    """

    clips: tuple[ClipTiming, ...]
    seconds: float
    prepare_seconds: float | None = None
    prefill_seconds: float | None = None
    failed: tuple[str, ...] = ()

    @property
    def first_token_seconds(self) -> float | None:
        """When the first token of each clip was there; None when the model does not tell."""
        if self.prepare_seconds is None or self.prefill_seconds is None:
            return None
        return self.prepare_seconds + self.prefill_seconds


class Stopwatch:
    """Times any model that meets the protocol, from outside: prefill and decode stay together."""

    def __init__(self, model: AudioLanguageModel, clock: Callable[[], float] = time.perf_counter):
        self._model = model
        self._clock = clock

    def time_batch(self, conversations: Sequence[Conversation], limit: int) -> BatchTiming:
        """Answer a batch, each answer at most ``limit`` tokens long."""
        start = self._clock()
        replies = self._model.answer(conversations, max_new_tokens=limit)
        seconds = self._clock() - start
        return BatchTiming(
            tuple(
                ClipTiming(reply.duration_seconds, reply.num_new_tokens, seconds)
                for reply in replies
                if isinstance(reply, Reply)
            ),
            seconds,
            failed=tuple(str(reply) for reply in replies if isinstance(reply, EurekaAudioError)),
        )


def summarize(
    batch_size: int, batches: Sequence[BatchTiming], peak_memory_bytes: int | None
) -> dict[str, Any]:
    """The figures of one batch size; None where the model does not tell or nothing was decoded."""
    clips = [clip for batch in batches for clip in batch.clips]
    seconds = sum(batch.seconds for batch in batches)
    audio_seconds = sum(clip.audio_seconds for clip in clips)
    num_tokens = sum(clip.num_tokens for clip in clips)
    first = [
        batch.first_token_seconds
        for batch in batches
        for _ in batch.clips
        if batch.first_token_seconds is not None
    ]
    return {
        "batch_size": batch_size,
        "clips": len(clips),
        "failed": sum(len(batch.failed) for batch in batches),
        "audio_seconds": round(audio_seconds, 3),
        "tokens": num_tokens,
        "seconds": round(seconds, 4),
        "tokens_per_second": _rate(num_tokens, seconds),
        "decode_tokens_per_second": _decode_rate(batches),
        "clip_tokens_per_second": _clip_rate(batches),
        "first_token_seconds": {
            "median": _rounded(median(first)) if first else None,
            "p95": _rounded(_percentile(first, 95)) if first else None,
        },
        "prepare_seconds": _total([batch.prepare_seconds for batch in batches]),
        "prefill_seconds": _total([batch.prefill_seconds for batch in batches]),
        "decode_seconds": _total([_decode_seconds(batch) for batch in batches]),
        "real_time_factor": round(seconds / audio_seconds, 5) if audio_seconds else None,
        "peak_memory_bytes": peak_memory_bytes,
    }


def table(results: Sequence[dict[str, Any]]) -> str:
    """The sweep for a terminal."""
    lines = [
        f"{'batch':>5} {'clips':>6} {'tokens':>8} {'tokens/s':>9} {'decode':>9} {'per clip':>9}"
        f" {'first token':>12} {'prefill':>9} {'decode':>9} {'real-time':>10} {'memory':>9}",
        f"{'':>5} {'':>6} {'':>8} {'in all':>9} {'tokens/s':>9} {'tokens/s':>9}"
        f" {'median s':>12} {'s':>9} {'s':>9} {'factor':>10} {'MiB':>9}",
    ]
    for result in results:
        memory = result["peak_memory_bytes"]
        cells = (
            (result["batch_size"], "5d"),
            (result["clips"], "6d"),
            (result["tokens"], "8d"),
            (result["tokens_per_second"], "9.1f"),
            (result["decode_tokens_per_second"], "9.1f"),
            (result["clip_tokens_per_second"], "9.1f"),
            (result["first_token_seconds"]["median"], "12.3f"),
            (result["prefill_seconds"], "9.2f"),
            (result["decode_seconds"], "9.2f"),
            (result["real_time_factor"], "10.4f"),
            (None if memory is None else memory / 2**20, "9.0f"),
        )
        lines.append(" ".join(_cell(value, form) for value, form in cells))
    return "\n".join(lines)


def spread(items: Sequence[Any], count: int) -> list[Any]:
    """So many of the items, at even distances, in order; all when there are no more.

    Example:
        >>> spread("abcdefgh", 4)
        ['a', 'c', 'e', 'g']
    """
    count = min(count, len(items))
    return [items[index * len(items) // count] for index in range(count)]


def _decode_seconds(batch: BatchTiming) -> float | None:
    first = batch.first_token_seconds
    return None if first is None else batch.seconds - first


def _decode_rate(batches: Sequence[BatchTiming]) -> float | None:
    """Tokens after the first of each clip, over the time after the first tokens."""
    seconds = num_tokens = 0.0
    for batch in batches:
        if (spent := _decode_seconds(batch)) is None:
            return None
        seconds += spent
        num_tokens += sum(clip.num_tokens - 1 for clip in batch.clips)
    return _rate(num_tokens, seconds)


def _clip_rate(batches: Sequence[BatchTiming]) -> float | None:
    """The mean over clips of tokens after the first per second of writing them."""
    rates = []
    for batch in batches:
        if (first := batch.first_token_seconds) is None:
            return None
        for clip in batch.clips:
            if clip.num_tokens > 1 and clip.last_token_seconds > first:
                rates.append((clip.num_tokens - 1) / (clip.last_token_seconds - first))
    return round(sum(rates) / len(rates), 3) if rates else None


def _total(parts: Sequence[float | None]) -> float | None:
    known = [part for part in parts if part is not None]
    return round(sum(known), 4) if known and len(known) == len(parts) else None


def _rate(count: float, seconds: float) -> float | None:
    return round(count / seconds, 3) if count and seconds else None


def _percentile(values: Sequence[float], percent: int) -> float:
    """The smallest value that so many percent do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def _rounded(seconds: float) -> float:
    return round(seconds, 5)


def _cell(value: float | None, form: str) -> str:
    return format("-", ">" + form.split(".")[0].rstrip("d")) if value is None else f"{value:{form}}"
