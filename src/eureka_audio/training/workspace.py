"""The folders of one run, and what lies in them: clips, features, text, and the model as far as it
has come.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from eureka_audio.data.feature_bank import FeatureBank
from eureka_audio.data.held_out import HeldOut, read_held_out
from eureka_audio.data.sources import ClipSource
from eureka_audio.errors import ConfigError
from eureka_audio.model.encoder import encoder_frame_lengths
from eureka_audio.model.modeling import EurekaAudioForConditionalGeneration
from eureka_audio.processor import EurekaAudioProcessor, pad_features
from eureka_audio.records import AudioClip
from eureka_audio.training.checkpoint import fingerprint, load_learnt, newest
from eureka_audio.training.conversations import Text, read_text, read_told
from eureka_audio.training.distributed import World
from eureka_audio.training.lora import add_lora, merge_lora
from eureka_audio.training.precision import fast_type
from eureka_audio.training.recipe import Recipe, StageConfig, stage_seed

logger = logging.getLogger(__name__)

Start = Callable[[Recipe], tuple[EurekaAudioForConditionalGeneration, EurekaAudioProcessor]]


@dataclass(frozen=True)
class Workspace:
    """Where a run finds and leaves things.

    Attributes:
        recipe: what is run.
        run: everything this run makes.
        data: what the manifests and texts of the recipe are relative to.
        recordings: the pack of real recordings, if there is one.
        cache: decoded waveforms and encoder features, which runs may share.
        start: gives the model that the recipe begins with, in float32.
        world: the processes of this run.
    """

    recipe: Recipe
    run: Path
    data: Path
    recordings: Path | None
    cache: Path
    start: Start
    world: World = field(default_factory=World)

    def clips(self, name: str) -> list[AudioClip]:
        """The clips of a source.

        Raises:
            ConfigError: the recipe has no such source, or nothing is found there.
        """
        if name not in self.recipe.sources:
            raise ConfigError(
                f"expected a source of the recipe ({', '.join(sorted(self.recipe.sources))}), got "
                f"{name!r}; add it under `sources`, or take it out of the stage"
            )
        try:
            return self.recipe.sources[name].read(self.data, self.recordings)
        except ConfigError as error:
            raise ConfigError(f"sources.{name}: {error}") from error

    @cached_property
    def held_out(self) -> HeldOut:
        """The sentences that no text may say."""
        paths = [self.data / name for name in self.recipe.held_out]
        return HeldOut(sentence for path in paths for sentence in read_held_out(path))

    def texts(self, stage: StageConfig) -> list[Text]:
        """The conversations of text a stage draws from."""
        if not stage.text_share:
            return []
        sources = self.recipe.sources
        told = [name for name, source in sources.items() if source.conversations is not None]
        names = stage.text or [name for name in told if name not in stage.mixture.weights]
        unknown = sorted(set(names) - set(told))
        if unknown:
            raise ConfigError(
                f"text: expected sources with `conversations`, got {unknown}; correct the recipe"
            )
        found: list[Text] = []
        for name in names:
            found += read_text(self.data / str(sources[name].conversations), self.held_out)
        return found

    def source(self, name: str) -> ClipSource:
        """A source as it is read, not heard: its clips, and what is said about them if it is told.

        Raises:
            ConfigError: the recipe has no such source, or nothing is found there.
        """
        path = self.recipe.sources[name].conversations if name in self.recipe.sources else None
        if path is None:
            return ClipSource(name, tuple(self.clips(name)), None)
        clips, conversations = read_told(self.data / path)
        return ClipSource(name, tuple(clips), None, tuple(conversations))

    def sources(self, names: Sequence[str], *, heard: bool) -> dict[str, ClipSource]:
        """Clips by source; their waveforms, too, if they are to be heard."""
        found = {name: self.source(name) for name in sorted(names)}
        if not heard:
            return found
        with self.world.first_goes_first():
            return {name: source.heard(self.cache) for name, source in found.items()}

    def banks(
        self,
        sources: dict[str, ClipSource],
        model: EurekaAudioForConditionalGeneration,
        processor: EurekaAudioProcessor,
    ) -> dict[str, FeatureBank]:
        """What a frozen encoder hears of every clip, kept on disk."""
        encode = clip_encoder(model.to(self.world.device).eval(), processor)
        key = encoder_fingerprint(model, processor)
        with self.world.first_goes_first():
            return {
                name: FeatureBank.open(source.clips, encode, key, self.cache)
                for name, source in sources.items()
            }

    def model_before(
        self, name: str | None
    ) -> tuple[EurekaAudioForConditionalGeneration, EurekaAudioProcessor]:
        """The model as the stages before `name` have left it; after all of them for `None`.

        Low-rank updates of the last stage are still apart, those before it merged unless they
        are the same.
        """
        torch.manual_seed(self.recipe.seed)
        model, processor = self.start(self.recipe)
        current = None
        for done, stage in self.recipe.stages.items():
            if stage.lora != current:
                merge_lora(model.language_model)
                if stage.lora is not None:
                    torch.manual_seed(stage_seed(self.recipe, done))
                    add_lora(model.language_model, stage.lora)
                current = stage.lora
            if done == name:
                return model, processor
            load_learnt(newest(self.run / done), model, "model.")
        return model, processor

    def started_from(self, name: str) -> str:
        """What a stage begins with, in one line: the parts, or the stage before it."""
        names = list(self.recipe.stages)
        position = names.index(name)
        if position:
            before = names[position - 1]
            return f"{before} {fingerprint(newest(self.run / before))[:12]}"
        recipe = self.recipe
        parts = [recipe.start, recipe.encoder, recipe.language_model, recipe.model.model_dump()]
        return hashlib.sha256(json.dumps([*parts, recipe.seed]).encode()).hexdigest()[:12]


def clip_encoder(
    model: EurekaAudioForConditionalGeneration, processor: EurekaAudioProcessor
) -> Callable[[Sequence[NDArray[np.float32]]], list[NDArray[np.float16]]]:
    """Waveforms -> what the encoder hears of each, `(L, ...)`, in the device's fast arithmetic."""
    fast = fast_type(model.device)

    @torch.inference_mode()
    def encode(waveforms: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float16]]:
        batch = pad_features([processor.window_features(each)[0] for each in waveforms])
        moved = {name: tensor.to(model.device) for name, tensor in batch.items()}
        with torch.autocast(model.device.type, fast, enabled=fast != torch.float32):
            features = model.encode_audio(**moved)
        lengths = encoder_frame_lengths(batch["feature_lengths"]).tolist()
        kept: NDArray[np.float16] = features.half().cpu().numpy()
        return [each[:length] for each, length in zip(kept, lengths, strict=True)]

    return encode


def encoder_fingerprint(
    model: EurekaAudioForConditionalGeneration, processor: EurekaAudioProcessor
) -> str:
    """SHA-256 of all that decides what the encoder hears: its weights, and how it is fed."""
    config = model.config
    key = hashlib.sha256(
        json.dumps(
            [
                config.feature_layers,
                config.trailing_silence_seconds,
                config.pad_windows,
                processor.feature_extractor.feature_size,
            ]
        ).encode()
    )
    for name, tensor in sorted(model.audio_encoder.state_dict().items()):
        key.update(name.encode())
        key.update(tensor.detach().float().cpu().numpy().tobytes())
    return key.hexdigest()
