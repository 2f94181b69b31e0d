"""Pretraining of the audio encoder: what stands in for Whisper where no Whisper can be fetched.

The encoder listens under heads (`heads.py`) that are thrown away afterwards.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from eureka_audio.audio.features import log_mel_spectrogram
from eureka_audio.data.augment import AugmentConfig, mask_features
from eureka_audio.data.mixture import Batch
from eureka_audio.data.sources import ClipSource, hear
from eureka_audio.model.encoder import EurekaAudioEncoder, encoder_frame_lengths
from eureka_audio.processor import pad_features
from eureka_audio.training.heads import EncoderHeads, EncoderHeadsConfig, HeadsOutput, head_targets

FEATURE_MULTIPLE = 64  # mel frames: few shapes


@dataclass
class PretrainingOutput:
    """Loss of one batch, with what the heads gave and how many frames of it are real."""

    loss: Tensor
    metrics: dict[str, float | Tensor]
    heads: HeadsOutput
    frame_lengths: Tensor


class EncoderWithHeads(nn.Module):
    """The encoder under its heads."""

    def __init__(self, encoder: EurekaAudioEncoder, config: EncoderHeadsConfig) -> None:
        """Put fresh heads on `encoder`."""
        super().__init__()
        self.encoder = encoder
        self.heads = EncoderHeads(encoder.config.d_model, config)

    def forward(
        self, input_features: Tensor, feature_lengths: Tensor, **targets: Tensor
    ) -> PretrainingOutput:
        """Loss and outputs of one batch.

        Args:
            input_features: `(A, M, F)`.
            feature_lengths: `(A,)`.
            **targets: of the heads, as `head_targets` gives them.
        """
        hidden_ALC = self.encoder(input_features, feature_lengths).last_hidden_state
        frame_lengths = encoder_frame_lengths(feature_lengths)
        heads = self.heads(hidden_ALC, frame_lengths, targets)
        return PretrainingOutput(heads.loss, heads.metrics, heads, frame_lengths)


class PretrainingCollator:
    """Clips of a planned batch -> the tensors of `EncoderWithHeads.forward`, augmented by seed."""

    def __init__(
        self,
        sources: Mapping[str, ClipSource],
        num_mel_bins: int,
        augment: AugmentConfig | None,
    ) -> None:
        """`augment=None` gives the clips as they are, for evaluation."""
        self.sources = sources
        self.num_mel_bins = num_mel_bins
        self.augment = augment

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        """Tensors of one batch."""
        features, heard = [], []
        for sample in batch.samples:
            rng = np.random.default_rng(sample.seed)
            heard.append(hear(self.sources, sample, self.augment, rng))
            log_mel = log_mel_spectrogram(torch.from_numpy(heard[-1].waveform), self.num_mel_bins)
            if self.augment is not None:
                log_mel = torch.from_numpy(mask_features(log_mel.numpy(), self.augment, rng))
            features.append(log_mel)
        return {**pad_features(features, FEATURE_MULTIPLE), **head_targets(heard)}
