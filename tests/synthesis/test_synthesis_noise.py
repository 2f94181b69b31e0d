"""Noise: its power falls as asked, and its colour varies where none is asked."""

import numpy as np
import pytest

from eureka_audio.audio.clock import SAMPLING_RATE
from eureka_audio.synthesis.noise import coloured_noise, some_noise


@pytest.mark.parametrize("slope", [0.0, 1.0, 2.0])
def test_noise_falls_with_its_slope(slope: float) -> None:
    noise = coloured_noise(1 << 16, slope, np.random.default_rng(0))
    power = np.abs(np.fft.rfft(noise)) ** 2
    hertz = np.fft.rfftfreq(1 << 16, 1 / SAMPLING_RATE)
    low, high = (power[(hertz > f) & (hertz < 1.2 * f)].mean() for f in (500, 4000))
    assert np.log(low / high) / np.log(8) == pytest.approx(slope, abs=0.15)
    assert np.sqrt(np.mean(noise**2)) == pytest.approx(1.0, abs=1e-3)


def test_noise_of_no_given_colour_varies() -> None:
    tilts = []
    for seed in range(20):
        noise = some_noise(np.random.default_rng(seed), 16_000)
        assert noise.dtype == np.float32
        spectrum = np.abs(np.fft.rfft(noise)) ** 2
        tilts.append(np.log10(spectrum[100:200].mean() / spectrum[4000:].mean()))
    assert min(tilts) < 0.5
    assert max(tilts) > 2.5
