"""Augmentation of waveforms and log-mel features.

Every function takes its random generator, so that a sample drawn with the same seed is the same
sample, in any worker and after any resume.
"""

from collections.abc import Callable

import numpy as np
import soxr
from numpy.typing import NDArray
from scipy.signal import fftconvolve

from eureka_audio.audio.clock import SAMPLING_RATE
from eureka_audio.config import Config

Samples = NDArray[np.float32]
NoiseSource = Callable[[np.random.Generator, int], Samples]


class AugmentConfig(Config):
    """How often and how strongly each effect is applied.

    Unstated: the paper names no augmentation. These suit a few hours of clean, close speech.
    """

    sound_as_noise_probability: float = 0.3
    speed_probability: float = 0.7
    speed_range: tuple[float, float] = (0.9, 1.12)
    noise_probability: float = 0.4
    noise_snr_db: tuple[float, float] = (3.0, 35.0)
    room_probability: float = 0.25
    room_decay_seconds: tuple[float, float] = (0.08, 0.5)
    band_limit_probability: float = 0.1
    band_limit_hz: tuple[int, int] = (3300, 7000)
    gain_db: tuple[float, float] = (-12.0, 6.0)
    shift_probability: float = 0.5
    max_shift_seconds: float = 0.4
    num_time_masks: int = 4
    max_time_mask_fraction: float = 0.06
    num_mel_masks: int = 2
    max_mel_mask_fraction: float = 0.2


class FeatureAugmentConfig(Config):
    """What is taken away of encoder features, so that no clip is learnt by heart.

    Unstated: the paper names no augmentation. This is what can be done to a frozen encoder's
    features after they were computed once.

    Attributes:
        num_time_masks: stretches of time in which nothing is heard, at most this many.
        max_time_mask_fraction: of the clip, the length of one.
        channel_dropout: share of the channels that are silent for a whole clip.
    """

    num_time_masks: int = 2
    max_time_mask_fraction: float = 0.06
    channel_dropout: float = 0.05


def augment_waveform(
    samples: Samples, config: AugmentConfig, rng: np.random.Generator, noise: NoiseSource
) -> Samples:
    """Speed, room, noise, band limit, silence around and gain, each by chance.

    Args:
        samples: `(S,)` float32.
        config: probabilities and ranges.
        rng: the only source of chance.
        noise: gives `(S,)` noise of a wanted length; scaled to the drawn signal-to-noise ratio.

    Returns:
        float32 in [-1, 1]; their number S' differs from S where speed or shift acted.
    """
    if rng.random() < config.speed_probability:
        samples = change_speed(samples, float(rng.uniform(*config.speed_range)))
    if rng.random() < config.shift_probability:
        most = int(config.max_shift_seconds * SAMPLING_RATE)
        samples = np.pad(samples, tuple(rng.integers(0, most + 1, size=2)))
    if rng.random() < config.room_probability:
        samples = add_room(samples, float(rng.uniform(*config.room_decay_seconds)), rng)
    if rng.random() < config.noise_probability:
        samples = mix_at_snr(
            samples, noise(rng, len(samples)), float(rng.uniform(*config.noise_snr_db))
        )
    if rng.random() < config.band_limit_probability:
        samples = limit_band(samples, int(rng.integers(*config.band_limit_hz)))
    samples = samples * np.float32(10 ** (rng.uniform(*config.gain_db) / 20))
    clipped: Samples = np.clip(samples, -1.0, 1.0).astype(np.float32)
    return clipped


def change_speed(samples: Samples, factor: float) -> Samples:
    """Play faster (`factor` > 1) or slower; pitch moves along, as on a tape."""
    resampled: Samples = soxr.resample(samples, SAMPLING_RATE * factor, SAMPLING_RATE, quality="MQ")
    return resampled


def limit_band(samples: Samples, highest_hz: int) -> Samples:
    """Remove everything above `highest_hz`, as a telephone does."""
    narrow = soxr.resample(samples, SAMPLING_RATE, 2 * highest_hz, quality="MQ")
    wide: Samples = soxr.resample(narrow, 2 * highest_hz, SAMPLING_RATE, quality="MQ")
    return wide


def add_room(samples: Samples, decay_seconds: float, rng: np.random.Generator) -> Samples:
    """Convolve with a made-up room: a direct sound and exponentially decaying noise.

    Args:
        samples: `(S,)`.
        decay_seconds: time in which the reverberation falls by 60 dB.
        rng: draws the reflections and their level.
    """
    length = max(2, int(decay_seconds * SAMPLING_RATE))
    envelope = 10 ** (-3.0 * np.arange(length) / length)
    response = rng.standard_normal(length) * envelope * rng.uniform(0.02, 0.15)
    response[0] = 1.0
    wet: Samples = fftconvolve(samples, response.astype(np.float32))[: len(samples)]
    return wet.astype(np.float32)


def mix_at_snr(samples: Samples, noise: Samples, snr_db: float) -> Samples:
    """Add `noise` so that the signal is `snr_db` above it in energy; silence stays as it is."""
    signal_power = float(np.mean(samples**2))
    noise_power = float(np.mean(noise**2))
    if signal_power <= 1e-12 or noise_power <= 1e-12:
        return samples
    scale = np.sqrt(signal_power / noise_power / 10 ** (snr_db / 10))
    return (samples + noise * np.float32(scale)).astype(np.float32)


def mask_features(features_MF: Samples, config: AugmentConfig, rng: np.random.Generator) -> Samples:
    """SpecAugment: a few bands of time and of frequency set to the clip's mean.

    Args:
        features_MF: log-mel `(M, F)`; not changed.
        config: number and width of the masks.
        rng: draws their places.
    """
    features_MF = features_MF.copy()
    num_mel_bins, num_frames = features_MF.shape
    fill = features_MF.mean()
    for _ in range(config.num_time_masks):
        width = int(rng.integers(0, int(num_frames * config.max_time_mask_fraction) + 1))
        start = int(rng.integers(0, num_frames - width + 1))
        features_MF[:, start : start + width] = fill
    for _ in range(config.num_mel_masks):
        width = int(rng.integers(0, int(num_mel_bins * config.max_mel_mask_fraction) + 1))
        start = int(rng.integers(0, num_mel_bins - width + 1))
        features_MF[start : start + width, :] = fill
    return features_MF


def mask_encoder_features(
    features: Samples, config: FeatureAugmentConfig, rng: np.random.Generator
) -> Samples:
    """Set a few stretches of time, and some channels, to the clip's mean.

    Args:
        features: `(L, ...)` encoder frames; not changed.
        config: number and width of the masks.
        rng: draws their places.
    """
    features = features.copy()
    fill = features.mean(axis=0)
    for _ in range(config.num_time_masks):
        width = int(rng.integers(0, int(len(features) * config.max_time_mask_fraction) + 1))
        start = int(rng.integers(0, len(features) - width + 1))
        features[start : start + width] = fill
    dropped = rng.random(features.shape[1:]) < config.channel_dropout
    features[:, dropped] = fill[dropped]
    return features
