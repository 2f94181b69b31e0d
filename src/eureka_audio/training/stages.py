"""The stages of a recipe, in order: tokenizer -> encoder (and alignment) -> decoder -> oracle ->
Stage 1 -> Stage 2 -> SFT -> export.

Each stage starts from what the one before left in the run's folder, and resumes itself if it was
cut off. A finished stage is passed over.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import Qwen3ForCausalLM, WhisperFeatureExtractor

from eureka_audio.config import dump_config
from eureka_audio.data.loader import stream_batches
from eureka_audio.data.mixture import Batch, Sample
from eureka_audio.data.recordings import read_dataset
from eureka_audio.data.sources import ClipSource
from eureka_audio.data.sphinx_ngrams import everyday_ngrams
from eureka_audio.durable import atomic_folder, atomic_write
from eureka_audio.errors import ConfigError
from eureka_audio.model.configuration import EurekaAudioConfig
from eureka_audio.model.modeling import EurekaAudioForConditionalGeneration
from eureka_audio.model.presets import preset
from eureka_audio.model.weights import save_checkpoint as save_model
from eureka_audio.processor import EurekaAudioProcessor
from eureka_audio.synthesis.corpora import SentenceBook
from eureka_audio.tasks import text_lines
from eureka_audio.text.chat import TEMPLATE_TEXTS
from eureka_audio.text.tokenizer import (
    AUDIO_END,
    AUDIO_PAD,
    AUDIO_START,
    END_OF_TEXT,
    TURN_END,
    token_id,
    train_tokenizer,
)
from eureka_audio.text.words import words_of
from eureka_audio.training.checkpoint import list_checkpoints, load_part, load_weights, newest
from eureka_audio.training.encoder_stage import (
    look_through,
    plan_mixture,
    run_alignment_stage,
    run_encoder_stage,
)
from eureka_audio.training.multimodal import MultimodalCollator, MultimodalModel
from eureka_audio.training.oracle import OracleCollator, OracleModel
from eureka_audio.training.recipe import (
    ALIGNMENT,
    MultimodalStage,
    Recipe,
    open_sources,
    stage_seed,
)
from eureka_audio.training.text_pretraining import PackedText, TextModel, pack_text
from eureka_audio.training.trainer import train

# Of transcripts; a small model is often unsure.
TRANSCRIPTION_BEAMS = 32
TRANSCRIPTION_CTC_WEIGHT, UNKNOWN_WORD_PENALTY, NGRAM_WEIGHT = 0.6, 1.0, 0.5
NO_SPEECH_THRESHOLD = 0.5
TEMPLATE_EVERY = 50  # lines of text to one copy of the template, for the tokenizer alone

logger = logging.getLogger(__name__)

HELD_OUT_TEXT = ("speechocean762",)  # data sets whose dev and test sentences no text may repeat


@dataclass(frozen=True)
class Workspace:
    """The folders of one run.

    `data` holds what was synthesised, `recordings` the pack of real recordings, `run` everything
    this run makes.
    """

    recipe: Recipe
    run: Path
    data: Path
    recordings: Path

    def sources(self, names: set[str], heard: bool = True) -> dict[str, ClipSource]:
        """Sources of the recipe, decoded if they are to be heard."""
        return open_sources(self.recipe, names, self.data, self.recordings, self.run, heard)

    @cached_property
    def processor(self) -> EurekaAudioProcessor:
        """The processor that the tokenizer stage left."""
        return EurekaAudioProcessor.from_pretrained(self.run / "processor")

    @cached_property
    def lines(self) -> list[str]:
        """The text that the tokenizer stage left."""
        return (self.run / "text.txt").read_text(encoding="utf-8").splitlines()

    def config(self) -> EurekaAudioConfig:
        """The model's shapes, with the tokenizer's ids filled in."""
        tokenizer = self.processor.tokenizer
        text = {
            "vocab_size": len(tokenizer),
            "eos_token_id": token_id(tokenizer, TURN_END),
            "pad_token_id": token_id(tokenizer, END_OF_TEXT),
        }
        overrides = dict(self.recipe.model.overrides)
        overrides["text_config"] = {**overrides.get("text_config", {}), **text}
        return preset(
            self.recipe.model.preset,
            audio_token_id=token_id(tokenizer, AUDIO_PAD),
            audio_start_token_id=token_id(tokenizer, AUDIO_START),
            audio_end_token_id=token_id(tokenizer, AUDIO_END),
            **overrides,
        )


def run_recipe(space: Workspace, only: str | None = None) -> None:
    """Run every stage that is not finished, or `only` one.

    Raises:
        ConfigError: `only` names no stage of the recipe.
    """
    with atomic_write(space.run / "recipe.yaml") as file:
        file.write(dump_config(space.recipe))
    names = stage_names(space.recipe)
    if only is not None and only not in names:
        raise ConfigError(f"expected a stage of the recipe ({', '.join(names)}), got {only!r}")
    for name in names:
        if only in (None, name):
            logger.info("stage %s", name)
            run_stage(space, name)


def stage_names(recipe: Recipe) -> list[str]:
    """Names of a recipe's stages, in the order they run."""
    encoder = list(recipe.encoders)
    encoder[1:1] = [ALIGNMENT] if recipe.aligned else []
    last = ["export"] if recipe.stages else []
    return ["tokenizer", *encoder, "decoder", *recipe.oracles, *recipe.stages, *last]


def run_stage(space: Workspace, name: str) -> None:
    """Run one stage in its own folder under the run."""
    fixed: dict[str, Callable[[Workspace], None]] = {
        "tokenizer": run_tokenizer_stage,
        "decoder": run_decoder_stage,
        "export": export,
    }
    if name in fixed:
        fixed[name](space)
    elif name == ALIGNMENT:
        run_alignment_stage(space.recipe, space.run, space.data, space.recordings)
    elif name in space.recipe.encoders:
        run_encoder_stage(space.recipe, name, space.run, space.data, space.recordings)
    elif name in space.recipe.oracles:
        run_oracle_stage(space, name)
    else:
        run_multimodal_stage(space, name)


def run_tokenizer_stage(space: Workspace) -> None:
    """Gather the text, learn the tokenizer from it, and save both."""
    if (space.run / "processor").is_dir():
        return
    recipe = space.recipe
    rng = np.random.default_rng(recipe.seed)
    clips = [
        clip
        for name in recipe.text.sources
        for clip in recipe.sources[name].read(space.data, space.recordings)
    ]
    lines = [
        line for _ in range(recipe.text.renderings_per_clip) for line in text_lines(clips, rng)
    ]
    lines += list(corpus_sentences(space))
    order = rng.permutation(len(lines))
    with atomic_write(space.run / "text.txt") as file:
        file.writelines(lines[i].replace("\n", " ") + "\n" for i in order)
    template = list(TEMPLATE_TEXTS) * max(1, len(lines) // TEMPLATE_EVERY)
    tokenizer = train_tokenizer(lines + template, recipe.text.vocab_size)
    num_mel_bins = preset(recipe.model.preset, **recipe.model.overrides).audio_config.num_mel_bins
    processor = EurekaAudioProcessor(WhisperFeatureExtractor(feature_size=num_mel_bins), tokenizer)
    processor.known_words = known_words(space, lines)
    if recipe.text.everyday_ngrams:
        processor.ngrams = everyday_ngrams()
    with atomic_folder(space.run / "processor") as folder:
        processor.save_pretrained(folder)


def known_words(space: Workspace, lines: Iterable[str]) -> frozenset[str]:
    """The words of the text, and those that the clips of the recipe's `word_sources` say."""
    words = {word for line in lines for word in words_of(line)}
    for name in space.recipe.text.word_sources:
        for clip in space.recipe.sources[name].read(space.data, space.recordings):
            words.update(words_of(clip.transcript or ""))
    return frozenset(words)


def corpus_sentences(space: Workspace) -> Iterator[str]:
    """Sentences of the free corpora, none of which is held out."""
    if space.recipe.text.num_sentences == 0:
        return  # then the corpora need not be installed
    recorded = [
        clip
        for name in HELD_OUT_TEXT
        if (space.recordings / name).is_dir()
        for clip in read_dataset(space.recordings / name)
    ]
    prompts = {clip.transcript for clip in recorded if clip.split == "train" and clip.transcript}
    held_out = {clip.transcript for clip in recorded if clip.split != "train" and clip.transcript}
    book = SentenceBook(space.recipe.seed, prompts, held_out, num_reserved=600)
    for _ in range(space.recipe.text.num_sentences):
        yield book.next_sentence().words


def run_decoder_stage(space: Workspace) -> None:
    """Pretrain the decoder on the packed text."""
    stage, recipe = space.recipe.decoder, space.recipe
    torch.manual_seed(recipe.seed)
    model = TextModel(Qwen3ForCausalLM(space.config().text_config))
    packed = PackedText(pack_text(space.lines, space.processor.tokenizer, stage.row_length))

    def batches(first: int, last: int) -> Iterator[dict[str, Any]]:
        for step in range(first, last):
            rng = np.random.default_rng([recipe.seed, step])
            rows = rng.choice(len(packed.rows), stage.batch_size)
            yield packed(Batch(tuple(Sample("text", int(row), 0) for row in rows)))

    train(model, batches, stage.trainer, space.run / "decoder")


def run_oracle_stage(space: Workspace, name: str) -> None:
    """One phase of the decoder's practice on the oracle."""
    stage, phases = space.recipe.oracles[name], list(space.recipe.oracles)
    config = space.config()
    torch.manual_seed(space.recipe.seed)
    language_model = Qwen3ForCausalLM(config.text_config)
    if stage.guidance_weight > 0:
        look_through(language_model)
    audio_token_id = token_id(space.processor.tokenizer, AUDIO_PAD)
    model = OracleModel(language_model, audio_token_id, stage.guidance_weight)
    if not list_checkpoints(space.run / name):
        if phases.index(name) > 0:
            load_weights(newest(space.run / phases[phases.index(name) - 1]), model)
        else:
            load_part(newest(space.run / "decoder"), "language_model.", model.language_model)
            model.match_loudness()
    sources = space.sources(set(stage.mixture.weights), heard=False)
    plan = plan_mixture(stage_seed(space.recipe, name), sources, stage.mixture.model_dump())
    collate = OracleCollator(
        sources,
        space.processor,
        stage.tasks,
        stage.noise,
        space.lines,
        stage.text_share,
        with_places=stage.guidance_weight > 0,
    )
    train(
        model,
        lambda first, last: stream_batches(
            plan, collate, first_step=first, last_step=last, num_workers=stage.trainer.num_workers
        ),
        stage.trainer,
        space.run / name,
    )


def run_multimodal_stage(space: Workspace, name: str) -> None:
    """Train the whole model on the tasks of one stage, from what the stage before left."""
    stage: MultimodalStage = space.recipe.stages[name]
    torch.manual_seed(space.recipe.seed)
    model = EurekaAudioForConditionalGeneration(space.config())
    look_through(model.audio_encoder)
    if stage.guidance_weight > 0:
        look_through(model.language_model)
    wrapped = MultimodalModel(
        model,
        stage.trainable,
        stage.heads_weight,
        stage.heads,
        stage.oracle_weight,
        stage.guidance_weight,
    )
    if not list_checkpoints(space.run / name):
        load_previous(space, name, wrapped)
    sources = space.sources(set(stage.mixture.weights))
    plan = plan_mixture(stage_seed(space.recipe, name), sources, stage.mixture.model_dump())
    collate = MultimodalCollator(
        sources,
        space.processor,
        stage.tasks,
        stage.augment,
        space.lines,
        stage.text_share,
        with_oracle=stage.oracle_weight > 0,
        with_places=stage.guidance_weight > 0,
    )
    train(
        wrapped,
        lambda first, last: stream_batches(
            plan, collate, first_step=first, last_step=last, num_workers=stage.trainer.num_workers
        ),
        stage.trainer,
        space.run / name,
    )


def load_previous(space: Workspace, name: str, wrapped: MultimodalModel) -> None:
    """Fill the model with what the stage before learnt; the first takes encoder and decoder."""
    order = list(space.recipe.stages)
    position = order.index(name)
    if position > 0:
        load_weights(newest(space.run / order[position - 1]), wrapped)
        return
    encoder = newest(space.run / list(space.recipe.encoders)[-1])
    decoder = newest(space.run / ["decoder", *space.recipe.oracles][-1])
    load_part(encoder, "encoder.", wrapped.model.audio_encoder)
    load_part(encoder, "heads.", wrapped.heads)
    load_part(decoder, "language_model.", wrapped.model.language_model)
    if space.recipe.oracles:
        load_part(decoder, "oracle.", wrapped.oracle)
        match_loudness(wrapped.model, float(wrapped.oracle.loudness))
    else:
        match_loudness(wrapped.model)


def match_loudness(
    model: EurekaAudioForConditionalGeneration, loudness: float | None = None
) -> None:
    """Start the adapter as loud as what the decoder has learnt to read: the oracle (`loudness`), or
    else its own token embeddings, which grow on while it practises on the oracle.

    Unstated: otherwise audio enters a frozen decoder much louder than anything it has read.
    """
    if loudness is None:
        loudness = float(model.get_input_embeddings().weight.detach().float().pow(2).mean().sqrt())
    nn.init.constant_(model.adapter.layer_norm.weight, loudness)


def prepare_to_transcribe(
    model: EurekaAudioForConditionalGeneration,
    processor: EurekaAudioProcessor,
    ctc_head: nn.Linear | None,
    max_chunk_seconds: float,
) -> None:
    """Let a trained model say how it is to transcribe.

    Args:
        model: its generation configuration is filled in.
        processor: its list and its model of words, if it has them, get a say.
        ctc_head: gets a say, and becomes part of the model.
        max_chunk_seconds: as long as it has learnt to hear.
    """
    settings = model.generation_config
    settings.max_chunk_seconds = max_chunk_seconds
    settings.transcription_beams = TRANSCRIPTION_BEAMS
    if processor.known_words:
        settings.transcription_unknown_word_penalty = UNKNOWN_WORD_PENALTY
    if processor.ngrams is not None:
        settings.transcription_ngram_weight = NGRAM_WEIGHT
    if ctc_head is not None:
        model.add_ctc_head(ctc_head)
        settings.transcription_ctc_weight = TRANSCRIPTION_CTC_WEIGHT
        settings.transcription_no_speech_threshold = NO_SPEECH_THRESHOLD


def export(space: Workspace) -> None:
    """Write the last stage's model and the processor to `<run>/model`, in bf16."""
    last = list(space.recipe.stages)[-1]
    model = EurekaAudioForConditionalGeneration(space.config())
    wrapped = MultimodalModel(model, ())
    load_weights(newest(space.run / last), wrapped)
    stage = space.recipe.stages[last]
    has_kept_up = stage.heads_weight > 0  # the head, with the encoder
    prepare_to_transcribe(
        model,
        space.processor,
        wrapped.heads.ctc_head if has_kept_up else None,
        stage.mixture.max_clip_seconds,
    )
    save_model(model.to(torch.bfloat16), space.run / "model", space.processor)
