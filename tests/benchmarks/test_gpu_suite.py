"""The suite for a GPU, run from end to end on a CPU and a model of a thousandth of the size."""

import dataclasses
import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from eureka_audio.audio import clock
from eureka_audio.model import presets
from eureka_audio.model.adapter import EurekaAudioAdapter
from eureka_audio.model.placeholders import check_placeholders

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
TINY: dict[str, Any] = {
    "audio_config": {
        "num_mel_bins": 8,
        "d_model": 16,
        "encoder_layers": 1,
        "encoder_attention_heads": 2,
        "encoder_ffn_dim": 32,
        "max_source_positions": 1500,
    },
    "text_config": {
        "vocab_size": 64,
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "tie_word_embeddings": True,
    },
    "adapter_config": {
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "num_shared_experts": 1,
        "expert_intermediate_size": 16,
    },
}


@pytest.fixture
def suite(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setitem(presets.PRESETS, "tiny", TINY)
    monkeypatch.delenv("EUREKA_AUDIO_DEBUG", raising=False)
    module = importlib.import_module("gpu_suite")
    fewer = {"num_parity_clips": 1, "num_parity_tokens": 3}
    monkeypatch.setattr(module, "SMALL", dataclasses.replace(module.SMALL, **fewer))
    return module


def run(suite: ModuleType, *arguments: str) -> int:
    return suite.main(["--device", "cpu", "--preset", "tiny", *arguments])


def test_one_call_measures_everything(suite: ModuleType, tmp_path: Path, capsys) -> None:
    assert run(suite, "--out", str(tmp_path / "result.json")) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    result = json.loads(last)
    assert json.loads((tmp_path / "result.json").read_text()) == result
    assert {"preset", "precision", "hardware", "versions", "commit", "seconds"} <= result.keys()
    rows = {name: part["rows"] for name, part in result["parts"].items()}
    assert list(rows) == ["decode", "prefill", "training", "adapter", "parity"]
    assert all(any(line.startswith(f"{name} (") for line in lines) for name in rows)
    assert [(row["batch_size"], row["decoded_by"]) for row in rows["decode"]] == [
        (size, who) for size in (1, 2) for who in ("ours", "transformers")
    ]
    assert all(row["tokens_per_second"] > 0 for name in list(rows)[:3] for row in rows[name])
    assert [row["optimizer"] for row in rows["training"]] == ["adamw", "muon"]
    assert all(0 < row["last_loss"] < 10 for row in rows["training"])
    assert len([row for row in rows["adapter"] if "experts" in row]) == 4
    assert rows["adapter"][-1]["grouped_to_looped"] < 0.02
    assert rows["parity"][0]["agrees"]


def test_a_part_that_fails_is_told_and_the_others_are_measured(
    suite: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no\nkernel")

    monkeypatch.setitem(suite.PARTS, "decode", fail)
    assert run(suite, "--parts", "decode", "adapter") == 1
    parts = json.loads(capsys.readouterr().out.splitlines()[-1])["parts"]
    assert parts["decode"]["rows"] == [{"error": "RuntimeError: no kernel"}]
    assert len(parts["adapter"]["rows"]) == 5
    monkeypatch.setenv("EUREKA_AUDIO_DEBUG", "1")
    with pytest.raises(RuntimeError):
        run(suite, "--parts", "decode")


def test_a_device_that_computes_something_else_fails_the_suite(
    suite: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    answers = iter([(torch.tensor([1.0, 2.0]), [[3]]), (torch.tensor([1.0, 2.1]), [[3]])])
    monkeypatch.setattr(suite, "heard", lambda *_: next(answers))
    assert run(suite, "--parts", "parity") == 1
    [row] = json.loads(capsys.readouterr().out.splitlines()[-1])["parts"]["parity"]["rows"]
    assert row["equal_answers"] == 1
    assert not row["agrees"]


def test_training_that_does_not_fit_is_tried_with_checkpointing(
    suite: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = suite.training_row

    def short_of_memory(*arguments: Any) -> dict[str, Any]:
        if not arguments[-1]:
            raise torch.OutOfMemoryError
        return whole(*arguments)

    monkeypatch.setattr(suite, "training_row", short_of_memory)
    rows = suite.measure_training("tiny", torch.device("cpu"), suite.SMALL)
    assert [row["gradient_checkpointing"] for row in rows] == [False, True, False, True]
    assert [row.get("fits", True) for row in rows] == [False, True, False, True]
    assert rows[1]["seconds_per_step"] > 0


def test_a_long_recording_is_windows_of_thirty_seconds(suite: ModuleType) -> None:
    model = suite.random_model("tiny")
    batch = suite.make_batch(model, 2, 65, torch.device("cpu"))
    assert batch["feature_lengths"].tolist() == [3000, 3000, 500] * 2
    lengths = torch.tensor([clock.num_audio_tokens(n) for n in batch["feature_lengths"].tolist()])
    check_placeholders(batch["input_ids"] == suite.AUDIO_TOKEN_ID, lengths)
    assert len(batch["input_features"]) == 6


def test_the_plain_loop_is_what_it_is_compared_with(suite: ModuleType) -> None:
    torch.manual_seed(0)
    adapter = EurekaAudioAdapter(presets.preset("tiny").adapter_config)
    for parameter in adapter.parameters():
        torch.nn.init.normal_(parameter)
    tokens = torch.randn(9, adapter.router.weight.shape[1])
    routing = adapter.router(tokens)
    looped = suite.looped_experts(adapter, tokens, routing)
    torch.testing.assert_close(looped, adapter.experts(tokens, routing))


def test_without_a_gpu_the_default_is_a_usage_error(
    suite: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as stop:
        suite.main([])
    assert stop.value.code == 2
    assert "--device cpu --preset nano" in capsys.readouterr().err
