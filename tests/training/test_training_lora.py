"""Low-rank updates: nothing at first, a plain layer in the end."""

import pytest
import torch
from torch import nn

from eureka_audio.errors import ConfigError
from eureka_audio.training.lora import LoraConfig, LoraLinear, add_lora, merge_lora


def part() -> nn.Module:
    torch.manual_seed(0)
    return nn.ModuleDict({"q_proj": nn.Linear(6, 4), "up": nn.Linear(6, 4, bias=False)})


def test_an_update_starts_at_nothing_and_merges_into_its_weight() -> None:
    model, input = part(), torch.randn(3, 6)
    before = model["q_proj"](input)  # type: ignore[index]
    names = set(model.state_dict())
    add_lora(model, LoraConfig(rank=2, alpha=4.0, targets=("q_proj",)))
    layer = model["q_proj"]  # type: ignore[index]
    assert isinstance(layer, LoraLinear)
    assert torch.equal(layer(input), before)
    nn.init.normal_(layer.lora_up)
    expected = before + 2.0 * input @ (layer.lora_up @ layer.lora_down).T
    torch.testing.assert_close(layer(input), expected)
    merge_lora(model)
    assert type(model["q_proj"]) is nn.Linear  # type: ignore[index]
    assert set(model.state_dict()) == names
    torch.testing.assert_close(model["q_proj"](input), expected)  # type: ignore[index]


def test_only_the_targets_change_and_an_unknown_one_is_refused() -> None:
    model = part()
    with pytest.raises(ConfigError, match=r"\['qproj'\]; it has \['q_proj', 'up'\]"):
        add_lora(model, LoraConfig(targets=("qproj",)))
    add_lora(model, LoraConfig(targets=("up",)))
    assert type(model["q_proj"]) is nn.Linear  # type: ignore[index]
    assert isinstance(model["up"], LoraLinear)  # type: ignore[index]
