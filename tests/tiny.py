"""Tiny models with random weights, what they hear and read, and what trains them: for all tests.

`bare_model` reads ids and hears random features; `tiny_model` has a tokenizer, learnt on the spot,
and with it makes a `tiny_assistant`; `tiny_recipe` is a whole training in miniature.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers, trainers
from tokenizers.models import BPE
from torch import Tensor, nn
from transformers import (
    Qwen2Tokenizer,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
)
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

from eureka_audio.audio.clock import num_audio_tokens
from eureka_audio.audio.decode import DecodedAudio
from eureka_audio.audio.fetch import LOCAL_USER
from eureka_audio.audio.mono import LOCAL_LIMITS
from eureka_audio.inference.assistant import EurekaAudio
from eureka_audio.inference.engine import AudioEngine
from eureka_audio.inference.responder import Responder
from eureka_audio.manifest import write_manifest
from eureka_audio.model import EurekaAudioConfig, EurekaAudioForConditionalGeneration, preset
from eureka_audio.processor import EurekaAudioProcessor
from eureka_audio.records import AudioClip, AudioEvent, Speaker
from eureka_audio.text.letters import CTC_VOCAB_SIZE
from eureka_audio.text.tokenizer import AUDIO_PAD, END_OF_TEXT, SPECIAL_TOKENS, TURN_END, token_id
from eureka_audio.training.recipe import Recipe
from eureka_audio.training.workspace import Workspace

ENCODER = {
    "d_model": 16,
    "encoder_layers": 2,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
}
ADAPTER = {"num_experts": 4, "num_experts_per_tok": 2, "expert_intermediate_size": 16}
DECODER = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
}


def enlarge(model: nn.Module, factor: float) -> None:
    """Larger weights, so that differences show."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(factor)


def tiny_whisper(**settings: Any) -> WhisperForConditionalGeneration:
    """A whole Whisper, whose weights half precision holds exactly."""
    decoder = {"decoder_layers": 3, "decoder_attention_heads": 4, "decoder_ffn_dim": 20}
    tokens = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 3}
    lengths = {"max_source_positions": 50, "max_target_positions": 12}
    config = {**ENCODER, **decoder, **tokens, **lengths, "vocab_size": 60, "num_mel_bins": 80}
    torch.manual_seed(0)
    model = WhisperForConditionalGeneration(WhisperConfig(**{**config, **settings})).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
            parameter.copy_(parameter.half())
    return model


# ---- ids and features


PAD, BOS, START, END, AUDIO = 0, 1, 2, 3, 4
MEL_BINS = 8


def bare_config(**settings: Any) -> EurekaAudioConfig:
    adapter = settings.pop("adapter_config", {})
    text = settings.pop("text_config", {})
    tokens = {"audio_token_id": AUDIO, "audio_start_token_id": START, "audio_end_token_id": END}
    own = {"vocab_size": 48, "tie_word_embeddings": True, "pad_token_id": PAD}
    return EurekaAudioConfig(
        audio_config={**ENCODER, "num_mel_bins": MEL_BINS, "max_source_positions": 100},
        text_config={**DECODER, **own, **text},
        adapter_config={**ADAPTER, **adapter},
        **{"pad_windows": False, **tokens, **settings},
    )


def bare_model(seed: int = 0, **settings: Any) -> EurekaAudioForConditionalGeneration:
    """A model without a tokenizer."""
    torch.manual_seed(seed)
    model = EurekaAudioForConditionalGeneration(bare_config(**settings))
    enlarge(model, 4)
    return model.eval()


@dataclass
class Row:
    """One conversation: mel windows of given lengths, then text."""

    windows: list[Tensor]
    text: list[int]

    @property
    def ids(self) -> list[int]:
        ids = [BOS]
        for window in self.windows:
            ids += [START, *[AUDIO] * num_audio_tokens(window.shape[1]), END]
        return ids + self.text


def make_row(*lengths: int, text: tuple[int, ...] = (10, 11, 12), seed: int = 0) -> Row:
    generator = torch.Generator().manual_seed(seed + sum(lengths))
    return Row(
        [torch.randn(MEL_BINS, length, generator=generator) for length in lengths], list(text)
    )


def make_batch(rows: list[Row], *, left: bool = True) -> dict[str, Tensor]:
    longest = max(len(row.ids) for row in rows)
    ids, mask = [], []
    for row in rows:
        padding = longest - len(row.ids)
        pads, ones = [PAD] * padding, [1] * len(row.ids)
        ids.append(pads + row.ids if left else row.ids + pads)
        mask.append([0] * padding + ones if left else ones + [0] * padding)
    batch = {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}
    windows = [window for row in rows for window in row.windows]
    if windows:
        frames = max(window.shape[1] for window in windows)
        features = torch.full((len(windows), MEL_BINS, frames), 7.0)  # what pads must not matter
        for index, window in enumerate(windows):
            features[index, :, : window.shape[1]] = window
        batch["input_features"] = features
        batch["feature_lengths"] = torch.tensor([window.shape[1] for window in windows])
    return batch


def three_rows() -> list[Row]:
    """Two windows, one window, one long window."""
    return [make_row(40, 17), make_row(9, text=(20, 21, 22, 23)), make_row(200)]


# ---- words and sounds


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Qwen2Tokenizer:
    """Learn a tokenizer of Qwen's kind.

    Args:
        texts: what to learn merges from.
        vocab_size: all tokens together: 256 bytes, the special tokens, and merges.
    """
    learner = Tokenizer(BPE())
    learner.normalizer = normalizers.NFC()
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    learner.decoder = decoders.ByteLevel()
    learner.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocab_size - len(SPECIAL_TOKENS),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    merges = [tuple(pair) for pair in json.loads(learner.to_str())["model"]["merges"]]
    named = {"eos_token": TURN_END, "pad_token": END_OF_TEXT, "unk_token": None}
    tokenizer = Qwen2Tokenizer(vocab=learner.get_vocab(), merges=merges, **named)
    tokenizer.add_special_tokens({"additional_special_tokens": list(SPECIAL_TOKENS)})
    return tokenizer


def make_processor(texts: Iterable[str], vocab_size: int) -> EurekaAudioProcessor:
    tokenizer = train_tokenizer(texts, vocab_size)
    return EurekaAudioProcessor(WhisperFeatureExtractor(feature_size=80), tokenizer)


@cache
def tiny_processor() -> EurekaAudioProcessor:
    texts = [
        "the quick brown fox jumps over the lazy dog",
        "a cat, a dog and a bird; naïve café ☃ 你好",
    ]
    return make_processor(texts * 3, 320)


def tiny_model(seed: int = 0, **settings: Any) -> EurekaAudioForConditionalGeneration:
    """Random weights, large enough that answers differ and some of them end."""
    processor = tiny_processor()
    lengths = {"max_position_embeddings": 512, "vocab_size": len(processor.tokenizer)}
    overrides = {
        "audio_token_id": processor.audio_token_id,
        "audio_config": ENCODER,
        "adapter_config": ADAPTER,
        "text_config": {**DECODER, **lengths, "tie_word_embeddings": False},
    }
    torch.manual_seed(seed)
    model = EurekaAudioForConditionalGeneration(preset("nano", **{**overrides, **settings}))
    enlarge(model, 5)
    with torch.no_grad():
        # The end of the turn is made likely enough that rows of a batch end at different steps.
        end = token_id(processor.tokenizer, TURN_END)
        model.language_model.lm_head.weight[end] *= 2.5
    return model.eval()


def say_forever(model: EurekaAudioForConditionalGeneration, token: int) -> None:
    """Make a model say one token for ever."""

    def always(module: object, inputs: object, logits: Tensor) -> Tensor:
        return torch.zeros_like(logits).index_fill_(-1, torch.tensor([token]), 50.0)

    model.language_model.lm_head.register_forward_hook(always)


def tiny_assistant(seed: int = 0, **settings: Any) -> EurekaAudio:
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


# ---- a recipe: tones for sounds and for words, and parts to match


PITCHES = {"one": 300.0, "two": 700.0, "three": 1500.0}
SOUNDS = {"dog barking": 400.0, "rain": 2500.0}
TASKS = {"words": {"transcribe": 1}, "sounds": {"sound": 1}}


def tone(pitch: float, seconds: float, seed: int) -> NDArray[np.float64]:
    time = np.arange(int(seconds * 16_000)) / 16_000
    hiss = 0.003 * np.random.default_rng(seed).standard_normal(len(time))
    return 0.3 * np.sin(2 * np.pi * pitch * time) + hiss


def write_data(folder: Path, num_clips: int = 12) -> None:
    """Two manifests of tones, each pitch with a meaning, and a file of chats."""
    rng = np.random.default_rng(0)
    for kind, pitches in (("words", PITCHES), ("sounds", SOUNDS)):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        clips = []
        for number in range(num_clips):
            label = sorted(pitches)[number % len(pitches)]
            seconds = float(rng.uniform(0.8, 1.4))
            samples = tone(pitches[label], seconds, number)
            path = folder / kind / f"{number}.wav"
            soundfile.write(path, samples, 16_000)
            event = AudioEvent(kind="sound", label=label, end_seconds=seconds)
            clips.append(
                AudioClip(
                    id=f"{kind}-{number}",
                    path=path.name,
                    duration_seconds=len(samples) / 16_000,
                    transcript=label if kind == "words" else None,
                    language="en" if kind == "words" else None,
                    speaker=Speaker(gender="female") if kind == "words" else None,
                    events=None if kind == "words" else (event,),
                    split="dev" if number == num_clips - 1 else "train",
                )
            )
        write_manifest(folder / kind / "manifest.jsonl", clips)
    (folder / "chats.jsonl").write_text(
        '{"messages": [{"role": "user", "content": "one?"},'
        ' {"role": "assistant", "content": "two"}]}\n{"text": "three one"}\n'
    )


def tiny_start(recipe: Recipe) -> tuple[EurekaAudioForConditionalGeneration, EurekaAudioProcessor]:
    """Random parts in the place of pretrained ones; the recipe's `model` decides what it says."""
    processor = make_processor(["one two three", "dog barking and rain", "what is it?"] * 3, 320)
    tokenizer = processor.tokenizer
    own = {
        "vocab_size": len(tokenizer),
        "tie_word_embeddings": True,
        "eos_token_id": token_id(tokenizer, TURN_END),
        "pad_token_id": token_id(tokenizer, END_OF_TEXT),
    }
    config = EurekaAudioConfig(
        audio_config=ENCODER,
        text_config={**DECODER, **own},
        adapter_config={**ADAPTER, **recipe.model.adapter_config},
        audio_token_id=token_id(tokenizer, AUDIO_PAD),
        pad_windows=False,
        feature_layers=list(recipe.model.feature_layers or (1, 2)),
        ctc_vocab_size=CTC_VOCAB_SIZE,
    )
    return EurekaAudioForConditionalGeneration(config), processor


def trainer_settings(steps: int = 4, **trainer: Any) -> dict[str, Any]:
    return {
        "max_steps": steps,
        "precision": "fp32",
        "optimizer": {"name": "muon", "learning_rate": 3e-3, "warmup_steps": 1},
        "num_workers": 0,
        "log_every": 1,
        "save_every": 2,
        **trainer,
    }


def tiny_recipe(**changes: Any) -> Recipe:
    """Alignment, the adapter, the adapter beside a low-rank language model, everything."""
    mixture = {
        "weights": {"words": 1, "sounds": 1},
        "samples_per_epoch": 12,
        "batch_seconds": 6.0,
    }
    both = {"mixture": mixture, "tasks": TASKS, "trainer": trainer_settings()}
    stages = {
        "align": {
            "trainable": ["adapter", "ctc_head"],
            "losses": {"next_token": 0, "ctc": 1, "letters": 1},
            "mixture": {**mixture, "weights": {"words": 1}},
            "feature_augment": {},
            "trainer": trainer_settings(),
        },
        "stage1": {**both, "trainable": ["adapter"], "evaluate": {"words_dev": "transcribe"}},
        "low_rank": {
            **both,
            "trainable": ["adapter", "language_model"],
            "lora": {"rank": 2},
            "text_share": 0.5,
            "trainer": trainer_settings(accumulate=2),
        },
        "everything": {
            **both,
            "trainable": ["audio_encoder", "adapter", "ctc_head", "language_model"],
            "losses": {"letters": 0.3},
            "augment": {},
        },
    }
    recipe = {
        "name": "tiny",
        "encoder": "tiny",
        "language_model": "tiny",
        "sources": {
            "words": {"manifest": "words"},
            "words_dev": {"manifest": "words", "split": "dev"},
            "sounds": {"manifest": "sounds"},
            "chats": {"conversations": "chats.jsonl"},
        },
        "stages": stages,
    }
    return Recipe.model_validate({**recipe, **changes})


def workspace(folder: Path, run: str = "run", recipe: Recipe | None = None) -> Workspace:
    if not (folder / "data").exists():
        write_data(folder / "data")
    recipe, cache = recipe or tiny_recipe(), folder / "cache"
    return Workspace(recipe, folder / run, folder / "data", None, cache, tiny_start)
