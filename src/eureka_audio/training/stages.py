"""The stages of a recipe, in order, and the export of what they made.

Each stage starts from what the one before left in the run's folder, and resumes itself if it was
cut off. A finished stage is passed over.
"""

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from eureka_audio.config import dump_config
from eureka_audio.data.loader import stream_batches
from eureka_audio.data.mixture import MixturePlan
from eureka_audio.data.sources import ClipSource
from eureka_audio.durable import atomic_write
from eureka_audio.errors import ConfigError
from eureka_audio.model.modeling import EurekaAudioForConditionalGeneration
from eureka_audio.model.weights import save_checkpoint as save_model
from eureka_audio.training.checkpoint import check_start, is_finished, newest
from eureka_audio.training.collator import MultimodalCollator
from eureka_audio.training.ctc import blank_token
from eureka_audio.training.evaluation import Evaluation
from eureka_audio.training.lora import lora_factors, merge_lora
from eureka_audio.training.multimodal import MultimodalModel, choose_trainable
from eureka_audio.training.precision import fast_attention
from eureka_audio.training.recipe import Recipe, StageConfig, stage_seed
from eureka_audio.training.trainer import BatchStream, train
from eureka_audio.training.workspace import Workspace

logger = logging.getLogger(__name__)


def run_recipe(space: Workspace, only: str | None = None) -> None:
    """Run every stage that is not finished, then export; or run `only` one stage.

    Raises:
        ConfigError: `only` names no stage of the recipe.
    """
    names = list(space.recipe.stages)
    if only is not None and only not in names:
        raise ConfigError(f"expected a stage of the recipe ({', '.join(names)}), got {only!r}")
    if space.world.is_first:
        with atomic_write(space.run / "recipe.yaml") as file:
            file.write(dump_config(space.recipe))
    for name in names if only is None else [only]:
        logger.info("stage %s", name)
        run_stage(space, name)
    if only is None and space.world.is_first:
        export(space)


def run_stage(space: Workspace, name: str) -> None:
    """Train one stage, from what the stage before left."""
    stage, folder = space.recipe.stages[name], space.run / name
    started_from = space.started_from(name)
    if is_finished(folder, stage.trainer.max_steps):
        check_start(newest(folder), started_from)
        return
    model, processor = space.model_before(name)
    choose_trainable(model, stage.trainable, stage.lora)
    names = sorted(stage.source_names | stage.evaluate.keys())
    is_banked = stage.augment is None and encoder_is_frozen(model)
    sources = space.sources(names, heard=not is_banked)
    banks = space.banks(sources, model, processor) if is_banked else None
    learnt_from = {source: sources[source] for source in stage.source_names}
    collate = MultimodalCollator(
        learnt_from, processor, stage, banks=banks, texts=space.texts(stage)
    )
    if attention := fast_attention(torch.device(space.world.device)):
        model.language_model.set_attn_implementation(attention)
    learner = MultimodalModel(model, stage.losses, blank_token(processor.tokenizer))
    train(
        learner,
        own_batches(space, plan_mixture(space.recipe, name, learnt_from), collate, stage),
        stage.trainer,
        folder,
        evaluate=Evaluation(sources, processor, stage, banks) if stage.evaluate else None,
        device=space.world.device,
        world=space.world,
        started_from=started_from,
    )


def encoder_is_frozen(model: EurekaAudioForConditionalGeneration) -> bool:
    """Whether the encoder always hears the same in the same clip."""
    return not any(parameter.requires_grad for parameter in model.audio_encoder.parameters())


def plan_mixture(recipe: Recipe, name: str, sources: Mapping[str, ClipSource]) -> MixturePlan:
    """Which samples form which batch of a stage."""
    settings = recipe.stages[name].mixture.model_dump()
    weights = settings.pop("weights")
    durations = {source: sources[source].durations_seconds for source in sources}
    kept = {source: weight for source, weight in weights.items() if weight > 0}
    plan = MixturePlan(durations, kept, seed=stage_seed(recipe, name), **settings)
    if plan.num_too_long:
        logger.warning(
            "%s: %d clips are longer than max_clip_seconds and left out", name, plan.num_too_long
        )
    return plan


def own_batches(
    space: Workspace, plan: MixturePlan, collate: MultimodalCollator, stage: StageConfig
) -> BatchStream:
    """The batches of this process: of every so many in the plan, one."""
    rank, size = space.world.rank, space.world.size

    def batches(first: int, last: int) -> Iterator[dict[str, Any]]:
        return stream_batches(
            plan,
            collate,
            steps=range(first * size + rank, last * size + rank, size),
            num_workers=stage.trainer.num_workers,
        )

    return batches


def export(space: Workspace) -> None:
    """Write the model that the last stage made, and the processor, to `<run>/model`, in bf16."""
    model, processor = space.model_before(None)
    settings, stages = space.recipe.export, space.recipe.stages.values()
    factors = lora_factors(model.language_model)
    merge_lora(model.language_model)
    # Updates of several kinds were merged one after the other, and are no longer of low rank.
    is_one_kind = len({stage.lora for stage in stages if stage.lora is not None}) == 1
    low_rank = {f"language_model.{name}": pair for name, pair in factors.items()}
    prepare_to_transcribe(space, model)
    save_model(
        model.to(torch.bfloat16),
        space.run / "model",
        processor,
        int8=[f"{part}." for part in settings.int8],
        delta=settings.delta,
        low_rank=low_rank if settings.delta and is_one_kind else None,
    )


def prepare_to_transcribe(space: Workspace, model: EurekaAudioForConditionalGeneration) -> None:
    """Let a trained model say how it is to transcribe: chunks as long as it has learnt to
    hear, unless the recipe says otherwise.
    """
    longest = max(stage.mixture.max_clip_seconds for stage in space.recipe.stages.values())
    settings = model.generation_config
    settings.max_chunk_seconds = longest
    asked = space.recipe.export.model_dump(mode="json", exclude={"int8", "delta"})
    for name, value in asked.items():
        if value:
            setattr(settings, name, value)
