"""Weights in 8 bits: what they change, and what they must not."""

from pathlib import Path

import pytest
import torch
from torch import nn

from eureka_audio import EurekaAudio
from eureka_audio.errors import ConfigError
from eureka_audio.inference import int8
from eureka_audio.inference.int8 import Int8Linear, quantize_weights
from eureka_audio.model.weights import save_checkpoint
from tiny import noise, tiny_model, tiny_processor


@pytest.mark.parametrize("bias", [True, False])
def test_products_are_near_those_of_the_weights(bias: bool) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(256, 100, bias=bias)
    rows = torch.randn(3, 5, 256)
    exact, rounded = linear(rows), Int8Linear(linear)(rows)
    assert rounded.shape == exact.shape
    error = (rounded - exact).norm() / exact.norm()
    assert 0 < error < 0.02


def test_a_loud_row_takes_nothing_from_the_others() -> None:
    torch.manual_seed(0)
    linear = nn.Linear(256, 100)
    rows = torch.randn(5, 256)
    rows[0] *= 1000  # as the first token of a prompt
    rows[4] = 0
    exact, rounded = linear(rows), Int8Linear(linear)(rows)
    assert bool(((rounded - exact).norm(dim=1) < 0.03 * exact.norm(dim=1)).all())
    assert torch.equal(rounded[4], linear.bias)


def test_the_largest_bytes_are_multiplied_rightly() -> None:
    linear = nn.Linear(64, 16, bias=False)
    nn.init.ones_(linear.weight)
    product = Int8Linear(linear)(torch.ones(1, 64))
    assert torch.allclose(product, torch.full((1, 16), 64.0), rtol=0.01)


def test_every_map_of_the_language_model_is_rounded_and_no_other() -> None:
    model = tiny_model()
    heard = model.get_audio_features(torch.zeros(1, 80, 100)).audio_embeds
    quantize_weights(model)
    kinds = {type(module) for module in model.language_model.modules()}
    assert Int8Linear in kinds
    assert nn.Linear not in kinds
    assert torch.equal(model.get_audio_features(torch.zeros(1, 80, 100)).audio_embeds, heard)


def test_a_model_is_loaded_so_and_answers(tmp_path: Path) -> None:
    save_checkpoint(tiny_model(1), tmp_path / "tiny", tiny_processor())
    assistant = EurekaAudio.from_pretrained(tmp_path / "tiny", dtype="int8", device="cpu")
    assert any(isinstance(each, Int8Linear) for each in assistant.model.modules())
    assert assistant.caption(noise(1.0)).finish_reason in ("stop", "length", "repetition")


def test_where_there_are_no_such_products_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8, "LIBRARY", "none such")
    with pytest.raises(ConfigError, match="8-bit products"):
        quantize_weights(tiny_model())
