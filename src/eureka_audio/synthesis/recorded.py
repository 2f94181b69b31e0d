"""Making clean synthetic sound less clean: rooms, microphones, background noise, level.

An engine's voice in digital silence is nothing a microphone ever gave. Half of the clips stay
nearly clean; the others get some of a room's echo, a microphone's tilt, a narrow band, and noise.
"""

import numpy as np
import scipy.signal
from numpy.typing import NDArray

from eureka_audio.audio.clock import SAMPLING_RATE
from eureka_audio.synthesis.noise import coloured_noise

Waveform = NDArray[np.float32]


def trim(waveform: Waveform, floor_db: float = -45.0) -> Waveform:
    """Cut away what is quieter than ``floor_db`` below the peak at both ends; nothing is left of
    what cannot be heard at all.
    """
    peak = float(np.abs(waveform).max(initial=0.0))
    if peak <= 1e-4:
        return waveform[:0]
    loud = np.flatnonzero(np.abs(waveform) > peak * 10 ** (floor_db / 20))
    return waveform[loud[0] : loud[-1] + 1]


def draw_silence(rng: np.random.Generator) -> tuple[int, int]:
    """Samples of silence before and after: 0.05 to 0.5 s each."""
    before, after = (int(rng.uniform(0.05, 0.5) * SAMPLING_RATE) for _ in range(2))
    return before, after


def room(waveform: Waveform, rng: np.random.Generator) -> Waveform:
    """Add a small room's echo: decaying noise, reverberation time 0.1-0.5 s; the length stays."""
    seconds = rng.uniform(0.1, 0.5)
    time = np.arange(int(seconds * SAMPLING_RATE)) / SAMPLING_RATE
    echo = rng.standard_normal(len(time)) * np.exp(-6.9 * time / seconds)
    echo *= rng.uniform(0.1, 0.6) / np.sqrt(np.sum(echo**2))
    echo[0] = 1.0
    return np.asarray(scipy.signal.fftconvolve(waveform, echo)[: len(waveform)], np.float32)


def tilt(waveform: Waveform, rng: np.random.Generator) -> Waveform:
    """A microphone's favour for high or low sounds: a first-order shelf."""
    a = rng.uniform(-0.5, 0.5)
    return np.asarray(scipy.signal.lfilter([1.0, -a], [1.0], waveform), np.float32)


def narrow_band(waveform: Waveform, rng: np.random.Generator) -> Waveform:
    """Nothing above 3.3-7 kHz, as over a telephone or a cheap recorder."""
    sos = scipy.signal.butter(6, rng.uniform(3300, 7000), fs=SAMPLING_RATE, output="sos")
    return np.asarray(scipy.signal.sosfilt(sos, waveform), np.float32)


def as_recorded(waveform: Waveform, rng: np.random.Generator) -> Waveform:
    """A clip as some recorder might have taken it: room, microphone, noise, level; no sound is
    moved.
    """
    clean = rng.random() < 0.4
    if not clean:
        if rng.random() < 0.6:
            waveform = room(waveform, rng)
        if rng.random() < 0.5:
            waveform = tilt(waveform, rng)
        if rng.random() < 0.3:
            waveform = narrow_band(waveform, rng)
    rms = float(np.sqrt(np.mean(waveform**2))) + 1e-9
    signal_to_noise_db = rng.uniform(40, 60) if clean else rng.uniform(12, 45)
    noise = (
        coloured_noise(len(waveform), rng.uniform(0, 2), rng)
        * rms
        * 10 ** (-signal_to_noise_db / 20)
    )
    waveform = waveform + noise.astype(np.float32)
    peak = 10 ** (rng.uniform(-18, -1) / 20)
    return np.asarray(waveform * (peak / (np.abs(waveform).max() + 1e-9)), np.float32)
