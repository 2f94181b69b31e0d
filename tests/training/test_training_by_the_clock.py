"""Training by the clock in miniature: every stage runs, and parts go out, in, and into a run."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file
from tiny_recipe import workspace
from transformers import Qwen3ForCausalLM

from eureka_audio import EurekaAudio
from eureka_audio.errors import TrainingError
from eureka_audio.model.configuration import EurekaAudioConfig
from eureka_audio.model.weights import load_checkpoint
from eureka_audio.records import AudioClip, Phone
from eureka_audio.training.checkpoint import load_weights, newest
from eureka_audio.training.oracle import OracleModel
from eureka_audio.training.resident import ResidentClips
from eureka_audio.training.stages import Workspace, run_stage

sys.path.insert(0, str(Path(__file__).parents[2] / "recipes" / "nano"))
import by_the_clock
import world as worlds

CPU = torch.device("cpu")


def trial(parts: Path) -> by_the_clock.Trial:
    return by_the_clock.Trial(batch_seconds=20.0, rate=1.0, max_steps=1, device=CPU, parts=parts)


def workspace_config(run: Path) -> EurekaAudioConfig:
    return Workspace(worlds.RECIPE, run, run, run).config()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> worlds.World:
    """The tones of the tiny recipe, as if they were two sources of nano's."""
    space = workspace(tmp_path_factory.mktemp("tiny"))
    run_stage(space, "tokenizer")
    sources, clips, waves = [], [], []
    for name, known in (("synthetic", "words"), ("sounds", "sounds")):
        for clip in space.recipe.sources[known].read(space.data, space.recordings):
            sources.append(name)
            clips.append(clip)
            waves.append(worlds._read((name, clip)))
    made = worlds.World(space.run, space.processor, space.lines, sources, clips, waves)
    worlds.WORLD = made
    return made


@pytest.fixture(scope="module")
def clips(world: worlds.World) -> ResidentClips:
    targets = [worlds._targets(index) for index in range(len(world.clips))]
    return ResidentClips(world.sources, world.waves, targets, 80, CPU)


@pytest.fixture(scope="module")
def trained(
    world: worlds.World, clips: ResidentClips, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("parts")
    life = by_the_clock.Life(world, clips, trial(folder))
    for stage in by_the_clock.SHARES:
        before = {name: value.clone() for name, value in life.wrapped.state_dict().items()}
        talks = {
            about: worlds.Talks(world, about, np.random.default_rng(0), CPU, None)
            for about in ("oracle", "sft")
        }
        life.run(stage, 60.0, talks)
        after = life.wrapped.state_dict()
        moved = {name for name, value in before.items() if not torch.equal(value, after[name])}
        assert ("oracle.weight" in moved) == (stage in ("oracle", "sft"))  # which read
        parts = {name.split(".")[1] for name in moved if name.startswith("model.")}
        assert (
            parts
            == {
                "encoder": {"audio_encoder"},
                "oracle": {"language_model"},
                "stage1": {"adapter"},
                "sft": {"audio_encoder", "adapter", "language_model"},
            }[stage]
        )
        written = {path.stem for path in folder.iterdir()}
        assert (
            written
            == {
                "encoder": {"encoder"},
                "oracle": {"encoder", "decoder"},
                "stage1": {"encoder", "decoder", "adapter"},
                "sft": {"encoder", "decoder", "adapter"},
            }[stage]
        )
    assert clips.confusions is not None  # those of the encoder
    assert (clips.confusions.diagonal() == 0).all()
    return folder


def test_parts_are_read_as_they_were_written(
    trained: Path, world: worlds.World, clips: ResidentClips, tmp_path: Path
) -> None:
    life = by_the_clock.Life(world, clips, trial(tmp_path))
    life.load(trained)
    assert life.begun == {"encoder", "decoder", "adapter"}
    for stage in ("encoder", "oracle", "stage1"):
        life.save(stage)
    for name in life.begun:
        first, second = (load_file(each / f"{name}.safetensors") for each in (trained, tmp_path))
        assert first.keys() == second.keys()
        assert all(torch.equal(first[key], second[key]) for key in first)


def test_an_average_lies_between_the_parts_of_two_runs(trained: Path, tmp_path: Path) -> None:
    earlier, out = tmp_path / "earlier", tmp_path / "out"
    earlier.mkdir()
    for path in trained.iterdir():
        save_file({name: 0 * each for name, each in load_file(path).items()}, earlier / path.name)
    args = argparse.Namespace(parts=trained, earlier=earlier, out=out, share=0.25)
    by_the_clock.average(args)
    for path in trained.iterdir():
        later, mixed = load_file(path), load_file(out / path.name)
        assert later.keys() == mixed.keys()
        for name, each in later.items():
            torch.testing.assert_close(mixed[name].float(), 0.25 * each.float(), rtol=0.01, atol=0)
    save_file({"other": torch.zeros(1)}, earlier / "decoder.safetensors")
    with pytest.raises(TrainingError, match="expected the tensors"):
        by_the_clock.average(args)


def test_prepared_clips_are_taken_as_they_were_left(
    world: worlds.World, clips: ResidentClips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "prepared.pt"
    monkeypatch.setattr(by_the_clock, "here", lambda *_: world)
    monkeypatch.setattr(worlds, "WORLD", world)
    nothing = dict.fromkeys(("pack", "data", "recordings", "run_folder", "most"))
    args = argparse.Namespace(prepared=path, device=CPU, **nothing)
    waves = list(world.waves)
    by_the_clock.prepared(args)
    world.waves.extend(waves)
    monkeypatch.delattr(by_the_clock, "here")  # nothing is read again
    again, left = by_the_clock.prepared(args)
    assert worlds.WORLD is again
    assert again.clips == world.clips
    assert torch.equal(left.log_mels.values, clips.log_mels.values)
    assert torch.equal(left.phones.values, clips.phones.values)


def test_clips_are_read_where_they_lie(
    world: worlds.World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worlds, "WORLD", world)
    jobs = list(zip(world.sources, world.clips, strict=True))
    monkeypatch.setattr(worlds, "_jobs", lambda *_: jobs)
    args = dict.fromkeys(("prepared", "pack", "data", "recordings", "most"))
    there, resident = by_the_clock.prepared(
        argparse.Namespace(device=CPU, run_folder=world.run, **args)
    )
    assert there.clips == world.clips
    assert not there.waves  # their log-mels are enough from here on
    assert len(resident.log_mels.lengths) == len(world.clips)


def test_a_pack_arrives_with_what_was_said_and_splices_of_it(
    world: worlds.World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worlds, "WORLD", world)  # and back, once the pack's has taken its place
    phones = tuple(
        Phone(label, round(0.1 * i + 0.1, 1), round(0.1 * i + 0.2, 1))
        for i, label in enumerate(("s", "ih", "k", "s", "g", "ow"))
    )
    known = next(clip for clip in world.clips if clip.transcript)
    soundfile.write(tmp_path / "said.wav", np.sin(np.arange(16_000) / 20) / 2, 16_000)
    said_there = {"path": str(tmp_path / "said.wav"), "duration_seconds": 1.0}
    clip = known.model_copy(update={**said_there, "transcript": "six go", "phones": phones})
    read = clip.model_copy(update={"path": "nowhere", "transcript": "go six"})
    jobs = [("sentences", clip), ("synthetic", clip), ("readings", read)]
    monkeypatch.setattr(worlds, "_jobs", lambda *_: jobs)
    worlds.pack(tmp_path / "pack", tmp_path, tmp_path, world.run, None)
    arrived = worlds.unpack(tmp_path / "pack", tmp_path / "work", 0, 1, 6)
    assert arrived.sources == ["sentences", "synthetic", "readings", "rendered", *["splices"] * 6]
    assert [len(wave) for wave in arrived.waves[:3]] == [16_000, 16_000, 0]
    assert arrived.clips[0].phones == arrived.clips[2].phones == phones
    assert arrived.clips[2].transcript == "go six"
    assert arrived.material is not None
    assert arrived.material.clips == tuple(arrived.clips[:2])  # no scene is made of silence
    spliced = arrived.clips[4:]
    assert {word for c in spliced for word in (c.transcript or "").split()} == {"six", "go"}
    talks = [worlds.draw_talk(("sft", index, 0)) for index in range(4, 10)]
    assert all(talk is not None for talk in talks)


def test_another_seed_hears_other_batches(
    world: worlds.World, clips: ResidentClips, tmp_path: Path
) -> None:
    heard = []
    for seed in (0, 0, 1):
        life = by_the_clock.Life(world, clips, replace(trial(tmp_path), seed=seed))
        plan = life.plan({"synthetic": 1.0}, 1.0, 12.0, 1)
        heard.append(np.concatenate([clips.ids(plan, step) for step in range(8)]).tolist())
    assert heard[0] == heard[1] != heard[2]


def test_a_part_that_lacks_a_tensor_is_refused(
    trained: Path, world: worlds.World, clips: ResidentClips, tmp_path: Path
) -> None:
    for name in ("encoder", "decoder"):
        (tmp_path / f"{name}.safetensors").symlink_to(trained / f"{name}.safetensors")
    tensors = load_file(trained / "adapter.safetensors")
    tensors.pop("layer_norm.weight")
    save_file(tensors, tmp_path / "adapter.safetensors")
    life = by_the_clock.Life(world, clips, trial(tmp_path))
    with pytest.raises(TrainingError, match="1 tensors missing"):
        life.load(tmp_path)


def test_voices_stay_where_they_are_asked_about(
    trained: Path,
    world: worlds.World,
    clips: ResidentClips,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    life = by_the_clock.Life(world, clips, trial(tmp_path))
    life.load(trained)
    talks = worlds.Talks(world, "sft", np.random.default_rng(0), CPU, None)
    tasks = ("transcribe", "gender", "digit", "questions", "digit_choice", "caption")
    asked: list[str] = []
    staying: list[bool] = []

    def about(ids: np.ndarray) -> tuple[np.ndarray, list[worlds.Talk]]:
        ids, drawn = worlds.Talks.about(talks, ids)
        drawn = [replace(talk, task=tasks[i % len(tasks)]) for i, talk in enumerate(drawn)]
        asked.extend(talk.task for talk in drawn)
        return ids, drawn

    def batch(ids: torch.Tensor, *, same_voice: torch.Tensor | None = None, **known: Any) -> Any:
        staying.extend(() if same_voice is None else same_voice.tolist())
        return ResidentClips.batch(clips, ids, same_voice=same_voice, **known)

    monkeypatch.setattr(talks, "about", about)
    monkeypatch.setattr(clips, "batch", batch)
    read = worlds.Talks(world, "oracle", np.random.default_rng(0), CPU, None)
    life.run("sft", 60.0, {"sft": talks, "oracle": read})
    assert {task for task, stays in zip(asked, staying, strict=True) if not stays} == {
        "transcribe",
        "digit",
        "digit_choice",
    }
    assert {"gender", "questions", "caption"} <= set(asked)


def test_the_encoder_drops_out_in_training_only(
    trained: Path, world: worlds.World, clips: ResidentClips, tmp_path: Path
) -> None:
    life = by_the_clock.Life(world, clips, trial(tmp_path))
    layer = life.model.audio_encoder.layers[0]
    assert life.model.audio_encoder.dropout == layer.dropout == by_the_clock.DROPOUT > 0
    assert workspace_config(world.run).audio_config.dropout == 0  # of what is assembled


def test_parts_become_a_model_that_answers_and_comes_apart_again(
    trained: Path, world: worlds.World, tmp_path: Path
) -> None:
    teachers, folder = tmp_path / "teachers.safetensors", tmp_path / "model"
    by_the_clock.assemble(
        argparse.Namespace(parts=trained, run_folder=world.run, out=folder, teachers=teachers)
    )
    reply = EurekaAudio.from_pretrained(folder).ask(
        world.clips[0].path, "what is said?", choices=["one", "two"]
    )
    assert str(reply) in {"one", "two"}
    model = load_checkpoint(folder)
    assert model.ctc_head is not None
    assert torch.equal(model.ctc_head.weight, load_file(teachers)["heads.ctc_head.weight"])
    assert model.generation_config.transcription_ctc_weight > 0
    by_the_clock.take_apart(
        argparse.Namespace(model=folder, parts=tmp_path / "parts", teachers=teachers)
    )
    for name in ("encoder", "decoder", "adapter"):
        first, second = (
            load_file(each / f"{name}.safetensors") for each in (trained, tmp_path / "parts")
        )
        assert first.keys() == second.keys()
        assert all(torch.equal(first[key], second[key]) for key in first)


def test_parts_become_the_stages_of_a_run(
    trained: Path, world: worlds.World, tmp_path: Path
) -> None:
    (tmp_path / "processor").symlink_to(world.run / "processor")
    by_the_clock.install(argparse.Namespace(parts=trained, run_folder=tmp_path))
    recipe = worlds.RECIPE
    stages = {*recipe.encoders, "decoder", *recipe.oracles}
    assert {path.name for path in tmp_path.iterdir()} == stages | {"processor"}
    oracle = OracleModel(
        Qwen3ForCausalLM(workspace_config(world.run).text_config), world.processor.audio_token_id
    )
    load_weights(newest(tmp_path / "oracle"), oracle)
    decoder = load_file(trained / "decoder.safetensors")
    torch.testing.assert_close(oracle.oracle.weight.detach().bfloat16(), decoder["oracle.weight"])


def test_a_start_without_a_decoder_is_refused_at_once(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "encoder.safetensors").symlink_to(trained / "encoder.safetensors")
    with pytest.raises(TrainingError, match=r"expected decoder\.safetensors"):
        by_the_clock.train(argparse.Namespace(processes=1, start=tmp_path, pack=None))


def test_a_talk_has_a_placeholder_for_every_audio_token(world: worlds.World) -> None:
    talks = worlds.Talks(world, "sft", np.random.default_rng(0), CPU, None)
    ids, about = talks.about(np.arange(len(world.clips)))
    assert len(ids) == len(about) > 0
    counts = list(range(3, 3 + len(about)))
    rows, places = talks.rows(about, counts, [1.0] * len(about), 2)
    placeholders = (rows["input_ids"] == world.processor.audio_token_id).sum(dim=1)
    assert placeholders.tolist() == [*counts, 0, 0]
    assert places.shape == (0, 4)  # nobody told the phones of tones
    learnt = rows["labels"] != -100
    assert torch.equal(rows["labels"][learnt], rows["input_ids"][learnt])


def test_clips_without_a_task_are_left_out(world: worlds.World) -> None:
    nothing = AudioClip(id="x", path="x.wav", duration_seconds=1.0)
    silent = worlds.World(world.run, world.processor, world.lines, ["synthetic"], [nothing], [])
    worlds.WORLD, before = silent, worlds.WORLD
    try:
        ids, about = worlds.Talks(silent, "sft", np.random.default_rng(0), CPU, None).about(
            np.array([0])
        )
    finally:
        worlds.WORLD = before
    assert len(ids) == len(about) == 0


def test_conversations_drawn_ahead_are_as_many_as_planned(world: worlds.World) -> None:
    with worlds.workers() as pool:
        talks = worlds.Talks(world, "sft", np.random.default_rng(0), CPU, pool)
        ids, _ = talks.about(np.arange(len(world.clips)))
    assert len(ids) == len(world.clips)
    assert talks._ahead is not None
    planned = worlds.TALKS_PER_CLIP["sft"]
    for index, drawn in talks._ahead.items():
        assert len(drawn) == planned[world.sources[index]]
