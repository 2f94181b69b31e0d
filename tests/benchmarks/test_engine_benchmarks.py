"""The engine's benchmarks in small: what they count, and that they can miss."""

import json
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import torch

from eureka_audio.inference.decoding import Decoding

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
FEW = ["--requests", "48", "--concurrency", "12"]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> ModuleType:
    monkeypatch.syspath_prepend(BENCHMARKS)
    return import_module(request.param)


REQUESTS = pytest.mark.parametrize("script", ["engine_requests"], indirect=True)
SPEED = pytest.mark.parametrize("script", ["engine_speed"], indirect=True)


def last_line(capsys: pytest.CaptureFixture[str]) -> dict:
    found: dict = json.loads(capsys.readouterr().out.splitlines()[-1])
    return found


@REQUESTS
def test_no_request_gets_the_answer_of_another(
    script: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script.main(FEW) == 0
    counted = last_line(capsys)
    assert counted["equal"] + counted["cancelled"] == 48
    assert min(counted["equal"], counted["cancelled"]) > 0
    assert counted["different_answers_alone"] > 8


@REQUESTS
def test_requests_that_hear_their_neighbours_are_counted(
    script: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def looks_everywhere(self: Decoding, positions: torch.Tensor) -> torch.Tensor | None:
        width = self.cache.step.width
        rows, num_tokens = positions.shape
        return torch.ones(rows, 1, num_tokens, width, dtype=torch.bool) if rows > 1 else None

    monkeypatch.setattr(Decoding, "_mask", looks_everywhere)
    assert script.main(FEW) == 1
    assert last_line(capsys)["differ"] > 0


@SPEED
def test_speed_is_measured_in_small(script: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    code = script.main(["--parts", "decode", "first_token", "--layers", "1", "--tokens", "5"])
    measured = last_line(capsys)["parts"]
    assert measured["decode"]["int8_ms_per_token"] > 0
    assert measured["decode"]["int4_ms_per_token"] > 0
    assert 0 < measured["first_token"]["share_of_padded"] < 1
    assert code == int(any(part["missed"] for part in measured.values()))


@SPEED
def test_a_goal_nothing_was_measured_for_is_missed(script: ModuleType) -> None:
    assert not script.is_met("int4_per_llama_cpp", {}, 1.0)
    assert script.is_met("int4_per_llama_cpp", {"int4_per_llama_cpp": 1.0}, 1.0)
    assert not script.is_met("share_of_padded", {"share_of_padded": 0.4}, 0.35)
