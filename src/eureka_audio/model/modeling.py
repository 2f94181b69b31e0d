"""The model: Whisper's encoder hears, the adapter translates, a language model answers.

    input_features (A, M, F) -> encoder (A, L, C) -> adapter (N, D) -> placed at the placeholders of
    (B, T, D) -> logits

The language model is a whole causal language model of transformers, the paper's Qwen3 or another:
its head stays tied to its embedding by its own configuration, its weights keep the names they have
there, and it can be taken out and used as the plain text model it is.

Source: paper section 3. Departure: the paper's backbone is Qwen3 alone.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForCausalLM, Cache, GenerationMixin, PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.utils import can_return_tuple

from eureka_audio.errors import ConfigError, InvalidFeaturesError, PlaceholderMismatchError
from eureka_audio.model.adapter import (
    AudioLayerNorm,
    Experts,
    Router,
    RouterStatistics,
    build_adapter,
)
from eureka_audio.model.configuration import EurekaAudioConfig
from eureka_audio.model.encoder import EurekaAudioEncoder, audio_token_lengths
from eureka_audio.model.feature_mix import FeatureMix
from eureka_audio.model.placeholders import check_placeholders
from eureka_audio.model.windows import (
    add_silence,
    check_audio_features,
    drop_silence,
    lengths_or_all,
    pad_to_window,
)

COMPACT_NAME = "compact.safetensors"
IGNORED_LABEL = -100
# What models of transformers call the cache that they take and give; another name since 5.24.
CACHE_NAME = (
    "cache" if "cache" in CausalLMOutputWithPast.__dataclass_fields__ else "past_key_values"
)
# Settings of language models whose logits are more than `lm_head` of the last hidden state.
SCALED_LOGITS = ("final_logit_softcapping", "logits_scaling", "logit_scale")


@dataclass(frozen=True)
class AudioFeaturesOutput:
    """Audio embeddings of all windows.

    Attributes:
        audio_embeds: `(N, D)`, the windows one after the other, padding left out.
        token_lengths: `(A,)` embeddings of each window; they sum to N.
        router_statistics: what the router decided; `None` for the dense adapter.
        ctc_logits: `(A, L, letters)` of every encoder frame, padding included; `None` without a CTC
            head.
    """

    audio_embeds: Tensor
    token_lengths: Tensor
    router_statistics: RouterStatistics | None
    ctc_logits: Tensor | None = None

    def by_window(self) -> Tensor:
        """The embeddings `(A, U, D)`, zero past the end of each window."""
        return pad_sequence(self.audio_embeds.split(self.token_lengths.tolist()), batch_first=True)


@dataclass
class EurekaAudioOutput(CausalLMOutputWithPast):
    """What a forward gives.

    Attributes:
        loss: scalar, Eq. 4: `ntp_loss + router_aux_loss_coef * load_balancing_loss`; only with
            labels.
        logits: `(B, T, V)`, or fewer positions (`logits_to_keep`), or `None` (`return_logits`).
        past_key_values: the decoder's cache; `cache` since transformers 5.24.
        hidden_states: the decoder's, when asked for.
        attentions: the decoder's, when asked for.
        ntp_loss: scalar, Eq. 2 as a mean over predicted tokens; only with labels.
        load_balancing_loss: scalar, Eq. 3; only with audio and a router.
        router_statistics: what the router decided; only with audio and a router.
        ctc_logits: `(A, L, letters)`; only with audio and a CTC head.
    """

    ntp_loss: Tensor | None = None
    load_balancing_loss: Tensor | None = None
    router_statistics: RouterStatistics | None = None
    ctc_logits: Tensor | None = None


def keep_positions(hidden_BTD: Tensor, logits_to_keep: int | Tensor) -> Tensor:
    """The positions whose logits are wanted, as transformers' models read `logits_to_keep`.

    Args:
        hidden_BTD: the decoder's last hidden states.
        logits_to_keep: the last so many (0: all); positions `(P,)` of every row, or `(B, P)` of
            each; or a bool mask `(B, T)`, which gives `(positions, D)`.
    """
    if isinstance(logits_to_keep, int):
        return hidden_BTD[:, -logits_to_keep:] if logits_to_keep else hidden_BTD
    if logits_to_keep.dtype == torch.bool:
        return hidden_BTD[logits_to_keep]
    if logits_to_keep.ndim == 1:
        return hidden_BTD[:, logits_to_keep]
    rows_B1 = torch.arange(len(hidden_BTD), device=hidden_BTD.device)[:, None]
    return hidden_BTD[rows_B1, logits_to_keep]


class EurekaAudioPreTrainedModel(PreTrainedModel):
    """What transformers needs to know of this family of models."""

    config: EurekaAudioConfig
    base_model_prefix = "model"
    input_modalities = ("audio", "text")
    supports_gradient_checkpointing = True
    _no_split_modules: ClassVar[list[str]] = [
        "WhisperEncoderLayer",
        "EurekaAudioAdapter",
        "DenseAdapter",
    ]
    _skip_keys_device_placement: ClassVar[list[str]] = [CACHE_NAME]
    _supports_flash_attn = True
    _supports_sdpa = True
    _supports_flex_attn = True
    _supports_attention_backend = True

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Start fresh weights; encoder and decoder start theirs by their own rules."""
        if isinstance(module, AudioLayerNorm):
            init.constant_(module.weight, self.config.adapter_config.layer_norm_init)
            init.zeros_(module.bias)
        elif isinstance(module, Experts):
            init.normal_(module.up_proj, std=self.config.initializer_range)
            init.normal_(module.down_proj, std=self.config.initializer_range)
        elif isinstance(module, Router):
            init.normal_(module.weight, std=self.config.initializer_range)
        elif isinstance(module, FeatureMix):
            init.copy_(module.weight, module.first_gains())
        else:
            super()._init_weights(module)


class EurekaAudioForConditionalGeneration(EurekaAudioPreTrainedModel, GenerationMixin):
    """Eureka-Audio: text conditioned on text and audio.

    Source: paper section 3.
    """

    def __init__(self, config: EurekaAudioConfig) -> None:
        super().__init__(config)
        self.audio_encoder = EurekaAudioEncoder(config.audio_config, config.feature_layers)
        layers = self.audio_encoder.feature_layers
        is_last_alone = layers == (config.audio_config.encoder_layers,)
        self.feature_mix = (
            nn.Identity() if is_last_alone else FeatureMix(layers, config.audio_config)
        )
        self.adapter = build_adapter(config.adapter_config)
        self.language_model = _build_language_model(config.text_config)
        self.ctc_head: nn.Linear | None = None
        if config.ctc_vocab_size:
            self.add_ctc_head(nn.Linear(config.audio_config.d_model, config.ctc_vocab_size))
        self.post_init()
        if config.audio_token_id is not None:
            # A generated placeholder would stand for audio that nobody gave.
            self.generation_config.suppress_tokens = [config.audio_token_id]
        # A checkpoint may say more there than the model's configuration does, such as how long a
        # chunk to transcribe may be; what is marked as derived from it loses that when loaded.
        self.generation_config._from_model_config = False

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: Any = None, *args: Any, **kwargs: Any
    ) -> Any:
        """As in transformers; a folder with compact weights (`model.weights`) is read, too, by
        `load_checkpoint`, which takes `dtype` and `device_map` of the arguments.
        """
        name = pretrained_model_name_or_path
        if name is None or not (Path(name) / COMPACT_NAME).is_file():
            return super().from_pretrained(name, *args, **kwargs)
        from eureka_audio.model.weights import load_checkpoint  # it builds models of this class

        model = load_checkpoint(
            name, dtype=kwargs.get("dtype") or "auto", device_map=kwargs.get("device_map")
        )
        return (model, {}) if kwargs.get("output_loading_info") else model

    def get_output_embeddings(self) -> nn.Module:
        """The output head, which may be tied to the input embedding."""
        return self.language_model.get_output_embeddings()

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        """Replace the output head, as `resize_token_embeddings` does."""
        self.language_model.set_output_embeddings(new_embeddings)

    def add_ctc_head(self, head: nn.Linear) -> None:
        """Keep a head that the encoder has learnt to spell under; it becomes part of the model, and
        learns no more, since no loss of the model's depends on it. Whoever trains it on
        `ctc_logits` lets it learn by `requires_grad_`.
        """
        self.config.ctc_vocab_size = head.out_features
        self.ctc_head = head.requires_grad_(False)

    def encode_audio(self, input_features: Tensor, feature_lengths: Tensor | None = None) -> Tensor:
        """What the encoder alone makes of log-mel windows: while it is frozen this can be kept and
        given to `forward` or `get_audio_features` as `audio_features`.

        Args:
            input_features: `(A, M, F)`.
            feature_lengths: `(A,)` mel frames that are real; `None` when every frame is.

        Returns:
            `(A, L, C)`, or `(A, L, n, C)` of n `feature_layers`; L = ceil(F / 2), or 1500 with
            `pad_windows`.

        Raises:
            InvalidFeaturesError: features or lengths are unusable.
        """
        encode, longest = self.audio_encoder, self.audio_encoder.max_feature_length
        feature_lengths = lengths_or_all(input_features, feature_lengths)
        seconds = self.config.trailing_silence_seconds
        if not seconds and not self.config.pad_windows:
            return encode(input_features, feature_lengths).last_hidden_state
        encode.check_features(input_features, feature_lengths)
        if self.config.pad_windows:
            return encode(pad_to_window(input_features, feature_lengths, longest)).last_hidden_state
        heard = encode(*add_silence(input_features, feature_lengths, seconds, longest))
        return drop_silence(heard.last_hidden_state, feature_lengths, input_features.shape[-1])

    def _feature_shape(self) -> tuple[int, ...]:
        """What follows `(A, L)` in the shape of the encoder's features."""
        num_layers, width = len(self.audio_encoder.feature_layers), self.config.audio_config.d_model
        return (width,) if num_layers == 1 else (num_layers, width)

    def get_audio_features(
        self,
        input_features: Tensor | None = None,
        feature_lengths: Tensor | None = None,
        audio_features: Tensor | None = None,
    ) -> AudioFeaturesOutput:
        """Hear log-mel windows.

        What lies past a window's own length is ignored, so a padded batch gives what its windows
        give alone.

        Args:
            input_features: `(A, M, F)`.
            feature_lengths: `(A,)` mel frames that are real; `None` when every frame is.
            audio_features: what `encode_audio` gave, in place of `input_features`, with
                `feature_lengths`.

        Raises:
            InvalidFeaturesError: features or lengths are unusable.
        """
        if audio_features is None and input_features is not None:
            feature_lengths = lengths_or_all(input_features, feature_lengths)
            audio_features = self.encode_audio(input_features, feature_lengths)
        elif audio_features is not None and input_features is None and feature_lengths is not None:
            check_audio_features(audio_features, feature_lengths, self._feature_shape())
        else:
            raise InvalidFeaturesError(
                "get_audio_features: expected input_features, or audio_features with "
                "feature_lengths, got none or both; pass one of the two"
            )
        heard_ALC = self.feature_mix(audio_features.to(self.adapter.proj.weight.dtype))
        token_lengths = audio_token_lengths(feature_lengths)
        adapted = self.adapter(heard_ALC, token_lengths)
        return AudioFeaturesOutput(
            adapted.audio_embeds,
            token_lengths,
            adapted.router_statistics,
            None if self.ctc_head is None else self.ctc_head(heard_ALC),
        )

    def embed(
        self, input_ids: Tensor, audio: AudioFeaturesOutput | None, *, start_of_text: bool = True
    ) -> Tensor:
        """Embed tokens `(B, T)` to `(B, T, D)`, with the audio in the place of its placeholders.

        Args:
            input_ids: `(B, T)`.
            audio: what `get_audio_features` gave for the windows of all rows, in order.
            start_of_text: whether the text starts here. Where it goes on from a cache and brings no
                audio, a placeholder is a token like any other.

        Raises:
            PlaceholderMismatchError: placeholders and embeddings differ in some row.
        """
        inputs_embeds: Tensor = self.get_input_embeddings()(input_ids)
        if audio is None and not start_of_text:
            return inputs_embeds
        audio_token_id = self.config.audio_token_id
        is_audio_BT = torch.eq(input_ids, -1 if audio_token_id is None else audio_token_id)
        check_placeholders(is_audio_BT, None if audio is None else audio.token_lengths)
        if audio is None:
            return inputs_embeds
        audio_embeds = audio.audio_embeds.to(inputs_embeds.device, inputs_embeds.dtype)
        is_audio_BT = is_audio_BT.to(inputs_embeds.device)  # parts may lie on several devices
        return inputs_embeds.masked_scatter(is_audio_BT.unsqueeze(-1), audio_embeds)

    @can_return_tuple  # type: ignore[untyped-decorator]
    def forward(
        self,
        input_ids: Tensor | None = None,
        input_features: Tensor | None = None,
        feature_lengths: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        return_logits: bool | None = None,
        num_items_in_batch: Tensor | int | None = None,
        audio_features: Tensor | None = None,
        **kwargs: Any,
    ) -> EurekaAudioOutput:
        """Predict the next token at every position.

        Args:
            input_ids: `(B, T)`; each window is one unbroken run of `audio_token_id`.
            input_features: `(A, M, F)` log-mel of all windows, row after row.
            feature_lengths: `(A,)` mel frames that are real; `None` when every frame is.
            attention_mask: `(B, T)`, 1 for tokens and 0 for padding on either side.
            position_ids: `(B, T)`.
            past_key_values: cache of the text before.
            inputs_embeds: `(B, T, D)` in place of `input_ids`, the audio already in its place.
            labels: `(B, T)` unshifted; -100 is not learnt.
            use_cache: whether to fill and return the cache.
            logits_to_keep: keep the last so many positions (0: all), or the positions given.
            return_logits: whether to compute `logits`. By default they are left out while training
                with labels, where the loss needs the head at the learnt positions only.
            num_items_in_batch: predicted tokens of the whole batch this is a part of (the Trainer's
                gradient accumulation); the loss is then this part's share of the batch's mean.
            audio_features: what `encode_audio` gave for the windows, in place of `input_features`;
                `feature_lengths` are needed beside them.
            **kwargs: `cache`, the newer name of `past_key_values`; the rest is passed on to the
                language model.

        Raises:
            PlaceholderMismatchError: placeholders and audio differ in some row.
            InvalidFeaturesError: features or lengths are unusable.
        """
        past_key_values = kwargs.pop(CACHE_NAME, past_key_values)
        audio = None
        if input_features is not None or audio_features is not None:
            audio = self.get_audio_features(input_features, feature_lengths, audio_features)
        if inputs_embeds is None and input_ids is not None:
            cached = past_key_values is not None and past_key_values.get_seq_length() > 0
            inputs_embeds = self.embed(input_ids, audio, start_of_text=not cached)
        elif audio is not None:
            raise PlaceholderMismatchError(
                "input_features: expected input_ids alone beside them, got inputs_embeds, in which "
                "no placeholder can be found; place the audio with `embed` and pass no features"
            )
        decoded = self.language_model.base_model(
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            position_ids=position_ids,
            use_cache=use_cache,
            **{CACHE_NAME: past_key_values},
            **kwargs,
        )
        hidden_BTD = decoded.last_hidden_state
        routing = None if audio is None else audio.router_statistics
        balance = None if routing is None else routing.load_balancing_loss
        loss = ntp_loss = logits = None
        if labels is not None:
            loss, ntp_loss = self._losses(hidden_BTD, labels, balance, num_items_in_batch)
        if return_logits or (return_logits is None and not (self.training and labels is not None)):
            kept = keep_positions(hidden_BTD, logits_to_keep)
            logits = self.get_output_embeddings()(kept)
        return EurekaAudioOutput(
            loss=loss,
            logits=logits,
            hidden_states=decoded.hidden_states,
            attentions=decoded.attentions,
            ntp_loss=ntp_loss,
            **{CACHE_NAME: decoded.get(CACHE_NAME)},
            load_balancing_loss=balance,
            router_statistics=routing,
            ctc_logits=None if audio is None else audio.ctc_logits,
        )

    def prepare_inputs_for_generation(
        self,
        input_ids: Tensor,
        inputs_embeds: Tensor | None = None,
        feature_lengths: Tensor | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Give audio to the prefill only; from then on it lives in the cache.

        Raises:
            ConfigError: embeddings without a cache, which the second step would have forgotten.
        """
        if inputs_embeds is not None and not kwargs.get("use_cache", True):
            raise ConfigError(
                "generate: expected use_cache=True when several sequences share audio, or with "
                "inputs_embeds, got use_cache=False; leave it on"
            )
        inputs: dict[str, Any] = super().prepare_inputs_for_generation(
            input_ids, inputs_embeds=inputs_embeds, **kwargs
        )
        if inputs.get("input_features") is not None:
            inputs["feature_lengths"] = feature_lengths
        return inputs

    def _expand_inputs_for_generation(
        self,
        expand_size: int = 1,
        is_encoder_decoder: bool = False,
        input_ids: Tensor | None = None,
        **model_kwargs: Any,
    ) -> tuple[Tensor | None, dict[str, Any]]:
        """Repeat rows for beams and samples; audio is heard once and repeated as embeddings.

        Windows are flattened over rows, so they cannot be repeated like rows.
        """
        features = model_kwargs.get("input_features")
        if expand_size > 1 and input_ids is not None and features is not None:
            del model_kwargs["input_features"]
            audio = self.get_audio_features(features, model_kwargs.pop("feature_lengths", None))
            model_kwargs["inputs_embeds"] = self.embed(input_ids, audio)
        expanded: tuple[Tensor | None, dict[str, Any]] = super()._expand_inputs_for_generation(
            expand_size, is_encoder_decoder, input_ids, **model_kwargs
        )
        return expanded

    def _losses(
        self,
        hidden_BTD: Tensor,
        labels: Tensor,
        load_balancing_loss: Tensor | None,
        num_items_in_batch: Tensor | int | None,
    ) -> tuple[Tensor, Tensor]:
        """Eq. 4 and its first term, Eq. 2. Labels are shifted here and nowhere else."""
        targets_BT = nn.functional.pad(labels[:, 1:], (0, 1), value=IGNORED_LABEL)
        learnt_BT = (targets_BT != IGNORED_LABEL).to(hidden_BTD.device)
        logits_PV = self.get_output_embeddings()(hidden_BTD[learnt_BT])  # P learnt positions
        targets_P = targets_BT[learnt_BT.to(targets_BT.device)].to(logits_PV.device)
        summed = nn.functional.cross_entropy(logits_PV.float(), targets_P, reduction="sum")
        ntp_loss = summed / max(len(targets_P), 1)
        loss = ntp_loss
        if load_balancing_loss is not None:
            coef = self.config.adapter_config.router_aux_loss_coef
            loss = loss + coef * load_balancing_loss.to(loss.device)
        if num_items_in_batch is not None:
            # The whole of Eq. 4 takes its share, or lambda would grow with the number of parts.
            loss = loss * (len(targets_P) / num_items_in_batch)
        return loss, ntp_loss


def _build_language_model(config: Any) -> Any:
    """A causal language model of any kind whose logits are its head's.

    Raises:
        ConfigError: its logits are computed by more than its head, which we would leave out.
    """
    scaled = [name for name in SCALED_LOGITS if getattr(config, name, None) not in (None, 1.0)]
    if scaled:
        raise ConfigError(
            f"text_config: expected a language model whose logits are its head's, got "
            f"{config.model_type} with {', '.join(scaled)}; choose another, such as qwen3 or llama"
        )
    return AutoModelForCausalLM.from_config(config)
