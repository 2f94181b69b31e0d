"""The comparison of adapters reads what the product's own training has logged."""

import importlib
import json
from pathlib import Path

import pytest


def test_the_last_evaluation_is_what_is_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repository: Path
) -> None:
    monkeypatch.syspath_prepend(str(repository / "benchmarks"))
    module = importlib.import_module("moe_against_dense")
    lines = [
        {"step": 1, "loss": 3.0, "next_token_loss": 3.0},
        {"step": 1, "digits_dev/digit/next_token_loss": 2.0},
        {"step": 2, "digits_dev/digit/next_token_loss": 1.0},
        {"step": 2, "loss": 1.5},
    ]
    log = tmp_path / "log.jsonl"
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert module.judged(log) == {"digits/digit": 1.0}
    losses = {
        kind: {"digit": values} for kind, values in (("moe", [1.0, 2.0]), ("dense", [2.0, 2.0]))
    }
    result = module.summarise(losses, {kind: {"total": 1, "active": 1} for kind in losses})
    assert result["losses"]["digit"]["difference"] == -0.5
