"""What opinions bring is measured on transcripts that were really made."""

import importlib
from pathlib import Path

import pytest

from eureka_audio import EurekaAudio
from eureka_audio.inference import engine
from eureka_audio.manifest import read_manifest
from eureka_audio.records import AudioClip

ROOT = Path(__file__).resolve().parents[2]


def test_the_best_that_was_found_is_no_worse_than_what_was_chosen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    suite = importlib.import_module("opinions")
    monkeypatch.setattr(engine, "BeamSearch", suite.Watched)
    clips = [
        clip.model_copy(update={"path": str(ROOT / "examples" / clip.path)})
        for clip in read_manifest(ROOT / "examples" / "manifest.jsonl", AudioClip)
        if clip.transcript
    ]
    wrong = [clip.model_copy(update={"transcript": "nobody ever said so"}) for clip in clips]
    model = EurekaAudio.from_pretrained("nano")
    figures = suite.measure(model, clips, 4)
    assert figures["best_found"] <= figures["wer"] < 0.5
    assert len(suite.Watched.found_texts) == 4
    assert suite.measure(model, wrong, 2)["best_found"] > 0.5
