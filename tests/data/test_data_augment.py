"""Augmentation: the same by seed, as strong as asked, never harmful."""

from collections.abc import Callable

import numpy as np
import pytest

from eureka_audio.data.augment import (
    AugmentConfig,
    FeatureAugmentConfig,
    Samples,
    add_room,
    augment_waveform,
    change_speed,
    limit_band,
    mask_encoder_features,
    mask_features,
    mix_at_snr,
)
from eureka_audio.synthesis.noise import some_noise

ALL = AugmentConfig(
    speed_probability=1,
    shift_probability=1,
    room_probability=1,
    noise_probability=1,
    band_limit_probability=1,
)
NONE = AugmentConfig(
    speed_probability=0,
    shift_probability=0,
    room_probability=0,
    noise_probability=0,
    band_limit_probability=0,
    gain_db=(0.0, 0.0),
)


def tone(seconds: float = 1.0, pitch: float = 440.0) -> Samples:
    time = np.arange(int(seconds * 16_000)) / 16_000
    return (0.3 * np.sin(2 * np.pi * pitch * time)).astype(np.float32)


def power(samples: Samples) -> float:
    return float(np.mean(samples.astype(np.float64) ** 2))


def pitch_of(samples: Samples) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.fft.rfftfreq(len(samples), 1 / 16_000)[spectrum.argmax()])


def test_the_same_seed_gives_the_same_samples() -> None:
    def once(seed: int) -> Samples:
        return augment_waveform(tone(), ALL, np.random.default_rng(seed), some_noise)

    assert np.array_equal(once(5), once(5))
    assert not np.array_equal(once(5), once(6))


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 3.0, 20.0, 35.0])
def test_noise_is_as_loud_as_drawn(snr_db: float) -> None:
    rng = np.random.default_rng(0)
    for noise in (some_noise(rng, 16_000), tone(1.0, 90.0)):
        added = mix_at_snr(tone(), noise, snr_db) - tone()
        assert 10 * np.log10(power(tone()) / power(added)) == pytest.approx(snr_db, abs=0.5)


def test_nothing_is_mixed_with_silence() -> None:
    silence = np.zeros(800, dtype=np.float32)
    assert np.array_equal(mix_at_snr(silence, tone(0.05), 0.0), silence)
    assert np.array_equal(mix_at_snr(tone(0.05), silence, 0.0), tone(0.05))


@pytest.mark.parametrize("length", [1, 2, 159, 16_000, 48_001])
@pytest.mark.parametrize("make", [lambda n: np.zeros(n, np.float32), lambda n: tone(4.0)[:n]])
def test_any_length_and_silence_stay_finite_and_in_range(
    length: int, make: Callable[[int], Samples]
) -> None:
    for seed in range(5):
        result = augment_waveform(make(length), ALL, np.random.default_rng(seed), some_noise)
        assert result.dtype == np.float32
        assert np.isfinite(result).all()
        assert np.abs(result).max(initial=0.0) <= 1.0


def test_lengths_are_what_the_effects_make_them() -> None:
    samples = tone()
    assert len(change_speed(samples, 1.25)) == pytest.approx(16_000 / 1.25, abs=2)
    assert len(change_speed(samples, 0.8)) == pytest.approx(16_000 / 0.8, abs=2)
    assert len(add_room(samples, 0.3, np.random.default_rng(0))) == len(samples)
    assert len(limit_band(samples, 4000)) == pytest.approx(16_000, abs=2)
    shift = NONE.model_copy(update={"shift_probability": 1.0, "max_shift_seconds": 0.25})
    for seed in range(10):
        shifted = augment_waveform(samples, shift, np.random.default_rng(seed), some_noise)
        assert 16_000 <= len(shifted) <= 16_000 + 2 * 4_000


def test_no_effect_leaves_the_samples_as_they_are() -> None:
    result = augment_waveform(tone(), NONE, np.random.default_rng(0), some_noise)
    assert np.array_equal(result, tone())


def test_gain_is_within_its_range() -> None:
    config = NONE.model_copy(update={"gain_db": (-12.0, 6.0)})
    gains = [
        10
        * np.log10(
            power(augment_waveform(tone(), config, np.random.default_rng(seed), some_noise))
            / power(tone())
        )
        for seed in range(50)
    ]
    assert -12.1 < min(gains) < -8
    assert 2 < max(gains) < 6.1


def test_speed_moves_the_pitch_along() -> None:
    assert pitch_of(change_speed(tone(), 1.1)) == pytest.approx(484, abs=3)


def test_a_band_limit_removes_what_lies_above() -> None:
    high = tone(1.0, 6000.0)
    assert power(limit_band(high, 3500)) < 1e-3 * power(high)
    assert power(limit_band(tone(), 3500)) == pytest.approx(power(tone()), rel=0.02)


def test_a_room_keeps_the_direct_sound_and_rings_on() -> None:
    click = np.zeros(16_000, dtype=np.float32)
    click[100] = 1.0
    wet = add_room(click, 0.4, np.random.default_rng(0))
    assert wet[100] == pytest.approx(1.0, abs=1e-5)
    assert np.abs(wet[:100]).max() < 1e-5
    early, late = power(wet[101:1700]), power(wet[4900:6500])
    assert early > 100 * late > 0  # 60 dB over the decay time


def test_masks_keep_the_shape_and_cover_the_share_they_may() -> None:
    features = np.random.default_rng(0).standard_normal((80, 200)).astype(np.float32)
    original = features.copy()
    config = AugmentConfig()
    time_shares, mel_shares = [], []
    for seed in range(200):
        masked = mask_features(features, config, np.random.default_rng(seed))
        assert masked.shape == features.shape
        assert masked.dtype == np.float32
        fill = features.mean()
        frames = (masked == fill).all(axis=0).mean()
        bins = (masked == fill).all(axis=1).mean()
        assert frames <= 4 * 0.06
        assert bins <= 2 * 0.2
        unmasked = masked != fill
        assert np.array_equal(masked[unmasked], features[unmasked])
        time_shares.append(frames)
        mel_shares.append(bins)
    assert np.array_equal(features, original)
    assert np.mean(time_shares) == pytest.approx(4 * 0.03, abs=0.03)
    assert np.mean(mel_shares) == pytest.approx(2 * 0.1, abs=0.04)
    again = mask_features(features, config, np.random.default_rng(0))
    assert np.array_equal(again, mask_features(features, config, np.random.default_rng(0)))


@pytest.mark.parametrize("num_frames", [1, 2, 7])
def test_masks_of_very_short_clips_are_harmless(num_frames: int) -> None:
    features = np.ones((80, num_frames), dtype=np.float32)
    for seed in range(20):
        masked = mask_features(features, AugmentConfig(), np.random.default_rng(seed))
        assert np.isfinite(masked).all()


def test_masks_of_encoder_features_hide_stretches_and_channels() -> None:
    features = np.random.default_rng(0).standard_normal((100, 2, 64)).astype(np.float32)
    original, fill = features.copy(), features.mean(axis=0)
    config = FeatureAugmentConfig(
        num_time_masks=2, max_time_mask_fraction=0.1, channel_dropout=0.25
    )
    frames, channels = [], []
    for seed in range(100):
        masked = mask_encoder_features(features, config, np.random.default_rng(seed))
        hidden = masked == fill
        assert np.array_equal(masked[~hidden], features[~hidden])
        frames.append(hidden.all(axis=(1, 2)).mean())
        channels.append(hidden.all(axis=0).mean())
    assert np.array_equal(features, original)
    assert max(frames) <= 0.2
    assert np.mean(frames) == pytest.approx(0.1, abs=0.03)
    assert np.mean(channels) == pytest.approx(0.25, abs=0.02)
    none = FeatureAugmentConfig(num_time_masks=0, channel_dropout=0.0)
    assert np.array_equal(mask_encoder_features(features, none, np.random.default_rng(0)), features)
    for length in (1, 2):
        mask_encoder_features(features[:length], config, np.random.default_rng(0))
