"""Where nobody speaks nano writes no word."""

import importlib
import json
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def test_silence_noise_and_music_do_not_become_speech(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    suite = importlib.import_module("no_speech")
    out = tmp_path / "no_speech.json"
    assert suite.main(["--num", "3", "--out", str(out)]) == 0
    judged, judged_greedy, *unjudged = json.loads(out.read_text())["figures"]
    for figure in (judged, judged_greedy):
        assert figure["with_words"] == dict.fromkeys(suite.KINDS, 0)
    assert [figure["no_speech_threshold"] for figure in unjudged] == [0, 0]
