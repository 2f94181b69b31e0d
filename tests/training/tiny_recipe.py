"""A whole recipe in miniature: rendered tones for sounds and for words, and a model to match."""

from pathlib import Path

import numpy as np
import soundfile

from eureka_audio.manifest import write_manifest
from eureka_audio.records import AudioClip, AudioEvent, Speaker
from eureka_audio.training.recipe import Recipe
from eureka_audio.training.stages import Workspace

PITCHES = {"one": 300.0, "two": 700.0, "three": 1500.0}
SOUNDS = {"dog barking": 400.0, "rain": 2500.0}

OVERRIDES = {
    "audio_config": {
        "d_model": 32,
        "encoder_layers": 2,
        "encoder_attention_heads": 2,
        "encoder_ffn_dim": 32,
    },
    "text_config": {
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 16,
    },
    "adapter_config": {
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "expert_intermediate_size": 16,
    },
}


def tone(pitch: float, seconds: float, seed: int) -> np.ndarray:
    time = np.arange(int(seconds * 16_000)) / 16_000
    noise = 0.003 * np.random.default_rng(seed).standard_normal(len(time))
    return 0.3 * np.sin(2 * np.pi * pitch * time) + noise


def write_data(folder: Path, num_clips: int = 12) -> None:
    """Two manifests of tones, each pitch with a meaning: `words/` and `sounds/`."""
    rng = np.random.default_rng(0)
    for kind, pitches in (("words", PITCHES), ("sounds", SOUNDS)):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        clips = []
        for number in range(num_clips):
            label = sorted(pitches)[number % len(pitches)]
            seconds = float(rng.uniform(0.4, 0.9))
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


def tiny_recipe(steps: int = 4, **trainer: object) -> Recipe:
    settings: dict[str, object] = {
        "max_steps": steps,
        "precision": "fp32",
        "optimizer": {"name": "muon", "learning_rate": 3e-3, "warmup_steps": 1},
        "num_workers": 0,
        "log_every": 1,
        "save_every": 2,
        **trainer,
    }
    mixture = {
        "weights": {"words": 1, "sounds": 1},
        "samples_per_epoch": 12,
        "batch_seconds": 3.0,
    }
    tasks = {"words": {"transcribe": 1}, "sounds": {"sound": 1}}
    return Recipe.model_validate(
        {
            "name": "tiny",
            "model": {"preset": "nano", "overrides": OVERRIDES},
            "sources": {
                "words": {"manifest": "words"},
                "words_dev": {"manifest": "words", "split": "dev"},
                "sounds": {"manifest": "sounds"},
            },
            "text": {"vocab_size": 320, "sources": ["words", "sounds"], "num_sentences": 0},
            "encoders": {
                "short": {"mixture": mixture, "trainer": settings},
                "encoder": {
                    "mixture": mixture,
                    "layerdrop": 0.2,
                    "evaluate": ["words_dev"],
                    "trainer": settings,
                },
            },
            "decoder": {"row_length": 16, "batch_size": 4, "trainer": settings},
            "stages": {
                "stage1": {
                    "trainable": ["adapter"],
                    "mixture": mixture,
                    "tasks": tasks,
                    "trainer": settings,
                },
                "stage2": {
                    "trainable": ["audio_encoder", "adapter", "language_model"],
                    "mixture": mixture,
                    "tasks": tasks,
                    "text_share": 0.5,
                    "heads_weight": 0.3,
                    "trainer": settings,
                },
            },
        }
    )


def workspace(folder: Path, run: str = "run", recipe: Recipe | None = None) -> Workspace:
    if not (folder / "data").exists():
        write_data(folder / "data")
    return Workspace(recipe or tiny_recipe(), folder / run, folder / "data", folder / "recordings")
