"""Sounds rendered by code, each under the name a listener would give it.

A ``strike`` is one countable occurrence (a knock, a beep); a ``texture`` fills any length (rain,
wind). A sound that code imitates badly (a dog's bark, a sneeze) is not here: a false label is worse
than a missing one.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eureka_audio.audio.clock import SAMPLING_RATE
from eureka_audio.synthesis.signals import (
    envelope,
    gate,
    glide,
    noise_band,
    place,
    seconds_to_time,
    slow_curve,
)

Sound = NDArray[np.float64]


@dataclass(frozen=True)
class RenderedSound:
    """A sound and its label; ``render(seconds, rng)`` makes it (a strike ignores the seconds)."""

    label: str
    render: Callable[[float, np.random.Generator], Sound]
    is_strike: bool
    is_background: bool = False


def beep(_: float, rng: np.random.Generator) -> Sound:
    """A short tone, pure or a little square."""
    seconds = rng.uniform(0.12, 0.4)
    phase = glide(rng.uniform(500, 3000), seconds)
    tone = np.sin(phase) if rng.random() < 0.6 else np.tanh(4 * np.sin(phase))
    return tone * gate(len(tone))


def bell(_: float, rng: np.random.Generator) -> Sound:
    """A struck bell: inharmonic partials that fade, the high ones first."""
    seconds, base = rng.uniform(0.9, 2.0), rng.uniform(350, 1300)
    total = np.zeros(len(seconds_to_time(seconds)))
    for ratio, strength in (
        (0.5, 0.3),
        (1, 1),
        (1.19, 0.6),
        (1.56, 0.4),
        (2, 0.6),
        (2.66, 0.4),
        (3.76, 0.3),
    ):
        partial = np.sin(glide(base * ratio * rng.uniform(0.995, 1.005), seconds))
        total += strength * partial * envelope(len(total), 0.002, seconds * 1.3 / ratio**0.5)
    return total


def knock(_: float, rng: np.random.Generator) -> Sound:
    """A knuckle on wood: a damped low resonance and a click."""
    seconds = 0.18
    body = np.sin(glide(rng.uniform(140, 320), seconds)) + 0.5 * np.sin(
        glide(rng.uniform(400, 800), seconds)
    )
    click = noise_band(seconds, 500, 3000, rng)
    size = len(body)
    return body * envelope(size, 0.001, rng.uniform(0.08, 0.14)) + 0.4 * click * envelope(
        size, 0.001, 0.03
    )


def hand_clap(_: float, rng: np.random.Generator) -> Sound:
    """A clap: a few bursts of noise within milliseconds."""
    burst = noise_band(0.25, rng.uniform(600, 1000), rng.uniform(2500, 4500), rng)
    pieces = [(0.009 * k, burst * envelope(len(burst), 0.001, 0.03)) for k in range(3)]
    pieces.append((0.027, burst * envelope(len(burst), 0.001, rng.uniform(0.1, 0.25))))
    return place(pieces, 0.3)


def whistle(_: float, rng: np.random.Generator) -> Sound:
    """A whistled tone that slides."""
    seconds, start = rng.uniform(0.4, 0.9), rng.uniform(900, 2200)
    path = start * np.array([1.0, rng.uniform(0.7, 1.5), rng.uniform(0.7, 1.5)])
    tone = np.sin(glide(path, seconds)) + 0.05 * noise_band(seconds, 1000, 4000, rng)
    return tone * gate(len(tone), 0.04)


def horn(_: float, rng: np.random.Generator) -> Sound:
    """A car's horn: two rich tones a third apart."""
    seconds, base = rng.uniform(0.35, 1.0), rng.uniform(320, 460)
    tone = sum(
        np.sin(glide(base * interval * k, seconds)) / k
        for interval in (1.0, 1.25)
        for k in range(1, 9)
    )
    return np.asarray(tone) * gate(len(seconds_to_time(seconds)), 0.02)


def doorbell(_: float, rng: np.random.Generator) -> Sound:
    """Ding-dong: a high chime, then one a third lower."""
    high = rng.uniform(550, 800)
    notes = []
    for start, frequency in ((0.0, high), (rng.uniform(0.4, 0.6), high * 0.794)):
        tone = np.sin(glide(frequency, 1.2)) + 0.3 * np.sin(glide(3 * frequency, 1.2))
        notes.append((start, tone * envelope(len(tone), 0.003, 1.0)))
    return place(notes, 1.5)


def water_drop(_: float, rng: np.random.Generator) -> Sound:
    """A drop into water: a short upward chirp."""
    start = rng.uniform(500, 1100)
    tone = np.sin(glide([start, start * rng.uniform(1.6, 2.6)], 0.12))
    return tone * envelope(len(tone), 0.004, 0.12)


def bird_chirp(_: float, rng: np.random.Generator) -> Sound:
    """A chirp of a small bird: a quick warbling sweep, two to five syllables."""
    base, syllable = rng.uniform(2300, 4500), rng.uniform(0.05, 0.12)
    path = base * rng.uniform(0.75, 1.3, 4)
    tone = np.sin(glide(path, syllable)) * gate(int(syllable * SAMPLING_RATE), 0.01)
    count, gap = int(rng.integers(2, 6)), rng.uniform(0.02, 0.06)
    return place([(k * (syllable + gap), tone) for k in range(count)], count * (syllable + gap))


def thunder(_: float, rng: np.random.Generator) -> Sound:
    """A clap of thunder: low noise that bursts and rolls away."""
    seconds = rng.uniform(2.0, 3.5)
    rumble = noise_band(seconds, 30, 180, rng) * slow_curve(
        int(seconds * SAMPLING_RATE), 6, 0.3, 1.0, rng
    )
    crack = noise_band(seconds, 100, 2500, rng) * envelope(len(rumble), 0.005, 0.5)
    return rumble * envelope(len(rumble), 0.05, seconds * 1.3) * 3 + 0.6 * crack


def siren(seconds: float, rng: np.random.Generator) -> Sound:
    """A wailing siren, or one of two tones."""
    low, period = rng.uniform(450, 700), rng.uniform(0.6, 2.0)
    time = seconds_to_time(seconds)
    swing = 0.5 - 0.5 * np.cos(2 * np.pi * time / period)
    if rng.random() < 0.4:
        swing = np.round(swing)
    phase = 2 * np.pi * np.cumsum(low * (1 + rng.uniform(0.35, 0.9) * swing)) / SAMPLING_RATE
    return (np.sin(phase) + 0.3 * np.sin(2 * phase) + 0.2 * np.sin(3 * phase)) * gate(
        len(time), 0.05
    )


def alarm(seconds: float, rng: np.random.Generator) -> Sound:
    """An alarm clock: groups of quick beeps."""
    pitch, rest = rng.uniform(1500, 2800), rng.uniform(0.35, 0.6)
    one = np.tanh(3 * np.sin(glide(pitch, 0.07))) * gate(int(0.07 * SAMPLING_RATE))
    group = [k * 0.12 for k in range(int(rng.integers(2, 5)))]
    period = group[-1] + 0.07 + rest
    starts = [base + offset for base in np.arange(0, seconds, period) for offset in group]
    return place([(float(start), one) for start in starts], seconds)


def telephone(seconds: float, rng: np.random.Generator) -> Sound:
    """A ringing telephone: two tones, beaten 20 times a second, ringing and resting."""
    time = seconds_to_time(seconds)
    ring, rest = rng.uniform(0.8, 1.4), rng.uniform(0.5, 1.0)
    tone = np.sin(2 * np.pi * rng.uniform(900, 1100) * time) + np.sin(
        2 * np.pi * rng.uniform(1200, 1500) * time
    )
    beaten = tone * (np.sin(2 * np.pi * rng.uniform(17, 24) * time) > 0)
    return beaten * (time % (ring + rest) < ring)


def clock(seconds: float, rng: np.random.Generator) -> Sound:
    """A ticking clock."""
    period, pieces = rng.uniform(0.4, 1.0), []
    tick, tock = rng.uniform(2000, 5000), rng.uniform(1500, 3500)
    for k, start in enumerate(np.arange(0.05, seconds, period)):
        click = noise_band(0.05, (tick, tock)[k % 2] * 0.7, (tick, tock)[k % 2] * 1.4, rng)
        pieces.append((float(start), click * envelope(len(click), 0.0005, 0.025)))
    return place(pieces, seconds)


def footsteps(seconds: float, rng: np.random.Generator) -> Sound:
    """Steps on a hard floor: heel, then toe."""
    period, pieces = rng.uniform(0.45, 0.75), []
    for start in np.arange(0.05, seconds, period):
        for offset, strength in ((0.0, 1.0), (rng.uniform(0.06, 0.1), 0.4)):
            thud = noise_band(0.12, 80, rng.uniform(600, 1500), rng)
            pieces.append(
                (float(start + offset), strength * thud * envelope(len(thud), 0.001, 0.07))
            )
    return place(pieces, seconds)


def crickets(seconds: float, rng: np.random.Generator) -> Sound:
    """Crickets: a high tone in quick trains of pulses."""
    time = seconds_to_time(seconds)
    tone = np.sin(2 * np.pi * rng.uniform(3800, 5200) * time)
    pulses = np.clip(np.sin(2 * np.pi * rng.uniform(25, 45) * time), 0, 1)
    trains = time % (period := rng.uniform(0.4, 1.0)) < period * rng.uniform(0.4, 0.7)
    return np.asarray(tone * pulses * trains)


def wind(seconds: float, rng: np.random.Generator) -> Sound:
    """Wind: low noise that swells, with a slight howl."""
    size = len(seconds_to_time(seconds))
    base = noise_band(seconds, 60, rng.uniform(400, 800), rng) * slow_curve(
        size, 0.8, 0.25, 1.0, rng
    )
    center = rng.uniform(400, 800)
    howl = noise_band(seconds, center, center * 1.15, rng) * slow_curve(size, 0.8, 0.0, 1.0, rng)
    return base + 0.6 * howl


def rain(seconds: float, rng: np.random.Generator) -> Sound:
    """Rain: hissing noise and single drops."""
    size = len(seconds_to_time(seconds))
    hiss = noise_band(seconds, rng.uniform(800, 1800), 7500, rng)
    drops = np.zeros(size)
    hits = rng.integers(0, size, int(seconds * rng.uniform(60, 250)))
    drops[hits] = rng.standard_normal(len(hits)) * rng.exponential(1.0, len(hits))
    splash = noise_band(0.01, 1500, 6000, rng) * envelope(int(0.01 * SAMPLING_RATE), 0.0005, 0.008)
    return hiss + 2.0 * np.convolve(drops, splash)[:size]


def sea_waves(seconds: float, rng: np.random.Generator) -> Sound:
    """Waves on a beach: noise that rises and falls every few seconds."""
    time, period = seconds_to_time(seconds), rng.uniform(2.5, 5.0)
    swell = (0.5 - 0.5 * np.cos(2 * np.pi * (time / period + rng.random()))) ** 2
    deep, foam = noise_band(seconds, 80, 600, rng), noise_band(seconds, 600, 6000, rng)
    return deep * (0.3 + 0.7 * swell) + 0.8 * foam * (0.1 + 0.9 * swell**1.5)


def engine(seconds: float, rng: np.random.Generator) -> Sound:
    """A running motor: a low harmonic buzz with uneven firing."""
    size = len(seconds_to_time(seconds))
    base = slow_curve(size, 1.0, 0.95, 1.08, rng) * rng.uniform(28, 70)
    phase = 2 * np.pi * np.cumsum(base) / SAMPLING_RATE
    tone = sum(np.sin(k * phase + rng.uniform(0, 6)) / k**0.8 for k in range(1, 14))
    return np.asarray(tone) * slow_curve(size, 8, 0.8, 1.0, rng) + 0.5 * noise_band(
        seconds, 80, 1200, rng
    )


def helicopter(seconds: float, rng: np.random.Generator) -> Sound:
    """A helicopter: low noise chopped by the blades, and a turbine's whine."""
    time = seconds_to_time(seconds)
    chop = np.clip(np.sin(2 * np.pi * rng.uniform(10, 17) * time), 0, 1) ** 3
    blades = noise_band(seconds, 40, rng.uniform(300, 700), rng) * (0.15 + chop)
    return blades + 0.03 * noise_band(seconds, 1500, 3500, rng)


def crackling_fire(seconds: float, rng: np.random.Generator) -> Sound:
    """A fire: a soft roar and irregular cracks."""
    pieces = [(0.0, 0.25 * noise_band(seconds, 60, 400, rng))]
    for start in rng.uniform(0, seconds, int(seconds * rng.uniform(6, 18))):
        crack = noise_band(0.03, rng.uniform(800, 2000), 7000, rng)
        strength = rng.exponential(1.2)
        pieces.append(
            (
                float(start),
                strength * crack * envelope(len(crack), 0.0005, rng.uniform(0.005, 0.03)),
            )
        )
    return place(pieces, seconds)


def electric_hum(seconds: float, rng: np.random.Generator) -> Sound:
    """Mains hum: 50 or 60 Hz and its harmonics."""
    time, mains = seconds_to_time(seconds), rng.choice([50.0, 60.0])
    return np.asarray(sum(np.sin(2 * np.pi * mains * k * time) / k for k in (1, 2, 3, 4, 6, 8)))


def white_noise(seconds: float, rng: np.random.Generator) -> Sound:
    """Static."""
    return rng.standard_normal(len(seconds_to_time(seconds)))


SOUNDS: tuple[RenderedSound, ...] = (
    RenderedSound("beep", beep, True),
    RenderedSound("bell ringing", bell, True),
    RenderedSound("knocking", knock, True),
    RenderedSound("hand clap", hand_clap, True),
    RenderedSound("whistle", whistle, True),
    RenderedSound("car horn", horn, True),
    RenderedSound("doorbell", doorbell, True),
    RenderedSound("water drop", water_drop, True),
    RenderedSound("bird chirping", bird_chirp, True),
    RenderedSound("thunder", thunder, True),
    RenderedSound("siren", siren, False),
    RenderedSound("alarm clock", alarm, False),
    RenderedSound("telephone ringing", telephone, False),
    RenderedSound("clock ticking", clock, False),
    RenderedSound("footsteps", footsteps, False),
    RenderedSound("crickets", crickets, False, is_background=True),
    RenderedSound("wind", wind, False, is_background=True),
    RenderedSound("rain", rain, False, is_background=True),
    RenderedSound("sea waves", sea_waves, False, is_background=True),
    RenderedSound("engine", engine, False, is_background=True),
    RenderedSound("helicopter", helicopter, False),
    RenderedSound("crackling fire", crackling_fire, False, is_background=True),
    RenderedSound("electric hum", electric_hum, False, is_background=True),
    RenderedSound("static noise", white_noise, False, is_background=True),
)
