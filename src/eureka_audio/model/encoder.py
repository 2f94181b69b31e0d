"""Whisper's audio encoder for windows that cost what they last.

The modules and weights are transformers' own `WhisperEncoder`; only the forward is ours, because Whisper's insists on 30 s
and ignores padding.
"""

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from eureka_audio.audio.clock import MEL_FRAMES_PER_ENCODER_FRAME


def encoder_frame_lengths(feature_lengths: Tensor) -> Tensor:
    """Encoder frames `(A,)` of each window, from its mel frames `(A,)`; the tensor form of the clock."""
    return torch.div(
        feature_lengths + MEL_FRAMES_PER_ENCODER_FRAME - 1,
        MEL_FRAMES_PER_ENCODER_FRAME,
        rounding_mode="floor",
    )


class EurekaAudioEncoder(WhisperEncoder):
    """Whisper's encoder, equal to it on full windows and independent of padding on shorter ones.

    Three places could let padding leak into a short window, and each is closed: the border of each convolution (zeroed, as
    the convolution's own padding would be), attention (padded keys are masked), and the frames after the end (zeroed).
    """

    def forward(
        self,
        input_features: Tensor,
        feature_lengths: Tensor | None = None,
        **kwargs: object,
    ) -> BaseModelOutput:
        """Encode log-mel windows.

        Args:
            input_features: `(A, M, F)` log-mel, padded at the end to the longest window.
            feature_lengths: `(A,)` mel frames that are real; `None` when every frame is.
            **kwargs: passed on to the attention of each layer.

        Returns:
            `last_hidden_state` of shape `(A, L, C)`, L = ceil(F / 2); frames past a window's own length are zero.
        """
        num_frames = input_features.shape[-1]
        padded = feature_lengths is not None and bool((feature_lengths < num_frames).any())
        mel_mask = attention_mask = frame_mask = None
        if padded:
            positions_F = torch.arange(num_frames, device=input_features.device)
            mel_mask = (positions_F[None, :] < feature_lengths[:, None])[:, None, :]
            input_features = input_features.masked_fill(~mel_mask, 0.0)

        hidden_ACF = nn.functional.gelu(self.conv1(input_features))
        if mel_mask is not None:
            hidden_ACF = hidden_ACF.masked_fill(~mel_mask, 0.0)
        hidden_ALC = nn.functional.gelu(self.conv2(hidden_ACF)).transpose(1, 2)
        num_positions = hidden_ALC.shape[1]
        hidden_ALC = hidden_ALC + self.embed_positions.weight[:num_positions]
        hidden_ALC = nn.functional.dropout(hidden_ALC, p=self.dropout, training=self.training)
        if padded:
            positions_L = torch.arange(num_positions, device=hidden_ALC.device)
            frame_mask = positions_L[None, :] < encoder_frame_lengths(feature_lengths)[:, None]
            attention_mask = frame_mask[:, None, None, :].expand(-1, 1, num_positions, -1)
            if self.config._attn_implementation == "eager":
                lowest = torch.finfo(hidden_ALC.dtype).min
                attention_mask = torch.zeros(
                    attention_mask.shape, dtype=hidden_ALC.dtype, device=hidden_ALC.device
                ).masked_fill(~attention_mask, lowest)

        for layer in self.layers:
            if self.training and self.layerdrop > 0.0 and torch.rand([]) < self.layerdrop:
                continue
            hidden_ALC = layer(hidden_ALC, attention_mask, **kwargs)

        hidden_ALC = self.layer_norm(hidden_ALC)
        if frame_mask is not None:
            hidden_ALC = hidden_ALC.masked_fill(~frame_mask[:, :, None], 0.0)
        return BaseModelOutput(last_hidden_state=hidden_ALC)
