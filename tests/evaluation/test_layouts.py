"""Public layouts, manifests and item files become trials."""

import json
from pathlib import Path

import pytest

from eureka_audio.errors import EvaluationError
from eureka_audio.evaluation.benchmarks import benchmark_named
from eureka_audio.evaluation.layouts import Prompts, benchmark_trials, filled
from eureka_audio.evaluation.trials import Trial

PROMPTS = Prompts("Write down what is said.")


def trials(name: str, data: Path, prompts: Prompts = PROMPTS) -> list[Trial]:
    return list(benchmark_trials(benchmark_named(name), data, prompts))


def lines(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_mmar_in_its_public_folder(tmp_path: Path) -> None:
    row = {"id": "a", "audio_path": "./audio/a.wav", "question": "Q {choices}?"}
    lines(tmp_path / "MMAR-meta.jsonl", {**row, "choices": ["x", "y"], "answer": "x"})
    (trial,) = trials("mmar", tmp_path)
    assert trial.audio == (tmp_path / "audio" / "a.wav").resolve()
    assert trial.prompt.startswith("Q {choices}?\n")
    assert trial.prompt.endswith("x; y")
    assert trial.fields["answer"] == "x"
    (other,) = trials("mmar", tmp_path, Prompts("", "{question}|{choices}"))
    assert other.prompt == "Q {choices}?|x; y"


def test_a_manifest_of_clips_for_speech(tmp_path: Path) -> None:
    clip = {"id": "c", "path": "c.wav", "duration_seconds": 1, "transcript": "hello"}
    mute = {"id": "d", "path": "d.wav", "duration_seconds": 1}
    lines(tmp_path / "manifest.jsonl", clip, mute)
    (trial,) = trials("asr_en", tmp_path)
    assert (trial.system, trial.prompt) == ("Write down what is said.", "")
    assert trial.fields["reference"] == "hello"
    assert trial.audio == (tmp_path / "c.wav").resolve()


def test_librispeech_in_its_public_folder(tmp_path: Path) -> None:
    chapter = tmp_path / "61" / "70968"
    chapter.mkdir(parents=True)
    (chapter / "61-70968.trans.txt").write_text("61-70968-0000 HE BEGAN\n61-70968-0001 A TALE\n")
    found = trials("librispeech_clean", tmp_path)
    assert [trial.fields["reference"] for trial in found] == ["HE BEGAN", "A TALE"]
    assert found[0].audio == (chapter / "61-70968-0000.flac").resolve()


def test_items_of_ones_own(tmp_path: Path) -> None:
    path = lines(tmp_path / "items.jsonl", {"uid": 1, "audio": "q.wav", "answer": "A"})
    (trial,) = trials("openbookqa", tmp_path)
    assert (trial.uid, trial.prompt, trial.audio) == ("1", "", (tmp_path / "q.wav").resolve())
    lines(path, {"uid": 1, "prompt": "in words"})
    assert trials("ifeval", path)[0].prompt == "in words"
    lines(path, {"uid": 1, "question": "?"})
    with pytest.raises(EvaluationError, match="got neither"):
        trials("openbookqa", path)
    path.write_text('{"uid": 1}\n{"name": 2}\n')
    with pytest.raises(EvaluationError, match=r"items.jsonl:2|got neither"):
        trials("openbookqa", path)


def test_data_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match=r"mmau-test-mini.json.*comes from"):
        trials("mmau", tmp_path)
    with pytest.raises(EvaluationError, match="metadata file"):
        trials("mmsu", lines(tmp_path / "x.jsonl", {"a": 1}))


def test_prompts_are_filled_once() -> None:
    assert filled("{question} / {choices}", "{choices}", ["{question}"]) == "{choices} / {question}"
    assert filled("", "q", ["a"]) == ""
