"""Music rendered by code: notes and short tunes of instrument-like timbres, and drum beats."""

from collections.abc import Callable

import numpy as np
import scipy.signal
from numpy.typing import NDArray

from eureka_audio.audio.clock import SAMPLING_RATE
from eureka_audio.synthesis.signals import (
    envelope,
    gate,
    glide,
    noise_band,
    place,
    seconds_to_time,
)

Note = NDArray[np.float64]
MAJOR, MINOR, PENTATONIC = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 4, 7, 9)


def pitch_hz(semitones_from_a4: float) -> float:
    """Equal temperament, A4 = 440 Hz."""
    return 440.0 * 2 ** (semitones_from_a4 / 12)


def _partials(
    frequency: float, seconds: float, strengths: list[float], vibrato: float = 0.0
) -> Note:
    """Harmonics of one frequency, up to what 16 kHz can hold."""
    time = seconds_to_time(seconds)
    wobble = frequency * (1 + vibrato * np.sin(2 * np.pi * 5.5 * time))
    phase = 2 * np.pi * np.cumsum(wobble) / SAMPLING_RATE
    top = 0.45 * SAMPLING_RATE / frequency
    return np.asarray(
        sum(
            (s * np.sin(k * phase) for k, s in enumerate(strengths, start=1) if k < top),
            np.zeros(len(time)),
        )
    )


def guitar(frequency: float, seconds: float, rng: np.random.Generator) -> Note:
    """A plucked string (Karplus and Strong): noise in a loop whose low-pass lets it fade."""
    period = max(2, round(SAMPLING_RATE / frequency))
    excitation = np.zeros(len(seconds_to_time(seconds)))
    excitation[:period] = rng.uniform(-1, 1, period)[: len(excitation)]
    loop = np.zeros(period + 2)
    loop[0], loop[period], loop[period + 1] = 1.0, -0.498, -0.498
    string = scipy.signal.lfilter([1.0], loop, excitation)
    return np.asarray(string) * gate(len(string), 0.005)


def flute(frequency: float, seconds: float, rng: np.random.Generator) -> Note:
    """Few harmonics, vibrato, breath."""
    tone = _partials(frequency, seconds, [1, 0.35, 0.12, 0.04], vibrato=0.006)
    breath = noise_band(seconds, frequency, min(7000.0, frequency * 4), rng)
    return (tone + 0.04 * breath) * gate(len(tone), min(0.06, seconds / 3))


def trumpet(frequency: float, seconds: float, rng: np.random.Generator) -> Note:
    """Many strong harmonics that brighten as the note begins."""
    dull = _partials(frequency, seconds, [1, 0.6, 0.3, 0.1])
    bright = _partials(
        frequency, seconds, [0.6, 0.9, 1, 0.9, 0.7, 0.5, 0.35, 0.25, 0.15], vibrato=0.003
    )
    blend = np.minimum(1.0, seconds_to_time(seconds) / rng.uniform(0.05, 0.12))
    return ((1 - blend) * dull + blend * bright) * gate(len(dull), min(0.03, seconds / 3))


def organ(frequency: float, seconds: float, rng: np.random.Generator) -> Note:
    """Steady octaves and fifths of pipes."""
    strengths = [1, 0.8, 0.4, 0.6, 0.05, 0.3, 0.02, 0.4 * rng.random()]
    tone = _partials(frequency, seconds, strengths)
    return tone * gate(len(tone), min(0.02, seconds / 3))


def piano(frequency: float, seconds: float, rng: np.random.Generator) -> Note:
    """Struck strings: slightly stretched harmonics that fade, the high ones first, and a hammer."""
    total = np.zeros(len(seconds_to_time(seconds)))
    for k in range(1, 11):
        partial = k * frequency * (1 + 0.0004 * k * k)
        if partial < 0.45 * SAMPLING_RATE:
            fade = rng.uniform(1.8, 2.2) / k**0.6 * (440 / frequency) ** 0.3
            total += np.sin(glide(partial, seconds)) * envelope(len(total), 0.003, fade) / k**1.1
    hammer = noise_band(seconds, 200, 2000, rng) * envelope(len(total), 0.001, 0.03)
    return total + 0.1 * hammer


def xylophone(frequency: float, seconds: float, rng: np.random.Generator) -> Note:
    """Wooden bars: the third harmonic above the first, both quickly gone."""
    tone = np.sin(glide(frequency, seconds)) + 0.4 * np.sin(glide(3 * frequency, seconds))
    return tone * envelope(len(tone), 0.001, rng.uniform(0.25, 0.4))


# label -> (how one note sounds, lowest and highest note in semitones from A4)
INSTRUMENTS: dict[str, tuple[Callable[[float, float, np.random.Generator], Note], int, int]] = {
    "guitar": (guitar, -27, 2),
    "flute": (flute, -4, 20),
    "trumpet": (trumpet, -14, 10),
    "organ": (organ, -24, 10),
    "piano": (piano, -29, 15),
    "xylophone": (xylophone, 3, 24),
}


def single_note(instrument: str, rng: np.random.Generator) -> Note:
    """One note of 0.35-0.9 s."""
    play, low, high = INSTRUMENTS[instrument]
    return play(pitch_hz(float(rng.integers(low, high + 1))), rng.uniform(0.35, 0.9), rng)


def melody(instrument: str, seconds: float, rng: np.random.Generator) -> Note:
    """A tune that wanders by steps through a scale, in a steady beat."""
    play, low, high = INSTRUMENTS[instrument]
    scale = (MAJOR, MINOR, PENTATONIC)[rng.integers(3)]
    home = int(rng.integers(low, max(low + 1, high - 12)))
    notes = [
        home + 12 * octave + step
        for octave in (0, 1)
        for step in scale
        if home + 12 * octave + step <= high
    ]
    beat, position, time = rng.uniform(0.22, 0.45), int(rng.integers(len(notes))), 0.0
    pieces = []
    while time < seconds:
        length = beat * rng.choice([1, 1, 1, 2])
        pieces.append((time, play(pitch_hz(notes[position]), float(length) * 1.05, rng)))
        position = int(np.clip(position + rng.choice([-2, -1, -1, 1, 1, 2]), 0, len(notes) - 1))
        time += float(length)
    tune = place(pieces, seconds)
    return tune * gate(len(tune), 0.02)


def drum_beat(seconds: float, rng: np.random.Generator) -> Note:
    """Bass drum, snare and cymbal in a bar that repeats."""
    kick = np.sin(glide([rng.uniform(110, 160), 45], 0.25))
    kick *= envelope(len(kick), 0.002, 0.25)
    snare = 0.5 * noise_band(0.2, 500, 6000, rng) + 0.5 * np.sin(glide(rng.uniform(170, 220), 0.2))
    snare *= envelope(len(snare), 0.001, 0.15)
    hat = 0.3 * noise_band(0.08, 5000, 7800, rng)
    hat *= envelope(len(hat), 0.001, 0.05)
    beat, bar = rng.uniform(0.2, 0.32), rng.random((3, 8))
    pieces = []
    for index in range(int(seconds / beat) + 1):
        slot = index % 8
        if slot in (0, 4) or bar[0, slot] < 0.2:
            pieces.append((index * beat, 1.2 * kick))
        if slot in (2, 6) or bar[1, slot] < 0.1:
            pieces.append((index * beat, snare))
        if bar[2, slot] < 0.8:
            pieces.append((index * beat, hat))
    return place(pieces, seconds)
