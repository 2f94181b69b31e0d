"""How often words are written where nobody speaks: silence, noise, music, tones, made by code.

    python benchmarks/no_speech.py --out benchmarks/results/no_speech.json

Each clip is transcribed with as many beams as the checkpoint asks for and with one, and both again
without the judgement of its CTC head (`no_speech_threshold`), for comparison.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from acceptance import record
from numpy.typing import NDArray

from eureka_audio import EurekaAudio
from eureka_audio.audio.clock import SAMPLING_RATE
from eureka_audio.inference.transcription.settings import OPINION_KEYS, transcription_beams

Samples = NDArray[np.float32]

SECONDS = 3.0
TIMES = np.arange(int(SECONDS * SAMPLING_RATE)) / SAMPLING_RATE
THRESHOLD_KEY = OPINION_KEYS["no_speech_threshold"]


def silence(rng: np.random.Generator) -> Samples:
    """Nothing at all."""
    return np.zeros(len(TIMES), np.float32)


def room_noise(rng: np.random.Generator) -> Samples:
    """White noise between barely and clearly audible."""
    return _as_samples(rng.standard_normal(len(TIMES)), 10 ** rng.uniform(-3.5, -1))


def music(rng: np.random.Generator) -> Samples:
    """Eight plucked notes of four harmonics."""
    total = np.zeros(len(TIMES))
    for start in np.arange(8) * SECONDS / 8:
        pitch = 220 * 2 ** (rng.integers(0, 24) / 12)
        decay = np.where(start < TIMES, np.exp(-3 * (TIMES - start).clip(0)), 0.0)
        harmonics = [np.sin(2 * np.pi * pitch * k * TIMES) / k for k in range(1, 5)]
        total += decay * np.sum(harmonics, axis=0)
    return _as_samples(total, 0.2)


def tone(rng: np.random.Generator) -> Samples:
    """One steady sine."""
    wave = np.sin(2 * np.pi * rng.uniform(80, 4000) * TIMES)
    return _as_samples(wave, rng.uniform(0.02, 0.5))


def speech_shaped_noise(rng: np.random.Generator) -> Samples:
    """Noise with the long-term spectrum of speech, as loud and soft as syllables are."""
    spectrum = np.fft.rfft(rng.standard_normal(len(TIMES)))
    frequencies = np.fft.rfftfreq(len(TIMES), 1 / SAMPLING_RATE)
    noise = np.fft.irfft(spectrum / np.maximum(frequencies, 100) ** 0.75, len(TIMES))
    knots = rng.uniform(0.1, 1, 13)
    return _as_samples(noise * np.interp(TIMES, np.linspace(0, SECONDS, len(knots)), knots), 0.2)


def _as_samples(wave: NDArray[np.float64], peak: float) -> Samples:
    return (peak * wave / np.abs(wave).max()).astype(np.float32)


KINDS: Mapping[str, Callable[[np.random.Generator], Samples]] = {
    "silence": silence,
    "room noise": room_noise,
    "music": music,
    "tones": tone,
    "speech-shaped noise": speech_shaped_noise,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--num", type=int, default=20, help="clips of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="also write the JSON here")
    args = parser.parse_args(arguments)
    model = EurekaAudio.from_pretrained(args.model)
    settings = model.model.generation_config
    shipped = getattr(settings, THRESHOLD_KEY, 0.0)
    clips = {
        kind: [
            (make(np.random.default_rng([args.seed, i])), SAMPLING_RATE) for i in range(args.num)
        ]
        for kind, make in KINDS.items()
    }
    figures = []
    for threshold in (shipped, 0.0):
        setattr(settings, THRESHOLD_KEY, threshold)
        for num_beams in (transcription_beams(settings), 1):
            with_words = {
                kind: sum(
                    bool(str(reply).strip())
                    for reply in model.transcribe(some, num_beams=num_beams)
                )
                for kind, some in clips.items()
            }
            figures.append({
                "no_speech_threshold": threshold, "num_beams": num_beams, "with_words": with_words
            })  # fmt: skip
            print(f"threshold {threshold:.1f}, {num_beams:2} beams: with words {with_words}")
    result = {
        "benchmark": "no_speech",
        "model": args.model,
        "clips_of_each_kind": args.num,
        "seed": args.seed,
        "figures": figures,
    }
    record(result, args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
