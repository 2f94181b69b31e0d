"""Waveform -> log-mel spectrogram, exactly Whisper's, at any length.

The number of frames is the clock's, for every number of samples: the end is zero-padded to a whole
hop, frames are centred on multiples of the hop with reflected edges, and the frame centred on the
very end is dropped.

Source: paper section 3.1 (the encoder is Whisper's, and so is its input); checked against
transformers' ``WhisperFeatureExtractor``.
"""

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from eureka_audio.audio import clock
from eureka_audio.errors import InvalidSamplesError

DEFAULT_NUM_MEL_BINS = 128  # Whisper large-v3; smaller and older Whispers have 80
SUPPORTED_NUM_MEL_BINS = (80, 128)

POWER_FLOOR = 1e-10  # before the logarithm
DYNAMIC_RANGE = 8.0  # in log10 of power, so 80 dB below the loudest cell of the clip

# The Slaney mel scale: linear below 1 kHz, logarithmic above.
_LINEAR_HZ_PER_MEL = 200.0 / 3
_LOGARITHMIC_FROM_HZ = 1000.0
_LOGARITHMIC_FROM_MEL = _LOGARITHMIC_FROM_HZ / _LINEAR_HZ_PER_MEL  # 15
_LOG_STEP = torch.tensor(6.4, dtype=torch.float64).log() / 27  # 27 mels from 1 to 6.4 kHz


def log_mel_spectrogram(waveform: Tensor, num_mel_bins: int = DEFAULT_NUM_MEL_BINS) -> Tensor:
    """Log-mel spectrogram of one waveform, or of a batch of equally long ones.

    A row of a batch gets what it would get alone. Waveforms of unequal length must not be padded
    before this function: the zeros would replace the reflected edge under the last two frames.

    Args:
        waveform: ``(S,)`` or ``(B, S)``, 16 kHz, in [-1, 1]; any float type, computed in float32
            on its own device.
        num_mel_bins: 80 or 128.

    Returns:
        ``(M, F)`` or ``(B, M, F)`` float32 with ``F = clock.num_mel_frames(S)``: log10 of mel
        power, floored 8 below the clip's own maximum, plus 4, divided by 4. Roughly in [-1.5, 2].

    Raises:
        InvalidSamplesError: the waveform is not a float tensor of one or two axes.
        ValueError: ``num_mel_bins`` is not one Whisper has.

    Unstated: a waveform too short to reflect (up to 200 samples) is extended with zeros instead.

    Example:
        >>> log_mel_spectrogram(torch.zeros(16_001), num_mel_bins=80).shape
        torch.Size([80, 101])
    """
    if waveform.dim() not in (1, 2) or not waveform.is_floating_point():
        raise InvalidSamplesError(
            f"expected a float waveform (S,) or (B, S), got {waveform.dtype} "
            f"{tuple(waveform.shape)}; decode the audio with load_audio first"
        )
    num_frames = clock.num_mel_frames(waveform.shape[-1])
    if num_frames == 0:
        return waveform.new_zeros((*waveform.shape[:-1], num_mel_bins, 0), dtype=torch.float32)
    log_mel = log_mel_power(waveform, num_mel_bins)
    loudest = log_mel.amax(dim=(-2, -1), keepdim=True)
    return (torch.maximum(log_mel, loudest - DYNAMIC_RANGE) + 4.0) / 4.0


def log_mel_power(waveform: Tensor, num_mel_bins: int) -> Tensor:
    """Log10 of mel power, ``(M, F)`` or ``(B, M, F)`` float32, before Whisper's normalisation.

    Arguments as for `log_mel_spectrogram`; the waveform must not be empty.
    """
    with torch.autocast(waveform.device.type, enabled=False):
        num_frames = clock.num_mel_frames(waveform.shape[-1])
        power = _power(waveform.float(), num_frames)
        mel_power = mel_filters(num_mel_bins, waveform.device) @ power
        return mel_power.clamp(min=POWER_FLOOR).log10()


def _power(waveform: Tensor, num_frames: int) -> Tensor:
    """Power spectrum ``(..., N_FFT // 2 + 1, F)`` of the first ``num_frames`` frames."""
    shortest_to_reflect = clock.N_FFT // 2 + 1
    target = max(num_frames * clock.HOP_LENGTH, shortest_to_reflect)
    spectrum = torch.stft(
        functional.pad(waveform, (0, target - waveform.shape[-1])),
        n_fft=clock.N_FFT,
        hop_length=clock.HOP_LENGTH,
        window=_hann_window(waveform.device),
        center=True,
        pad_mode="reflect",
        return_complex=True,
    )[..., :num_frames]
    return spectrum.real.square() + spectrum.imag.square()


@lru_cache(maxsize=16)
def _hann_window(device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        return torch.hann_window(clock.N_FFT, device=device)


@lru_cache(maxsize=16)
def mel_filters(num_mel_bins: int, device: torch.device) -> Tensor:
    """Triangular filters ``(M, N_FFT // 2 + 1)`` of equal area, spaced on the Slaney mel scale."""
    if num_mel_bins not in SUPPORTED_NUM_MEL_BINS:
        raise ValueError(f"expected num_mel_bins in {SUPPORTED_NUM_MEL_BINS}, got {num_mel_bins}")
    with torch.inference_mode(False):
        nyquist_hz = torch.tensor(clock.SAMPLING_RATE / 2, dtype=torch.float64)
        bins_hz = torch.linspace(0, float(nyquist_hz), clock.N_FFT // 2 + 1, dtype=torch.float64)
        edges_mel = torch.linspace(
            0, float(_hz_to_mel(nyquist_hz)), num_mel_bins + 2, dtype=torch.float64
        )
        edges_hz = _mel_to_hz(edges_mel)
        low, centre, high = (edges_hz[i : i + num_mel_bins, None] for i in range(3))
        rising = (bins_hz - low) / (centre - low)
        falling = (high - bins_hz) / (high - centre)
        equal_area = 2.0 / (high - low)
        return (torch.minimum(rising, falling).clamp(min=0) * equal_area).float().to(device)


def bins_of_other_pitch(num_mel_bins: int, factors: Tensor) -> Tensor:
    """Where among the mel bins the sound of each bin comes from if all frequencies are multiplied.

    Args:
        num_mel_bins: of the spectrogram.
        factors: on frequency, `(A,)`.

    Returns:
        Places between bins, `(A, M)` float32 in [0, M - 1]; past either end, the end.
    """
    nyquist_hz = torch.tensor(clock.SAMPLING_RATE / 2, dtype=torch.float64, device=factors.device)
    mel_per_bin = _hz_to_mel(nyquist_hz) / (num_mel_bins + 1)
    centres = _mel_to_hz(torch.arange(1, num_mel_bins + 1, device=factors.device) * mel_per_bin)
    places = _hz_to_mel(centres / factors[:, None]) / mel_per_bin - 1
    return places.clamp(0, num_mel_bins - 1).float()


def _hz_to_mel(hz: Tensor) -> Tensor:
    above = _LOGARITHMIC_FROM_MEL + (hz / _LOGARITHMIC_FROM_HZ).clamp(min=1).log() / _LOG_STEP
    return torch.where(hz < _LOGARITHMIC_FROM_HZ, hz / _LINEAR_HZ_PER_MEL, above)


def _mel_to_hz(mel: Tensor) -> Tensor:
    above = _LOGARITHMIC_FROM_HZ * (_LOG_STEP * (mel - _LOGARITHMIC_FROM_MEL)).exp()
    return torch.where(mel < _LOGARITHMIC_FROM_MEL, mel * _LINEAR_HZ_PER_MEL, above)
