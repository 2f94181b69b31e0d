"""A whole recipe, from tones to a model that loads: in one go, killed, and again."""

import argparse
import json
import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_recipe import tiny_recipe, workspace
from torch import Tensor

from eureka_audio.cli import train as train_command
from eureka_audio.config import dump_config
from eureka_audio.errors import CheckpointError, ConfigError, ManifestError
from eureka_audio.model.weights import load_checkpoint
from eureka_audio.processor import EurekaAudioProcessor
from eureka_audio.synthesis import corpora
from eureka_audio.text.ngrams import Ngrams
from eureka_audio.text.words import words_of
from eureka_audio.training import stages, trainer
from eureka_audio.training.checkpoint import newest
from eureka_audio.training.recipe import Recipe, SourceConfig
from eureka_audio.training.stages import Workspace, run_recipe, run_stage, stage_names

STAGES = ("short", "encoder", "decoder", "stage1", "stage2")


def model_tensors(space: Workspace, stage: str) -> dict[str, Tensor]:
    return load_file(newest(space.run / stage) / "model.safetensors")


def under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    space = workspace(tmp_path_factory.mktemp("tiny"))
    run_recipe(space)
    return space


def test_every_stage_leaves_its_last_checkpoint(done: Workspace) -> None:
    assert stage_names(done.recipe) == ["tokenizer", *STAGES, "export"]
    for stage in STAGES:
        assert newest(done.run / stage).name == "checkpoint-00000004"
    assert (done.run / "recipe.yaml").read_text() == dump_config(done.recipe)
    figures = [json.loads(x) for x in (done.run / "encoder" / "log.jsonl").open()]
    assert "words_dev/wer" in figures[-1]


def test_the_second_encoder_phase_starts_from_the_first(
    done: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started = {}

    def note(model: torch.nn.Module, *_: object, **__: object) -> None:
        started.update({k: v.clone() for k, v in model.state_dict().items()})

    monkeypatch.setattr("eureka_audio.training.encoder_stage.train", note)
    space = Workspace(done.recipe, tmp_path, done.data, done.recordings)
    (tmp_path / "short").symlink_to(done.run / "short")
    run_stage(space, "encoder")
    first = model_tensors(done, "short")
    assert same(under(started, "encoder."), under(first, "encoder."))
    assert same(under(started, "ctc_head."), under(first, "ctc_head."))


def test_stage_1_moves_the_adapter_alone(done: Workspace) -> None:
    stage1 = model_tensors(done, "stage1")
    encoder, decoder = model_tensors(done, "encoder"), model_tensors(done, "decoder")
    assert same(under(stage1, "model.audio_encoder."), under(encoder, "encoder."))
    assert same(under(stage1, "model.language_model."), under(decoder, "language_model."))
    assert same(under(stage1, "ctc_head."), under(encoder, "ctc_head."))
    torch.manual_seed(done.recipe.seed)
    fresh = stages.EurekaAudioForConditionalGeneration(done.config()).adapter.state_dict()
    adapter = under(stage1, "model.adapter.")
    assert adapter.keys() == fresh.keys()
    assert any(not torch.equal(adapter[name], fresh[name]) for name in fresh)


def test_stage_2_starts_from_stage_1_and_moves_everything(
    done: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started = {}

    def note(model: torch.nn.Module, *_: object) -> None:
        started.update({k: v.clone() for k, v in model.state_dict().items()})

    monkeypatch.setattr(stages, "train", note)
    space = Workspace(done.recipe, tmp_path, done.data, done.recordings)
    for name in ("processor", "text.txt", "stage1"):
        (tmp_path / name).symlink_to(done.run / name)
    run_stage(space, "stage2")
    stage1, stage2 = model_tensors(done, "stage1"), model_tensors(done, "stage2")
    assert all(torch.equal(started[name], stage1[name]) for name in stage1)
    for part in ("audio_encoder.layers", "adapter", "language_model"):
        before, after = (under(t, f"model.{part}.") for t in (stage1, stage2))
        assert any(not torch.equal(before[name], after[name]) for name in before)
    fixed = "model.audio_encoder.embed_positions.weight"
    assert torch.equal(stage1[fixed], stage2[fixed])


def test_a_model_of_words_is_made_and_gets_a_say(
    done: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    small = Ngrams.build(
        ("<s>", "</s>", "one"),
        (np.full(3, -1.0), np.zeros(3)),
        (np.array([[0, 2]]), np.array([-0.5]), np.zeros(1)),
        (np.zeros((0, 3), int), np.zeros(0)),
    )
    monkeypatch.setattr(stages, "everyday_ngrams", lambda: small)
    text = done.recipe.text.model_copy(update={"everyday_ngrams": True})
    recipe = done.recipe.model_copy(update={"text": text})
    space = Workspace(recipe, tmp_path, done.data, done.recordings)
    run_stage(space, "tokenizer")
    for name in STAGES:
        (tmp_path / name).symlink_to(done.run / name)
    run_stage(space, "export")
    ngrams = EurekaAudioProcessor.from_pretrained(tmp_path / "model").ngrams
    assert ngrams is not None
    assert ngrams.log_prob("one", ["<s>"]) == -0.5
    asked = load_checkpoint(tmp_path / "model").generation_config
    assert asked.transcription_ngram_weight == stages.NGRAM_WEIGHT > 0
    unasked = load_checkpoint(done.run / "model").generation_config
    assert getattr(unasked, "transcription_ngram_weight", 0) == 0


def test_the_export_loads_and_answers(done: Workspace) -> None:
    model = load_checkpoint(done.run / "model", dtype=torch.float32).eval()
    processor = EurekaAudioProcessor.from_pretrained(done.run / "model")
    tensors = model_tensors(done, "stage2")
    kept = {f"ctc_head.{name}": t for name, t in under(tensors, "heads.ctc_head.").items()}
    trained = under(tensors, "model.") | kept
    assert kept.keys() <= model.state_dict().keys()
    assert processor.known_words >= set(words_of(next(iter(done.lines))))
    settings = model.generation_config
    assert min(settings.transcription_ctc_weight, settings.transcription_unknown_word_penalty) > 0
    assert settings.transcription_no_speech_threshold == 0.5
    for name, tensor in model.state_dict().items():
        source = trained.get(name, trained["language_model.model.embed_tokens.weight"])
        assert torch.equal(tensor, source.to(torch.bfloat16).float()), name
    inputs = processor(text="what is it?", audio=done.data / "sounds" / "0.wav")
    with torch.inference_mode():
        ids = model.generate(**inputs, max_new_tokens=3, do_sample=False)
    assert 1 <= ids.shape[1] - inputs["input_ids"].shape[1] <= 3


def test_finished_stages_are_passed_over(done: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_step(*_: object) -> None:
        raise AssertionError("a finished stage took a step")

    def written() -> dict[Path, int]:
        folders = [done.run / name for name in ("processor", "cache", *STAGES)]
        files = [file for folder in folders for file in folder.rglob("*") if file.is_file()]
        return {f: f.stat().st_mtime_ns for f in files if f.name != "log.jsonl"}

    monkeypatch.setattr("eureka_audio.training.trainer.train_step", no_step)
    before = written()
    run_recipe(done)
    assert written() == before


def run_until(folder: Path, file: Path) -> None:
    """Run the recipe; die, as if killed from outside, once a step or a save finds `file` there."""
    torch.set_num_threads(1)
    step, save = trainer.train_step, trainer.save_checkpoint

    def die_if_there() -> None:
        if file.exists():
            os.kill(os.getpid(), signal.SIGKILL)

    def watched_step(*arguments: Any, **settings: Any) -> Any:
        result = step(*arguments, **settings)
        die_if_there()
        return result

    def watched_save(*arguments: Any, **settings: Any) -> Path:
        path = save(*arguments, **settings)
        die_if_there()
        return path

    trainer.train_step, trainer.save_checkpoint = watched_step, watched_save
    run_recipe(workspace(folder))


def test_a_recipe_killed_in_the_middle_ends_as_if_it_had_not(
    done: Workspace, tmp_path: Path
) -> None:
    context = multiprocessing.get_context("fork")
    (tmp_path / "data").symlink_to(done.data)
    for target in ("short/checkpoint-00000002", "decoder/checkpoint-00000002", "stage2/log.jsonl"):
        process = context.Process(target=run_until, args=(tmp_path, tmp_path / "run" / target))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert not (tmp_path / "run" / target).parent.joinpath("checkpoint-00000004").exists()
    again = workspace(tmp_path)
    run_recipe(again)
    for stage in STAGES:
        assert same(model_tensors(done, stage), model_tensors(again, stage)), stage
        logs = []
        for space in (done, again):
            lines = [json.loads(line) for line in (space.run / stage / "log.jsonl").open()]
            logs.append([{k: v for k, v in x.items() if "seconds" not in k} for x in lines])
        assert logs[0] == logs[1], stage


def test_a_stage_out_of_turn_or_unknown_is_refused(done: Workspace, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected a stage of the recipe \(tokenizer, short"):
        run_recipe(done, only="stage9")
    space = Workspace(done.recipe, tmp_path, done.data, done.recordings)
    (tmp_path / "processor").symlink_to(done.run / "processor")
    (tmp_path / "text.txt").symlink_to(done.run / "text.txt")
    for stage in ("encoder", "stage1", "stage2", "export"):
        with pytest.raises(CheckpointError, match="run that stage first"):
            run_recipe(space, only=stage)


def test_names_of_stages_must_differ_from_one_another_and_from_the_runs_folders() -> None:
    tree = tiny_recipe().model_dump(mode="json")
    for name in ("encoder", "cache", "decoder", "model"):
        stages_of = {**tree["stages"], name: tree["stages"]["stage1"]}
        with pytest.raises(ValueError, match="name of its own"):
            Recipe.model_validate({**tree, "stages": stages_of})


def test_a_recipe_without_stages_ends_with_the_decoder() -> None:
    recipe = tiny_recipe().model_copy(update={"stages": {}})
    assert stage_names(recipe) == ["tokenizer", "short", "encoder", "decoder"]


def test_sources_are_read_or_refused(done: Workspace, tmp_path: Path) -> None:
    clips = SourceConfig(manifest="words").read(done.data, done.recordings)
    assert len(clips) == 11
    assert all(Path(clip.path).is_absolute() for clip in clips)
    assert len(SourceConfig(manifest="words", split="dev").read(done.data, tmp_path)) == 1
    for neither_or_both in (SourceConfig(), SourceConfig(manifest="a", recordings="b")):
        with pytest.raises(ConfigError, match="either manifest or recordings"):
            neither_or_both.read(done.data, tmp_path)
    with pytest.raises(ManifestError, match=r"expected a manifest\.jsonl under"):
        SourceConfig(manifest="nothing").read(done.data, tmp_path)
    with pytest.raises(ConfigError, match="no clip of split 'test'"):
        SourceConfig(manifest="words", split="test").read(done.data, tmp_path)


def test_corpora_are_read_only_when_asked_for(
    done: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("the corpora were opened")

    monkeypatch.setattr(stages, "SentenceBook", fail)
    assert list(stages.corpus_sentences(done)) == []
    assert corpora.SentenceBook is not fail


def test_the_command_runs_one_stage(done: Workspace, tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    train_command.add_parser(parser.add_subparsers())
    (tmp_path / "recipe.yaml").write_text(dump_config(done.recipe))
    arguments = ["train", str(tmp_path / "recipe.yaml"), "text.vocab_size=310"]
    arguments += ["--data", str(done.data), "--out", str(tmp_path / "run"), "--only", "tokenizer"]
    args = parser.parse_args([*arguments, "--recordings", str(tmp_path)])
    assert args.run(args) == 0
    processor = EurekaAudioProcessor.from_pretrained(tmp_path / "run" / "processor")
    assert len(processor.tokenizer) == 310
    args.recordings = None
    with pytest.raises(ConfigError, match="--recordings or EUREKA_AUDIO_DATA"):
        args.run(args)
