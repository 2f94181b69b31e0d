"""A recipe: everything that makes a model, from its parts to its stages, as one typed value.

Source: paper sections 4 and 5.2 give the stages and the ratios of tasks.
"""

import hashlib
from pathlib import Path
from typing import Any, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from eureka_audio.config import Config
from eureka_audio.data.augment import AugmentConfig, FeatureAugmentConfig
from eureka_audio.data.recordings import read_dataset
from eureka_audio.errors import ConfigError, ManifestError
from eureka_audio.manifest import audio_path, read_manifest
from eureka_audio.records import AudioClip, Split
from eureka_audio.training.lora import LoraConfig
from eureka_audio.training.trainer import TrainerConfig

# What a run's folder holds beside the folders of its stages.
RUN_FOLDERS = ("cache", "model")


class SourceConfig(Config):
    """Where material comes from, one of three.

    Attributes:
        manifest: a manifest of clips, or a folder under which some lie (`--data` is where).
        recordings: the name of a data set of the recordings pack.
        conversations: a file of conversations: about one clip each, for a mixture, or of text
            alone, for `text_share`.
        split: the clips of this split only.
    """

    manifest: str | None = None
    recordings: str | None = None
    conversations: str | None = None
    split: Split = "train"

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        given = [self.manifest, self.recordings, self.conversations]
        if sum(each is not None for each in given) != 1:
            raise ValueError("expected one of manifest, recordings and conversations")
        return self

    def read(self, data: Path, recordings: Path | None) -> list[AudioClip]:
        """The clips, with absolute paths.

        Args:
            data: what `manifest` is relative to.
            recordings: the recordings pack that holds the data set `recordings`.

        Raises:
            ConfigError: nothing is found there, or it is text.
            ManifestError: a line is malformed.
        """
        if self.recordings is not None:
            clips = self._read_recordings(recordings)
        elif self.manifest is not None:
            clips = list(_read_manifests((data / self.manifest).resolve()))
        else:
            raise ConfigError(f"expected clips, got the conversations {self.conversations}")
        clips = [clip for clip in clips if clip.split == self.split]
        if not clips:
            raise ConfigError(
                f"expected clips of split {self.split!r} in {self.manifest or self.recordings}, "
                "found none; correct `split` in the recipe or in the manifest"
            )
        return clips

    def _read_recordings(self, recordings: Path | None) -> list[AudioClip]:
        name = str(self.recordings)
        if recordings is None:
            raise ConfigError(
                f"expected the folder of recordings that holds {name}; give --recordings, or set "
                "EUREKA_AUDIO_DATA"
            )
        if not (recordings / name / "manifest.jsonl").is_file():
            raise ConfigError(
                f"expected {recordings / name}/manifest.jsonl, found no such file; point "
                "--recordings to the pack that holds it, or take the source out of the recipe"
            )
        return read_dataset(recordings / name)


def _read_manifests(place: Path) -> list[AudioClip]:
    found = [place] if place.is_file() else sorted(place.rglob("manifest.jsonl"))
    if not found:
        raise ManifestError(
            f"expected a manifest at {place}, or a folder with manifest.jsonl; point --data to the "
            "folder that it is relative to, or make it with `eureka-audio synthesize`"
        )
    return [
        clip.model_copy(update={"path": str(audio_path(clip, path))})
        for path in found
        for clip in read_manifest(path, AudioClip)
    ]


class MixtureConfig(Config):
    """How batches are drawn from the sources."""

    weights: dict[str, float]
    samples_per_epoch: PositiveInt = 10_000
    batch_seconds: PositiveFloat = 128.0
    max_batch_size: PositiveInt = 128
    max_clip_seconds: PositiveFloat = Field(default=12.0, le=30.0)


class LossWeights(Config):
    """What is learnt, and how much it weighs.

    Attributes:
        next_token: the answers to the stage's tasks (Eq. 2), with the router's balance (Eq. 4).
        ctc: what is heard, spelt by the adapter in tokens of the language model, which is not run.
        cosine: beside `ctc`, how far each audio token points away from the embedding of the token
            that it spells. Only what points the same way can be read by the language model as it
            stands: `ctc` is content with any direction that tells tokens apart.
        letters: what is said, spelt by the letters' head on the encoder.
    """

    next_token: NonNegativeFloat = 1.0
    ctc: NonNegativeFloat = 0.0
    cosine: NonNegativeFloat = 0.0
    letters: NonNegativeFloat = 0.0

    @model_validator(mode="after")
    def _check_some(self) -> Self:
        if not any((self.next_token, self.ctc, self.letters)):
            raise ValueError("expected a weight above 0, got none; then nothing is learnt")
        if self.cosine and not self.ctc:
            raise ValueError("cosine: without effect where ctc is 0, which tells what is spelt")
        return self

    @property
    def from_audio_alone(self) -> bool:
        """Whether no conversation is needed."""
        return self.next_token == 0


class StageConfig(Config):
    """One stage: which tensors learn, from what, how often.

    Attributes:
        trainable: names of parts (audio_encoder, adapter, ctc_head, language_model), and regular
            expressions that match whole names of tensors.
        losses: what is learnt.
        lora: low-rank updates for the language model in place of its own tensors.
        mixture: how often each source is heard.
        tasks: for each source, the weights of the tasks its clips are put to.
        text_share: conversations of text added per clip (1.0 is the paper's 1:1 by samples).
        text: the sources of that text; all there are by default.
        augment: of waveforms, which then pass through the encoder each time they are heard.
        feature_augment: of what a frozen encoder hears, which is then kept on disk.
        evaluate: of each source, the task whose loss is logged, without augmentation.
        trainer: length, rates, bookkeeping.
    """

    trainable: tuple[str, ...]
    losses: LossWeights = LossWeights()
    lora: LoraConfig | None = None
    mixture: MixtureConfig
    tasks: dict[str, dict[str, float]] = Field(default_factory=dict)
    text_share: NonNegativeFloat = 0.0
    text: tuple[str, ...] = ()
    augment: AugmentConfig | None = None
    feature_augment: FeatureAugmentConfig | None = None
    evaluate: dict[str, str] = Field(default_factory=dict)
    trainer: TrainerConfig = TrainerConfig()

    @model_validator(mode="after")
    def _check_effects(self) -> Self:
        """No setting is without effect, and nothing that is learnt lacks its setting."""
        learns = set(self.trainable)
        answers, letters = self.losses.next_token > 0, self.losses.letters > 0
        faults = (
            (
                not answers and (self.tasks or self.text_share or "language_model" in learns),
                "losses.next_token is 0: tasks, text_share and a trainable language_model have no "
                "effect; drop them, or give it a weight",
            ),
            (self.text and not self.text_share, "text: without effect where text_share is 0"),
            (
                self.lora is not None and "language_model" not in learns,
                "lora: without effect unless language_model is among trainable",
            ),
            (
                self.augment is not None and self.feature_augment is not None,
                "augment, feature_augment: expected one of them: waveforms are changed and heard "
                "anew, or the features of a frozen encoder are kept",
            ),
            (
                self.feature_augment is not None and "audio_encoder" in learns,
                "feature_augment: without effect where audio_encoder learns; use augment",
            ),
            (
                letters and not learns & {"ctc_head", "audio_encoder"},
                "losses.letters: expected ctc_head or audio_encoder among trainable",
            ),
            (
                not letters and "ctc_head" in learns,
                "ctc_head: it learns nothing where losses.letters is 0",
            ),
        )
        for is_fault, message in faults:
            if is_fault:
                raise ValueError(message)
        return self

    @property
    def source_names(self) -> set[str]:
        """Sources of clips that are heard in training."""
        return {name for name, weight in self.mixture.weights.items() if weight > 0}


class ModelConfig(Config):
    """What the parts do not say of the joined model; a key that is not given is not changed.

    Attributes:
        adapter_config: settings of the adapter.
        feature_layers: the encoder's layers whose outputs the adapter hears.
        ctc_vocab_size: letters of the head on the encoder, the blank among them.
        trailing_silence_seconds: silence after each clip, for the encoder alone.
        pad_windows: whether every clip is heard as a window of 30 s, silent past its end.
    """

    adapter_config: dict[str, Any] = Field(default_factory=dict)
    feature_layers: tuple[int, ...] | None = None
    ctc_vocab_size: PositiveInt | None = None
    trailing_silence_seconds: NonNegativeFloat | None = None
    pad_windows: bool | None = None


class ExportConfig(Config):
    """How the trained model is written, and how it is to transcribe.

    Attributes:
        int8: parts whose weights are stored in int8.
        delta: leave out what the parts of the catalogue bring; whoever loads the model fetches
            them, by hash.
        transcription_beams: of a transcript, unless the caller says otherwise.
        transcription_ctc_weight: say of the letters' head in which beam is kept.
        transcription_no_speech_threshold: of the letters' head, above which nobody speaks.
        transcription_languages: codes of those it writes; others are refused. Empty: not known.
        max_chunk_seconds: longest stretch transcribed at once; by default the longest clip that a
            stage may hear. Shorter where most of the clips are.
    """

    int8: tuple[str, ...] = ()
    delta: bool = False
    transcription_beams: PositiveInt = 1
    transcription_ctc_weight: NonNegativeFloat = 0.0
    transcription_no_speech_threshold: NonNegativeFloat = 0.0
    transcription_languages: tuple[str, ...] = ()
    max_chunk_seconds: PositiveFloat | None = None


class Recipe(Config):
    """The whole life of a model.

    Attributes:
        name: of the model, and of the run's folder.
        seed: of everything drawn at random.
        encoder: a part of the catalogue, a folder, a hub id, or an Eureka-Audio checkpoint.
        language_model: the same.
        start: a whole Eureka-Audio model to go on with, in place of both (fine-tuning).
        model: what the parts do not say.
        held_out: files of sentences that no text may say (`--data` is where).
        sources: material by name.
        stages: in the order they run.
        export: how the result is written.
        device: "auto" takes a CUDA device where there is one.
        processes: that train together on this machine; with `torchrun`, it decides.
    """

    name: str
    seed: int = 0
    encoder: str | None = None
    language_model: str | None = None
    start: str | None = None
    model: ModelConfig = ModelConfig()
    held_out: tuple[str, ...] = ()
    sources: dict[str, SourceConfig]
    stages: dict[str, StageConfig]
    export: ExportConfig = ExportConfig()
    device: str = "auto"
    processes: PositiveInt = 1

    @model_validator(mode="after")
    def _check_parts(self) -> Self:
        """Two parts, or one whole."""
        parts = (self.encoder, self.language_model)
        if (self.start is None) != all(parts) or (self.start is not None and any(parts)):
            raise ValueError("expected encoder and language_model, or start, and not both")
        if self.start is not None and self.model != ModelConfig():
            raise ValueError("model: has no effect on a model that is there already; drop it")
        return self

    @model_validator(mode="after")
    def _check_tasks(self) -> Self:
        """Clips are put to tasks; conversations bring their own."""
        told = {name for name, source in self.sources.items() if source.conversations is not None}
        for name, stage in self.stages.items():
            asked = stage.source_names - told
            if stage.losses.next_token and asked != stage.tasks.keys():
                raise ValueError(
                    f"stages.{name}.tasks: expected tasks for the clips of mixture.weights, got "
                    f"none for {sorted(asked - stage.tasks.keys())}, and without effect for "
                    f"{sorted(stage.tasks.keys() - asked)}"
                )
        return self

    @model_validator(mode="after")
    def _check_stage_names(self) -> Self:
        """Each stage has a folder of its own under the run."""
        taken = sorted(self.stages.keys() & set(RUN_FOLDERS))
        if taken or not self.stages:
            raise ValueError(f"stages: expected some, named other than {RUN_FOLDERS}, got {taken}")
        return self


def stage_seed(recipe: Recipe, name: str) -> int:
    """The seed of one stage's batches: no stage hears again what the one before it heard first."""
    return int.from_bytes(hashlib.sha256(f"{recipe.seed} {name}".encode()).digest()[:4])
