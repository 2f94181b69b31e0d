"""Weights in 8 and in 4 bits: what they change, and what they must not."""

from pathlib import Path

import pytest
import torch
from torch import nn

from eureka_audio import EurekaAudio
from eureka_audio.errors import ConfigError
from eureka_audio.inference import int8
from eureka_audio.inference.int4 import Int4Linear
from eureka_audio.inference.int8 import Int8Linear
from eureka_audio.inference.rounded_weights import ROUNDED, quantize_weights
from eureka_audio.model.weights import save_checkpoint
from tiny import noise, tiny_model, tiny_processor

ERRORS = {"int8": 0.02, "int4": 0.1}  # of a product, as a share of it


@pytest.mark.parametrize("kind", ROUNDED)
@pytest.mark.parametrize("bias", [True, False])
def test_products_are_near_those_of_the_weights(kind: str, bias: bool) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(256, 112, bias=bias)
    rows = torch.randn(3, 5, 256)
    exact, rounded = linear(rows), ROUNDED[kind](linear)(rows)
    assert (rounded.shape, rounded.dtype) == (exact.shape, exact.dtype)
    error = (rounded - exact).norm() / exact.norm()
    assert ERRORS[kind] / 10 < error < ERRORS[kind]


@pytest.mark.parametrize("kind", ROUNDED)
def test_a_loud_row_takes_nothing_from_the_others(kind: str) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(256, 112)
    rows = torch.randn(5, 256)
    rows[0] *= 1000  # as the first token of a prompt
    rows[4] = 0
    exact, rounded = linear(rows), ROUNDED[kind](linear)(rows)
    errors = (rounded - exact).norm(dim=1) / exact.norm(dim=1)
    assert bool((errors < 1.5 * ERRORS[kind]).all())
    assert torch.equal(rounded[4], linear.bias)


def test_the_largest_bytes_are_multiplied_rightly() -> None:
    linear = nn.Linear(64, 16, bias=False)
    nn.init.ones_(linear.weight)
    product = Int8Linear(linear)(torch.ones(1, 64))
    assert torch.allclose(product, torch.full((1, 16), 64.0), rtol=0.01)


def test_weights_of_sixteen_steps_are_kept_as_they_are_in_4_bits() -> None:
    linear = nn.Linear(96, 32, bias=False)
    steps = torch.arange(32 * 96).view(32, 96) % 16 - 3.0  # every group has its own of all steps
    linear.weight.data = steps * 2.0 ** (torch.arange(32) % 6)[:, None]
    rounded = Int4Linear(linear)(torch.eye(96)).T
    assert torch.equal(rounded, linear.weight)


@pytest.mark.parametrize("shape", [(48, 32), (64, 30)])
def test_weights_that_make_no_whole_groups_have_8_bits(shape: tuple[int, int]) -> None:
    assert isinstance(ROUNDED["int4"](nn.Linear(*shape)), Int8Linear)
    assert isinstance(ROUNDED["int4"](nn.Linear(64, 32)), Int4Linear)


@pytest.mark.parametrize(("kind", "kept"), [("int8", Int8Linear), ("int4", Int4Linear)])
def test_every_map_of_the_language_model_is_rounded_and_no_other(
    kind: str, kept: type[nn.Module]
) -> None:
    model = tiny_model()
    heard = model.get_audio_features(torch.zeros(1, 80, 100)).audio_embeds
    quantize_weights(model, kind)
    kinds = {type(module) for module in model.language_model.modules()}
    assert kept in kinds
    assert nn.Linear not in kinds
    assert torch.equal(model.get_audio_features(torch.zeros(1, 80, 100)).audio_embeds, heard)


@pytest.mark.parametrize(("kind", "kept"), [("int8", Int8Linear), ("int4", Int4Linear)])
def test_a_model_is_loaded_so_and_answers(tmp_path: Path, kind: str, kept: type[nn.Module]) -> None:
    save_checkpoint(tiny_model(1), tmp_path / "tiny", tiny_processor())
    assistant = EurekaAudio.from_pretrained(tmp_path / "tiny", dtype=kind, device="cpu")
    assert any(isinstance(each, kept) for each in assistant.model.modules())
    assert assistant.caption(noise(1.0)).finish_reason in ("stop", "length", "repetition")


@pytest.mark.parametrize("kind", ROUNDED)
def test_where_there_are_no_such_products_it_says_so(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(int8, "LIBRARY", "none such")
    with pytest.raises(ConfigError, match="products of rounded weights"):
        quantize_weights(tiny_model(), kind)
