"""Windows of log-mel before the encoder, and its frames after it: silence added, silence dropped.

A pretrained Whisper has met each clip with silence behind it. Here that silence is made in the
log-mel domain, so nobody else's lengths change: what is counted is the clip.
"""

import torch
from torch import Tensor, nn

from eureka_audio.audio import clock
from eureka_audio.errors import InvalidFeaturesError
from eureka_audio.model.encoder import encoder_frame_lengths

SILENT_LOG_MEL = -1.5  # what Whisper's log-mel gives for no energy at all: (log10(1e-10) + 4) / 4
LOG_MEL_RANGE = 2.0  # what Whisper keeps below the loudest cell of a clip: 80 dB, divided by 4


def lengths_or_all(input_features: Tensor, feature_lengths: Tensor | None) -> Tensor:
    """The lengths `(A,)` given, or those of windows `(A, M, F)` without padding."""
    if feature_lengths is not None:
        return feature_lengths
    num_windows, num_frames = input_features.shape[0], input_features.shape[-1]
    return input_features.new_full((num_windows,), num_frames, dtype=torch.long)


def pad_to_window(input_features: Tensor, feature_lengths: Tensor, longest: int) -> Tensor:
    """Make every window `(A, M, longest)`, silent past its own length, as the release hears it."""
    padded_AMF = nn.functional.pad(input_features, (0, longest - input_features.shape[-1]))
    return padded_AMF.masked_fill(_after(feature_lengths, padded_AMF), SILENT_LOG_MEL)


def add_silence(
    input_features: Tensor, feature_lengths: Tensor, seconds: float, longest: int
) -> tuple[Tensor, Tensor]:
    """Let silence follow each window, as far as there is room for it.

    Silence is what log-mel gives for it in the same clip: the floor below its loudest cell.

    Args:
        input_features: `(A, M, F)`.
        feature_lengths: `(A,)`.
        seconds: how much.
        longest: the most mel frames a window may have.

    Returns:
        The longer windows `(A, M, F')` and their lengths `(A,)`.
    """
    added = round(seconds * clock.SAMPLING_RATE / clock.HOP_LENGTH)
    width = min(input_features.shape[-1] + added, longest)
    padded_AMF = nn.functional.pad(input_features, (0, width - input_features.shape[-1]))
    after_A1F = _after(feature_lengths, padded_AMF)
    loudest_A11 = padded_AMF.masked_fill(after_A1F, -torch.inf).amax(dim=(1, 2), keepdim=True)
    floor_A11 = (loudest_A11 - LOG_MEL_RANGE).clamp(min=SILENT_LOG_MEL)
    lengths_A = (feature_lengths.to(padded_AMF.device) + added).clamp(max=longest)
    return torch.where(after_A1F, floor_A11, padded_AMF), lengths_A


def drop_silence(audio_features: Tensor, feature_lengths: Tensor, num_frames: int) -> Tensor:
    """Encoder frames `(A, L, ...)` of windows of F mel frames, zero past each window's own end."""
    features = audio_features[:, : clock.num_encoder_frames(num_frames)]
    frames_L = torch.arange(features.shape[1], device=features.device)
    ends_A = encoder_frame_lengths(feature_lengths).to(features.device)
    outside_AL = frames_L >= ends_A[:, None]
    ones = (1,) * (features.ndim - 2)
    return features.masked_fill(outside_AL.view(*outside_AL.shape, *ones), 0.0)


def check_audio_features(
    audio_features: Tensor, feature_lengths: Tensor, shape: tuple[int, ...]
) -> None:
    """Refuse kept features that do not fit the model or their lengths.

    Args:
        audio_features: `(A, L, C)` or `(A, L, n, C)`.
        feature_lengths: `(A,)` mel frames.
        shape: what must follow `(A, L)`.

    Raises:
        InvalidFeaturesError: naming what was expected.
    """
    got = tuple(audio_features.shape)
    if got[2:] != shape or feature_lengths.shape != got[:1]:
        expected = ", ".join(map(str, shape))
        raise InvalidFeaturesError(
            f"audio_features: expected (windows, frames, {expected}) with a length for each "
            f"window, got {got} and {tuple(feature_lengths.shape)}; pass what this model's "
            "encode_audio gave, with the same feature_lengths"
        )
    if torch.compiler.is_compiling():  # a look at values would break the graph
        return
    longest = int(encoder_frame_lengths(feature_lengths).max())
    if longest > got[1]:
        raise InvalidFeaturesError(
            f"audio_features: expected at least {longest} frames for their feature_lengths, got "
            f"{got[1]}; pass what encode_audio gave, with the same feature_lengths"
        )


def _after(feature_lengths: Tensor, windows_AMF: Tensor) -> Tensor:
    """Where `(A, 1, F)` a window has ended."""
    positions_F = torch.arange(windows_AMF.shape[-1], device=windows_AMF.device)
    return (positions_F >= feature_lengths.to(windows_AMF.device)[:, None])[:, None, :]
