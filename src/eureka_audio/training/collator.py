"""Clips of a planned batch -> tensors: conversations, targets, and what is heard of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eureka_audio.audio import clock
from eureka_audio.data.augment import mask_encoder_features, mask_features
from eureka_audio.data.feature_bank import FeatureBank
from eureka_audio.data.mixture import Batch, Sample
from eureka_audio.data.sources import ClipSource, hear
from eureka_audio.errors import ConfigError
from eureka_audio.model.encoder import audio_token_lengths, encoder_frame_lengths
from eureka_audio.model.modeling import IGNORED_LABEL
from eureka_audio.processor import EncodedConversation, EurekaAudioProcessor, pad_features
from eureka_audio.records import AudioClip, Conversation
from eureka_audio.text.chat import encode_chat
from eureka_audio.text.letters import encode_characters
from eureka_audio.text.tokenizer import encode_plain
from eureka_audio.training.conversations import ConversationDraws, Text
from eureka_audio.training.ctc import heard_words, num_learnt, pad_targets, spoken_words
from eureka_audio.training.recipe import StageConfig

SHAPE_MULTIPLE = 16  # tokens and mel frames: few shapes
MEL_FRAMES_PER_ENCODER_FRAME = 2


class MultimodalCollator:
    """Makes batches; tasks and augmentation are drawn by each sample's own seed.

    Args:
        sources: clips by source.
        processor: makes tensors, the same as at inference.
        stage: tasks, text and augmentation.
        banks: by source, what a frozen encoder hears of each clip; else waveforms are heard.
        texts: what `stage.text_share` draws from.
        augmented: whether the stage's augmentation acts.

    A batch holds, beside what the model takes, `targets` (of both spellings) and `counts` (what is
    learnt of it, by kind). A clip that is fit for none of its source's tasks is left out.

    Raises:
        ConfigError: no clip tried of a source is fit for any of its tasks, or there is no text to
            draw from.
    """

    def __init__(
        self,
        sources: Mapping[str, ClipSource],
        processor: EurekaAudioProcessor,
        stage: StageConfig,
        *,
        banks: Mapping[str, FeatureBank] | None = None,
        texts: Sequence[Text] = (),
        augmented: bool = True,
    ) -> None:
        self.draws = (
            None
            if stage.losses.from_audio_alone
            else ConversationDraws(sources, processor, stage.tasks, texts, stage.text_share)
        )
        self.sources = sources
        self.processor = processor
        self.banks = banks
        self.augment = stage.augment if augmented else None
        self.feature_augment = stage.feature_augment if augmented else None

    def __call__(self, batch: Batch) -> dict[str, Any]:
        """Tensors of one batch."""
        encoded: list[EncodedConversation] = []
        heard: list[Any] = []
        clips: list[AudioClip] = []
        for sample in batch.samples:
            rng = np.random.default_rng(sample.seed)
            clip = self.sources[sample.source].clips[sample.index]
            conversation = None
            if self.draws is not None:
                conversation = self.draws.about(sample, rng)
                if conversation is None:
                    continue
            features = self._hear(sample, rng)
            clips.append(clip)
            heard.append(features)
            if conversation is not None and self.draws is not None:
                encoded.append(self._encode(conversation, features))
                encoded.extend(self.draws.text(rng))
        if not clips:
            _refuse_empty(batch)
        return self._tensors(clips, heard, encoded)

    def _hear(self, sample: Sample, rng: np.random.Generator) -> Tensor:
        """Encoder features `(L, ...)` from the bank, or a log-mel `(M, F)`."""
        if self.banks is not None:
            features: NDArray[np.float32] = np.asarray(
                self.banks[sample.source][sample.index], np.float32
            )
            if self.feature_augment is not None:
                features = mask_encoder_features(features, self.feature_augment, rng)
            return torch.from_numpy(features)
        waveform = hear(self.sources, sample, self.augment, rng)
        log_mel = self.processor.window_features(waveform)[0]
        if self.augment is None:
            return log_mel
        return torch.from_numpy(mask_features(log_mel.numpy(), self.augment, rng))

    def _num_mel_frames(self, features: Tensor) -> int:
        if self.banks is not None:
            return MEL_FRAMES_PER_ENCODER_FRAME * len(features)
        return int(features.shape[1])

    def _encode(self, conversation: Conversation, features: Tensor) -> EncodedConversation:
        count = clock.num_audio_tokens(self._num_mel_frames(features))
        chat = encode_chat(
            conversation, self.processor.tokenizer, [[count]], add_generation_prompt=False
        )
        return EncodedConversation(tuple(chat.input_ids), tuple(chat.labels), (), 0.0)

    def _tensors(
        self,
        clips: Sequence[AudioClip],
        heard: Sequence[Tensor],
        encoded: Sequence[EncodedConversation],
    ) -> dict[str, Any]:
        tensors: dict[str, Any] = {}
        counts: dict[str, int] = {}
        if encoded:
            tensors.update(
                self.processor.collate(
                    encoded, padding_side="right", with_labels=True, multiple=SHAPE_MULTIPLE
                )
            )
            counts["next_token"] = int((tensors["labels"][:, 1:] != IGNORED_LABEL).sum())
        if self.banks is None:
            tensors.update(pad_features(heard, SHAPE_MULTIPLE))
        else:
            tensors.update(pad_encoder_features(heard))
        tensors["targets"], spelt = self._targets(clips, tensors["feature_lengths"])
        return {**tensors, "counts": counts | spelt}

    def _targets(
        self, clips: Sequence[AudioClip], feature_lengths: Tensor
    ) -> tuple[dict[str, Tensor], dict[str, int]]:
        frames, tokens = (
            encoder_frame_lengths(feature_lengths),
            audio_token_lengths(feature_lengths),
        )
        said, heard = map(spoken_words, clips), map(heard_words, clips)
        letters = [None if words is None else encode_characters(words) for words in said]
        spelt = [
            None if words is None else encode_plain(self.processor.tokenizer, words)
            for words in heard
        ]
        letter_targets, letter_lengths = pad_targets(letters, frames.tolist())
        token_targets, token_lengths = pad_targets(spelt, tokens.tolist())
        return {
            "letters": letter_targets,
            "letter_lengths": letter_lengths,
            "tokens": token_targets,
            "token_lengths": token_lengths,
            "frame_lengths": frames,
        }, {
            "letters": num_learnt(letter_lengths, frames),
            "ctc": num_learnt(token_lengths, tokens),
            "cosine": int(tokens.sum()),
            "audio_tokens": int(tokens.sum()),
        }


def pad_encoder_features(features: Sequence[Tensor]) -> dict[str, Tensor]:
    """Features `(L, ...)` of several clips -> `audio_features` `(A, L, ...)`, zero past the end of
    each, and `feature_lengths` `(A,)` in mel frames.
    """
    lengths = torch.tensor([len(each) for each in features])
    step = SHAPE_MULTIPLE // MEL_FRAMES_PER_ENCODER_FRAME
    width = -(-int(lengths.max()) // step) * step
    padded = features[0].new_zeros(len(features), width, *features[0].shape[1:])
    for row, each in zip(padded, features, strict=True):
        row[: len(each)] = each
    return {
        "audio_features": padded,
        "feature_lengths": MEL_FRAMES_PER_ENCODER_FRAME * lengths,
    }


def _refuse_empty(batch: Batch) -> None:
    names = sorted({sample.source for sample in batch.samples})
    raise ConfigError(
        f"expected a batch with a clip that is fit for a task, got {len(batch.samples)} clips of "
        f"{names}, fit for none; give them tasks that suit more clips"
    )
