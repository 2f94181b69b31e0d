"""Named model shapes."""

import dataclasses
from difflib import get_close_matches
from typing import Any

from eureka_audio.errors import ConfigError
from eureka_audio.model.configuration import EurekaAudioConfig, causal_config

PRESETS: dict[str, dict[str, Any]] = {
    # Whisper-large-v3's encoder and Qwen3-1.7B, the start of the paper (section 3.1) and the shapes
    # of the release. Unstated: experts and their width. Eight plus one shared of width 4096 bring
    # the whole to the 5.25 GB (bf16) reported of the release; its real split is unknown.
    "eureka-audio-1.7b": {
        "pad_windows": True,
        "audio_config": {
            "num_mel_bins": 128,
            "d_model": 1280,
            "encoder_layers": 32,
            "encoder_attention_heads": 20,
            "encoder_ffn_dim": 5120,
            "max_source_positions": 1500,
        },
        "text_config": {
            "vocab_size": 151936,
            "hidden_size": 2048,
            "intermediate_size": 6144,
            "num_hidden_layers": 28,
            "num_attention_heads": 16,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "max_position_embeddings": 32768,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
            "tie_word_embeddings": True,
        },
        "adapter_config": {
            "num_experts": 8,
            "num_experts_per_tok": 2,
            "num_shared_experts": 1,
            "expert_intermediate_size": 4096,
        },
    },
    # Small enough to train from nothing on two CPU cores: 12.6M weights.
    "nano": {
        "pad_windows": False,
        "audio_config": {
            "num_mel_bins": 80,
            "d_model": 256,
            "encoder_layers": 6,
            "encoder_attention_heads": 4,
            "encoder_ffn_dim": 1024,
            "max_source_positions": 1500,
            "dropout": 0.1,
        },
        "text_config": {
            "vocab_size": 1024,
            "hidden_size": 256,
            "intermediate_size": 768,
            "num_hidden_layers": 5,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "head_dim": 64,
            "max_position_embeddings": 4096,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4},
            "tie_word_embeddings": True,
        },
        "adapter_config": {
            "num_experts": 8,
            "num_experts_per_tok": 2,
            "num_shared_experts": 0,
            "expert_intermediate_size": 256,
        },
    },
}


def preset(name: str, **overrides: Any) -> EurekaAudioConfig:
    """The configuration of a named shape.

    Args:
        name: a key of `PRESETS`.
        **overrides: fields of `EurekaAudioConfig`; a dict given for a sub-configuration replaces
            the fields it names.

    Raises:
        ConfigError: no such preset, or a field that no configuration has.

    Example:
        >>> config = preset("nano", audio_token_id=7, text_config={"vocab_size": 2000})
        >>> config.text_config.vocab_size, config.text_config.hidden_size
        (2000, 256)
    """
    if name not in PRESETS:
        raise ConfigError(
            f"preset: expected one of {', '.join(PRESETS)}, got {name!r}{_nearest(name, PRESETS)}"
        )
    settings = dict(PRESETS[name])
    known = _fields(EurekaAudioConfig)
    for key, value in overrides.items():
        if key not in known:
            raise ConfigError(f"preset {name}: no field {key!r}{_nearest(key, known)}")
        if isinstance(value, dict):
            known_of_key = _fields(_config_class(key, {**settings.get(key, {}), **value}))
            for sub_key in value:
                if sub_key not in known_of_key:
                    raise ConfigError(
                        f"preset {name}: no field {key}.{sub_key!r}"
                        f"{_nearest(sub_key, known_of_key)}"
                    )
            value = {**settings.get(key, {}), **value}
        settings[key] = value
    return EurekaAudioConfig(**settings)


def _config_class(key: str, settings: dict[str, Any]) -> Any:
    """The class of a sub-configuration; a language model's depends on its kind."""
    if key == "text_config":
        return causal_config(settings.get("model_type", "qwen3"))
    return EurekaAudioConfig.sub_configs[key]


def _fields(config_class: Any) -> set[str]:
    """The names a configuration class takes."""
    return {field.name for field in dataclasses.fields(config_class)}


def _nearest(word: str, known: Any) -> str:
    """The end of a message: the known word nearest to the one given, if any is near."""
    matches = get_close_matches(word, list(known), n=1)
    return (
        f"; did you mean {matches[0]!r}?"
        if matches
        else "; see EurekaAudioConfig for what there is"
    )
