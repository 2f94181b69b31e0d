"""Several encoder layers as one: what the adapter is given beside the last layer.

Departure: in the paper the adapter hears Whisper's last layer alone. That layer has thrown much of
the voice away, since Whisper was taught words; a middle layer still tells who speaks.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import WhisperConfig

MIDDLE_GAIN = 0.5


class FeatureMix(nn.Module):
    """A sum of layers, each channel of each layer times a learnt gain.

    A middle layer is normalised first, without gain or bias of its own; the last has passed
    Whisper's own LayerNorm. Zero frames stay zero.

    Unstated: the gains start at 1 for the last layer and at a half for those before it, so that the
    mixture begins near what a pretrained encoder offers.
    """

    def __init__(self, layers: Sequence[int], config: WhisperConfig) -> None:
        super().__init__()
        self.is_last = [layer == config.encoder_layers for layer in layers]
        self.weight = nn.Parameter(torch.empty(len(layers), config.d_model))

    def first_gains(self) -> Tensor:
        """Where the gains `(n, C)` start."""
        alone = len(self.is_last) == 1
        gains = torch.tensor([1.0 if last or alone else MIDDLE_GAIN for last in self.is_last])
        return gains[:, None].expand(self.weight.shape)

    def forward(self, features: Tensor) -> Tensor:
        """Mix `(A, L, n, C)`, or `(A, L, C)` of one middle layer, to `(A, L, C)`."""
        layers = [features] if features.ndim == 3 else features.unbind(dim=2)
        normed = [
            layer_ALC if is_last else nn.functional.layer_norm(layer_ALC, layer_ALC.shape[-1:])
            for layer_ALC, is_last in zip(layers, self.is_last, strict=True)
        ]
        return (torch.stack(normed, dim=2) * self.weight).sum(dim=2)
