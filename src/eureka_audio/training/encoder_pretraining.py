"""Pretraining of the audio encoder: what stands in for Whisper where no Whisper can be fetched.

The encoder learns to spell (connectionist temporal classification over characters, 50 frames a
second) and to tag (which events are heard, and what is known of the speaker). Both heads are thrown
away afterwards.

Departure: Whisper is trained with a decoder on transcripts alone; at this size and with hours
instead of years of audio, CTC is what gets an encoder off the ground, and tags teach it what is not
speech.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from eureka_audio.audio.features import log_mel_spectrogram
from eureka_audio.config import Config
from eureka_audio.data.augment import AugmentConfig, mask_features
from eureka_audio.data.mixture import Batch
from eureka_audio.data.sources import ClipSource, hear
from eureka_audio.model.encoder import EurekaAudioEncoder, encoder_frame_lengths
from eureka_audio.processor import pad_features
from eureka_audio.records import AudioClip

BLANK = 0
FEATURE_MULTIPLE = 64  # mel frames: few shapes
CHARACTERS = " 'abcdefghijklmnopqrstuvwxyz"
SPEECH = "speech"
TRAIT_TAGS = ("male voice", "female voice", "adult voice", "child voice")


class EncoderHeadsConfig(Config):
    """Weights of the two losses."""

    tag_loss_weight: float = 0.3
    dropout: float = 0.1


@dataclass
class PretrainingOutput:
    """Loss of one batch, with the raw outputs of both heads for evaluation."""

    loss: Tensor
    metrics: dict[str, float | Tensor]
    ctc_logits: Tensor
    tag_logits: Tensor
    frame_lengths: Tensor
    extra: dict[str, Tensor] = field(default_factory=dict)


class EncoderWithHeads(nn.Module):
    """The encoder under a CTC head `(A, L, characters)` and a tag head `(A, tags)`.

    A tag's score is a weighted mean of its frame scores, with weights the frames compute
    themselves, so that a short event in a long clip is not averaged away.
    """

    def __init__(
        self, encoder: EurekaAudioEncoder, tags: Sequence[str], config: EncoderHeadsConfig
    ) -> None:
        """Put fresh heads on `encoder`."""
        super().__init__()
        self.encoder = encoder
        self.config = config
        self.tags = tuple(tags)
        width = encoder.config.d_model
        self.dropout = nn.Dropout(config.dropout)
        self.ctc_head = nn.Linear(width, len(CHARACTERS) + 1)
        self.tag_head = nn.Linear(width, 2 * len(tags))

    def forward(
        self,
        input_features: Tensor,
        feature_lengths: Tensor,
        ctc_targets: Tensor,
        ctc_lengths: Tensor,
        tag_targets: Tensor,
        tag_known: Tensor,
    ) -> PretrainingOutput:
        """Loss and outputs of one batch.

        Args:
            input_features: `(A, M, F)`.
            feature_lengths: `(A,)`.
            ctc_targets: `(A, characters)` ids, padded.
            ctc_lengths: `(A,)`; 0 for a clip known to hold no speech, -1 where the words are
                unknown.
            tag_targets: `(A, tags)` 0 or 1.
            tag_known: `(A, tags)` bool; an unknown tag is not learnt.
        """
        hidden_ALC = self.encoder(input_features, feature_lengths).last_hidden_state
        frame_lengths = encoder_frame_lengths(feature_lengths)
        hidden_ALC = self.dropout(hidden_ALC)
        ctc_logits = self.ctc_head(hidden_ALC).float()
        tag_logits = self._pool_tags(self.tag_head(hidden_ALC).float(), frame_lengths)
        spelling_loss = ctc_loss(ctc_logits, frame_lengths, ctc_targets, ctc_lengths)
        tag_loss = functional.binary_cross_entropy_with_logits(
            tag_logits, tag_targets, weight=tag_known.float(), reduction="sum"
        ) / len(tag_targets)
        loss = spelling_loss + self.config.tag_loss_weight * tag_loss
        metrics: dict[str, float | Tensor] = {
            "ctc_loss": spelling_loss.detach(),
            "tag_loss": tag_loss.detach(),
        }
        return PretrainingOutput(loss, metrics, ctc_logits, tag_logits, frame_lengths)

    def _pool_tags(self, frame_scores: Tensor, frame_lengths: Tensor) -> Tensor:
        score_ALT, weight_ALT = frame_scores.chunk(2, dim=-1)
        positions = torch.arange(score_ALT.shape[1], device=score_ALT.device)
        padded = positions[None, :, None] >= frame_lengths[:, None, None]
        weight_ALT = weight_ALT.masked_fill(padded, float("-inf")).softmax(dim=1)
        return (score_ALT * weight_ALT).sum(dim=1)


def ctc_loss(
    logits_ALV: Tensor, frame_lengths: Tensor, targets: Tensor, target_lengths: Tensor
) -> Tensor:
    """Connectionist temporal classification, per character.

    Args:
        logits_ALV: `(A, L, characters)`; 0 is the blank.
        frame_lengths: `(A,)` encoder frames that are real.
        targets: `(A, characters)` ids, padded.
        target_lengths: `(A,)`; -1 where the words are unknown (not learnt), 0 where there are none:
            such a clip counts as many characters as it has frames. A clip with more characters than
            frames is left out.
    """
    known = (target_lengths >= 0) & (target_lengths <= frame_lengths)
    if not bool(known.any()):
        return logits_ALV.sum() * 0.0
    lengths, frames = target_lengths[known], frame_lengths[known]
    losses = functional.ctc_loss(
        logits_ALV[known].float().log_softmax(-1).transpose(0, 1),
        targets[known],
        frames,
        lengths,
        blank=BLANK,
        reduction="none",
        zero_infinity=True,
    )
    return losses.sum() / torch.where(lengths > 0, lengths, frames).sum()


class PretrainingCollator:
    """Clips of a planned batch -> the tensors of `EncoderWithHeads.forward`, augmented by seed."""

    def __init__(
        self,
        sources: Mapping[str, ClipSource],
        tags: Sequence[str],
        num_mel_bins: int,
        augment: AugmentConfig | None,
    ) -> None:
        """`augment=None` gives the clips as they are, for evaluation."""
        self.sources = sources
        self.tags = tuple(tags)
        self.num_mel_bins = num_mel_bins
        self.augment = augment

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        """Tensors of one batch."""
        features, transcripts, targets, known = [], [], [], []
        for sample in batch.samples:
            rng = np.random.default_rng(sample.seed)
            samples, clips = hear(self.sources, sample, self.augment, rng)
            log_mel = log_mel_spectrogram(torch.from_numpy(samples), self.num_mel_bins)
            if self.augment is not None:
                log_mel = torch.from_numpy(mask_features(log_mel.numpy(), self.augment, rng))
            features.append(log_mel)
            transcripts.append(spoken_words(clips))
            target, is_known = tag_targets(clips, self.tags)
            targets.append(target)
            known.append(is_known)
        return {
            **pad_features(features, FEATURE_MULTIPLE),
            **pad_transcripts(transcripts),
            "tag_targets": torch.stack(targets),
            "tag_known": torch.stack(known),
        }


def pad_transcripts(transcripts: Sequence[str | None]) -> dict[str, Tensor]:
    """Transcripts -> `ctc_targets` and `ctc_lengths`; `None` (unknown) has length -1."""
    encoded = [None if text is None else encode_characters(text) for text in transcripts]
    width = max([1, *(len(ids) for ids in encoded if ids is not None)])
    targets = torch.zeros(len(encoded), width, dtype=torch.long)
    lengths = torch.full((len(encoded),), -1, dtype=torch.long)
    for row, ids in enumerate(encoded):
        if ids is not None:
            targets[row, : len(ids)] = torch.tensor(ids, dtype=torch.long)
            lengths[row] = len(ids)
    return {"ctc_targets": targets, "ctc_lengths": lengths}


def encode_characters(text: str) -> list[int]:
    """Lower-case words -> character ids; a character outside the alphabet is left out."""
    return [CHARACTERS.index(c) + 1 for c in text.lower() if c in CHARACTERS]


def decode_characters(ctc_logits: Tensor, frame_lengths: Tensor) -> list[str]:
    """Best path of each row: repeats merged, blanks dropped."""
    texts = []
    for row, length in zip(ctc_logits.argmax(-1), frame_lengths.tolist(), strict=True):
        ids = torch.unique_consecutive(row[:length]).tolist()
        texts.append("".join(CHARACTERS[i - 1] for i in ids if i != BLANK).strip())
    return texts


def spoken_words(clips: Sequence[AudioClip]) -> str | None:
    """What is said in a mix of clips; empty when certainly nothing, `None` when unknown."""
    if len(clips) == 1 and clips[0].transcript is not None:
        return clips[0].transcript
    silent = all(
        clip.events is not None and all(event.kind != SPEECH for event in clip.events)
        for clip in clips
    )
    return "" if silent else None


def tag_vocabulary(sources: Mapping[str, ClipSource]) -> list[str]:
    """Every event label heard in the sources, sorted, and the traits of voices."""
    labels = {
        event.label if event.kind != SPEECH else SPEECH
        for source in sources.values()
        for clip in source.clips
        for event in clip.events or ()
    }
    return sorted(labels | {SPEECH}) + list(TRAIT_TAGS)


def tag_targets(clips: Sequence[AudioClip], tags: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Which tags hold for a mix of clips, and which are known to hold or not; both `(tags,)`."""
    position = {tag: i for i, tag in enumerate(tags)}
    target, known = torch.zeros(len(tags)), torch.zeros(len(tags), dtype=torch.bool)
    num_events = len(tags) - len(TRAIT_TAGS)
    known[:num_events] = all(clip.events is not None for clip in clips)
    for clip in clips:
        for event in clip.events or ():
            label = SPEECH if event.kind == SPEECH else event.label
            if label in position:
                target[position[label]] = 1.0
        traits = clip.speaker
        if clip.transcript is not None:
            target[position[SPEECH]], known[position[SPEECH]] = 1.0, True
        if traits is None or len(clips) > 1:
            continue
        for value, group in (
            (traits.gender, ("male", "female")),
            (traits.age_group, ("adult", "child")),
        ):
            if value is not None:
                for name in group:
                    known[position[f"{name} voice"]] = True
                    target[position[f"{name} voice"]] = float(name == value)
    return target, known
