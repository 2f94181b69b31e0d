"""A whole recipe, from tones to a model that loads: in one go, killed, and again."""

import json
import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from eureka_audio.config import dump_config
from eureka_audio.errors import CheckpointError, ConfigError, ManifestError
from eureka_audio.model.weights import load_checkpoint
from eureka_audio.processor import EurekaAudioProcessor
from eureka_audio.training import trainer
from eureka_audio.training.checkpoint import newest
from eureka_audio.training.recipe import SourceConfig
from eureka_audio.training.stages import run_recipe
from eureka_audio.training.workspace import Workspace
from tiny import tiny_recipe, tiny_start, workspace

STAGES = ("align", "stage1", "low_rank", "everything")


def learnt(space: Workspace, stage: str) -> dict[str, Tensor]:
    tensors = load_file(newest(space.run / stage) / "model.safetensors")
    return {name.removeprefix("model."): tensor for name, tensor in tensors.items()}


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    space = workspace(tmp_path_factory.mktemp("tiny"))
    run_recipe(space)
    return space


def test_every_stage_leaves_its_last_checkpoint_and_its_figures(done: Workspace) -> None:
    for stage in STAGES:
        assert newest(done.run / stage).name == "checkpoint-00000004"
    assert (done.run / "recipe.yaml").read_text() == dump_config(done.recipe)
    figures = [json.loads(x) for x in (done.run / "stage1" / "log.jsonl").open()]
    assert figures[-1]["words_dev/transcribe/next_token_loss"] > 0
    assert {"ctc_loss", "letters_loss"} <= json.loads(
        (done.run / "align" / "log.jsonl").open().readline()
    ).keys()


def test_a_stage_keeps_what_it_may_change_and_nothing_else(done: Workspace) -> None:
    def parts(stage: str) -> set[str]:
        return {name.split(".")[0] for name in learnt(done, stage)}

    assert parts("align") == {"adapter", "feature_mix", "ctc_head"}
    assert parts("stage1") == {"adapter", "feature_mix"}
    low_rank = learnt(done, "low_rank")
    assert {n.rpartition(".")[2] for n in low_rank if n.startswith("language_model.")} == {
        "lora_up",
        "lora_down",
    }
    assert parts("everything") == {
        "adapter",
        "feature_mix",
        "ctc_head",
        "audio_encoder",
        "language_model",
    }
    assert not any("embed_positions" in name for name in learnt(done, "everything"))


def test_a_stage_starts_from_the_one_before(done: Workspace) -> None:
    model, _ = done.model_before("stage1")
    torch.manual_seed(done.recipe.seed)
    fresh, _ = tiny_start(done.recipe)
    state, before = model.state_dict(), fresh.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in learnt(done, "align").items())
    assert not torch.equal(state["adapter.proj.weight"], before["adapter.proj.weight"])
    same_lm = [name for name in before if name.startswith("language_model.")]
    assert all(torch.equal(state[name], before[name]) for name in same_lm)


def test_low_rank_updates_are_merged_for_the_stage_after(done: Workspace) -> None:
    name = "model.layers.0.self_attn.q_proj"
    updates = learnt(done, "low_rank")
    up, down = (updates[f"language_model.{name}.lora_{part}"] for part in ("up", "down"))
    assert float(up.abs().sum()) > 0
    before = done.model_before("stage1")[0].language_model.get_submodule(name).weight
    after = done.model_before("everything")[0].language_model.get_submodule(name).weight
    torch.testing.assert_close(after, before + up @ down)


def test_the_export_loads_and_answers(done: Workspace) -> None:
    model = load_checkpoint(done.run / "model", dtype=torch.float32).eval()
    processor = EurekaAudioProcessor.from_pretrained(done.run / "model")
    trained = learnt(done, "everything")
    for name, tensor in model.state_dict().items():
        if name in trained:
            assert torch.equal(tensor, trained[name].to(torch.bfloat16).float()), name
    assert model.generation_config.max_chunk_seconds == 12.0
    inputs = processor(text="what is it?", audio=done.data / "sounds" / "0.wav")
    with torch.inference_mode():
        ids = model.generate(**inputs, max_new_tokens=3, do_sample=False)
    assert 1 <= ids.shape[1] - inputs["input_ids"].shape[1] <= 3


def test_finished_stages_are_passed_over(done: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_step(*_: object) -> None:
        raise AssertionError("a finished stage took a step")

    monkeypatch.setattr("eureka_audio.training.trainer.train_step", no_step)
    before = {f: f.stat().st_mtime_ns for f in done.run.rglob("checkpoint-*/*")}
    run_recipe(done)
    assert {f: f.stat().st_mtime_ns for f in done.run.rglob("checkpoint-*/*")} == before


def test_a_run_of_another_recipe_is_not_gone_on_with(done: Workspace) -> None:
    other = tiny_recipe(seed=7)
    with pytest.raises(CheckpointError, match="another --out"):
        run_recipe(workspace(done.run.parent, recipe=other))


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
    for target in ("align/checkpoint-00000002", "low_rank/checkpoint-00000002"):
        process = context.Process(target=run_until, args=(tmp_path, tmp_path / "run" / target))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert not (tmp_path / "run" / target).parent.joinpath("checkpoint-00000004").exists()
    again = workspace(tmp_path)
    run_recipe(again)
    for stage in STAGES:
        assert same(learnt(done, stage), learnt(again, stage)), stage
        logs = []
        for space in (done, again):
            lines = [json.loads(line) for line in (space.run / stage / "log.jsonl").open()]
            logs.append([{k: v for k, v in x.items() if "seconds" not in k} for x in lines])
        assert logs[0] == logs[1]


def test_an_unknown_stage_is_named(done: Workspace) -> None:
    with pytest.raises(ConfigError, match="align, stage1, low_rank, everything"):
        run_recipe(done, "stage9")


def test_a_source_is_one_of_three_and_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one of manifest, recordings and conversations"):
        SourceConfig(manifest="a", recordings="b")
    with pytest.raises(ManifestError, match="eureka-audio synthesize"):
        SourceConfig(manifest="nowhere").read(tmp_path, None)
    with pytest.raises(ConfigError, match="EUREKA_AUDIO_DATA"):
        SourceConfig(recordings="fsdd").read(tmp_path, None)
    with pytest.raises(ConfigError, match=r"fsdd/manifest\.jsonl, found no such file"):
        SourceConfig(recordings="fsdd").read(tmp_path, tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lora": {"rank": 2}}, "lora: without effect"),
        ({"losses": {"next_token": 0, "ctc": 1}}, "next_token is 0"),
        ({"losses": {"letters": 1}}, "expected ctc_head"),
        ({"losses": {"next_token": 0}}, "a weight above 0"),
        ({"losses": {"cosine": 1}}, "cosine: without effect where ctc is 0"),
        ({"trainable": ["adapter", "ctc_head"]}, "learns nothing"),
        ({"tasks": {"words": {"transcribe": 1}}}, r"got none for \['sounds'\]"),
        ({"text": ["chats"]}, "without effect where text_share is 0"),
        ({"augment": {}, "feature_augment": {}}, "expected one of them"),
        ({"trainable": ["audio_encoder"], "feature_augment": {}}, "use augment"),
    ],
)
def test_a_setting_without_effect_is_an_error(change: dict[str, Any], message: str) -> None:
    stage = tiny_recipe().stages["stage1"].model_dump()
    with pytest.raises(ValueError, match=message):
        tiny_recipe(stages={"stage1": {**stage, **change}})


def test_a_recipe_begins_with_two_parts_or_one_whole() -> None:
    with pytest.raises(ValueError, match="encoder and language_model, or start"):
        tiny_recipe(start="nano")
    with pytest.raises(ValueError, match="encoder and language_model, or start"):
        tiny_recipe(encoder=None)
    whole = {"start": "nano", "encoder": None, "language_model": None}
    assert tiny_recipe(**whole).start == "nano"
    with pytest.raises(ValueError, match="model: has no effect"):
        tiny_recipe(**whole, model={"ctc_vocab_size": 29})
    with pytest.raises(ValueError, match="named other than"):
        tiny_recipe(stages={"model": tiny_recipe().stages["stage1"].model_dump()})
