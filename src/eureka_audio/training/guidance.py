"""Guided attention: while the decoder writes down what is said, it is shown where to listen.

Where in the sound the next letters lie, a decoder finds out by itself only after long practice, and
until then it guesses words from their number. For a clip whose phones are known it can be told. The
letters of the transcript are laid along its phones, and some attention heads are drawn to look at
the audio tokens in which the next token's letters are said. Nothing of this is left in the model
but the habit.

Source: H. Tachibana et al., "Efficiently trainable text-to-speech system based on deep
convolutional networks with guided attention" (2018), for the idea; they assume a diagonal, here the
places are known.
Departure: the paper trains on next tokens alone (Eq. 2).
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from eureka_audio.audio import clock
from eureka_audio.data.augment import Timeline
from eureka_audio.processor import EncodedConversation, EurekaAudioProcessor
from eureka_audio.records import AudioClip
from eureka_audio.synthesis.letter_times import letter_times
from eureka_audio.text.chat import IGNORED_LABEL

SLACK = 1  # audio tokens on either side of the right ones that are right too
LEAST = 1e-5  # attention, so that its logarithm stays finite


class SaidToken(NamedTuple):
    """A token of an answer: the position `T` it stands at, and when its letters are said."""

    position: int
    start_seconds: float
    end_seconds: float


def said_tokens(
    input_ids: Sequence[int],
    labels: Sequence[int],
    clip: AudioClip,
    tokenizer: PreTrainedTokenizerBase,
) -> list[SaidToken]:
    """The tokens of an answer that is the clip's transcript, but for those without letters.

    Nothing for another answer, or for a clip whose phones are unknown.
    """
    words = clip.transcript
    learnt = [place for place, label in enumerate(labels) if label != IGNORED_LABEL]
    answer = [input_ids[place] for place in learnt]
    if not words or not clip.phones or tokenizer.decode(answer, skip_special_tokens=True) != words:
        return []
    borders = letter_times(words.lower(), clip.phones)
    said, begun = [], 0
    for place, token in zip(learnt, answer, strict=True):
        ended = begun + len(tokenizer.decode([token], skip_special_tokens=True))
        if begun < ended <= len(words):
            said.append(SaidToken(place, float(borders[begun]), float(borders[ended])))
        begun = ended
    return said


def audio_span(token: SaidToken, timeline: Timeline, num_audio_tokens: int) -> tuple[int, int]:
    """The audio tokens of a clip in which a token is said, and those beside them: first and end."""
    first, last = (
        min(num_audio_tokens - 1, int(timeline.place(seconds) * clock.AUDIO_TOKENS_PER_SECOND))
        for seconds in (token.start_seconds, token.end_seconds)
    )
    return max(0, first - SLACK), min(num_audio_tokens, last + 1 + SLACK)


def answer_places(
    encoded: EncodedConversation,
    clip: AudioClip,
    timeline: Timeline,
    processor: EurekaAudioProcessor,
) -> list[tuple[int, int, int]]:
    """Where the decoder is to listen while it writes down a clip's transcript.

    Returns:
        For each of `said_tokens`: the position at which it is predicted, and the positions of the
        audio tokens to look at, first and end.
    """
    said = said_tokens(encoded.input_ids, encoded.labels, clip, processor.tokenizer)
    if not said:
        return []
    before = encoded.input_ids.index(processor.audio_token_id)
    num_audio_tokens = encoded.input_ids.count(processor.audio_token_id)
    places = []
    for token in said:
        first, end = audio_span(token, timeline, num_audio_tokens)
        places.append((token.position - 1, before + first, before + end))
    return places


def as_places(places: Sequence[tuple[int, int, int, int]]) -> Tensor:
    """`answer_places` of a batch, each with its row before it, as `(G, 4)`."""
    return torch.tensor(places, dtype=torch.long).reshape(-1, 4)


def guided_heads(num_layers: int) -> list[tuple[int, int]]:
    """Layer and head of those that are shown where to listen: the first head of each layer between
    the first and the last, and the second in the middle.

    Example:
        >>> guided_heads(5)
        [(1, 0), (2, 0), (3, 0), (2, 1)]
    """
    between = range(1, max(2, num_layers - 1))
    return [*((layer, 0) for layer in between), (num_layers // 2, 1)]


def guidance_loss(attentions: Sequence[Tensor], places_G4: Tensor) -> Tensor:
    """How surprised the guided heads are by the right places: the mean of -log of the attention
    that falls on them, 0 where no place is known.

    Args:
        attentions: of each layer `(B, heads, T, T)`, as the decoder gives them.
        places_G4: row, predicting position, and first and end of the positions to look at.
    """
    if not len(places_G4):
        return attentions[0].new_zeros(())
    row_G, query_G, first_G, end_G = places_G4.unbind(1)
    positions_T = torch.arange(attentions[0].shape[-1], device=places_G4.device)
    right_GT = (positions_T >= first_G[:, None]) & (positions_T < end_G[:, None])
    losses = [
        -((attentions[layer][row_G, head, query_G].float() * right_GT).sum(-1) + LEAST).log().mean()
        for layer, head in guided_heads(len(attentions))
    ]
    return torch.stack(losses).mean()
