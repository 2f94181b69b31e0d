"""The models and the clips of a DataFlux configuration: a room that must know nothing of them."""

import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from eureka_audio.asking.batches import BatchedModel
from eureka_audio.asking.keys import content_key
from eureka_audio.clients.workers import Make, Workers
from eureka_audio.dataflux.caller import NamedModel
from eureka_audio.dataflux.config import FluxConfig, ModelConfig, ScenesConfig
from eureka_audio.errors import AudioError, ConfigError
from eureka_audio.protocols import AsyncModel, AudioLanguageModel
from eureka_audio.records import AudioClip

SCENES = "scenes"
AUDIO_SUFFIXES = frozenset(
    (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac", ".webm", ".mp4", ".aiff")
)


def make_models(
    config: FluxConfig, spread: Callable[[Make], Workers] | None = None
) -> dict[str, NamedModel]:
    """Every model of a configuration; a checkpoint that two of them name is loaded once.

    Args:
        config: of the run.
        spread: makes workers that hold the checkpoints; None to hold them in this process.

    Raises:
        ConfigError: a model is unknown, or is asked for what it cannot do.
        CheckpointError: a checkpoint is missing or damaged.
    """
    _check_greedy(config)
    checkpoints = {n: s for n, s in config.models.items() if s.kind == "checkpoint"}
    made = {
        name: _endpoint(name, settings) if settings.kind == "openai" else _rules(name, settings)
        for name, settings in config.models.items()
        if name not in checkpoints
    }
    if spread is None or not checkpoints:
        return made | _loaded(checkpoints)
    workers = spread(partial(_loaded_models, checkpoints))
    for name, settings in checkpoints.items():
        identity = _identity(settings, _fingerprint(settings.name))
        made[name] = NamedModel(name, identity, workers.model(name))
    return made


def _loaded(checkpoints: Mapping[str, ModelConfig]) -> dict[str, NamedModel]:
    """Checkpoints in this process."""
    loaded: dict[tuple[str, str | None], tuple[AudioLanguageModel, str]] = {}
    made = {}
    for name, settings in checkpoints.items():
        place = (settings.name, settings.device)
        if place not in loaded:
            loaded[place] = _load(*place)
        model, fingerprint = loaded[place]
        batched = BatchedModel(model, settings.concurrency, settings.choose)
        made[name] = NamedModel(name, _identity(settings, fingerprint), batched)
    return made


def _loaded_models(checkpoints: Mapping[str, ModelConfig]) -> dict[str, AsyncModel]:
    """The same as a worker holds them."""
    return {name: named.model for name, named in _loaded(checkpoints).items()}


def _check_greedy(config: FluxConfig) -> None:
    """A checkpoint here answers greedily: a temperature would have no effect."""
    steps = {"caption": config.caption, **{f"answers.{n}": s for n, s in config.answers.items()}}
    for name, step in steps.items():
        if step.temperature > 0 and config.models[step.model].kind != "openai":
            raise ConfigError(
                f"{name}.temperature: expected 0, got {step.temperature}: a model that runs here "
                "answers greedily; drop it, or ask an endpoint"
            )
    for name, step in (("question", config.question), ("verdict", config.verdict)):
        if config.models[step.model].kind == "checkpoint":
            raise ConfigError(
                f"{name}.model: expected an endpoint or rules, got the checkpoint {step.model!r}, "
                "which cannot write JSON; see docs/dataflux.md"
            )


def _endpoint(name: str, settings: ModelConfig) -> NamedModel:
    from eureka_audio.clients.chat import ChatModel, Price
    from eureka_audio.clients.gate import Gate
    from eureka_audio.clients.wire import Endpoint

    assert settings.endpoint is not None, "checked by the configuration"
    key = os.environ.get(settings.api_key_env, "")
    known = settings.price
    price = None if known is None else Price(known.prompt, known.new)
    model = ChatModel(
        Endpoint(settings.endpoint, key, settings.timeout_seconds),
        settings.name,
        Gate(name, settings.concurrency, settings.requests_per_minute, settings.give_up_seconds),
        settings.max_attempts,
        settings.structured,
        price,
        settings.settings,
    )
    identity = {
        "kind": "openai",
        "name": settings.name,
        "endpoint": settings.endpoint.rstrip("/"),
        "structured": settings.structured,
        "settings": settings.settings,
    }
    return NamedModel(name, identity, model)


def _rules(name: str, settings: ModelConfig) -> NamedModel:
    from eureka_audio.tasks.rules import JUDGE, WRITER, rule_model

    if settings.name not in (WRITER, JUDGE):
        raise ConfigError(
            f"models.{name}.name: expected the rules {WRITER} or {JUDGE}, got {settings.name!r}"
        )
    model: AsyncModel = rule_model(settings.name)
    return NamedModel(name, {"kind": "rules", "name": settings.name}, model, reads_inputs=True)


def _load(name: str, device: str | None) -> tuple[AudioLanguageModel, str]:
    from eureka_audio.cli.arguments import quieten
    from eureka_audio.inference.assistant import EurekaAudio
    from eureka_audio.parts.names import find_checkpoint

    quieten()
    folder = find_checkpoint(name)
    return EurekaAudio.from_pretrained(folder, device=device), _fingerprint(name)


def _fingerprint(name: str) -> str:
    from eureka_audio.cli.evaluation_model import folder_fingerprint
    from eureka_audio.parts.names import find_checkpoint

    return folder_fingerprint(find_checkpoint(name))


def _identity(settings: ModelConfig, fingerprint: str) -> dict[str, Any]:
    identity: dict[str, Any] = {"kind": "checkpoint", "name": settings.name}
    return identity | {"fingerprint": fingerprint, "choose": settings.choose}


def read_audio(config: FluxConfig, out: Path) -> Iterator[AudioClip]:
    """The clips of a configuration, with absolute paths; scenes are made where it asks for some.

    Raises:
        ConfigError: a path is neither a folder of recordings nor a manifest.
        ManifestError: a manifest is malformed.
    """
    from eureka_audio.data.evaluation_set import read_clips

    for path in config.audio:
        if path.is_dir() and not (path / "manifest.jsonl").is_file():
            yield from _recordings(path)
        elif path.exists():
            yield from read_clips([path])
        else:
            raise ConfigError(
                f"audio: expected a folder or a manifest, but there is none at {path}"
            )
    if config.scenes is not None:
        name = content_key(config.scenes.model_dump(mode="json"))[:8]
        yield from read_clips([_scenes(config.scenes, out / f"{SCENES}-{name}")])


def _recordings(folder: Path) -> Iterator[AudioClip]:
    """Every recording below a folder, as a clip of which nothing is known.

    Raises:
        ConfigError: there is none.
    """
    from eureka_audio.audio.decode import load_audio

    files = [file for file in sorted(folder.rglob("*")) if file.suffix.lower() in AUDIO_SUFFIXES]
    if not files:
        raise ConfigError(f"audio: expected recordings in {folder}, found none")
    for file in files:
        try:
            seconds = load_audio(file).duration_seconds
        except AudioError:
            seconds = 0.001  # counted, and refused by whoever is to hear it
        name = file.relative_to(folder).with_suffix("").as_posix()
        yield AudioClip(id=name, path=str(file.resolve()), duration_seconds=max(seconds, 0.001))


def _scenes(settings: ScenesConfig, folder: Path) -> Path:
    """A manifest of composed scenes, made once; its folder appears whole or not at all."""
    from eureka_audio.data.evaluation_set import read_clips
    from eureka_audio.durable import atomic_folder
    from eureka_audio.synthesis.parts import Material
    from eureka_audio.synthesis.scenes import compose_scene, write_clips

    if not (folder / "manifest.jsonl").is_file():
        material = Material("train", tuple(read_clips(settings.recordings)))
        with atomic_folder(folder) as made:
            write_clips(
                made, (compose_scene(settings.seed, n, material) for n in range(settings.num))
            )
    return folder / "manifest.jsonl"
