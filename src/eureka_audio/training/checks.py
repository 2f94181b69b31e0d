"""A recipe is held against the disk before any work: what is missing is said in seconds, with the
command that mends it.
"""

from collections.abc import Mapping
from pathlib import Path

from torch import nn

from eureka_audio.data.sources import ClipSource
from eureka_audio.errors import ConfigError, ManifestError
from eureka_audio.training.conversations import check_fitness
from eureka_audio.training.ctc import heard_words, spoken_words
from eureka_audio.training.lora import add_lora, merge_lora
from eureka_audio.training.multimodal import choose_trainable
from eureka_audio.training.recipe import StageConfig
from eureka_audio.training.workspace import Workspace


def check_recipe(space: Workspace) -> None:
    """Look at every source, text, task and tensor that a recipe names.

    Raises:
        ConfigError: a name, a task or a pattern fits nothing.
        ManifestError: a manifest is missing or malformed, or a file it names is not there.
        CheckpointError: a part of the model cannot be had.
    """
    found: dict[str, ClipSource] = {}
    for name, stage in space.recipe.stages.items():
        try:
            # What has no weight is not asked for, but a name the recipe lacks is a mistake.
            unknown = stage.mixture.weights.keys() - space.recipe.sources.keys()
            named = {*stage.source_names, *stage.tasks, *stage.evaluate}
            for source in sorted(named | unknown):
                if source not in found:
                    found[source] = space.source(source)
                    check_files(found[source])
            check_tasks(stage, found)
            space.texts(stage)
        except ConfigError as error:
            raise ConfigError(f"stages.{name}: {error}") from error
    model, _ = space.start(space.recipe)
    for name, stage in space.recipe.stages.items():
        try:
            check_tensors(model, stage)
        except ConfigError as error:
            raise ConfigError(f"stages.{name}: {error}") from error


def check_files(source: ClipSource) -> None:
    """Refuse clips whose files are not there."""
    missing = [clip.path for clip in source.clips if not Path(clip.path).is_file()]
    if missing:
        raise ManifestError(
            f"sources.{source.name}: expected the file of every clip, {len(missing)} are missing, "
            f"such as {missing[0]}; bring them back, or take their lines out of the manifest"
        )


def check_tasks(stage: StageConfig, sources: Mapping[str, ClipSource]) -> None:
    """Refuse tasks that are unknown or suit no clip, and spelling where nothing is spelt."""
    for source, weights in stage.tasks.items():
        check_fitness(sources[source], weights)
    for source, task in stage.evaluate.items():
        if not stage.losses.from_audio_alone:
            check_fitness(sources[source], {task: 1.0})
    heard = [clip for source in stage.source_names for clip in sources[source].clips]
    spelling = {
        "ctc": (heard_words, "transcript or labels"),
        "letters": (spoken_words, "transcript"),
    }
    for loss, (spell, needed) in spelling.items():
        if getattr(stage.losses, loss) and not any(map(spell, heard)):
            raise ConfigError(
                f"losses.{loss}: expected clips with a {needed}, got none among "
                f"{sorted(stage.source_names)}; add them, or set the weight to 0"
            )


def check_tensors(model: nn.Module, stage: StageConfig) -> None:
    """Refuse patterns that match no tensor, and a head that is not there."""
    if stage.losses.letters and getattr(model, "ctc_head", None) is None:
        raise ConfigError(
            "losses.letters: expected a model with a letters' head, got one without; set "
            "model.ctc_vocab_size=29, or losses.letters=0"
        )
    language_model: nn.Module = model.get_submodule("language_model")
    if stage.lora is not None:
        add_lora(language_model, stage.lora)
    try:
        choose_trainable(model, stage.trainable, stage.lora)
    finally:
        merge_lora(language_model)
