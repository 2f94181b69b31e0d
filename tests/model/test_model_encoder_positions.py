"""A fresh encoder must know the order of its frames."""

import torch
from transformers import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from eureka_audio.model import EurekaAudioForConditionalGeneration, preset
from eureka_audio.model.encoder import EurekaAudioEncoder


def test_fresh_positions_are_whispers() -> None:
    config = WhisperConfig(d_model=32, encoder_layers=1, encoder_attention_heads=2)
    fresh, whisper = EurekaAudioEncoder(config), WhisperEncoder(config)
    assert torch.equal(fresh.embed_positions.weight, whisper.embed_positions.weight)


def test_they_stay_so_inside_the_whole_model() -> None:
    config = preset("nano", audio_token_id=5)
    whole = EurekaAudioForConditionalGeneration(config)
    expected = WhisperEncoder(config.audio_config).embed_positions.weight
    assert torch.equal(whole.audio_encoder.embed_positions.weight, expected)
