"""Noise of any colour."""

import numpy as np
from numpy.typing import NDArray

from eureka_audio.audio.clock import SAMPLING_RATE

LOWEST_HZ = 30.0  # below it the power stays level


def coloured_noise(num_samples: int, slope: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Noise of unit RMS whose power falls as ``1 / f ** slope`` (0 white, 1 pink, 2 brown)."""
    spectrum = np.fft.rfft(rng.standard_normal(num_samples))
    frequencies = np.maximum(np.fft.rfftfreq(num_samples, 1 / SAMPLING_RATE), LOWEST_HZ)
    noise = np.fft.irfft(spectrum * frequencies ** (-slope / 2), num_samples)
    return np.asarray(noise / (np.sqrt(np.mean(noise**2)) + 1e-12), dtype=np.float32)


def some_noise(rng: np.random.Generator, num_samples: int) -> NDArray[np.float32]:
    """Noise of unit RMS, its colour drawn from white to brown."""
    return coloured_noise(num_samples, rng.uniform(0.0, 2.0), rng)
