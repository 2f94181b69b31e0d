"""Cutting a long waveform: into windows the encoder can take, or at pauses for transcription.

Both return spans of samples that tile the waveform exactly: every sample lies in one span.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from eureka_audio.audio import clock

Samples = NDArray[np.float32]

# No window of a conversation is shorter than this (unless the clip itself is): 12 tokens, 0.96 s.
MIN_WINDOW_SAMPLES = 12 * clock.SAMPLES_PER_AUDIO_TOKEN

FRAME_SAMPLES = clock.HOP_LENGTH  # loudness is judged, and cuts are made, every 10 ms
PAUSE_FRAMES = 15  # a pause is judged over 150 ms, so that the closure of a "p" is none
SILENCE_DBFS = -65.0  # quieter than a quiet room through a common microphone
MIN_SILENCE_SECONDS = 2.0
SILENCE_MARGIN_FRAMES = 20  # 200 ms of silence stay with the sound on either side


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a waveform, in samples: ``waveform[start:end]``.

    ``is_silent``: nothing in it can be heard, so a transcriber need not listen.
    """

    start: int
    end: int
    is_silent: bool = False

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
    min_seconds: float | None = None,
    silence_dbfs: float = SILENCE_DBFS,
) -> tuple[Span, ...]:
    """Spans for transcription, each cut at the quietest place available.

    Silence of two seconds or more becomes one span of its own, marked, of any length. The rest is
    cut into chunks of ``min_seconds`` to ``max_seconds``: each cut lies in the middle of the
    quietest 150 ms of that range. Only a chunk beside such a silence or at the end may be shorter.

    Args:
        waveform: ``(S,)`` at 16 kHz.
        max_seconds: no sounding chunk is longer (to within 10 ms).
        min_seconds: where the search for a pause begins; half of ``max_seconds`` by default.
        silence_dbfs: loudness of 10 ms (root mean square, full scale = 0) below which it is silent.
    """
    min_seconds = max_seconds / 2 if min_seconds is None else min_seconds
    frames_per_second = clock.SAMPLING_RATE // FRAME_SAMPLES
    longest, shortest = (int(seconds * frames_per_second) for seconds in (max_seconds, min_seconds))
    if not 0 < shortest <= longest:
        raise ValueError(f"expected 0.01 <= min <= max seconds, got {min_seconds}, {max_seconds}")
    if not len(waveform):
        return ()
    power = _frame_power(waveform)
    silent = power < 10 ** (silence_dbfs / 10)
    smooth = np.convolve(power, np.full(PAUSE_FRAMES, 1 / PAUSE_FRAMES), mode="same")[: len(power)]

    spans: list[Span] = []
    for start, end, is_silent in _sections(silent, int(MIN_SILENCE_SECONDS * frames_per_second)):
        cuts = [] if is_silent else _quiet_cuts(smooth, start, end, shortest, longest)
        edges = [start, *cuts, end]
        spans.extend(
            Span(a * FRAME_SAMPLES, min(b * FRAME_SAMPLES, len(waveform)), is_silent)
            for a, b in pairwise(edges)
        )
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


def _sections(silent: NDArray[np.bool_], min_silence: int) -> list[tuple[int, int, bool]]:
    """Frames as alternating sections ``(start, end, is_silent)``; short silences count as sound."""
    edges = np.flatnonzero(np.diff(silent.astype(np.int8), prepend=0, append=0))
    sections: list[tuple[int, int, bool]] = []
    position = 0
    for begin, finish in edges.reshape(-1, 2).tolist():
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


def _quiet_cuts(
    smooth: NDArray[np.float64], start: int, end: int, shortest: int, longest: int
) -> list[int]:
    """Frames at which to cut ``start..end`` so that no piece is longer than ``longest``."""
    cuts: list[int] = []
    while end - start > longest:
        first = start + shortest
        # What is left must be able to stand alone, if there is room for that.
        last = max(first, min(start + longest, end - shortest))
        candidates = smooth[first : last + 1]
        # The latest of equally quiet places: fewer chunks.
        start = last - int(np.argmin(candidates[::-1]))
        cuts.append(start)
    return cuts
