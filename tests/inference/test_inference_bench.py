"""The benchmark, on a model small enough to run here."""

import json
from typing import Any

import pytest
import torch

from eureka_audio.cli.main import main
from eureka_audio.inference import bench
from eureka_audio.model import presets
from tiny import tiny_model


@pytest.fixture
def tiny_preset(monkeypatch: pytest.MonkeyPatch) -> str:
    config = tiny_model().config.to_dict()
    shapes: dict[str, Any] = {
        key: config[key] for key in ("audio_config", "text_config", "adapter_config")
    }
    monkeypatch.setitem(presets.PRESETS, "tiny", shapes)
    return "tiny"


def test_it_prints_a_table_and_one_line_of_json(tiny_preset: str, capsys) -> None:
    threads = torch.get_num_threads()
    assert main(["bench", "--preset", tiny_preset, "--tokens", "6", "--threads", "1"]) == 0
    *table, last = capsys.readouterr().out.splitlines()
    result = json.loads(last)
    assert any(line.startswith("ours ") for line in table)
    assert result["hardware"]["num_threads"] == 1
    for who in ("ours", "transformers"):
        assert result[who]["tokens_per_second"] > 0
    assert result["speed_up"] > 0
    assert {"commit", "versions", "weight_gb", "dtype"} <= result.keys()
    assert torch.get_num_threads() == threads


def test_both_ways_decode_the_same_tokens(tiny_preset: str) -> None:
    model = bench.random_model(tiny_preset).float()
    prompt = torch.arange(16)[None]
    with torch.inference_mode():
        embed = model.get_input_embeddings()
        decoding = bench.Decoding(model)
        decoding.start(1)
        logits = decoding.extend(embed(prompt))
        ours = []
        for _ in range(8):
            ours.append(int(logits.argmax()))
            logits = decoding.extend(embed(torch.tensor([ours[-1:]])))
        theirs = model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=8,
            do_sample=False,
            pad_token_id=0,
        )
    assert theirs[0, 16:].tolist() == ours


def test_random_weights_are_no_constant_and_norms_are_ones(tiny_preset: str) -> None:
    model = bench.random_model(tiny_preset)
    assert not model.config.pad_windows
    assert all(parameter.dtype == torch.bfloat16 for parameter in model.parameters())
    embedding = model.get_input_embeddings().weight.detach()
    assert 0.015 < float(embedding.float().std()) < 0.025
    assert len(embedding.unique(dim=0)) == len(embedding)
    assert bool((model.language_model.model.norm.weight == 1).all())


@pytest.mark.parametrize("arguments", [["--tokens", "1"], ["--threads", "0"], ["--preset", "big"]])
def test_what_cannot_be_measured_is_a_usage_error(arguments: list[str], capsys) -> None:
    assert main(["bench", *arguments]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_token_reads_the_head_but_not_the_embedding() -> None:
    model = tiny_model()  # untied
    width, vocab = model.config.text_config.hidden_size, model.config.text_config.vocab_size
    everything = 4 * sum(p.numel() for p in model.language_model.parameters())
    assert bench.bytes_read_per_token(model) == everything - 4 * width * vocab
    model.language_model.lm_head.weight = model.get_input_embeddings().weight
    assert bench.bytes_read_per_token(model) == everything - 4 * width * vocab
