"""What a recipe begins with when it goes on with a whole model."""

from pathlib import Path
from typing import Any

import pytest
import torch

from eureka_audio.errors import ConfigError
from eureka_audio.model.weights import save_checkpoint
from eureka_audio.training.recipe import Recipe
from eureka_audio.training.start import starting_model
from tiny import tiny_model, tiny_processor, tiny_recipe, tiny_whisper


def going_on(start: Path, **settings: Any) -> Recipe:
    whole = {"start": str(start), "encoder": None, "language_model": None}
    return tiny_recipe(**{**whole, **settings})


def test_a_model_goes_on_with_its_own_encoder_or_with_another(tmp_path: Path) -> None:
    before = tiny_model()
    save_checkpoint(before, tmp_path / "whole", tiny_processor())
    other = tiny_model(seed=1)
    save_checkpoint(other, tmp_path / "other", tiny_processor())
    for encoder, lender in ((None, before), (str(tmp_path / "other"), other)):
        model, _ = starting_model(going_on(tmp_path / "whole", encoder=encoder))
        for name, tensor in model.state_dict().items():
            source = lender if name.startswith("audio_encoder.") else before
            assert torch.equal(tensor, source.state_dict()[name].float()), name


def test_an_encoder_of_another_shape_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tiny_model(), tmp_path / "whole", tiny_processor())
    tiny_whisper(max_source_positions=1500, encoder_layers=1).save_pretrained(tmp_path / "w")
    with pytest.raises(ConfigError, match="encoder: expected one of the same shape"):
        starting_model(going_on(tmp_path / "whole", encoder=str(tmp_path / "w")))
