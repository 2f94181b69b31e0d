"""A whole recipe in miniature: rendered tones for sounds and for words, and parts to match."""

from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from tiny_tokenizer import train_tokenizer
from transformers import WhisperFeatureExtractor

from eureka_audio.manifest import write_manifest
from eureka_audio.model import EurekaAudioConfig, EurekaAudioForConditionalGeneration
from eureka_audio.processor import EurekaAudioProcessor
from eureka_audio.records import AudioClip, AudioEvent, Speaker
from eureka_audio.text.letters import CTC_VOCAB_SIZE
from eureka_audio.text.tokenizer import AUDIO_PAD, END_OF_TEXT, TURN_END, token_id
from eureka_audio.training.recipe import Recipe
from eureka_audio.training.workspace import Workspace

PITCHES = {"one": 300.0, "two": 700.0, "three": 1500.0}
SOUNDS = {"dog barking": 400.0, "rain": 2500.0}
TASKS = {"words": {"transcribe": 1}, "sounds": {"sound": 1}}
TEXT = ["one two three", "dog barking and rain", "what is it?"] * 3


def tone(pitch: float, seconds: float, seed: int) -> np.ndarray:
    time = np.arange(int(seconds * 16_000)) / 16_000
    noise = 0.003 * np.random.default_rng(seed).standard_normal(len(time))
    return 0.3 * np.sin(2 * np.pi * pitch * time) + noise


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
    tokenizer = train_tokenizer(TEXT, 320)
    processor = EurekaAudioProcessor(WhisperFeatureExtractor(feature_size=80), tokenizer)
    adapter = {"num_experts": 4, "num_experts_per_tok": 2, "expert_intermediate_size": 16}
    config = EurekaAudioConfig(
        audio_config={
            "d_model": 32,
            "encoder_layers": 2,
            "encoder_attention_heads": 2,
            "encoder_ffn_dim": 32,
        },
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 32,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "tie_word_embeddings": True,
            "eos_token_id": token_id(tokenizer, TURN_END),
            "pad_token_id": token_id(tokenizer, END_OF_TEXT),
        },
        adapter_config={**adapter, **recipe.model.adapter_config},
        audio_token_id=token_id(tokenizer, AUDIO_PAD),
        pad_windows=False,
        feature_layers=list(recipe.model.feature_layers or (1, 2)),
        ctc_vocab_size=CTC_VOCAB_SIZE,
    )
    return EurekaAudioForConditionalGeneration(config), processor


def settings(steps: int = 4, **trainer: Any) -> dict[str, Any]:
    """Of a trainer."""
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
    stages = {
        "align": {
            "trainable": ["adapter", "ctc_head"],
            "losses": {"next_token": 0, "ctc": 1, "letters": 1},
            "mixture": {**mixture, "weights": {"words": 1}},
            "feature_augment": {},
            "trainer": settings(),
        },
        "stage1": {
            "trainable": ["adapter"],
            "mixture": mixture,
            "tasks": TASKS,
            "evaluate": {"words_dev": "transcribe"},
            "trainer": settings(),
        },
        "low_rank": {
            "trainable": ["adapter", "language_model"],
            "lora": {"rank": 2},
            "mixture": mixture,
            "tasks": TASKS,
            "text_share": 0.5,
            "trainer": settings(accumulate=2),
        },
        "everything": {
            "trainable": ["audio_encoder", "adapter", "ctc_head", "language_model"],
            "losses": {"letters": 0.3},
            "mixture": mixture,
            "tasks": TASKS,
            "augment": {},
            "trainer": settings(),
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
    return Workspace(
        recipe or tiny_recipe(),
        folder / run,
        folder / "data",
        None,
        folder / "cache",
        tiny_start,
    )
