"""A training run that has heard its test does not start, unless it is told to."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from eureka_audio.cli import training_overlap
from eureka_audio.cli.main import main
from eureka_audio.errors import EvaluationError
from eureka_audio.training import checks, stages

RECIPE = """
name: small
start: nano
sources:
  own: {manifest: own/train}
  other: {manifest: other/train}
  unused: {manifest: unused/train}
stages:
  sft:
    trainable: [adapter]
    mixture: {weights: {own: 1, other: 1, unused: 0}}
    tasks: {own: {transcribe: 1}, other: {transcribe: 1}}
"""
SENTENCE = "the quick brown fox jumps over the lazy dog"


def tune(seed: int) -> np.ndarray:
    """Two seconds of notes that no other seed has."""
    rng = np.random.default_rng(seed)
    notes = rng.uniform(250, 3_000, size=(16, 3))
    time = np.arange(2_000) / 16_000
    pieces = [sum(np.sin(2 * np.pi * f * time) for f in chord) for chord in notes]
    loud = np.repeat(rng.uniform(0.05, 1.0, size=16), 2_000)
    return (0.1 * np.concatenate(pieces) * loud).astype(np.float32)


def write_set(folder: Path, split: str, **tunes: int | tuple[int, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "manifest.jsonl").open("w") as stream:
        for name, what in tunes.items():
            seed, words = what if isinstance(what, tuple) else (what, None)
            soundfile.write(folder / f"{name}.wav", tune(seed), 16_000)
            row = {"id": name, "path": f"{name}.wav", "duration_seconds": 2.0, "split": split}
            stream.write(json.dumps(row | {"transcript": words}) + "\n")


class Run:
    """A recipe with its data, and which runs were let through."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.started = 0
        (folder / "recipe.yaml").write_text(RECIPE)
        (folder / "recordings").mkdir()
        write_set(folder / "data" / "own" / "train", "train", a=1, b=(2, SENTENCE))
        write_set(folder / "data" / "other" / "train", "train", c=3)
        monkeypatch.setattr(checks, "check_recipe", lambda space: None)
        monkeypatch.setattr(stages, "run_recipe", self._start)

    def _start(self, *anything: object) -> None:
        self.started += 1

    def train(self, *more: str) -> int:
        places = ["--data", str(self.folder / "data")]
        places += ["--recordings", str(self.folder / "recordings")]
        places += ["--out", str(self.folder / "run")]
        return main(["train", str(self.folder / "recipe.yaml"), *places, *more])

    @property
    def report(self) -> dict[str, object]:
        return dict(json.loads((self.folder / "run" / "contamination.json").read_text()))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    return Run(tmp_path, monkeypatch)


def test_a_clean_run_starts_and_says_what_was_compared(run: Run) -> None:
    write_set(run.folder / "data" / "own" / "test", "test", x=8, y=9)
    write_set(run.folder / "data" / "unused" / "train", "train", z=8)  # no stage hears it
    assert run.train() == 0
    assert run.started == 1
    assert run.report["overlaps"] == []
    assert (run.report["num_trained"], run.report["num_evaluated"]) == (3, 2)


@pytest.mark.parametrize(
    ("shared", "mark"), [({"x": 3}, "samples"), ({"x": (9, SENTENCE.upper() + "!")}, "words")]
)
def test_a_run_that_has_heard_its_test_is_refused(
    run: Run, shared: dict[str, int | tuple[int, str]], mark: str, capsys
) -> None:
    write_set(run.folder / "data" / "own" / "test", "test", **shared)
    assert run.train() != 0
    assert run.started == 0
    message = capsys.readouterr().err
    assert "expected training and evaluation to share nothing" in message
    assert mark in message
    [overlap] = run.report["overlaps"]
    assert (overlap["mark"], overlap["evaluated"]) == (mark, "x")
    assert run.train("--overlap", "report") == 0
    assert run.started == 1


def test_any_set_can_be_named_and_then_it_alone_counts(run: Run) -> None:
    write_set(run.folder / "data" / "own" / "test", "test", x=1)
    write_set(run.folder / "mine", "train", y=3)
    write_set(run.folder / "clean", "test", y=7)
    assert run.train("--evaluation-set", str(run.folder / "mine")) != 0
    assert run.train("--evaluation-set", str(run.folder / "clean" / "manifest.jsonl")) == 0


def test_told_not_to_look_it_does_not(run: Run, capsys) -> None:
    write_set(run.folder / "data" / "own" / "test", "test", x=3)
    assert run.train("--overlap", "ignore") == 0
    assert not (run.folder / "run").exists()
    named = ["--evaluation-set", str(run.folder / "data" / "own" / "test")]
    assert run.train("--overlap", "ignore", *named) == 2
    assert "no effect" in capsys.readouterr().err


def test_clips_are_compared_once_until_one_of_them_changes(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_set(run.folder / "data" / "own" / "test", "test", x=8)
    compared = []
    real = training_overlap.find_overlaps
    monkeypatch.setattr(
        training_overlap, "find_overlaps", lambda *a: compared.append(1) or real(*a)
    )
    assert [run.train(), run.train()] == [0, 0]
    assert len(compared) == 1
    write_set(run.folder / "data" / "own" / "test", "test", x=(8, SENTENCE))
    assert run.train() != 0
    assert run.train() != 0  # what is remembered is refused again
    assert len(compared) == 2
    (run.folder / "run" / "contamination.json").write_text("[]")
    assert run.train() != 0
    assert len(compared) == 3


def test_sentences_that_a_publisher_gave_to_both_splits_are_reported(run: Run) -> None:
    def clip(name: str, source: str) -> dict[str, object]:
        row = {"id": name, "path": f"{name}.wav", "duration_seconds": 2.0, "transcript": SENTENCE}
        return {**row, "source": source}

    for source, refused in (("speechocean762: test", False), ("my own: test", True)):
        trained = [training_overlap.AudioClip(**clip("a", source))]
        evaluated = [training_overlap.AudioClip(**clip("b", source))]
        out = run.folder / ("refused" if refused else "reported")
        if refused:
            with pytest.raises(EvaluationError, match="share nothing"):
                training_overlap.check_overlap(trained, evaluated, out, None, "refuse")
        else:
            found = training_overlap.check_overlap(trained, evaluated, out, None, "refuse")
            assert len(found.overlaps) == 1
            assert json.loads((out / "contamination.json").read_text())["shared_by_publisher"] == 1


def test_settings_may_stand_after_options_and_a_wrong_recipe_stops_before_any_work(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    assert run.train("--overlap", "ignore", "stages.sft.trainer.max_steps=7", "seed=3") == 0
    assert run.train("--overlap", "ignore", "stages.sft.trainer.max_stepz=7") == 2
    assert "did you mean stages.sft.trainer.max_steps?" in capsys.readouterr().err
    monkeypatch.undo()
    (run.folder / "data" / "own" / "train" / "a.wav").unlink()
    assert run.train("--overlap", "ignore") == 2
    assert "expected the file of every clip" in capsys.readouterr().err
    assert not (run.folder / "run").exists()
