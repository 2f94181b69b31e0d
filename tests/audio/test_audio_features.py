"""Log-mel: equal to transformers' Whisper, as long as the clock says, batch = singles."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import WhisperFeatureExtractor
from transformers.audio_utils import mel_filter_bank

from eureka_audio.audio import clock
from eureka_audio.audio.features import bins_of_other_pitch, log_mel_spectrogram, mel_filters
from eureka_audio.errors import InvalidSamplesError

CPU = torch.device("cpu")


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(*shape, generator=generator)


@pytest.mark.parametrize("num_mel_bins", [80, 128])
def test_filters_equal_transformers(num_mel_bins: int) -> None:
    expected = mel_filter_bank(
        num_frequency_bins=201,
        num_mel_filters=num_mel_bins,
        min_frequency=0.0,
        max_frequency=8000.0,
        sampling_rate=16_000,
        norm="slaney",
        mel_scale="slaney",
    )
    np.testing.assert_allclose(mel_filters(num_mel_bins, CPU), expected.T, atol=1e-7)


@pytest.mark.parametrize("num_mel_bins", [80, 128])
@pytest.mark.parametrize("num_samples", [320, 1_600, 16_000, 160 * 333, clock.WINDOW_SAMPLES])
def test_equals_whisper_on_whole_hops(num_mel_bins: int, num_samples: int) -> None:
    waveform = noise(num_samples)
    waveform[num_samples // 2 :] *= 1e-4  # a quiet half, so that the floor is reached
    extractor = WhisperFeatureExtractor(feature_size=num_mel_bins)
    expected = extractor(
        waveform.numpy(), sampling_rate=16_000, padding=False, return_tensors="np"
    ).input_features[0]
    actual = log_mel_spectrogram(waveform, num_mel_bins)
    np.testing.assert_allclose(actual.numpy(), expected, atol=1e-4)


def test_equals_whisper_on_a_clip_padded_to_the_window() -> None:
    waveform = noise(70_001)
    padded = torch.nn.functional.pad(waveform, (0, clock.WINDOW_SAMPLES - len(waveform)))
    expected = WhisperFeatureExtractor(feature_size=128)(
        waveform.numpy(), sampling_rate=16_000, return_tensors="np"
    ).input_features[0]
    np.testing.assert_allclose(log_mel_spectrogram(padded).numpy(), expected, atol=1e-4)


@settings(max_examples=60, deadline=None)
@given(num_samples=st.integers(0, 20_000), num_mel_bins=st.sampled_from([80, 128]))
def test_frames_are_the_clocks_at_any_length(num_samples: int, num_mel_bins: int) -> None:
    features = log_mel_spectrogram(noise(num_samples), num_mel_bins)
    assert features.shape == (num_mel_bins, clock.num_mel_frames(num_samples))
    assert features.isfinite().all()


@pytest.mark.parametrize("num_samples", [1, 159, 160, 161, 200, 201, 399, 400, 7_777])
def test_batch_equals_singles(num_samples: int) -> None:
    batch = noise(3, num_samples) * torch.tensor([[1.0], [1e-3], [0.0]])
    together = log_mel_spectrogram(batch)
    alone = torch.stack([log_mel_spectrogram(row) for row in batch])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def test_silence_is_finite_and_flat() -> None:
    features = log_mel_spectrogram(torch.zeros(16_000))
    torch.testing.assert_close(features, torch.full_like(features, -1.5))


def test_autocast_and_half_inputs_do_not_lower_the_precision() -> None:
    waveform = noise(16_000).bfloat16()
    expected = log_mel_spectrogram(waveform.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        actual = log_mel_spectrogram(waveform)
    assert actual.dtype == torch.float32
    torch.testing.assert_close(actual, expected)


def test_cache_filled_under_inference_mode_still_allows_gradients() -> None:
    mel_filters.cache_clear()
    with torch.inference_mode():
        log_mel_spectrogram(noise(1_600))
    waveform = noise(1_600).requires_grad_()
    log_mel_spectrogram(waveform).sum().backward()
    assert waveform.grad is not None
    assert waveform.grad.isfinite().all()


@pytest.mark.parametrize(
    "bad", [torch.zeros(2, 3, 4), torch.tensor(1.0), torch.zeros(160, dtype=torch.int16)]
)
def test_other_shapes_and_types_are_refused(bad: torch.Tensor) -> None:
    with pytest.raises(InvalidSamplesError, match="float waveform"):
        log_mel_spectrogram(bad)


def test_unknown_number_of_bins_is_refused() -> None:
    with pytest.raises(ValueError, match="num_mel_bins"):
        log_mel_spectrogram(noise(160), num_mel_bins=64)


def test_a_tone_is_found_where_it_comes_from_when_all_frequencies_are_multiplied() -> None:
    time = torch.arange(16_000) / 16_000

    def loudest(hz: float) -> int:
        return int(log_mel_spectrogram(torch.sin(2 * torch.pi * hz * time), 80).mean(1).argmax())

    places = bins_of_other_pitch(80, torch.tensor([1.0, 1.25, 0.8]))
    assert torch.allclose(places[0], torch.arange(80.0), atol=1e-3)
    assert (places >= 0).all()
    assert (places <= 79).all()
    for hz in (400.0, 900.0, 3000.0):
        assert float(places[1][loudest(1.25 * hz)]) == pytest.approx(loudest(hz), abs=1.1)
        assert float(places[2][loudest(0.8 * hz)]) == pytest.approx(loudest(hz), abs=1.1)
