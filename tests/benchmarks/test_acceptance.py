"""Acceptance is the product's evaluation: its rows add up, its peers are optional."""

import importlib
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from eureka_audio.errors import ConfigError, MissingDependencyError
from eureka_audio.evaluation.results import parts_of, score_run
from eureka_audio.evaluation.runner import RunIdentity, run_trials
from eureka_audio.evaluation.trials import Trial
from eureka_audio.manifest import write_manifest
from eureka_audio.protocols import Reply
from eureka_audio.records import AudioClip, Speaker

SECOND = 16_000


def noise_samples(seconds: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (0.1 * rng.standard_normal(int(seconds * SECOND))).astype(np.float32)


BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def suite(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("acceptance")


class Parrot:
    """Writes and answers what it is told to, by the name of the file."""

    def __init__(self, words: dict[str, str]) -> None:
        self.words = words

    def transcribe(self, audio, language=None, *, errors="return"):
        return [Reply(self.words[path.stem], duration_seconds=2.0) for path in audio]

    def answer(self, conversations, *, max_new_tokens=None):
        return [Reply("nothing") for _ in conversations]

    def choose(self, conversations, choices):
        return [Reply(offered[0], scores=dict.fromkeys(offered, 0.1)) for offered in choices]


def item(uid: str, reference: str, dataset: str, **fields: object) -> Trial:
    fields |= {"reference": reference, "dataset": dataset}
    return Trial("eureka_speech", uid, system="Write.", audio=Path(f"{uid}.wav"), fields=fields)


def figures(suite, tmp_path: Path, items: list[Trial], words: dict[str, str]) -> dict[str, dict]:
    identity = RunIdentity("acceptance", "parrot", "1", choose=False, transcribe=True)
    run_trials(Parrot(words), items, tmp_path, identity)
    score_run(tmp_path)
    return dict(suite.figures_of(parts_of(tmp_path)))


def test_rows_add_up(suite, tmp_path: Path) -> None:
    items = [
        item("a", "red blue", "speechocean762"),
        item("b", "dog cat", "speechocean762"),
        item("c", "yes", "speech_commands"),
        item("d", "no", "speech_commands"),
        item("ab", "red blue dog cat", "joined", members=["a", "b"]),
        Trial("eureka_no_speech", "e", system="Write.", audio=Path("e.wav"),
              fields={"dataset": "esc10"}),
    ]  # fmt: skip
    words = {"a": "red blue", "b": "dog", "c": "Yes!", "d": "yes", "ab": "dog", "e": "..."}
    found = figures(suite, tmp_path, items, words)
    assert found["wer_sentences"] == {"items": 2, "value": 0.25}
    assert found["command_words"] == {"items": 2, "value": 0.5}
    joined = {"items": 1, "value": 3.0, "wer": 0.75, "one_by_one": 0.25}
    assert found["joined"] == pytest.approx(joined)
    assert found["no_speech"] == {"items": 1, "value": 1.0}
    assert found.keys() == {"wer_sentences", "command_words", "joined", "no_speech"}


def test_what_is_not_answered_counts_as_wrong(suite, tmp_path: Path) -> None:
    items = [item("a", "red blue", "speechocean762"), item("b", "dog cat", "speechocean762")]
    with (tmp_path / "x").open("w"):
        pass
    identity = RunIdentity("acceptance", "parrot", "1", transcribe=True)
    parrot = Parrot({"a": "red blue"})
    parrot.transcribe = lambda audio, language=None, *, errors: [
        Reply("red blue") if path.stem == "a" else ConfigError("no") for path in audio
    ]
    run_trials(parrot, items, tmp_path / "run", identity)
    score_run(tmp_path / "run")
    found = dict(suite.figures_of(parts_of(tmp_path / "run")))
    assert found["wer_sentences"] == {"items": 2, "value": 0.5}


def test_every_row_has_a_benchmark_and_goals_in_order(suite) -> None:
    from eureka_audio.evaluation.benchmarks import BENCHMARKS as KNOWN
    from eureka_audio.parts.names import PACKAGED_MODELS

    assert len({row.name for row in suite.ROWS}) == len(suite.ROWS)
    for row in suite.ROWS:
        assert row.benchmark in KNOWN
        for model, must in zip(PACKAGED_MODELS, row.musts, strict=bool(row.musts)):
            assert row.must(model) == must
            if row.stretch is not None:
                assert row.is_met(row.stretch, model)
                assert (row.stretch <= must) == row.less_is_better


def test_what_is_asked_are_clips_of_the_test_splits_and_recordings_of_a_minute(
    suite, tmp_path: Path
) -> None:
    pack, made = tmp_path / "pack" / "esc10", tmp_path / "made" / "speech"
    for folder in (pack, made):
        folder.mkdir(parents=True)
    speech = [
        AudioClip(
            id=f"s{n}", path=f"{n}.wav", duration_seconds=2, transcript=f"word {n}",
            language="en", speaker=Speaker(gender="male", age_group="adult"), split="test",
            source="speechocean762: x",
        )
        for n in range(4)
    ]  # fmt: skip
    for n in range(4):
        soundfile.write(made / f"{n}.wav", noise_samples(2, n), 16_000)
    write_manifest(made / "manifest.jsonl", speech)
    soundfile.write(pack / "dog.wav", noise_samples(1), 16_000)
    row = {"id": "d", "path": "dog.wav", "duration_s": 1.0, "split": "test", "source": "x",
           "license": "x", "restricted": False, "label": "dog"}  # fmt: skip
    (pack / "manifest.jsonl").write_text(json.dumps(row) + "\n")
    args = SimpleNamespace(
        recordings=pack.parent, synthetic=made.parent, split="test", limit=3, runs=tmp_path / "runs"
    )
    trials = list(suite.gathered(args))
    [joined] = [trial for trial in trials if trial.fields.get("dataset") == "joined"]
    members = {trial.uid for trial in trials if trial.benchmark == "eureka_speech"} - {joined.uid}
    assert set(joined.fields["members"]) == members
    assert len(members) == 2  # of 4 clips at most 3, at even distances
    samples, _ = soundfile.read(joined.audio)
    assert len(samples) == 2 * 2 * 16_000
    assert sorted(joined.fields["reference"].split()) == sorted(["word", "0", "word", "2"])
    assert {trial.fields.get("skill") for trial in trials} >= {"sound", "gender", "age"}
    assert [t.uid for t in trials if t.benchmark == "eureka_no_speech"] == ["d/silence"]


def test_without_faster_whisper_peers_are_left_out(suite, monkeypatch, capsys) -> None:
    peers = sys.modules["peers"]
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    with pytest.raises(MissingDependencyError, match="peers"):
        peers.FasterWhisper("base")
    with pytest.raises(ConfigError, match=r"one of tiny\.en, base"):
        peers.peer_folder("large")


def test_a_word_is_where_a_recording_is_loud(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    times = importlib.import_module("word_times")
    waveform = np.concatenate([noise_samples(0.3) * 1e-3, noise_samples(0.5), np.zeros(3_200)])
    assert times.loud(waveform.astype(np.float32)) == pytest.approx((0.3, 0.8), abs=0.02)
    said = times.TranscriptWord("go", 1.0, 2.0)
    found = times.errors([(said, times.TranscriptWord("go", 1.04, 1.91))])
    assert (found["start_mean_ms"], found["end_mean_ms"]) == (40, -90)
    assert (found["within_50_ms"], found["within_100_ms"]) == (0, 1)
    assert times.errors([]) == {"words": 0}
