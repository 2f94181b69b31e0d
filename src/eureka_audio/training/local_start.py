"""A start for Whisper's encoder from which it learns within hours: heads that look nearby.

Whisper's attention knows positions only through sinusoids added to its input. Started at random it
looks everywhere alike, and with hours of speech instead of years it hardly learns to look nearby:
after 15 hours of audio the mean distance of a head's attention was still that of chance. But for
sinusoids the rule "look near t + offset" is a linear map that can be written down, so it is where
queries and keys start. Only the start differs; architecture and shapes stay Whisper's.
"""

import torch
from torch import nn

from eureka_audio.model.encoder import EurekaAudioEncoder

SHARPNESS = 1.5  # attention falls about as distance to the power -0.87 * SHARPNESS
FIRST_OFFSETS = (-3.0, -1.0, 1.0, 3.0)  # encoder frames (20 ms), one per head in turn
WIDENING = 0.5  # share of the first offsets that each further layer adds


@torch.no_grad()
def start_local(encoder: EurekaAudioEncoder) -> None:
    """Set queries and keys so that each head attends around its own offset.

    A head takes every `num_heads`-th frequency of the sinusoids. Its queries copy sine and cosine,
    its keys copy them turned by the offset; their product is a sum of cosines that peaks where
    key = query + offset. The convolutions start louder than Whisper's, beside the positions.
    """
    for convolution in (encoder.conv1, encoder.conv2):
        nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
    width = encoder.config.d_model
    num_heads = encoder.config.encoder_attention_heads
    frequencies = sinusoid_frequencies(width)
    for depth, layer in enumerate(encoder.layers):
        attention = layer.self_attn
        for head in range(num_heads):
            offset = FIRST_OFFSETS[head % len(FIRST_OFFSETS)] * (1 + WIDENING * depth)
            pairs = torch.arange(head, width // 2, num_heads)
            rows = slice(head * attention.head_dim, (head + 1) * attention.head_dim)
            attention.q_proj.weight[rows] += turned(pairs, width, frequencies, 0.0)
            attention.k_proj.weight[rows] += turned(pairs, width, frequencies, offset)


def sinusoid_frequencies(width: int) -> torch.Tensor:
    """Radians per frame `(width / 2,)` of the encoder's positions."""
    steps = torch.arange(width // 2)
    return torch.exp(-torch.log(torch.tensor(10000.0)) / (width // 2 - 1) * steps)


def turned(
    pairs: torch.Tensor, width: int, frequencies: torch.Tensor, offset: float
) -> torch.Tensor:
    """The map `(2 * pairs, width)` from a position to sines and cosines `offset` frames before."""
    count, strength = len(pairs), SHARPNESS**0.5
    sine, cosine = (frequencies[pairs] * offset).sin(), (frequencies[pairs] * offset).cos()
    rows = torch.arange(count)
    turn = torch.zeros(2 * count, width)
    turn[rows, pairs], turn[rows, width // 2 + pairs] = cosine, -sine
    turn[count + rows, pairs], turn[count + rows, width // 2 + pairs] = sine, cosine
    return strength * turn
