"""The step of one token written out, against the language model's own modules."""

from typing import Any

import pytest
import torch
from torch import Tensor

from eureka_audio.inference import decoding as decoding_module
from eureka_audio.inference.decoding import Decoding
from eureka_audio.inference.rounded_weights import quantize_weights
from eureka_audio.inference.token_step import TokenStep, can_step
from eureka_audio.model import EurekaAudioForConditionalGeneration
from tiny import bare_model, tiny_model

KINDS = ["qwen3", "qwen2", "llama"]
PROMPT = torch.tensor([[5, 6, 7, 8, 9]])


def model_of(kind: str, **settings: Any) -> EurekaAudioForConditionalGeneration:
    model = bare_model(text_config={"model_type": kind, **settings})
    with torch.no_grad():
        for name, parameter in model.language_model.named_parameters():
            if "norm" in name or "bias" in name:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def decoded(model: EurekaAudioForConditionalGeneration, num_tokens: int = 20) -> list[Tensor]:
    """Logits after the prompt and after each token of the greedy answer."""
    embed, decoding = model.get_input_embeddings(), Decoding(model)
    decoding.start(1)
    with torch.inference_mode():
        logits = [decoding.extend(embed(PROMPT))]
        for _ in range(num_tokens):
            logits.append(decoding.extend(embed(logits[-1].argmax(dim=-1, keepdim=True))))
    return logits


def counted(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The steps that are taken written out from now on."""
    taken = []
    plain = TokenStep.__call__

    def call(self: TokenStep, *arguments: Any) -> Tensor:
        taken.append(arguments)
        return plain(self, *arguments)

    monkeypatch.setattr(TokenStep, "__call__", call)
    return taken


@pytest.mark.parametrize("kind", KINDS)
def test_it_computes_what_the_modules_do(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(kind)
    taken = counted(monkeypatch)
    found = decoded(model)
    assert len(taken) == 20
    monkeypatch.setattr(decoding_module, "can_step", lambda base_model: False)
    expected = decoded(model)
    assert len(taken) == 20
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
        assert torch.equal(ours.argmax(dim=-1), theirs.argmax(dim=-1))


@pytest.mark.parametrize("bits", ["int8", "int4"])
def test_it_takes_rounded_weights(bits: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model()
    quantize_weights(model, bits)
    taken = counted(monkeypatch)
    found = decoded(model, 3)
    assert len(taken) == 3
    monkeypatch.setattr(decoding_module, "can_step", lambda base_model: False)
    torch.testing.assert_close(found[1], decoded(model, 1)[1], rtol=0.05, atol=0.1)


def test_a_row_goes_on_either_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Alone, beside another, and alone again, as requests come and go."""
    model = model_of("qwen3")
    embed, alone = model.get_input_embeddings(), Decoding(model)
    alone.start(1)
    other = Decoding(model)
    other.start(1)
    taken = counted(monkeypatch)
    with torch.inference_mode():
        token = alone.extend(embed(PROMPT)).argmax(dim=-1, keepdim=True)
        other.extend(embed(PROMPT[:, :3]))
        answer = [int(token)]
        for number in range(12):
            if number == 4:
                alone.join(other, 0)
            if number == 8:
                alone.cache.drop(1)
            tokens = torch.cat([token, torch.tensor([[11]])]) if 4 <= number < 8 else token
            token = alone.extend(embed(tokens))[:1].argmax(dim=-1, keepdim=True)
            answer.append(int(token))
    assert len(taken) == 8
    assert answer == [int(logits.argmax()) for logits in decoded(model, 12)]


def test_what_is_built_otherwise_goes_through_its_own_modules(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert not can_step(model_of("gemma").language_model.base_model)
    sliding = model_of("qwen2", use_sliding_window=True, sliding_window=4, max_window_layers=0)
    taken = counted(monkeypatch)
    decoded(sliding, 3)
    assert not taken
