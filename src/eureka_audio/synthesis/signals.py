"""The few building blocks rendered sounds and music are made of; all at 16 kHz, mono float32."""

import numpy as np
import scipy.signal
from numpy.typing import ArrayLike, NDArray

from eureka_audio.audio.clock import SAMPLING_RATE

Waveform = NDArray[np.float32]


def seconds_to_time(seconds: float) -> NDArray[np.float64]:
    """The time of each sample of a stretch, in seconds."""
    return np.arange(max(1, int(seconds * SAMPLING_RATE))) / SAMPLING_RATE


def glide(frequency_hz: ArrayLike, seconds: float) -> NDArray[np.float64]:
    """The phase, in radians, of a tone whose frequency passes evenly through the given values."""
    time = seconds_to_time(seconds)
    points = np.atleast_1d(np.asarray(frequency_hz, dtype=float))
    frequency = np.interp(time, np.linspace(0, seconds, len(points)), points)
    return 2 * np.pi * np.cumsum(frequency) / SAMPLING_RATE


def envelope(num_samples: int, attack_seconds: float, decay_seconds: float) -> NDArray[np.float64]:
    """A rise, then an exponential fall to -60 dB after ``decay_seconds``; no click at the end."""
    time = np.arange(num_samples) / SAMPLING_RATE
    shape = np.minimum(1.0, time / max(attack_seconds, 1e-4)) * np.exp(-6.9 * time / decay_seconds)
    return shape * np.minimum(1.0, (num_samples - np.arange(num_samples)) / (0.01 * SAMPLING_RATE))


def gate(num_samples: int, edge_seconds: float = 0.01) -> NDArray[np.float64]:
    """One, with a short fade at both ends."""
    edge = edge_seconds * SAMPLING_RATE
    index = np.arange(num_samples)
    return np.minimum(1.0, np.minimum(index / edge, (num_samples - index) / edge))


def band(noise: NDArray[np.float64], low_hz: float, high_hz: float) -> NDArray[np.float64]:
    """Only what lies between two frequencies."""
    high_hz = min(high_hz, 0.49 * SAMPLING_RATE)
    sos = scipy.signal.butter(2, [low_hz, high_hz], btype="band", fs=SAMPLING_RATE, output="sos")
    return np.asarray(scipy.signal.sosfilt(sos, noise))


def noise_band(
    seconds: float, low_hz: float, high_hz: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """White noise between two frequencies."""
    return band(rng.standard_normal(len(seconds_to_time(seconds))), low_hz, high_hz)


def slow_curve(
    num_samples: int, rate_hz: float, low: float, high: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """A random curve between two values that changes about ``rate_hz`` times a second."""
    num_points = max(2, int(num_samples / SAMPLING_RATE * rate_hz) + 2)
    points = rng.uniform(low, high, num_points)
    return np.interp(np.linspace(0, num_points - 1, num_samples), np.arange(num_points), points)


def place(pieces: list[tuple[float, NDArray[np.float64]]], seconds: float) -> NDArray[np.float64]:
    """Add pieces into a stretch, each at its start in seconds; what passes the end is cut."""
    total = np.zeros(len(seconds_to_time(seconds)))
    for start_seconds, piece in pieces:
        start = int(start_seconds * SAMPLING_RATE)
        end = min(len(total), start + len(piece))
        if start < end:
            total[start:end] += piece[: end - start]
    return total


def at_level(waveform: NDArray[np.floating], level_dbfs: float) -> Waveform:
    """The waveform with its loud part (RMS over the samples that count) at a level in dB of full
    scale.
    """
    loud = np.abs(waveform) > 0.05 * (np.abs(waveform).max(initial=0.0) + 1e-12)
    rms = (
        float(np.sqrt(np.mean(np.square(waveform[loud], dtype=np.float64)))) if loud.any() else 1.0
    )
    scaled = waveform * (10 ** (level_dbfs / 20) / max(rms, 1e-9))
    peak = np.abs(scaled).max(initial=0.0)
    return np.asarray(scaled * min(1.0, 0.95 / max(peak, 1e-9)), dtype=np.float32)
