"""What a perfect ear would tell the decoder: embeddings of what is known to be heard.

A decoder that has only read text does not know what to do with sound, and while its ear is still
learning neither has much to learn from the other. So the decoder first practises on an oracle. Of
synthetic speech and composed scenes it is known which phone, which sound and which voice each audio
token holds; their embeddings stand in the place of the adapter's, now and then wrong, as an ear
would be. No audio is computed for this. The adapter then learns a language that is already spoken.

Departure: the paper's Qwen3 has read the web and is taught by the adapter alone. A decoder of a few
million weights learns to transcribe, count and order faster from symbols than from sound.
"""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import Qwen3ForCausalLM

from eureka_audio.audio import clock
from eureka_audio.config import Config
from eureka_audio.data.augment import UNMOVED, Timeline
from eureka_audio.data.mixture import Batch
from eureka_audio.data.sources import ClipSource
from eureka_audio.processor import EncodedConversation, EurekaAudioProcessor
from eureka_audio.records import AudioClip, Speaker
from eureka_audio.synthesis.phones import PHONES
from eureka_audio.text.chat import encode_chat
from eureka_audio.training.conversations import ConversationDraws, check_not_empty
from eureka_audio.training.guidance import answer_places, as_places, guidance_loss
from eureka_audio.training.heads import SPEECH, TAGS
from eureka_audio.training.trainer import BatchLoss

SYMBOLS = (*PHONES, *TAGS)
SHAPE_MULTIPLE = 16  # tokens: few shapes

_POSITION = {symbol: i for i, symbol in enumerate(SYMBOLS)}


class OracleNoise(Config):
    """How wrong the oracle is; the decoder learns to doubt what a real ear will get wrong.

    A clip's error rate is drawn from 0 to `max_phone_error`: that share of its phones becomes
    another one, and half as many go unheard. Sounds are heard at a strength from `min_strength` to
    1, and in `false_sound_probability` of the clips another one faintly.
    """

    max_phone_error: float = 0.3
    min_strength: float = 0.3
    false_sound_probability: float = 0.2


class OracleEmbedding(nn.Module):
    """Symbols `(N, symbols)` of audio tokens -> what the decoder reads `(N, D)`, as loud as its own
    token embeddings.
    """

    loudness: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(len(SYMBOLS), width))
        self.nothing = nn.Parameter(torch.randn(width))
        self.register_buffer("loudness", torch.tensor(1.0))

    def forward(self, symbols_NS: Tensor) -> Tensor:
        summed_ND = symbols_NS @ self.weight + self.nothing
        return nn.functional.layer_norm(summed_ND, summed_ND.shape[-1:]) * self.loudness


class OracleModel(nn.Module):
    """The decoder, hearing through the oracle; `guidance_weight` as in `guidance.py`."""

    def __init__(
        self, language_model: Qwen3ForCausalLM, audio_token_id: int, guidance_weight: float = 0.0
    ) -> None:
        super().__init__()
        self.language_model = language_model
        self.guidance_weight = guidance_weight
        self.audio_token_id = audio_token_id
        self.oracle = OracleEmbedding(language_model.config.hidden_size)

    def match_loudness(self) -> None:
        """Make the oracle as loud as the decoder's token embeddings are now."""
        embeddings = self.language_model.get_input_embeddings().weight
        self.oracle.loudness.fill_(float(embeddings.detach().pow(2).mean().sqrt()))

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        labels: Tensor,
        symbols: Tensor,
        places: Tensor | None = None,
    ) -> BatchLoss:
        """Mean loss over the answers of rows `(B, T)`.

        Args:
            input_ids: `(B, T)` with one placeholder per audio token.
            attention_mask: `(B, T)`.
            labels: `(B, T)`, -100 where nothing is learnt.
            symbols: `(N, symbols)` of all audio tokens, row by row.
            places: `(G, 4)` where to listen (`guidance_loss`).
        """
        guided = places is not None and self.guidance_weight > 0
        embeds = self.language_model.get_input_embeddings()(input_ids)
        heard = self.oracle(symbols).to(embeds.dtype)
        is_audio = (input_ids == self.audio_token_id).unsqueeze(-1)
        embeds = embeds.masked_scatter(is_audio, heard)
        output = self.language_model(
            inputs_embeds=embeds,
            attention_mask=attention_mask,
            labels=labels,
            use_cache=False,
            output_attentions=guided,
        )
        if not guided or places is None:
            return BatchLoss(output.loss, {})
        astray = guidance_loss(output.attentions, places)
        return BatchLoss(
            output.loss + self.guidance_weight * astray,
            {"ntp_loss": output.loss.detach(), "guidance_loss": astray.detach()},
        )


class OracleCollator:
    """Clips of a planned batch -> a batch of conversations with symbols instead of sound.

    Args:
        sources: clips by source; their waveforms are not touched.
        processor: makes the conversations' ids.
        tasks: for each source, the weights of the tasks its clips are put to.
        noise: how wrong the oracle is; `None` for never.
        text_lines: plain text, drawn from so that the decoder keeps its language.
        text_share: lines of text added per clip.
        with_places: also give `places` `(G, 4)`, where to listen (`guidance_loss`).

    Clips without a fitting task are left out as in `MultimodalCollator`.

    Raises:
        ConfigError: as `ConversationDraws` does, or a batch holds no clip that is fit for a task.
    """

    def __init__(
        self,
        sources: Mapping[str, ClipSource],
        processor: EurekaAudioProcessor,
        tasks: Mapping[str, Mapping[str, float]],
        noise: OracleNoise | None,
        text_lines: Sequence[str] = (),
        text_share: float = 0.0,
        with_places: bool = False,
    ) -> None:
        self.draws = ConversationDraws(sources, processor, tasks, text_lines, text_share)
        self.sources = sources
        self.processor = processor
        self.noise = noise
        self.with_places = with_places

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        """Tensors of one batch."""
        tokenizer = self.processor.tokenizer
        encoded, symbols, places = [], [], []
        for sample in batch.samples:
            rng = np.random.default_rng(sample.seed)
            source = self.sources[sample.source]
            clip = source.clips[sample.index]
            conversation = self.draws.conversation(sample.source, clip, None, rng)
            if conversation is None:
                continue
            num_samples = round(source.durations_seconds[sample.index] * clock.SAMPLING_RATE)
            num_tokens = clock.num_audio_tokens(clock.num_mel_frames(num_samples))
            chat = encode_chat(conversation, tokenizer, [[num_tokens]], add_generation_prompt=False)
            encoded.append(EncodedConversation(tuple(chat.input_ids), tuple(chat.labels), (), 0.0))
            symbols.append(torch.from_numpy(token_symbols(clip, num_tokens, self.noise, rng)))
            if self.with_places:
                found = answer_places(encoded[-1], clip, UNMOVED, self.processor)
                places += [(len(encoded) - 1, *place) for place in found]
            encoded.extend(self.draws.text(rng))
        check_not_empty(encoded, batch)
        tensors = self.processor.collate(
            encoded, padding_side="right", with_labels=True, multiple=SHAPE_MULTIPLE
        )
        tensors["symbols"] = torch.cat(symbols)
        if self.with_places:
            tensors["places"] = as_places(places)
        return tensors


def knows(clip: AudioClip) -> bool:
    """Whether the oracle can say everything of a clip, the phones of its speech included."""
    return clip.phones is not None or clip.is_speechless


def token_symbols(
    clip: AudioClip,
    num_tokens: int,
    noise: OracleNoise | None,
    rng: np.random.Generator,
    timeline: Timeline = UNMOVED,
) -> NDArray[np.float32]:
    """What each audio token of a clip holds, `(num_tokens, symbols)`: the share of its encoder
    frames in which a symbol is heard.

    Args:
        clip: what is known of the recording.
        num_tokens: audio tokens it takes.
        noise: how wrong to be; `None` for never.
        rng: decides the errors.
        timeline: where the clip's moments lie after augmentation.
    """
    span = partial(_frames, timeline)
    group = clock.ENCODER_FRAMES_PER_AUDIO_TOKEN
    frames = np.zeros((num_tokens * group, len(SYMBOLS)), np.float32)
    spoken = [event for event in clip.events or () if event.kind == SPEECH]
    for event in clip.events or ():
        if event.kind != SPEECH and event.label in _POSITION:
            place = span(event.start_seconds, event.end_seconds)
            frames[place, _POSITION[event.label]] = _strength(noise, rng)
    if clip.background in _POSITION:
        frames[:, _POSITION[clip.background]] = _strength(noise, rng)
    if noise is not None and rng.random() < noise.false_sound_probability:
        column = len(PHONES) + int(rng.integers(len(TAGS)))
        frames[:, column] = np.maximum(frames[:, column], 0.5 * noise.min_strength)
    for event in spoken:
        _hear_voice(frames[span(event.start_seconds, event.end_seconds)], event.speaker)
    if clip.phones is None and clip.transcript is not None and not spoken:
        _hear_voice(frames[span(0.0, clip.duration_seconds)], clip.speaker)
    if clip.phones:
        if not spoken:
            first, last = clip.phones[0].start_seconds, clip.phones[-1].end_seconds
            _hear_voice(frames[span(first, last)], clip.speaker)
        error = 0.0 if noise is None else float(rng.uniform(0, noise.max_phone_error))
        for phone in clip.phones:
            label = phone.label
            dice = float(rng.random()) if error else 1.0
            if dice < error:
                label = PHONES[int(rng.integers(len(PHONES)))]
            if label in _POSITION and not error <= dice < 1.5 * error:
                frames[span(phone.start_seconds, phone.end_seconds), _POSITION[label]] = 1.0
    return frames.reshape(num_tokens, group, -1).mean(axis=1)


def _hear_voice(frames: NDArray[np.float32], speaker: Speaker | None) -> None:
    """Mark speech, and what is known of the speaker, in all of some frames."""
    frames[:, _POSITION[SPEECH]] = 1.0
    for trait in (speaker.gender, speaker.age_group) if speaker else ():
        if trait is not None:
            frames[:, _POSITION[f"{trait} voice"]] = 1.0


def _frames(timeline: Timeline, start_seconds: float, end_seconds: float) -> slice:
    first = clock.first_encoder_frame(timeline.place(start_seconds))
    return slice(first, max(first + 1, clock.first_encoder_frame(timeline.place(end_seconds))))


def _strength(noise: OracleNoise | None, rng: np.random.Generator) -> float:
    return 1.0 if noise is None else float(rng.uniform(noise.min_strength, 1.0))
