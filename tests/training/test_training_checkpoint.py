"""Checkpoints: whole or absent, checked when read, never silently step 0."""

import itertools
import json
import logging
import multiprocessing
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from eureka_audio.errors import CheckpointError
from eureka_audio.training import checkpoint
from eureka_audio.training.checkpoint import (
    DIGESTS,
    is_finished,
    list_checkpoints,
    load_learnt,
    newest,
    resume_latest,
    save_checkpoint,
    verify,
)

FILES = ("model.safetensors", "optimizer.safetensors", "state.json", DIGESTS)
NUM_KILLS = int(os.environ.get("EUREKA_AUDIO_NUM_KILLS", "20"))


class Tied(nn.Module):
    """Two linears that share a matrix, and a part with a name of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.part = nn.Linear(6, 3)
        self.last = nn.Linear(6, 6, bias=False)
        self.last.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.part(self.last(self.first(x)).relu())


def make(seed: int = 0, muon: bool = False) -> tuple[Tied, list[torch.optim.Optimizer]]:
    torch.manual_seed(seed)
    model = Tied()
    optimizers: list[torch.optim.Optimizer] = [torch.optim.AdamW(model.parameters(), lr=0.01)]
    if muon:
        optimizers.append(torch.optim.Muon([model.part.weight], lr=0.01))
    return model, optimizers


def step(model: Tied, optimizers: list[torch.optim.Optimizer]) -> None:
    model(torch.randn(4, 6)).square().mean().backward()
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad()


def saved_run(folder: Path, steps: int = 3, keep: int = 2) -> list[dict[str, Tensor]]:
    """Train and save each step; returns the model's state after each."""
    model, optimizers = make()
    states = []
    for number in range(1, steps + 1):
        step(model, optimizers)
        save_checkpoint(folder, number, model, optimizers, keep)
        states.append({name: value.clone() for name, value in model.state_dict().items()})
    return states


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


@pytest.mark.parametrize("muon", [False, True])
def test_model_and_optimisers_come_back(tmp_path: Path, muon: bool) -> None:
    model, optimizers = make(muon=muon)
    step(model, optimizers)
    optimizers[0].param_groups[0]["peak_lr"] = 0.01
    save_checkpoint(tmp_path, 1, model, optimizers)
    torch.manual_seed(4)
    step(model, optimizers)
    after = {name: value.clone() for name, value in model.state_dict().items()}

    other, others = make(seed=9, muon=muon)
    assert resume_latest(tmp_path, other, others) == 1
    assert others[0].param_groups[0]["peak_lr"] == 0.01
    torch.manual_seed(4)
    step(other, others)
    assert same(dict(other.state_dict()), after)


def test_tied_tensors_are_stored_once_and_stay_tied(tmp_path: Path) -> None:
    saved_run(tmp_path)
    model, optimizers = make(seed=9)
    assert resume_latest(tmp_path, model, optimizers) == 3
    assert model.first.weight is model.last.weight


def test_an_empty_folder_is_a_fresh_start(tmp_path: Path) -> None:
    model, optimizers = make()
    assert resume_latest(tmp_path, model, optimizers) is None
    assert resume_latest(tmp_path / "none", model, optimizers) is None
    with pytest.raises(CheckpointError, match="run that stage first"):
        newest(tmp_path)


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    saved_run(tmp_path, steps=5, keep=2)
    names = [path.name for path in list_checkpoints(tmp_path)]
    assert names == ["checkpoint-00000004", "checkpoint-00000005"]
    assert newest(tmp_path).name == names[-1]


def test_files_are_safetensors_and_json_only(tmp_path: Path) -> None:
    saved_run(tmp_path)
    assert {file.name for file in newest(tmp_path).iterdir()} == set(FILES)


def damage(file: Path, how: str) -> None:
    content = bytearray(file.read_bytes())
    if how == "missing":
        file.unlink()
    elif how == "truncated":
        file.write_bytes(content[: len(content) // 2])
    elif how == "empty":
        file.write_bytes(b"")
    else:
        position = random.Random(how).randrange(len(content))
        content[position] ^= 1 << random.Random(how).randrange(8)
        file.write_bytes(content)


DAMAGES = ("missing", "truncated", "empty", *(f"bit {number}" for number in range(9)))


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_checkpoint_is_passed_over_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, how: str
) -> None:
    states = saved_run(tmp_path)
    damage(newest(tmp_path) / name, how)
    model, optimizers = make(seed=9)
    with caplog.at_level(logging.WARNING):
        assert resume_latest(tmp_path, model, optimizers) == 2
    assert same(dict(model.state_dict()), states[1])
    assert "checkpoint-00000003" in caplog.text
    assert "falling back" in caplog.text


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("name", FILES)
def test_a_run_whose_checkpoints_are_all_damaged_never_starts_over(
    tmp_path: Path, name: str, how: str
) -> None:
    saved_run(tmp_path)
    for path in list_checkpoints(tmp_path):
        damage(path / name, how)
    model, optimizers = make(seed=9)
    with pytest.raises(CheckpointError, match="expected a sound checkpoint"):
        resume_latest(tmp_path, model, optimizers)


def test_300_flipped_bits_and_100_truncations_are_all_found(tmp_path: Path) -> None:
    saved_run(tmp_path, steps=1)
    path, rng = newest(tmp_path), random.Random(0)
    for number in range(400):
        file = path / rng.choice(FILES[:3])
        sound = file.read_bytes()
        if number < 300:
            broken = bytearray(sound)
            broken[rng.randrange(len(sound))] ^= 1 << rng.randrange(8)
        else:
            broken = bytearray(sound[: rng.randrange(len(sound))])
        file.write_bytes(broken)
        with pytest.raises(CheckpointError, match=file.name):
            verify(path)
        file.write_bytes(sound)
    verify(path)


def test_a_digest_file_that_names_too_little_is_damaged(tmp_path: Path) -> None:
    saved_run(tmp_path, steps=1)
    for content in ("{}", "[]", "5", '{"state.json": "x"}', "null"):
        (newest(tmp_path) / DIGESTS).write_text(content)
        with pytest.raises(CheckpointError, match=DIGESTS):
            verify(newest(tmp_path))


def test_swapped_files_of_one_size_are_found(tmp_path: Path) -> None:
    saved_run(tmp_path)
    older, newer = list_checkpoints(tmp_path)
    names = [path / "model.safetensors" for path in (older, newer)]
    contents = [name.read_bytes() for name in names]
    assert len(contents[0]) == len(contents[1])
    for name, content in zip(names, contents[::-1], strict=True):
        name.write_bytes(content)
    model, optimizers = make()
    with pytest.raises(CheckpointError):
        resume_latest(tmp_path, model, optimizers)


def test_saving_after_a_fall_back_never_deletes_the_sound_one(tmp_path: Path) -> None:
    saved_run(tmp_path, steps=4, keep=2)  # 3 and 4
    damage(newest(tmp_path) / "model.safetensors", "truncated")
    model, optimizers = make(seed=9)
    assert resume_latest(tmp_path, model, optimizers) == 3
    save_checkpoint(tmp_path, 3, model, optimizers, keep=1)  # 4, damaged, is still there
    assert resume_latest(tmp_path, model, optimizers) == 3
    save_checkpoint(tmp_path, 4, model, optimizers, keep=1)  # and is replaced when its step comes
    assert resume_latest(tmp_path, model, optimizers) == 4
    assert [path.name for path in list_checkpoints(tmp_path)] == ["checkpoint-00000004"]


def test_what_a_killed_save_left_is_swept_at_the_next_start(tmp_path: Path) -> None:
    saved_run(tmp_path)
    (tmp_path / ".checkpoint-00000009.abc.tmp").mkdir()
    (tmp_path / ".checkpoint-00000009.abc.tmp" / "model.safetensors").write_bytes(b"half")
    model, optimizers = make()
    assert resume_latest(tmp_path, model, optimizers) == 3
    assert not list(tmp_path.glob(".*"))


def test_another_recipe_is_told_apart(tmp_path: Path) -> None:
    saved_run(tmp_path)
    model, optimizers = make(muon=True)
    with pytest.raises(CheckpointError, match="other optimisers"):
        resume_latest(tmp_path, model, optimizers)
    model, _ = make()
    fewer: list[torch.optim.Optimizer] = [torch.optim.AdamW(model.part.parameters())]
    with pytest.raises(CheckpointError, match="other trainable parameters"):
        resume_latest(tmp_path, model, fewer)
    with pytest.raises(CheckpointError, match="does not fit this model"):
        load_learnt(newest(tmp_path), nn.Linear(6, 7))
    frozen, optimizers = make()
    frozen.part.requires_grad_(False)
    with pytest.raises(CheckpointError, match=r"other trainable tensors: \['part.bias'"):
        resume_latest(tmp_path, frozen, optimizers)


def test_a_stage_that_began_with_something_else_is_not_gone_on_with(tmp_path: Path) -> None:
    model, optimizers = make()
    save_checkpoint(tmp_path, 1, model, optimizers, started_from="these parts")
    assert resume_latest(tmp_path, model, optimizers, "these parts") == 1
    with pytest.raises(CheckpointError, match="from other parts, got one from these parts"):
        resume_latest(tmp_path, model, optimizers, "other parts")


def test_what_does_not_learn_is_not_saved_and_stays_as_it_is(tmp_path: Path) -> None:
    model, optimizers = make()
    model.first.requires_grad_(False)
    step(model, optimizers)
    save_checkpoint(tmp_path, 1, model, optimizers)
    other, _ = make(seed=9)
    before = other.first.weight.clone()
    load_learnt(newest(tmp_path), other)
    assert torch.equal(other.part.weight, model.part.weight)
    assert torch.equal(other.first.weight, before)
    bare = nn.Linear(6, 3)
    load_learnt(newest(tmp_path), bare, "part.")
    assert torch.equal(bare.weight, model.part.weight)


def test_a_run_is_finished_when_its_last_step_is_saved(tmp_path: Path) -> None:
    assert not is_finished(tmp_path, 3)
    saved_run(tmp_path)
    assert is_finished(tmp_path, 3)
    assert not is_finished(tmp_path, 4)


def test_a_full_disk_stops_the_save_and_leaves_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved_run(tmp_path)
    model, optimizers = make()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            save_checkpoint(tmp_path, 9, model, optimizers)
    assert resume_latest(tmp_path, model, optimizers) == 3
    assert not list(tmp_path.glob(".*"))


def test_files_are_on_the_disk_before_the_folder_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL keeps what the system has cached, so the order of calls is checked by itself."""
    calls: list[tuple[str, str]] = []
    fsync, rename = os.fsync, Path.rename

    def noted_fsync(descriptor: int) -> None:
        calls.append(("fsync", Path(f"/proc/self/fd/{descriptor}").readlink().name))
        fsync(descriptor)

    def noted_rename(self: Path, target: Path) -> Path:
        calls.append(("rename", Path(target).name))
        return rename(self, target)

    if not Path("/proc/self/fd").exists():
        pytest.skip("names of open files are read from /proc")
    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "rename", noted_rename)
    model, optimizers = make()
    save_checkpoint(tmp_path, 1, model, optimizers)
    renamed = calls.index(("rename", "checkpoint-00000001"))
    before = [name for kind, name in calls[:renamed] if kind == "fsync"]
    assert set(FILES) <= set(before)
    assert before[-1].startswith(".checkpoint-00000001")
    assert calls[renamed + 1 :] == [("fsync", tmp_path.name)]


# Where a save can be caught: its files half written, all of them written but the folder without its
# name, the folder named but the name not yet on the disk, the oldest checkpoint half removed.
UNFINISHED = (*FILES, "before the name")
CAUGHT = (*UNFINISHED, "after the name", "while removing")


def die_in_the_next_save(moment: str) -> None:
    """Let this process kill itself, as if from outside, once it comes to a moment of `CAUGHT`."""
    save_file, write_text, rename = checkpoint.save_file, Path.write_text, Path.rename
    rmtree = shutil.rmtree

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def die_halfway(file: Path) -> None:
        if file.name == moment:
            os.truncate(file, file.stat().st_size // 2)
            die()

    def caught_save_file(tensors: dict[str, Tensor], file: Path) -> None:
        save_file(tensors, file)
        die_halfway(file)

    def caught_write_text(self: Path, *arguments: Any, **settings: Any) -> int:
        length = write_text(self, *arguments, **settings)
        die_halfway(self)
        return length

    def caught_rename(self: Path, target: Path) -> Path:
        if moment == "before the name":
            die()
        named = rename(self, target)
        if moment == "after the name":
            die()
        return named

    def caught_rmtree(path: Path) -> None:
        if moment == "while removing":
            (path / FILES[0]).unlink()
            die()
        rmtree(path)

    checkpoint.save_file = caught_save_file
    Path.write_text = caught_write_text
    Path.rename = caught_rename
    shutil.rmtree = caught_rmtree


def save_for_ever(folder: Path, report: Connection, moment: str | None) -> None:
    """Resume, then step and save until killed, telling of each save once it is done.

    With a moment, the process is killed there in a save after the third.
    """
    torch.set_num_threads(1)
    model, optimizers = make()
    number = resume_latest(folder, model, optimizers) or 0
    report.send(number)
    for count in itertools.count(1):
        if moment is not None and count == 4:
            die_in_the_next_save(moment)
        step(model, optimizers)
        number += 1
        save_checkpoint(folder, number, model, optimizers, 2)
        report.send(number)


def told(receiver: Connection) -> Iterator[int]:
    """What a process reports, until it is dead."""
    while True:
        try:
            yield receiver.recv()
        except EOFError:
            return


def test_a_run_killed_at_any_moment_goes_on_from_a_whole_checkpoint(tmp_path: Path) -> None:
    """A process that does nothing but resume, save and rotate is killed again and again.

    At each moment of `CAUGHT` it dies by its own hand, so that every one is met on any machine; in
    between, at `NUM_KILLS` random moments, it is killed from here.
    """
    rng, acknowledged = random.Random(0), 0
    moments: list[str | None] = [*CAUGHT, *[None] * NUM_KILLS]
    rng.shuffle(moments)
    step(*make())  # what torch imports at a first step, no child needs to
    context = multiprocessing.get_context("fork")
    for moment in moments:
        receiver, sender = context.Pipe(duplex=False)
        left = set(tmp_path.glob(".checkpoint-*"))
        process = context.Process(
            target=save_for_ever, args=(tmp_path, sender, moment), daemon=True
        )
        process.start()
        sender.close()
        reports = told(receiver)
        assert next(reports) >= acknowledged  # nothing that was reported saved is lost
        assert not left & set(tmp_path.glob(".checkpoint-*"))  # and what was half done is gone
        if moment is None:
            time.sleep(rng.uniform(0.0, 0.2))
            process.kill()
        acknowledged = max([acknowledged, *reports])
        process.join()
        assert process.exitcode == -signal.SIGKILL
        if moment is not None:
            unfinished = set(tmp_path.glob(".checkpoint-*"))
            assert len(unfinished) == (moment in UNFINISHED), moment
    model, optimizers = make()
    found = resume_latest(tmp_path, model, optimizers)
    assert found is not None
    assert found >= acknowledged >= 3 * len(CAUGHT)
    assert json.loads((newest(tmp_path) / "state.json").read_text())["step"] == found
