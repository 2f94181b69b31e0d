"""Blocks of any rate and width -> one mono waveform at 16 kHz, within limits."""

import math
from dataclasses import dataclass

import numpy as np
import soxr

from eureka_audio.audio import clock
from eureka_audio.audio.decoders import Block, Samples
from eureka_audio.errors import (
    AudioFormatError,
    AudioLimitError,
    EmptyAudioError,
    InvalidSamplesError,
)

# Float samples beyond full scale occur (lossy decoders overshoot, mixes run hot) and stay as they
# are; beyond this they are something else, mostly 16-bit integers stored as floats.
MAX_AMPLITUDE = 16.0  # +24 dB over full scale


@dataclass(frozen=True, slots=True)
class AudioLimits:
    """How much sound one input may turn into; checked by its header, and again while it is decoded.

    The defaults suit a person at their own machine; a server should set far smaller ones.

    Attributes:
        min_duration_seconds: anything shorter is an ``EmptyAudioError``.
        max_duration_seconds: of the recording itself, before resampling.
        max_encoded_bytes: of the file, or of the text of a data URI once decoded.
        max_decoded_bytes: float32 samples of all channels at the rate of the recording.
        max_channels: mixed down with equal weights.
        min_sampling_rate: in Hz.
        max_sampling_rate: in Hz.
    """

    min_duration_seconds: float = 0.1
    max_duration_seconds: float = 4 * 3600.0
    max_encoded_bytes: int = 4 * 2**30
    max_decoded_bytes: int = 16 * 2**30
    max_channels: int = 8
    min_sampling_rate: int = 4_000
    max_sampling_rate: int = 192_000


LOCAL_LIMITS = AudioLimits()


class MonoResampler:
    """Checks, mixes down and resamples a stream of blocks; holds nothing but the result."""

    def __init__(self, name: str, limits: AudioLimits) -> None:
        self._name = name
        self._limits = limits
        self._layout: tuple[int, int] | None = None  # sampling rate, channels
        self._stream: soxr.ResampleStream | None = None
        self._num_frames = 0
        # Grows in place, so that there is never a list of parts beside the joined whole.
        self._result = bytearray()

    def add(self, block: Block) -> None:
        rate, channels = block.sampling_rate, block.samples.shape[1]
        if self._layout is None:
            self._begin(rate, channels)
            self._check_limits(math.ceil((block.declared_seconds or 0) * rate), rate, channels)
        elif self._layout != (rate, channels):
            raise AudioFormatError(
                f"{self._name}: changes its rate or channels at {self._num_frames} frames; convert "
                "it to one format first"
            )
        self._num_frames += len(block.samples)
        self._check_limits(self._num_frames, rate, channels)
        check_amplitude(block.samples, self._name)
        weights = np.full(channels, 1 / channels, dtype=np.float32)
        if len(block.samples):
            self._keep(block.samples @ weights, last=False)

    def finish(self) -> Samples:
        """The waveform ``(S,)``, as long as the recording to the nearest sample."""
        rate = self._layout[0] if self._layout else clock.SAMPLING_RATE
        seconds = self._num_frames / rate
        if self._num_frames == 0 or seconds < self._limits.min_duration_seconds:
            raise EmptyAudioError(
                f"{self._name}: expected at least {self._limits.min_duration_seconds:g} s of "
                f"sound, got {seconds:.3f} s ({self._num_frames} frames); record more"
            )
        self._keep(np.zeros(0, dtype=np.float32), last=True)
        num_samples = (2 * self._num_frames * clock.SAMPLING_RATE + rate) // (2 * rate)
        self._result += bytes(max(0, 4 * num_samples - len(self._result)))
        return np.frombuffer(self._result, dtype=np.float32)[:num_samples]

    def _begin(self, rate: int, channels: int) -> None:
        limits = self._limits
        if not limits.min_sampling_rate <= rate <= limits.max_sampling_rate:
            raise AudioLimitError(
                f"{self._name}: expected {limits.min_sampling_rate} to {limits.max_sampling_rate} "
                f"samples per second, got {rate}; resample it first"
            )
        if channels > limits.max_channels:
            raise AudioLimitError(
                f"{self._name}: expected at most {limits.max_channels} channels, got {channels}; "
                "mix it down first"
            )
        self._layout = (rate, channels)
        if rate != clock.SAMPLING_RATE:
            self._stream = soxr.ResampleStream(rate, clock.SAMPLING_RATE, 1, dtype="float32")

    def _check_limits(self, num_frames: int, rate: int, channels: int) -> None:
        limits = self._limits
        if num_frames > limits.max_duration_seconds * rate:
            raise AudioLimitError(
                f"{self._name}: longer than the {limits.max_duration_seconds:g} s allowed; split "
                "it or raise max_duration_seconds"
            )
        if num_frames * channels * 4 > limits.max_decoded_bytes:
            raise AudioLimitError(
                f"{self._name}: decodes to more than the {limits.max_decoded_bytes} bytes allowed; "
                "split it or raise max_decoded_bytes"
            )

    def _keep(self, samples: Samples, last: bool) -> None:
        if self._stream is not None:
            samples = self._stream.resample_chunk(samples, last=last)
        self._result += np.ascontiguousarray(samples, dtype=np.float32).data


def check_amplitude(samples: Samples, name: str) -> None:
    """Refuse NaN, infinity and a scale that cannot be meant."""
    if not samples.size:
        return
    peak = max(float(samples.max()), -float(samples.min()))  # NaN stays NaN
    if peak <= MAX_AMPLITUDE:
        return
    if not np.isfinite(peak):
        raise InvalidSamplesError(f"{name}: holds NaN or infinity; repair or re-export it")
    raise InvalidSamplesError(
        f"{name}: expected samples in [-1, 1], got {peak:.3g}; divide by full scale (32768 for "
        "16 bit) or pass integers"
    )
