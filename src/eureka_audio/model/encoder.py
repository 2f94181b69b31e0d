"""Whisper's audio encoder for windows that cost what they last.

The modules and weights are transformers' own `WhisperEncoder`; only the forward is ours, because
Whisper's insists on 30 s and ignores padding.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import WhisperConfig
from transformers.masking_utils import create_bidirectional_mask
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.whisper.modeling_whisper import WhisperEncoder, sinusoids

from eureka_audio.audio import clock
from eureka_audio.errors import InvalidFeaturesError


def encoder_frame_lengths(feature_lengths: Tensor) -> Tensor:
    """Encoder frames `(A,)` of windows of mel frames `(A,)`: the clock, on a tensor."""
    return cast(Tensor, clock.num_encoder_frames(cast(int, feature_lengths)))


def audio_token_lengths(feature_lengths: Tensor) -> Tensor:
    """Audio tokens `(A,)` of windows of mel frames `(A,)`: the clock, on a tensor."""
    return cast(Tensor, clock.num_audio_tokens(cast(int, feature_lengths)))


class EurekaAudioEncoder(WhisperEncoder):
    """Whisper's encoder, equal to it on full windows and independent of padding on shorter ones.

    Three places could let padding leak into a short window, and each is closed: the border of each
    convolution (zeroed, as the convolution's own padding would be), attention (padded keys are
    masked), and the frames after the end (zeroed).
    """

    def __init__(self, config: WhisperConfig, feature_layers: Sequence[int] | None = None) -> None:
        """Build the encoder.

        Args:
            config: its shape.
            feature_layers: layers, counted from 1, whose outputs are wanted; by default the last.
        """
        super().__init__(config)
        self.feature_layers = tuple(feature_layers or (config.encoder_layers,))
        # transformers initialises a module of a class it does not ship only if the module has
        # parameters of its own. This one has none, so its positions would stay random noise.
        positions = self.embed_positions.weight
        if not positions.is_meta:
            with torch.no_grad():
                positions.copy_(sinusoids(*positions.shape))

    @property
    def max_feature_length(self) -> int:
        """The most mel frames one window may have; 3000 for Whisper."""
        return int(self.max_source_positions) * clock.MEL_FRAMES_PER_ENCODER_FRAME

    def forward(
        self,
        input_features: Tensor,
        feature_lengths: Tensor | None = None,
        **kwargs: Any,
    ) -> BaseModelOutput:
        """Encode log-mel windows.

        Args:
            input_features: `(A, M, F)` log-mel, padded at the end to the longest window.
            feature_lengths: `(A,)` mel frames that are real; `None` when every frame is.
            **kwargs: passed on to the attention of each layer.

        Returns:
            `last_hidden_state` of shape `(A, L, C)`, L = ceil(F / 2), or `(A, L, n, C)` of several
            `feature_layers`; frames past a window's own length are zero. The last layer's output
            is normalised, as Whisper's is, a middle layer's is not.

        Raises:
            InvalidFeaturesError: the features are not `(A, M, F)`, a window is longer than the
                encoder's positions, or a length lies outside the features.
        """
        self.check_features(input_features, feature_lengths)
        input_features = input_features.to(self.conv1.weight.dtype)
        mel_mask = frame_mask = None
        num_frames = input_features.shape[-1]
        if feature_lengths is not None and _may_be_padded(feature_lengths, num_frames):
            device = input_features.device
            feature_lengths = feature_lengths.to(device)
            mel_mask = torch.arange(num_frames, device=device) < feature_lengths[:, None]
            frames_L = torch.arange(clock.num_encoder_frames(num_frames), device=device)
            frame_mask = frames_L < encoder_frame_lengths(feature_lengths)[:, None]

        features_AMF = _zero_outside(input_features, mel_mask, time_axis=2)
        hidden_ACF = _zero_outside(nn.functional.gelu(self.conv1(features_AMF)), mel_mask, 2)
        hidden_ALC = nn.functional.gelu(self.conv2(hidden_ACF)).transpose(1, 2)
        # Called, not sliced: weights that are offloaded are fetched when their module is called.
        positions_L = torch.arange(hidden_ALC.shape[1], device=hidden_ALC.device)
        hidden_ALC = hidden_ALC + self.embed_positions(positions_L)
        hidden_ALC = nn.functional.dropout(hidden_ALC, p=self.dropout, training=self.training)

        attention_mask = create_bidirectional_mask(self.config, hidden_ALC, frame_mask)
        wanted: list[Tensor] = []
        for number, layer in enumerate(self.layers[: self.feature_layers[-1]], 1):
            if not (self.training and self.layerdrop > 0.0 and torch.rand([]) < self.layerdrop):
                hidden_ALC = layer(hidden_ALC, attention_mask, **kwargs)
            if number in self.feature_layers:
                is_last = number == len(self.layers)
                heard_ALC = self.layer_norm(hidden_ALC) if is_last else hidden_ALC
                wanted.append(_zero_outside(heard_ALC, frame_mask, time_axis=1))
        features = wanted[0] if len(wanted) == 1 else torch.stack(wanted, dim=2)
        return BaseModelOutput(last_hidden_state=features)

    def check_features(self, input_features: Tensor, feature_lengths: Tensor | None) -> None:
        """Refuse features and lengths that do not fit one another or the encoder."""
        num_bins, longest = self.num_mel_bins, self.max_feature_length
        shape = tuple(input_features.shape)
        if len(shape) != 3 or shape[1] != num_bins or not 1 <= shape[2] <= longest:
            raise InvalidFeaturesError(
                f"input_features: expected (windows, {num_bins}, frames) of 1 to {longest} frames, "
                f"got {shape}; cut longer audio into windows and use this model's own processor"
            )
        if feature_lengths is None:
            return
        if feature_lengths.shape != shape[:1]:
            raise InvalidFeaturesError(
                f"feature_lengths: expected one length for each of {shape[0]} windows, got shape "
                f"{tuple(feature_lengths.shape)}; pass the lengths the processor returned"
            )
        if torch.compiler.is_compiling():  # a look at values would break the graph
            return
        wrong = (feature_lengths < 1) | (feature_lengths > shape[2])
        if bool(wrong.any()):
            window = int(wrong.nonzero()[0, 0])
            raise InvalidFeaturesError(
                f"feature_lengths: expected 1 to {shape[2]} mel frames, got "
                f"{int(feature_lengths[window])} for window {window}; leave empty windows out"
            )


def _may_be_padded(feature_lengths: Tensor, num_frames: int) -> bool:
    """Whether some window is shorter than the batch; taken for granted while compiling."""
    return torch.compiler.is_compiling() or bool((feature_lengths < num_frames).any())


def _zero_outside(hidden: Tensor, mask: Tensor | None, time_axis: int) -> Tensor:
    """Zero what lies outside a `(A, time)` mask, in a tensor `(A, ., .)` with time on an axis."""
    return hidden if mask is None else hidden.masked_fill(~mask.unsqueeze(3 - time_axis), 0.0)
