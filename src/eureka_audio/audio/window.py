"""Cutting a long waveform: into windows the encoder can take, or at pauses for transcription.

Both return spans of samples that tile the waveform exactly: every sample lies in one span.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eureka_audio.audio import clock

Samples = NDArray[np.float32]

# No window of a conversation is shorter than this (unless the clip itself is): 12 tokens, 0.96 s.
MIN_WINDOW_SAMPLES = 12 * clock.SAMPLES_PER_AUDIO_TOKEN

FRAME_SAMPLES = clock.HOP_LENGTH  # loudness is judged, and cuts are made, every 10 ms
FRAMES_PER_SECOND = clock.SAMPLING_RATE // FRAME_SAMPLES
SILENCE_DBFS = -65.0  # quieter than a quiet room through a common microphone
MIN_SILENCE_SECONDS = 2.0
SILENCE_MARGIN_FRAMES = 20  # 200 ms of silence stay with the sound on either side

# What is far quieter than the loudest nearby is a pause, however loud the room is: below that by
# PAUSE_DEPTH_DB, or, where the room is too loud for that, near its own noise.
PAUSE_FRAMES = 15  # a pause lasts 150 ms at least, so that the closure of a "p" is none
PAUSE_DEPTH_DB = 25.0
NOISE_MARGIN_DB = 6.0
MIN_PAUSE_DEPTH_DB = 10.0
SMOOTHING_FRAMES = 5
NEARBY_SECONDS = 3
MIN_CHUNK_SECONDS = 1.0  # nothing shorter is cut off, however long the pause


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a waveform, in samples: ``waveform[start:end]``.

    ``is_silent``: nothing in it can be heard, so a transcriber need not listen.
    ``ends_in_speech``: it had to end, and there was no pause; a word may lie across its end.
    """

    start: int
    end: int
    is_silent: bool = False
    ends_in_speech: bool = False

    @property
    def start_seconds(self) -> float:
        """Where it begins."""
        return self.start / clock.SAMPLING_RATE

    @property
    def end_seconds(self) -> float:
        """Where it ends."""
        return self.end / clock.SAMPLING_RATE

    def of(self, waveform: Samples) -> Samples:
        """Its samples, as a view."""
        return waveform[self.start : self.end]


def split_windows(num_samples: int, max_samples: int = clock.WINDOW_SAMPLES) -> tuple[Span, ...]:
    """Consecutive windows for a conversation: full ones, then the rest.

    Departure: the released model cuts every 30 s, and a last window may hold a few milliseconds,
    on which an encoder invents things. Here a rest shorter than 0.96 s borrows 0.96 s from the
    window before it (a whole number of audio tokens, so no token is spent on padding).

    Example:
        >>> [window.end - window.start for window in split_windows(480_001)]
        [464640, 15361]
    """
    if max_samples < 2 * MIN_WINDOW_SAMPLES:
        raise ValueError(f"expected max_samples >= {2 * MIN_WINDOW_SAMPLES}, got {max_samples}")
    cuts = list(range(max_samples, num_samples, max_samples))
    if cuts and num_samples - cuts[-1] < MIN_WINDOW_SAMPLES:
        cuts[-1] -= MIN_WINDOW_SAMPLES
    return _tile(cuts, num_samples)


def split_at_pauses(
    waveform: Samples,
    *,
    max_seconds: float = float(clock.WINDOW_SECONDS),
    silence_dbfs: float = SILENCE_DBFS,
) -> tuple[Span, ...]:
    """Spans for transcription, cut in the pauses of speech.

    Silence of two seconds or more becomes one span of its own, marked, of any length. The rest is
    divided at its longest pause, and each part again, until no part is longer than
    ``max_seconds``: the longest pauses are those between sentences. Where a part has no pause it
    is cut at its quietest 150 ms, and marked.

    Args:
        waveform: ``(S,)`` at 16 kHz.
        max_seconds: no sounding chunk is longer (to within 10 ms).
        silence_dbfs: loudness of 10 ms (root mean square, full scale = 0) below which it is silent.

    Raises:
        ValueError: ``max_seconds`` leaves no room for two chunks of 0.1 s.
    """
    longest = int(max_seconds * FRAMES_PER_SECOND)
    if longest < 20:
        raise ValueError(f"expected max_seconds >= 0.2, got {max_seconds}")
    if not len(waveform):
        return ()
    power = _frame_power(waveform)
    silent = power < 10 ** (silence_dbfs / 10)
    pauses = _pauses(power, silent)
    calm = _smoothed(power, PAUSE_FRAMES)

    spans: list[Span] = []
    for start, end, is_silent in _sections(silent, int(MIN_SILENCE_SECONDS * FRAMES_PER_SECOND)):
        cuts = {} if is_silent else _cuts(pauses, calm, start, end, longest)
        for a, b in pairwise([start, *sorted(cuts), end]):
            last = min(b * FRAME_SAMPLES, len(waveform))
            spans.append(Span(a * FRAME_SAMPLES, last, is_silent, not cuts.get(b, True)))
    return tuple(spans)


def _tile(cuts: list[int], num_samples: int) -> tuple[Span, ...]:
    edges = [0, *cuts, num_samples] if num_samples else []
    return tuple(Span(start, end) for start, end in pairwise(edges))


def _frame_power(waveform: Samples) -> NDArray[np.float64]:
    """Mean square of each 10 ms, the last partial one included; no copy of the waveform is made."""
    whole = len(waveform) // FRAME_SAMPLES * FRAME_SAMPLES
    frames = waveform[:whole].reshape(-1, FRAME_SAMPLES)
    power = np.einsum("fs,fs->f", frames, frames).astype(np.float64) / FRAME_SAMPLES
    rest = waveform[whole:]
    return np.append(power, np.mean(np.square(rest, dtype=np.float64))) if len(rest) else power


def _smoothed(power: NDArray[np.float64], num_frames: int) -> NDArray[np.float64]:
    """Means over so many frames around each."""
    return np.convolve(power, np.full(num_frames, 1 / num_frames), mode="same")[: len(power)]


def _runs(marked: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Where runs of marked frames begin and end."""
    edges = np.flatnonzero(np.diff(marked.astype(np.int8), prepend=0, append=0))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


def _pauses(power: NDArray[np.float64], silent: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Where the pauses begin and end, in frames: ``(pauses, 2)``."""
    loudness = 10 * np.log10(_smoothed(power, SMOOTHING_FRAMES) + 1e-12)
    loudest, quietest = _nearby(loudness, np.max), _nearby(loudness, np.min)
    near_noise = np.minimum(quietest + NOISE_MARGIN_DB, loudest - MIN_PAUSE_DEPTH_DB)
    quiet = silent | (loudness < np.maximum(loudest - PAUSE_DEPTH_DB, near_noise))
    long_enough = [run for run in _runs(quiet) if run[1] - run[0] >= PAUSE_FRAMES]
    return np.array(long_enough, dtype=np.int64).reshape(-1, 2)


def _nearby(loudness: NDArray[np.float64], extreme: Callable[..., Any]) -> NDArray[np.float64]:
    """The extreme of the seconds around each frame's own."""
    padding = -len(loudness) % FRAMES_PER_SECOND
    seconds = np.pad(loudness, (0, padding), mode="edge").reshape(-1, FRAMES_PER_SECOND)
    of_each = np.pad(extreme(seconds, axis=1), NEARBY_SECONDS, mode="edge")
    around = np.lib.stride_tricks.sliding_window_view(of_each, 2 * NEARBY_SECONDS + 1)
    nearby: NDArray[np.float64] = np.repeat(extreme(around, axis=1), FRAMES_PER_SECOND)
    return nearby[: len(loudness)]


def _sections(silent: NDArray[np.bool_], min_silence: int) -> list[tuple[int, int, bool]]:
    """Frames as alternating sections ``(start, end, is_silent)``; short silences count as sound."""
    sections: list[tuple[int, int, bool]] = []
    position = 0
    for begin, finish in _runs(silent):
        if finish - begin < min_silence:
            continue
        # At either end of the recording there is no sound to leave a margin to.
        start = begin + SILENCE_MARGIN_FRAMES if begin > 0 else begin
        end = finish - SILENCE_MARGIN_FRAMES if finish < len(silent) else finish
        if start > position:
            sections.append((position, start, False))
        sections.append((start, end, True))
        position = end
    if position < len(silent):
        sections.append((position, len(silent), False))
    return sections


def _cuts(
    pauses: NDArray[np.int64], calm: NDArray[np.float64], start: int, end: int, longest: int
) -> dict[int, bool]:
    """Frames at which to cut ``start..end``, and whether each lies in a pause."""
    shortest = min(int(MIN_CHUNK_SECONDS * FRAMES_PER_SECOND), longest // 2)
    cuts: dict[int, bool] = {}
    waiting = [(start, end)]
    while waiting:
        first, last = waiting.pop()
        if last - first <= longest:
            continue
        middles = pauses.mean(axis=1).astype(np.int64)
        inside = slice(*np.searchsorted(middles, [first + shortest, last - shortest + 1]).tolist())
        lengths = pauses[inside, 1] - pauses[inside, 0]
        if len(lengths):
            cut, in_pause = int(middles[inside][lengths.argmax()]), True
        else:
            cut, in_pause = _quietest(calm, first, last, longest), False
        cuts[cut] = in_pause
        waiting += [(first, cut), (cut, last)]
    return cuts


def _quietest(calm: NDArray[np.float64], start: int, end: int, longest: int) -> int:
    """The quietest frame to end a first chunk at; the rest must be able to stand alone."""
    first = start + longest // 2
    last = max(first, min(start + longest, end - longest // 2))
    # The latest of equally quiet places: fewer chunks.
    return last - int(np.argmin(calm[first : last + 1][::-1]))
