"""The encoder stage: sources -> batches -> encoder with heads, judged on held-out clips; and the
alignment that follows its first phase, with what is spliced of the aligned.
"""

import logging
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedModel

from eureka_audio.data.loader import stream_batches
from eureka_audio.data.mixture import Batch, MixturePlan, Sample
from eureka_audio.data.sources import ClipSource
from eureka_audio.evaluation.metrics import word_error_rate
from eureka_audio.model.encoder import EurekaAudioEncoder
from eureka_audio.model.presets import preset
from eureka_audio.synthesis.scenes import write_clips
from eureka_audio.synthesis.splices import SpokenWords, splice
from eureka_audio.training.alignment import aligned_phones, write_alignment
from eureka_audio.training.checkpoint import list_checkpoints, load_weights, newest
from eureka_audio.training.encoder_pretraining import EncoderWithHeads, PretrainingCollator
from eureka_audio.training.heads import NUM_EVENT_TAGS, decode_characters
from eureka_audio.training.local_start import start_local
from eureka_audio.training.recipe import (
    ALIGNMENT,
    SPLICES,
    EncoderStage,
    Recipe,
    open_sources,
    stage_seed,
)
from eureka_audio.training.trainer import train

logger = logging.getLogger(__name__)

EVALUATION_BATCH_SIZE = 32
TAG_GROUPS = {
    "event": slice(NUM_EVENT_TAGS),
    "gender": slice(NUM_EVENT_TAGS, NUM_EVENT_TAGS + 2),
    "age_group": slice(NUM_EVENT_TAGS + 2, NUM_EVENT_TAGS + 4),
}


def run_encoder_stage(recipe: Recipe, name: str, run: Path, data: Path, recordings: Path) -> None:
    """Train one phase of the encoder in `run/<name>`, from what the phase before left."""
    stage, folder = recipe.encoders[name], run / name
    sources = open_sources(recipe, set(stage.mixture.weights), data, recordings, run)
    held_out = open_sources(recipe, set(stage.evaluate), data, recordings, run)
    model = build_encoder(recipe, stage)
    phases = list(recipe.encoders)
    if phases.index(name) > 0 and not list_checkpoints(folder):
        load_weights(newest(run / phases[phases.index(name) - 1]), model)
    plan = plan_mixture(stage_seed(recipe, name), sources, stage.mixture.model_dump())
    num_mel_bins = model.encoder.config.num_mel_bins
    collate = PretrainingCollator(sources, num_mel_bins, stage.augment)
    plain = PretrainingCollator(held_out, num_mel_bins, None)

    def evaluate(trained: nn.Module) -> dict[str, float]:
        assert isinstance(trained, EncoderWithHeads)
        figures: dict[str, float] = {}
        for name, source in held_out.items():
            figures.update(judge_encoder(trained, name, source, plain))
        return figures

    train(
        model,
        lambda first, last: stream_batches(
            plan, collate, first_step=first, last_step=last, num_workers=stage.trainer.num_workers
        ),
        stage.trainer,
        folder,
        evaluate=evaluate,
    )


def run_alignment_stage(recipe: Recipe, run: Path, data: Path, recordings: Path) -> None:
    """Find the phones of the recipe's aligned sources with what the first phase has learnt, and
    splice what it splices.
    """
    _align(recipe, run, data, recordings)
    _splice(recipe, run, data, recordings)


def _align(recipe: Recipe, run: Path, data: Path, recordings: Path) -> None:
    first = next(iter(recipe.encoders))
    waiting = {name for name in recipe.aligned if not (run / ALIGNMENT / f"{name}.jsonl").exists()}
    if not waiting:
        return
    model = build_encoder(recipe, recipe.encoders[first])
    load_weights(newest(run / first), model)
    for name, source in open_sources(recipe, waiting, data, recordings, run).items():
        found = dict(aligned_phones(model, source))
        logger.info("%s: phones found of %d of %d clips", name, len(found), len(source.clips))
        write_alignment(run / ALIGNMENT / f"{name}.jsonl", found.items())


def _splice(recipe: Recipe, run: Path, data: Path, recordings: Path) -> None:
    for name, splices in recipe.splices.items():
        folder = run / SPLICES / name
        if (folder / "manifest.jsonl").exists():
            continue
        source = open_sources(recipe, {splices.of}, data, recordings, run)[splices.of]
        words = SpokenWords(dict(enumerate(source.clips)))
        made = (splice(recipe.seed, index, words, source.waveform) for index in range(splices.num))
        write_clips(folder, made)


def build_encoder(recipe: Recipe, stage: EncoderStage) -> EncoderWithHeads:
    """A fresh encoder of the recipe's shapes, with heads; the seed decides its weights."""
    torch.manual_seed(recipe.seed)
    config = preset(recipe.model.preset, **recipe.model.overrides).audio_config
    config.dropout, config.encoder_layerdrop = 0.0, stage.layerdrop
    encoder = EurekaAudioEncoder(config)
    look_through(encoder)
    start_local(encoder)
    return EncoderWithHeads(encoder, stage.heads)


def look_through(part: PreTrainedModel) -> None:
    """Let a part compute attention in plain steps, of which guidance sees the weights; at the
    lengths of training clips that is also a third faster than sdpa on a CPU.
    """
    part.config._attn_implementation = "eager"


def plan_mixture(
    seed: int, sources: Mapping[str, ClipSource], mixture: dict[str, object]
) -> MixturePlan:
    """The plan of a stage's `MixtureConfig` over opened sources."""
    weights = mixture.pop("weights")
    durations = {name: source.durations_seconds for name, source in sources.items()}
    plan = MixturePlan(durations, weights, seed=seed, **mixture)  # type: ignore[arg-type]
    if plan.num_too_long:
        logger.warning("%d clips are longer than max_clip_seconds: left out", plan.num_too_long)
    return plan


def judge_encoder(
    model: EncoderWithHeads, name: str, source: ClipSource, collate: PretrainingCollator
) -> dict[str, float]:
    """Word error rate of the spelling head, accuracy of the frames' phones and of the tags of
    events and of traits.
    """
    references: list[str] = []
    hypotheses: list[str] = []
    right: dict[str, list[bool]] = {}
    order = sorted(range(len(source.clips)), key=lambda i: source.clips[i].duration_seconds)
    for start in range(0, len(order), EVALUATION_BATCH_SIZE):
        chosen = order[start : start + EVALUATION_BATCH_SIZE]
        batch = collate(Batch(tuple(Sample(name, index, 0) for index in chosen)))
        output = model(**batch)
        spelled = decode_characters(output.heads.ctc_logits, output.frame_lengths)
        phones = output.heads.phone_logits.argmax(-1)[:, : batch["phone_targets"].shape[1]]
        spoken = batch["phone_targets"] > 0
        if spoken.any():
            hits = (phones == batch["phone_targets"])[spoken]
            right.setdefault("phone", []).extend(hits.tolist())
        for row, index in enumerate(chosen):
            clip = source.clips[index]
            if clip.transcript is not None:
                references.append(clip.transcript)
                hypotheses.append(spelled[row])
            for group, positions in TAG_GROUPS.items():
                known = batch["tag_known"][row, positions].all()
                truth = batch["tag_targets"][row, positions]
                if known and truth.sum() == 1:
                    guess = output.heads.tag_logits[row, positions].argmax()
                    right.setdefault(group, []).append(bool(truth[guess] == 1))
    figures = {f"{name}/{group}": sum(hits) / len(hits) for group, hits in right.items()}
    if references:
        figures[f"{name}/wer"] = word_error_rate(references, hypotheses).value
    return figures
