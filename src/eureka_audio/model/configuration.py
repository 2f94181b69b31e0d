"""What shapes a model: audio encoder, adapter, language model, and how audio is placed in text.

The encoder is configured by transformers' own `WhisperConfig`, the language model by whatever
configuration transformers gives its kind; what is ours is the adapter.
"""

from typing import Any, ClassVar

from huggingface_hub.dataclasses import strict
from transformers import (
    CONFIG_MAPPING,
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoConfig,
    PreTrainedConfig,
    Qwen3Config,
    WhisperConfig,
)

from eureka_audio.audio.clock import ENCODER_FRAMES_PER_AUDIO_TOKEN, WINDOW_SECONDS
from eureka_audio.errors import ConfigError

ADAPTER_TYPES = ("moe", "dense")


@strict
class EurekaAudioAdapterConfig(PreTrainedConfig):
    """The adapter between encoder and language model.

    Attributes:
        adapter_type: `"moe"`, the paper's sparse mixture, or `"dense"`, the baseline of equal
            active parameters.
        input_size: width of a stacked audio token, four times the encoder's; filled in by
            `EurekaAudioConfig`.
        output_size: width of the language model; filled in by `EurekaAudioConfig`.
        num_experts: routed experts, E.
        num_experts_per_tok: experts each audio token is sent to, K.
        num_shared_experts: experts every audio token passes through, beside the routed ones.
        expert_intermediate_size: width I inside one expert.
        expert_output_size: width of what experts give to W_P; 0 means `output_size`.
        norm_topk_prob: whether the K chosen routing weights are scaled to sum to one.
        router_aux_loss_coef: lambda of Eq. 4.
        layer_norm_init: the gain the last LayerNorm starts from.

    Unstated: E, K, I, shared experts and lambda. The defaults are two of eight experts, none
    shared, lambda 0.01. The paper writes "sparse softmax routing", read here as a softmax over the
    chosen K (`norm_topk_prob`), which equals a softmax over all E scaled to sum to one over the K.

    The last LayerNorm cancels any factor common to a token's whole mixture. So without shared
    experts `norm_topk_prob` makes no difference but rounding, and one routed expert alone would
    get a weight that nothing depends on; that is refused.

    Source: paper section 3.2, Eq. 1, 3 and 4.
    """

    model_type: ClassVar[str] = "eureka_audio_adapter"
    base_config_key: ClassVar[str] = "adapter_config"

    adapter_type: str = "moe"
    input_size: int = 0
    output_size: int = 0
    num_experts: int = 8
    num_experts_per_tok: int = 2
    num_shared_experts: int = 0
    expert_intermediate_size: int = 2048
    expert_output_size: int = 0
    norm_topk_prob: bool = True
    router_aux_loss_coef: float = 0.01
    layer_norm_init: float = 1.0
    layer_norm_eps: float = 1e-5
    initializer_range: float = 0.02

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        if self.adapter_type not in ADAPTER_TYPES:
            raise ConfigError(
                f"adapter_config.adapter_type: expected one of {', '.join(ADAPTER_TYPES)}, "
                f"got {self.adapter_type!r}; choose one of them"
            )
        if not 1 <= self.num_experts_per_tok <= self.num_experts:
            raise ConfigError(
                "adapter_config.num_experts_per_tok: expected between 1 and num_experts "
                f"({self.num_experts}), got {self.num_experts_per_tok}; lower it or add experts"
            )
        alone = self.num_experts_per_tok == 1 and self.adapter_type == "moe"
        if alone and (self.norm_topk_prob or not self.num_shared_experts):
            raise ConfigError(
                "adapter_config.num_experts_per_tok: expected at least 2, got 1, with which the "
                "router would learn nothing from the text; add a shared expert and set "
                "norm_topk_prob=False, or raise it"
            )
        if self.num_shared_experts < 0 or self.expert_intermediate_size < 1:
            raise ConfigError(
                "adapter_config: expected num_shared_experts >= 0, expert_intermediate_size >= 1, "
                f"got {self.num_shared_experts} and {self.expert_intermediate_size}; correct them"
            )


@strict
class EurekaAudioConfig(PreTrainedConfig):
    """A whole model: Whisper's encoder, the adapter, a causal language model.

    Attributes:
        audio_config: transformers' `WhisperConfig`; only its encoder is built.
        text_config: transformers' configuration of any causal language model (a dict without
            `model_type` means Qwen3, the paper's); its `tie_word_embeddings` rules the output head.
        adapter_config: the adapter between the two.
        audio_token_id: the placeholder, one per audio token, that an audio embedding takes the
            place of.
        audio_start_token_id: opens a window of placeholders.
        audio_end_token_id: closes it, so that neighbouring windows stay apart.
        pad_windows: `True` encodes every window as 30 s, the rest being silence, as the released
            model does; `False` lets a window cost what it lasts.
        initializer_range: standard deviation of fresh weights that belong to no sub-model.
        ctc_vocab_size: letters, the blank among them, that a CTC head over the encoder spells; 0
            for a model without one.
        feature_layers: encoder layers, counted from 1, whose outputs the adapter is given; `None`
            for the last alone. The last layer's passes through the encoder's last LayerNorm.
        trailing_silence_seconds: silence heard after each window, as far as 30 s have room for it;
            its frames are dropped again after the encoder.
        parts: where encoder and language model came from: `audio_encoder` or `language_model` ->
            `name` and `sha256` of the catalogue (`eureka_audio.parts`); `None` where unknown.

    Departure: the paper's model has no CTC head. With one, a transcript can be chosen by what the
    encoder alone would spell, too (`inference.rescoring`).

    Departure: in the paper the adapter is given the last layer alone. That has lost much of the
    voice, which a middle layer still knows.

    Unstated: silence after a window. A pretrained Whisper has met each clip with the silence up to
    30 s behind it, and one that ends where its window ends makes it fall into loops; a second or
    three of silence cost a tenth of 30 s.

    Source: paper section 3.1, Figure 2.
    """

    model_type: ClassVar[str] = "eureka_audio"
    sub_configs: ClassVar[dict[str, Any]] = {
        "audio_config": WhisperConfig,
        "text_config": AutoConfig,
        "adapter_config": EurekaAudioAdapterConfig,
    }
    keys_to_ignore_at_inference: ClassVar[list[str]] = [
        "past_key_values",
        "cache",  # its name since transformers 5.24
        "ntp_loss",
        "load_balancing_loss",
        "router_statistics",
        "ctc_logits",
    ]

    audio_config: Any = None
    text_config: Any = None
    adapter_config: Any = None
    audio_token_id: int | None = None
    audio_start_token_id: int | None = None
    audio_end_token_id: int | None = None
    pad_windows: bool = True
    initializer_range: float = 0.02
    ctc_vocab_size: int = 0
    feature_layers: list[int] | None = None
    trailing_silence_seconds: float | int = 0.0
    parts: dict[str, Any] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        for name, config_class in self.sub_configs.items():
            given = getattr(self, name)
            if not isinstance(given, PreTrainedConfig):
                settings = dict(given or {})
                kind = settings.pop("model_type", Qwen3Config.model_type)
                chosen = causal_config(kind) if name == "text_config" else config_class
                setattr(self, name, chosen(**settings))
        super().__post_init__(**kwargs)
        self._check_hearing()
        self._bind_adapter("input_size", ENCODER_FRAMES_PER_AUDIO_TOKEN * self.audio_config.d_model)
        self._bind_adapter("output_size", self.text_config.hidden_size)

    def _check_hearing(self) -> None:
        """Refuse layers the encoder does not have, and silence no window has room for."""
        layers, depth = self.feature_layers, self.audio_config.encoder_layers
        if layers is not None and (
            not layers or sorted(set(layers)) != layers or not 1 <= layers[0] <= layers[-1] <= depth
        ):
            raise ConfigError(
                f"feature_layers: expected layers from 1 to {depth} in rising order, got {layers}; "
                "correct them or leave them out for the last layer alone"
            )
        if not 0 <= self.trailing_silence_seconds < WINDOW_SECONDS:
            raise ConfigError(
                f"trailing_silence_seconds: expected 0 to less than {WINDOW_SECONDS}, got "
                f"{self.trailing_silence_seconds}; choose less"
            )
        if self.trailing_silence_seconds and self.pad_windows:
            raise ConfigError(
                "trailing_silence_seconds: expected 0 beside pad_windows, which adds all the "
                f"silence there is room for, got {self.trailing_silence_seconds}; drop one"
            )

    def _bind_adapter(self, name: str, width: int) -> None:
        """Give the adapter a width its neighbours decide; refuse one that contradicts them."""
        given = getattr(self.adapter_config, name)
        if given not in (0, width):
            raise ConfigError(
                f"adapter_config.{name}: expected {width}, as audio_config and text_config imply, "
                f"got {given}; leave it out and it is filled in"
            )
        setattr(self.adapter_config, name, width)


def causal_config(model_type: str) -> Any:
    """The configuration class of a kind of causal language model.

    Raises:
        ConfigError: transformers knows no causal language model of that kind.
    """
    # Looked up, not searched for: both mappings import whatever they are walked through.
    if model_type in CONFIG_MAPPING:
        config_class = CONFIG_MAPPING[model_type]
        if config_class in MODEL_FOR_CAUSAL_LM_MAPPING:
            return config_class
    raise ConfigError(
        f"text_config.model_type: expected a causal language model of transformers, such as "
        f"qwen3 or llama, got {model_type!r}; correct it or upgrade transformers"
    )
