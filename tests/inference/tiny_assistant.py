"""A whole assistant of a thousandth of the size: random weights, a tokenizer learnt on the spot."""

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from tiny_tokenizer import train_tokenizer
from transformers import WhisperFeatureExtractor

from eureka_audio.audio.decode import DecodedAudio
from eureka_audio.audio.fetch import LOCAL_USER
from eureka_audio.audio.mono import LOCAL_LIMITS
from eureka_audio.inference.assistant import EurekaAudio
from eureka_audio.inference.engine import AudioEngine
from eureka_audio.inference.responder import Responder
from eureka_audio.model import EurekaAudioForConditionalGeneration, preset
from eureka_audio.processor import EurekaAudioProcessor
from eureka_audio.text.tokenizer import TURN_END, token_id

TEXTS = [
    "the quick brown fox jumps over the lazy dog",
    "a cat, a dog and a bird; naïve café ☃ 你好",
]


@cache
def tiny_processor() -> EurekaAudioProcessor:
    tokenizer = train_tokenizer(TEXTS * 3, 320)
    return EurekaAudioProcessor(WhisperFeatureExtractor(feature_size=80), tokenizer)


def say_forever(model: EurekaAudioForConditionalGeneration, token: int) -> None:
    """Make a model say one token for ever."""

    def always(module: object, inputs: object, logits: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(logits).index_fill_(-1, torch.tensor([token]), 50.0)

    model.language_model.lm_head.register_forward_hook(always)


def tiny_model(seed: int = 0, **settings: object) -> EurekaAudioForConditionalGeneration:
    """Random weights, large enough that answers differ and some of them end."""
    processor = tiny_processor()
    torch.manual_seed(seed)
    overrides: dict[str, object] = {
        "audio_token_id": processor.audio_token_id,
        "audio_config": {
            "d_model": 16,
            "encoder_layers": 2,
            "encoder_attention_heads": 2,
            "encoder_ffn_dim": 32,
        },
        "text_config": {
            "vocab_size": len(processor.tokenizer),
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 8,
            "max_position_embeddings": 512,
            "tie_word_embeddings": False,
        },
        "adapter_config": {"num_experts": 4, "expert_intermediate_size": 16},
    }
    overrides.update(settings)
    model = EurekaAudioForConditionalGeneration(preset("nano", **overrides))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(5)
        # The end of the turn is made likely enough that rows of a batch end at different steps.
        end = token_id(processor.tokenizer, TURN_END)
        model.language_model.lm_head.weight[end] *= 2.5
    return model.eval()


def tiny_assistant(seed: int = 0, **settings: object) -> EurekaAudio:
    return EurekaAudio(tiny_model(seed), tiny_processor(), **settings)


def tiny_responder(
    model: EurekaAudioForConditionalGeneration, processor: EurekaAudioProcessor | None = None
) -> Responder:
    engine = AudioEngine(model, processor or tiny_processor())
    return Responder(engine, LOCAL_USER, LOCAL_LIMITS)


def noise(seconds: float, seed: int = 0) -> DecodedAudio:
    return DecodedAudio(noise_samples(seconds, seed), f"noise {seed}")


def noise_samples(seconds: float, seed: int = 0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return (0.1 * rng.standard_normal(int(seconds * 16_000))).astype(np.float32)
