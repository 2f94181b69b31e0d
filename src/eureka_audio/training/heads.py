"""Heads on the encoder that teach it to listen: letters, phones and tags. The letters' head may be
kept, to have a say in transcripts; the others are thrown away.

    spelling   of every clip with a transcript: connectionist temporal classification
    phones     of every clip that a synthesiser spoke: which of them each encoder frame holds
    tags       which events are heard, and what is known of the speaker

Departure: Whisper learns from a decoder on transcripts alone. With hours of audio instead of years
the heads are what gets an encoder off the ground, and phones above all: known frame by frame, they
leave nothing to align.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from eureka_audio.audio import clock
from eureka_audio.config import Config
from eureka_audio.data.augment import Timeline
from eureka_audio.data.sources import HeardSample
from eureka_audio.records import AudioClip
from eureka_audio.synthesis.phones import PHONES
from eureka_audio.tasks.labels import all_labels
from eureka_audio.text.letters import BLANK, CHARACTERS, CTC_VOCAB_SIZE, encode_characters

SPEECH = "speech"
TRAIT_TAGS = ("male voice", "female voice", "adult voice", "child voice")
TAGS = (*all_labels(), *TRAIT_TAGS)
NUM_EVENT_TAGS = len(TAGS) - len(TRAIT_TAGS)
SILENCE = 0  # class of a frame in which nobody speaks
UNKNOWN_FRAME = -100

PHONE_CLASS = {phone: i + 1 for i, phone in enumerate(PHONES)}

_POSITION = {tag: i for i, tag in enumerate(TAGS)}


class EncoderHeadsConfig(Config):
    """Weights of the losses beside the spelling, which has weight 1."""

    tag_loss_weight: float = 0.15
    phone_loss_weight: float = 1.0
    dropout: float = 0.1


@dataclass
class HeadsOutput:
    """Loss of one batch, with the raw outputs of the heads for evaluation."""

    loss: Tensor
    metrics: dict[str, float | Tensor]
    ctc_logits: Tensor
    phone_logits: Tensor
    tag_logits: Tensor


class EncoderHeads(nn.Module):
    """Letters `(A, L, characters)`, phones `(A, L, phones + 1)` and tags `(A, tags)`.

    A tag's score is a weighted mean of its frame scores, with weights the frames compute
    themselves, so that a short event in a long clip is not averaged away.
    """

    def __init__(self, width: int, config: EncoderHeadsConfig) -> None:
        super().__init__()
        self.config = config
        self.dropout = nn.Dropout(config.dropout)
        self.ctc_head = nn.Linear(width, CTC_VOCAB_SIZE)
        self.phone_head = nn.Linear(width, len(PHONES) + 1)
        self.tag_head = nn.Linear(width, 2 * len(TAGS))

    def forward(
        self, hidden_ALC: Tensor, frame_lengths: Tensor, targets: Mapping[str, Tensor]
    ) -> HeadsOutput:
        """Losses of one batch.

        Args:
            hidden_ALC: what the encoder gave, zero past the end of each window.
            frame_lengths: `(A,)` encoder frames that are real.
            targets: what `head_targets` gives for the same windows.
        """
        hidden_ALC = self.dropout(hidden_ALC)
        ctc_logits = self.ctc_head(hidden_ALC).float()
        phone_logits = self.phone_head(hidden_ALC).float()
        tag_logits = self._pool_tags(self.tag_head(hidden_ALC).float(), frame_lengths)
        spelling_loss = ctc_loss(
            ctc_logits, frame_lengths, targets["ctc_targets"], targets["ctc_lengths"]
        )
        frame_loss = phone_loss(phone_logits, targets["phone_targets"])
        tag_loss = functional.binary_cross_entropy_with_logits(
            tag_logits,
            targets["tag_targets"],
            weight=targets["tag_known"].float(),
            reduction="sum",
        ) / len(tag_logits)
        loss = (
            spelling_loss
            + self.config.phone_loss_weight * frame_loss
            + self.config.tag_loss_weight * tag_loss
        )
        metrics: dict[str, float | Tensor] = {
            "ctc_loss": spelling_loss.detach(),
            "phone_loss": frame_loss.detach(),
            "tag_loss": tag_loss.detach(),
        }
        return HeadsOutput(loss, metrics, ctc_logits, phone_logits, tag_logits)

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


def phone_loss(logits_ALP: Tensor, targets_AL: Tensor) -> Tensor:
    """Cross-entropy per frame whose phone is known; 0 where none is.

    Args:
        logits_ALP: `(A, L, phones + 1)`, possibly padded to more frames than there are targets.
        targets_AL: `(A, L')` classes, -100 where unknown.
    """
    logits_ALP = logits_ALP[:, : targets_AL.shape[1]]
    num_known = (targets_AL != UNKNOWN_FRAME).sum()
    total = functional.cross_entropy(
        logits_ALP.flatten(0, 1), targets_AL.flatten(), ignore_index=UNKNOWN_FRAME, reduction="sum"
    )
    return total / num_known.clamp(min=1)


def head_targets(heard: Sequence[HeardSample]) -> dict[str, Tensor]:
    """What the heads are to learn of some samples.

    Returns:
        `ctc_targets` `(A, characters)` and `ctc_lengths` `(A,)` (`pad_transcripts`);
        `phone_targets` `(A, L)`; `tag_targets` `(A, tags)` float 0 or 1 and `tag_known` `(A, tags)`
        bool: an unknown tag is not learnt.
    """
    tags = [tag_targets(sample.clips) for sample in heard]
    phones = [phone_targets(sample) for sample in heard]
    return {
        **pad_transcripts([spoken_words(sample.clips) for sample in heard]),
        "phone_targets": nn.utils.rnn.pad_sequence(
            phones, batch_first=True, padding_value=UNKNOWN_FRAME
        ),
        "tag_targets": torch.stack([target for target, _ in tags]),
        "tag_known": torch.stack([known for _, known in tags]),
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
    return "" if all(clip.is_speechless for clip in clips) else None


def phone_targets(sample: HeardSample) -> Tensor:
    """The class of every encoder frame `(L,)`: silence, a phone, or unknown."""
    num_frames = clock.num_encoder_frames(clock.num_mel_frames(len(sample.waveform)))
    if all(clip.is_speechless for clip in sample.clips):
        return torch.full((num_frames,), SILENCE)
    if len(sample.clips) > 1 or sample.clips[0].phones is None:
        return torch.full((num_frames,), UNKNOWN_FRAME)
    return frame_phones(sample.clips[0], sample.timeline, num_frames)


def frame_phones(clip: AudioClip, timeline: Timeline, num_frames: int) -> Tensor:
    """Classes `(num_frames,)` of a clip whose phones are known; a frame is what its middle is."""
    classes = torch.full((num_frames,), SILENCE)
    for phone in clip.phones or ():
        first, end = (
            clock.first_encoder_frame(timeline.place(seconds))
            for seconds in (phone.start_seconds, phone.end_seconds)
        )
        classes[first:end] = PHONE_CLASS.get(phone.label, UNKNOWN_FRAME)
    return classes


def tag_targets(clips: Sequence[AudioClip]) -> tuple[Tensor, Tensor]:
    """Which tags hold for a mix of clips, and which are known to hold or not; both `(tags,)`."""
    target, known = torch.zeros(len(TAGS)), torch.zeros(len(TAGS), dtype=torch.bool)
    known[:NUM_EVENT_TAGS] = all(clip.events is not None for clip in clips)
    for clip in clips:
        for label in heard_labels(clip):
            if label in _POSITION:
                target[_POSITION[label]] = 1.0
        if clip.transcript is not None:
            target[_POSITION[SPEECH]], known[_POSITION[SPEECH]] = 1.0, True
        traits = clip.speaker
        if traits is None or len(clips) > 1:
            continue
        for value, group in (
            (traits.gender, ("male", "female")),
            (traits.age_group, ("adult", "child")),
        ):
            if value is not None:
                for name in group:
                    known[_POSITION[f"{name} voice"]] = True
                    target[_POSITION[f"{name} voice"]] = float(name == value)
    return target, known


def heard_labels(clip: AudioClip) -> list[str]:
    """Labels of what is known to be heard in a clip, its background included."""
    labels = [SPEECH if event.kind == SPEECH else event.label for event in clip.events or ()]
    return labels if clip.background is None else [*labels, clip.background]
