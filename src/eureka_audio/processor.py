"""The one processor: a conversation becomes tensors here, in training, evaluation and serving
alike.

    conversation -> waveforms -> windows -> log-mel
                    `input_features (A, M, F)`, `feature_lengths (A,)`
                 -> token ids with one placeholder per audio token
                    `input_ids`, `attention_mask`, `labels` `(B, T)`
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import AutoProcessor, WhisperFeatureExtractor
from transformers.feature_extraction_utils import BatchFeature
from transformers.processing_utils import ProcessorMixin
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from eureka_audio.audio import clock
from eureka_audio.audio.decode import DecodedAudio, load_audio
from eureka_audio.audio.features import log_mel_spectrogram
from eureka_audio.audio.fetch import LOCAL_USER, AudioAccess
from eureka_audio.audio.window import split_windows
from eureka_audio.errors import MessageError
from eureka_audio.records import AudioPart, Conversation, Message, TextPart
from eureka_audio.text.chat import IGNORED_LABEL, EncodedChat, encode_chat, question_request
from eureka_audio.text.tokenizer import AUDIO_PAD, token_id

FeatureTransform = Callable[[Tensor], Tensor]
LoadAudio = Callable[[Any], DecodedAudio]


@dataclass(frozen=True)
class EncodedConversation:
    """One conversation as ids and features; `collate` makes a batch of several.

    `input_ids` and `labels` are `(T,)`; `features` holds one log-mel `(M, F)` per audio window, in
    the order of the placeholders.
    """

    input_ids: tuple[int, ...]
    labels: tuple[int, ...]
    features: tuple[Tensor, ...]
    duration_seconds: float

    @property
    def num_audio_tokens(self) -> int:
        """Audio tokens over all windows."""
        return sum(clock.num_audio_tokens(feature.shape[1]) for feature in self.features)


class EurekaAudioProcessor(ProcessorMixin):
    """Feature extractor, tokenizer and chat template of Eureka-Audio.

    Args:
        feature_extractor: its `feature_size` is the number of mel bins; the features themselves are
            `audio.features`'.
        tokenizer: Qwen's, with the audio tokens (`text.tokenizer.add_audio_tokens`).
        chat_template: unused, since ids are assembled by `text.chat`; accepted because transformers
            passes it.

    Example:
        sound = {"type": "audio", "audio": "dog.wav"}
        question = {"type": "text", "text": "What is it?"}
        inputs = processor.apply_chat_template([{"role": "user", "content": [sound, question]}])
        model.generate(**inputs)
    """

    def __init__(
        self,
        feature_extractor: WhisperFeatureExtractor,
        tokenizer: PreTrainedTokenizerBase,
        chat_template: str | None = None,
    ) -> None:
        super().__init__(feature_extractor, tokenizer, chat_template=chat_template)
        self.audio_token = AUDIO_PAD
        self.audio_token_id = token_id(tokenizer, AUDIO_PAD)

    @property
    def model_input_names(self) -> list[str]:
        """Names of the tensors that the model takes."""
        return ["input_ids", "attention_mask", "input_features", "feature_lengths"]

    def __call__(
        self,
        text: str | Sequence[str] | None = None,
        audio: Any = None,
        sampling_rate: int | None = None,
        **kwargs: Any,
    ) -> BatchFeature:
        """Tensors for one question about one audio, or for a list of each.

        Args:
            text: what the user says; special tokens spelled in it stay text.
            audio: a path, bytes, file object, data URI, or array with `sampling_rate`; or a list of
                them; `None` for text alone.
            sampling_rate: of arrays, in Hz.
            **kwargs: passed to `collate` (`padding_side`).

        Raises:
            MessageError: lists of unequal length.
        """
        texts = [text] if isinstance(text, str) or text is None else list(text)
        audios = list(audio) if isinstance(audio, list | tuple) else [audio] * len(texts)
        if len(texts) != len(audios):
            raise MessageError(
                f"expected as many texts as audios, got {len(texts)} and {len(audios)}"
            )

        def load(source: Any) -> DecodedAudio:
            is_array = hasattr(source, "dtype")
            return load_audio(source, sampling_rate=sampling_rate if is_array else None)

        conversations = [
            _simple_conversation(words, sound) for words, sound in zip(texts, audios, strict=True)
        ]
        encoded = [
            self.encode(item, add_generation_prompt=True, load=load) for item in conversations
        ]
        return self.collate(encoded, **kwargs)

    def apply_chat_template(
        self,
        conversation: Any,
        chat_template: str | None = None,
        *,
        add_generation_prompt: bool = True,
        access: AudioAccess = LOCAL_USER,
        padding_side: str = "left",
        **kwargs: Any,
    ) -> BatchFeature:
        """Tensors for one conversation, or for a list of them.

        Args:
            conversation: messages as dicts, in transformers' or the authors' format
                (`parse_messages`), or a list of such.
            chat_template: must be `None`; a template from outside could render special tokens.
            add_generation_prompt: end with the opening of the assistant's turn.
            access: what paths and URLs may be opened.
            padding_side: "left" for generation, "right" for training.
            **kwargs: accepted for transformers' sake (`tokenize=True`, `return_dict=True`,
            `return_tensors="pt"`).

        Raises:
            MessageError: a message is malformed, or an option asks for what is not offered.
        """
        if chat_template is not None or kwargs.get("tokenize") is False:
            raise MessageError(
                "this processor assembles ids itself: no template, no tokenize=False"
            )
        conversations = conversation if _is_batch(conversation) else [conversation]
        encoded = [
            self.encode(
                parse_messages(messages),
                add_generation_prompt=add_generation_prompt,
                load=lambda source: load_audio(source, access=access),
            )
            for messages in conversations
        ]
        return self.collate(encoded, padding_side=padding_side)

    def encode(
        self,
        conversation: Conversation,
        *,
        add_generation_prompt: bool,
        load: LoadAudio = load_audio,
        transform: FeatureTransform | None = None,
    ) -> EncodedConversation:
        """Encode one conversation.

        Args:
            conversation: its audio parts hold anything `load` takes, or `DecodedAudio`.
            add_generation_prompt: end with the opening of the assistant's turn; else the last turn
                is the answer to learn.
            load: turns an audio source into a waveform.
            transform: applied to the log-mel `(M, F)` of each window (SpecAugment); must keep its
                shape.
        """
        features: list[Tensor] = []
        counts: list[list[int]] = []
        num_samples = 0
        for part in _audio_parts(conversation):
            decoded = part.audio if isinstance(part.audio, DecodedAudio) else load(part.audio)
            windows = self.window_features(decoded.waveform)
            counts.append([clock.num_audio_tokens(item.shape[1]) for item in windows])
            features.extend(windows if transform is None else map(transform, windows))
            num_samples += len(decoded.waveform)
        chat: EncodedChat = encode_chat(
            conversation, self.tokenizer, counts, add_generation_prompt=add_generation_prompt
        )
        return EncodedConversation(
            tuple(chat.input_ids),
            tuple(chat.labels),
            tuple(features),
            num_samples / clock.SAMPLING_RATE,
        )

    def window_features(self, waveform: NDArray[np.float32]) -> list[Tensor]:
        """Log-mel `(M, F)` of each window of a waveform `(S,)`.

        Departure: the released code takes one maximum over the whole file; here each window is
            normalised by its own.
        """
        num_mel_bins = self.feature_extractor.feature_size
        return [
            log_mel_spectrogram(torch.from_numpy(waveform[span.start : span.end]), num_mel_bins)
            for span in split_windows(len(waveform))
        ]

    def collate(
        self,
        encoded: Sequence[EncodedConversation],
        *,
        padding_side: str = "left",
        with_labels: bool = False,
        multiple: int = 1,
    ) -> BatchFeature:
        """Pad conversations to one batch; T and F become multiples of `multiple`.

        Returns:
            `input_ids` and `attention_mask` `(B, T)`; `labels` `(B, T)` if wanted; `input_features`
            `(A, M, F)` and `feature_lengths` `(A,)` if any conversation has audio.
        """
        width = -(-max(len(item.input_ids) for item in encoded) // multiple) * multiple
        shape = (len(encoded), width)
        batch: dict[str, Tensor] = {
            "input_ids": torch.full(shape, int(self.tokenizer.pad_token_id)),
            "attention_mask": torch.zeros(shape, dtype=torch.long),
        }
        if with_labels:
            batch["labels"] = torch.full(shape, IGNORED_LABEL)
        for row, item in enumerate(encoded):
            length = len(item.input_ids)
            place = slice(width - length, width) if padding_side == "left" else slice(0, length)
            batch["input_ids"][row, place] = torch.tensor(item.input_ids)
            batch["attention_mask"][row, place] = 1
            if with_labels:
                batch["labels"][row, place] = torch.tensor(item.labels)
        features = [feature for item in encoded for feature in item.features]
        if features:
            batch.update(pad_features(features, multiple))
        return BatchFeature(batch)


def pad_features(features: Sequence[Tensor], multiple: int = 1) -> dict[str, Tensor]:
    """Log-mels `(M, F)` of different length -> `input_features` `(A, M, F)` and `feature_lengths`
    `(A,)`.

    F is the longest length, rounded up to a multiple of `multiple`: fewer shapes are faster in
    training.
    """
    lengths = torch.tensor([item.shape[1] for item in features])
    width = -(-int(lengths.max()) // multiple) * multiple
    padded = features[0].new_zeros(len(features), features[0].shape[0], width)
    for row, item in zip(padded, features, strict=True):
        row[:, : item.shape[1]] = item
    return {"input_features": padded, "feature_lengths": lengths}


def parse_messages(messages: Any) -> Conversation:
    """Messages as dicts -> a conversation.

    A message is `{"role": ..., "content": text or parts}`. A part is `{"type": "text", "text":
    ...}`, or `{"type": "audio", "audio": anything load_audio takes}` as in transformers, or
    `{"type": "audio_url", "audio_url": {"url": path, URL or data URI}}` as in the authors' code, or
    `{"type": "input_audio", "input_audio": {"data": base64, "format": "wav"}}` as in OpenAI's API.

    Raises:
        MessageError: naming the message and part that are malformed.
    """
    if isinstance(messages, Conversation):
        return messages
    if not isinstance(messages, Sequence) or isinstance(messages, str | bytes):
        raise MessageError(f"expected a list of messages, got a {type(messages).__name__}")
    return Conversation(messages=tuple(_parse_message(i, item) for i, item in enumerate(messages)))


def _parse_message(number: int, message: Any) -> Message:
    where = f"message {number}"
    if not isinstance(message, Mapping) or not {"role", "content"} <= set(message):
        raise MessageError(f"{where}: expected a dict with role and content, got {message!r:.80}")
    role, content = message["role"], message["content"]
    if role not in ("system", "user", "assistant"):
        raise MessageError(f"{where}: expected role system, user or assistant, got {role!r}")
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    if not isinstance(content, Sequence) or isinstance(content, bytes):
        raise MessageError(f"{where}: expected content as text or a list of parts")
    parts = tuple(_parse_part(f"{where}, part {i}", part) for i, part in enumerate(content))
    return Message(role=role, content=parts)


def _parse_part(where: str, part: Any) -> TextPart | AudioPart:
    kind = part.get("type") if isinstance(part, Mapping) else None
    if kind == "text" and isinstance(part.get("text"), str):
        return TextPart(text=part["text"])
    if kind == "audio" and any(part.get(key) is not None for key in ("audio", "path", "url")):
        return AudioPart(
            audio=next(part[k] for k in ("audio", "path", "url") if part.get(k) is not None)
        )
    if kind == "audio_url":
        url = part.get("audio_url")
        url = url.get("url") if isinstance(url, Mapping) else url
        if url is not None:
            return AudioPart(audio=url)
    if kind == "input_audio":
        sent = part.get("input_audio")
        data = sent.get("data") if isinstance(sent, Mapping) else None
        if isinstance(data, str):  # its format is read from the bytes, whatever it is called
            return AudioPart(audio=f"data:audio/*;base64,{data}")
    raise MessageError(
        f"{where}: expected a part of type text, audio, audio_url or input_audio with its content, "
        f"got {part!r:.80}"
    )


def _is_batch(conversation: Any) -> bool:
    """Whether these are several conversations: a list that begins with one."""
    return (
        isinstance(conversation, Sequence)
        and not isinstance(conversation, str | bytes)
        and len(conversation) > 0
        and isinstance(conversation[0], Sequence | Conversation)
        and not isinstance(conversation[0], str | bytes)
    )


def _audio_parts(conversation: Conversation) -> list[AudioPart]:
    return [
        part
        for message in conversation.messages
        for part in message.content
        if isinstance(part, AudioPart)
    ]


def _simple_conversation(text: str | None, audio: Any) -> Conversation:
    if audio is None:
        return Conversation(messages=(Message(role="user", content=(TextPart(text=text or ""),)),))
    return question_request(audio, text or "")


# AutoProcessor finds a class by the name that a saved processor carries. The key matters to nobody:
# a configuration would be usual, but this floor knows no model.
AutoProcessor.register(EurekaAudioProcessor, EurekaAudioProcessor, exist_ok=True)
