"""Training of the whole model on tasks: Stage 1, Stage 2 and supervised fine-tuning differ only in
their values.

Source: paper sections 4 and 5.2.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from eureka_audio.audio.decode import DecodedAudio
from eureka_audio.data.augment import AugmentConfig, mask_features
from eureka_audio.data.mixture import Batch
from eureka_audio.data.sources import ClipSource, hear
from eureka_audio.errors import ConfigError
from eureka_audio.model.encoder import encoder_frame_lengths
from eureka_audio.model.modeling import EurekaAudioForConditionalGeneration
from eureka_audio.processor import EurekaAudioProcessor
from eureka_audio.training.conversations import ConversationDraws, check_not_empty
from eureka_audio.training.guidance import answer_places, as_places, guidance_loss
from eureka_audio.training.heads import EncoderHeads, EncoderHeadsConfig, head_targets
from eureka_audio.training.oracle import OracleEmbedding, knows, token_symbols
from eureka_audio.training.trainer import BatchLoss

SHAPE_MULTIPLE = 32  # mel frames and tokens: few shapes


class MultimodalModel(nn.Module):
    """The model under training: its parts frozen or not, its loss split up for the log.

    Departure: while the adapter is new, it may also be shown what the oracle would say
    (`oracle_weight`), which the decoder already understands. While the encoder learns, its heads
    may go on teaching it (`heads_weight`): the paper's Whisper has heard years of speech, ours
    still has letters to learn. And the decoder may be shown where to listen (`guidance_weight`).
    """

    def __init__(
        self,
        model: EurekaAudioForConditionalGeneration,
        trainable: Sequence[str],
        heads_weight: float = 0.0,
        heads: EncoderHeadsConfig | None = None,
        oracle_weight: float = 0.0,
        guidance_weight: float = 0.0,
    ) -> None:
        """`trainable` names the parts that learn: audio_encoder, adapter, language_model."""
        super().__init__()
        self.model = model
        self.heads_weight = heads_weight
        self.oracle_weight = oracle_weight
        self.guidance_weight = guidance_weight
        self.oracle = OracleEmbedding(model.config.text_config.hidden_size).requires_grad_(False)
        self._audio_embeds: list[Tensor] = []
        model.adapter.register_forward_hook(self._keep_audio_embeds)
        self.heads = EncoderHeads(model.config.audio_config.d_model, heads or EncoderHeadsConfig())
        self._audio_features: list[Tensor] = []
        model.audio_encoder.register_forward_hook(self._keep_audio_features)
        for name in ("audio_encoder", "adapter", "language_model"):
            getattr(model, name).requires_grad_(name in trainable)
        model.audio_encoder.embed_positions.requires_grad_(False)

    def forward(self, targets: Mapping[str, Tensor], **batch: Tensor) -> BatchLoss:
        """Loss of one collated batch; `targets` are those of the heads."""
        self._audio_features.clear()
        self._audio_embeds.clear()
        guided = self.guidance_weight > 0
        output = self.model(**batch, use_cache=False, output_attentions=guided)
        loss = output.loss
        metrics: dict[str, float | Tensor] = {"ntp_loss": output.ntp_loss.detach()}
        if self.heads_weight > 0:
            frame_lengths = encoder_frame_lengths(batch["feature_lengths"])
            heads = self.heads(self._audio_features[0], frame_lengths, targets)
            loss = loss + self.heads_weight * heads.loss
            metrics.update(heads.metrics, heads_loss=heads.loss.detach())
        if self.oracle_weight > 0:
            distance = oracle_loss(
                self._audio_embeds[0], self.oracle(targets["symbols"]), targets["symbols_known"]
            )
            loss = loss + self.oracle_weight * distance
            metrics["oracle_loss"] = distance.detach()
        if guided:
            astray = guidance_loss(output.attentions, targets["places"])
            loss = loss + self.guidance_weight * astray
            metrics["guidance_loss"] = astray.detach()
        if output.load_balancing_loss is not None:
            metrics["load_balancing_loss"] = output.load_balancing_loss.detach()
            share = output.router_statistics.tokens_per_expert.float()
            metrics["busiest_expert_share"] = (share.max() / share.sum()).detach()
        return BatchLoss(loss, metrics)

    def _keep_audio_features(self, encoder: nn.Module, inputs: object, output: Any) -> None:
        self._audio_features.append(output.last_hidden_state)

    def _keep_audio_embeds(self, adapter: nn.Module, inputs: object, output: Any) -> None:
        self._audio_embeds.append(output.audio_embeds)


def oracle_loss(audio_embeds: Tensor, oracle_embeds: Tensor, known: Tensor) -> Tensor:
    """How far the adapter is from saying what the oracle would: squared error over the oracle's
    mean square, of the tokens `(N,)` of which the oracle knows everything.
    """
    error_ND = (audio_embeds.float() - oracle_embeds.float()).pow(2)
    scale = oracle_embeds.float().pow(2).mean().clamp(min=1e-12)
    return (error_ND.mean(dim=1) * known).sum() / known.sum().clamp(min=1) / scale


class MultimodalCollator:
    """Clips of a planned batch -> a batch of conversations, tasks and augmentation drawn by each
    sample's own seed.

    Args:
        sources: clips by source.
        processor: makes tensors, the same as at inference.
        tasks: for each source, the weights of the tasks its clips are put to.
        augment: `None` gives the clips as they are.
        text_lines: plain text, drawn from so that the decoder keeps its language.
        text_share: lines of text added per audio sample (1.0 is the paper's 1:1 by samples).
        with_oracle: also give `symbols` `(N, symbols)` and `symbols_known` `(N,)` of the audio
            tokens.
        with_places: also give `places` `(G, 4)`, where to listen (`guidance_loss`).

    A clip that is fit for none of its source's tasks is left out of its batch; what share of them
    that concerns is logged at the start.

    Raises:
        ConfigError: no clip tried of a source is fit for any of its tasks, two clips would be
            mixed, or there is no text to draw from.
    """

    def __init__(
        self,
        sources: Mapping[str, ClipSource],
        processor: EurekaAudioProcessor,
        tasks: Mapping[str, Mapping[str, float]],
        augment: AugmentConfig | None,
        text_lines: Sequence[str] = (),
        text_share: float = 0.0,
        with_oracle: bool = False,
        with_places: bool = False,
    ) -> None:
        self.draws = ConversationDraws(sources, processor, tasks, text_lines, text_share)
        if augment is not None and augment.mix_events_probability > 0:
            raise ConfigError(
                "expected augment.mix_events_probability 0 where tasks are learnt, since a task "
                f"knows of one clip only, got {augment.mix_events_probability}; set it to 0"
            )
        self.sources = sources
        self.processor = processor
        self.augment = augment
        self.with_oracle = with_oracle
        self.with_places = with_places

    def __call__(self, batch: Batch) -> dict[str, Any]:
        """Tensors of one batch; what heads and oracle tell of it is under `targets`."""
        encoded, kept, symbols, places = [], [], [], []
        for sample in batch.samples:
            rng = np.random.default_rng(sample.seed)
            heard = hear(self.sources, sample, self.augment, rng)
            clip = heard.clips[0]
            audio = DecodedAudio(heard.waveform, clip.id)
            conversation = self.draws.conversation(sample.source, clip, audio, rng)
            if conversation is None:
                continue
            encoded.append(
                self.processor.encode(
                    conversation,
                    add_generation_prompt=False,
                    transform=partial(self._mask, rng),
                )
            )
            kept.append(heard)
            if self.with_oracle:
                num_tokens = encoded[-1].num_audio_tokens
                symbols.append(token_symbols(clip, num_tokens, None, rng, heard.timeline))
            if self.with_places:
                found = answer_places(encoded[-1], clip, heard.timeline, self.processor)
                places += [(len(encoded) - 1, *place) for place in found]
            encoded.extend(self.draws.text(rng))
        check_not_empty(encoded, batch)
        tensors = self.processor.collate(
            encoded, padding_side="right", with_labels=True, multiple=SHAPE_MULTIPLE
        )
        targets = head_targets(kept)
        if self.with_oracle:
            known = [knows(sample.clips[0]) for sample in kept]
            targets["symbols"] = torch.from_numpy(np.concatenate(symbols))
            targets["symbols_known"] = torch.tensor(known).repeat_interleave(
                torch.tensor([len(rows) for rows in symbols])
            )
        if self.with_places:
            targets["places"] = as_places(places)
        return {**tensors, "targets": targets}

    def _mask(self, rng: np.random.Generator, log_mel: Tensor) -> Tensor:
        if self.augment is None:
            return log_mel
        return torch.from_numpy(mask_features(log_mel.numpy(), self.augment, rng))
