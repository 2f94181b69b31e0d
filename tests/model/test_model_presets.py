"""The named shapes, counted without allocating them."""

import pytest
import torch
from transformers import Qwen3ForCausalLM, WhisperConfig, WhisperModel

from eureka_audio.errors import ConfigError
from eureka_audio.model import EurekaAudioForConditionalGeneration, preset


def build(name: str, **overrides: object) -> EurekaAudioForConditionalGeneration:
    with torch.device("meta"):
        return EurekaAudioForConditionalGeneration(preset(name, **overrides))


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_full_size_has_the_shapes_of_its_parts():
    model = build("eureka-audio-1.7b")
    whisper_large_v3 = WhisperConfig(
        num_mel_bins=128,
        d_model=1280,
        encoder_layers=32,
        encoder_attention_heads=20,
        encoder_ffn_dim=5120,
        decoder_layers=1,
        decoder_attention_heads=20,
    )
    with torch.device("meta"):
        encoder = WhisperModel(whisper_large_v3).encoder
        decoder = Qwen3ForCausalLM(model.config.text_config)
    assert count(model.audio_encoder) == count(encoder) == 636_968_960
    assert count(model.language_model) == count(decoder) == 1_720_574_976
    assert len(model.audio_encoder.state_dict()) == 487
    assert len(model.language_model.state_dict()) == 311
    assert model.adapter.router.weight.shape == (8, 5120)
    assert model.adapter.proj.weight.shape[0] == 2048
    assert model.language_model.lm_head.weight is model.get_input_embeddings().weight
    assert model.config.pad_windows
    assert model.config.text_config.rope_parameters["rope_theta"] == 1e6
    assert 2 * count(model) == pytest.approx(5.25e9, rel=0.002)  # bytes in bf16, as reported


def test_nano_fits_its_shipping_limit():
    model = build("nano")
    assert count(model) <= 19_500_000
    assert 2 * count(model) <= 39e6
    assert not model.config.pad_windows
    assert model.audio_encoder.max_feature_length == 3000


def test_dense_baseline_of_nano_is_as_active():
    sparse, dense = build("nano"), build("nano", adapter_config={"adapter_type": "dense"})
    idle = count(sparse.adapter.experts) * 6 // 8
    assert count(dense.adapter) == pytest.approx(count(sparse.adapter) - idle, rel=0.005)
    assert count(dense.adapter) >= count(sparse.adapter) - idle


def test_overrides_replace_the_fields_they_name():
    config = preset("nano", audio_token_id=5, text_config={"vocab_size": 777})
    assert config.audio_token_id == 5
    assert config.text_config.vocab_size == 777
    assert config.text_config.hidden_size == 256
    assert preset("nano").text_config.vocab_size == 1024


@pytest.mark.parametrize(
    ("name", "overrides", "said"),
    [
        ("nanos", {}, "got 'nanos'; did you mean 'nano'"),
        ("nano", {"audio_tokens_id": 1}, "did you mean 'audio_token_id'"),
        ("nano", {"text_config": {"hiden_size": 1}}, "text_config.'hiden_size'.*'hidden_size'"),
        ("nano", {"adapter_config": {"zzz": 1}}, "see EurekaAudioConfig"),
    ],
)
def test_unknown_names_meet_their_nearest_neighbour(name, overrides, said):
    with pytest.raises(ConfigError, match=said):
        preset(name, **overrides)
