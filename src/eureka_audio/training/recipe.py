"""A recipe: everything that makes a model, from sources to stages, as one typed value.

Source: paper sections 4 and 5.2 give the stages and the ratios of tasks; what is trained before
them (encoder, decoder) stands in for Whisper and Qwen3, which the paper starts from.
"""

import hashlib
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from eureka_audio.config import Config
from eureka_audio.data.augment import AugmentConfig
from eureka_audio.data.recordings import read_dataset
from eureka_audio.data.sources import ClipSource
from eureka_audio.errors import ConfigError, ManifestError
from eureka_audio.manifest import audio_path, read_manifest
from eureka_audio.records import AudioClip, Split
from eureka_audio.training.alignment import with_alignment
from eureka_audio.training.heads import EncoderHeadsConfig
from eureka_audio.training.oracle import OracleNoise
from eureka_audio.training.trainer import TrainerConfig

ALIGNMENT = "alignment"
SPLICES = "splices"
# What a run's folder holds beside the folders of its named stages.
RUN_FOLDERS = ("cache", "processor", "tokenizer", "decoder", ALIGNMENT, SPLICES, "export", "model")


class SourceConfig(Config):
    """Where clips come from: a folder with manifests, or a data set of the recordings pack."""

    manifest: str | None = None
    recordings: str | None = None
    split: Split = "train"

    def read(self, data: Path, recordings: Path) -> list[AudioClip]:
        """The clips, with absolute paths.

        Args:
            data: what `manifest` is relative to.
            recordings: the recordings pack that holds the data set `recordings`.

        Raises:
            ConfigError: neither or both of `manifest` and `recordings` are given, or nothing is
                found there.
        """
        if (self.manifest is None) == (self.recordings is None):
            raise ConfigError("a source needs either manifest or recordings, and not both")
        if self.recordings is not None:
            clips = read_dataset(recordings / self.recordings)
        else:
            found = sorted((data / str(self.manifest)).rglob("manifest.jsonl"))
            if not found:
                raise ManifestError(f"expected a manifest.jsonl under {data / str(self.manifest)}")
            clips = [
                clip.model_copy(update={"path": str(audio_path(clip, path))})
                for path in found
                for clip in read_manifest(path, AudioClip)
            ]
        clips = [clip for clip in clips if clip.split == self.split]
        if not clips:
            raise ConfigError(
                f"no clip of split {self.split!r} in {self.manifest or self.recordings}"
            )
        return clips


class SpliceConfig(Config):
    """A source composed of what the clips of an aligned one say (`synthesis/splices.py`)."""

    of: str
    num: PositiveInt


class MixtureConfig(Config):
    """How batches are drawn from the sources."""

    weights: dict[str, float]
    samples_per_epoch: PositiveInt = 10_000
    batch_seconds: PositiveFloat = 128.0
    max_batch_size: PositiveInt = 128
    max_clip_seconds: PositiveFloat = 12.0


class EncoderStage(Config):
    """Pretraining of the audio encoder.

    Whole layers are dropped rather than units: that saves time where units cost it.
    """

    layerdrop: float = 0.05
    mixture: MixtureConfig
    augment: AugmentConfig = AugmentConfig()
    heads: EncoderHeadsConfig = EncoderHeadsConfig()
    evaluate: tuple[str, ...] = ()
    trainer: TrainerConfig = TrainerConfig()


class TextConfig(Config):
    """Plain text: sentences of the free corpora, and what the sources' clips say and are.

    Its words, and those that the clips of `word_sources` say, are what a transcript is held
    against. Where `everyday_ngrams` is asked for, pocketsphinx's model of which words follow one
    another has a say, too (`data/sphinx_ngrams.py`).
    """

    vocab_size: int = 1024
    sources: tuple[str, ...] = ()
    word_sources: tuple[str, ...] = ()
    everyday_ngrams: bool = False
    num_sentences: int = 120_000
    renderings_per_clip: int = 3


class DecoderStage(Config):
    """Pretraining of the decoder on text."""

    row_length: int = 192
    batch_size: int = 32
    trainer: TrainerConfig = TrainerConfig()


class OracleStage(Config):
    """The decoder's practice on what a perfect ear would hear (`oracle.py`).

    `tasks`, `text_share` and `guidance_weight` are those of a `MultimodalStage`.
    """

    mixture: MixtureConfig
    tasks: dict[str, dict[str, float]]
    text_share: float = 0.0
    guidance_weight: float = 0.0
    noise: OracleNoise = OracleNoise()
    trainer: TrainerConfig = TrainerConfig()


class MultimodalStage(Config):
    """Training on tasks: which parts learn, from what, how often.

    `tasks` gives for each source the weights of the tasks its clips are put to; `text_share` the
    lines of plain text added per audio sample, `heads_weight` how much the encoder's heads go on
    teaching it, `oracle_weight` how much the adapter is drawn to what the oracle would say,
    `guidance_weight` how much the decoder's attention to where the next word is said.
    """

    trainable: tuple[Literal["audio_encoder", "adapter", "language_model"], ...]
    mixture: MixtureConfig
    tasks: dict[str, dict[str, float]]
    text_share: float = 0.0
    heads_weight: float = 0.0
    oracle_weight: float = 0.0
    guidance_weight: float = 0.0
    heads: EncoderHeadsConfig = EncoderHeadsConfig()
    augment: AugmentConfig = AugmentConfig(mix_events_probability=0.0)
    trainer: TrainerConfig = TrainerConfig()


class ModelConfig(Config):
    """Shapes: a preset and what differs from it."""

    preset: str = "nano"
    overrides: dict[str, Any] = Field(default_factory=dict)


class Recipe(Config):
    """The whole life of a model.

    `encoders` are the phases of the encoder's pretraining, in order: the first ones hear short and
    clean clips only, because on long ones an untrained speller finds nothing better than silence.
    After the first phase the phones of the sources named by `aligned` are found (`alignment.py`),
    and with them the sources named by `splices` are made.
    `oracles` are the phases of the decoder's practice; short clips come first there too, because
    where in a long clip a word is said is hard to find at random.
    """

    name: str
    seed: int = 0
    model: ModelConfig = ModelConfig()
    sources: dict[str, SourceConfig]
    text: TextConfig = TextConfig()
    encoders: dict[str, EncoderStage]
    aligned: tuple[str, ...] = ()
    splices: dict[str, SpliceConfig] = Field(default_factory=dict)
    decoder: DecoderStage = DecoderStage()
    oracles: dict[str, OracleStage] = Field(default_factory=dict)
    stages: dict[str, MultimodalStage] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check_stage_names(self) -> Self:
        """Each stage has a folder of its own under the run."""
        names = [*RUN_FOLDERS, *self.encoders, *self.oracles, *self.stages]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"expected every stage to have a name of its own, got {twice} again")
        return self

    @model_validator(mode="after")
    def _check_splices(self) -> Self:
        """What is spliced is aligned, under a name that no source has."""
        unknown = sorted({splice.of for splice in self.splices.values()} - set(self.aligned))
        if unknown:
            raise ValueError(f"splices: expected names among aligned, got {unknown}")
        twice = sorted(self.splices.keys() & self.sources.keys())
        if twice:
            raise ValueError(f"splices: expected names that no source has, got {twice}")
        return self

    @model_validator(mode="after")
    def _check_aligned(self) -> Self:
        """What is aligned is there."""
        unknown = sorted(set(self.aligned) - set(self.sources))
        if unknown:
            raise ValueError(f"aligned: expected names of sources, got {unknown}")
        return self


def stage_seed(recipe: Recipe, name: str) -> int:
    """The seed of one stage's batches: no stage hears again what the one before it heard first."""
    return int.from_bytes(hashlib.sha256(f"{recipe.seed} {name}".encode()).digest()[:4])


def read_clips(
    recipe: Recipe, name: str, data: Path, recordings: Path, run: Path
) -> list[AudioClip]:
    """The clips of a source, with the phones that the run's alignment has found; those of splices
    once they are made.
    """
    if name in recipe.splices:
        return SourceConfig(manifest=name).read(run / SPLICES, recordings)
    clips = recipe.sources[name].read(data, recordings)
    return with_alignment(clips, run / ALIGNMENT / f"{name}.jsonl")


def open_sources(
    recipe: Recipe, names: set[str], data: Path, recordings: Path, run: Path, heard: bool = True
) -> dict[str, ClipSource]:
    """The named sources, decoded into the run's cache if they are to be heard.

    Raises:
        ConfigError: a name is not among the recipe's sources.
    """
    unknown = names - recipe.sources.keys() - recipe.splices.keys()
    if unknown:
        raise ConfigError(f"a stage draws from sources the recipe does not have: {sorted(unknown)}")
    clips = {name: read_clips(recipe, name, data, recordings, run) for name in sorted(names)}
    if not heard:
        return {name: ClipSource(name, tuple(each), None) for name, each in clips.items()}
    return {name: ClipSource.open(name, each, run / "cache") for name, each in clips.items()}
