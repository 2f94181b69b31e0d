"""The released names sorted, and its tensors taken in."""

import pytest
import torch
from safetensors.torch import save_file

from eureka_audio.errors import CheckpointError
from eureka_audio.model.conversion import from_released, sort_released_names
from tiny import bare_config, bare_model


def released_tensors(model):
    """A checkpoint with the names the released one is known to have."""
    tensors = {}
    for name, tensor in model.state_dict().items():
        if name.startswith("audio_encoder."):
            name = "audio_encoder.speech_encoder." + name.removeprefix("audio_encoder.")
        elif name.startswith("language_model."):
            name = "backbone." + name.removeprefix("language_model.")
        else:
            name = "audio_moe_adaptor.secret." + name.removeprefix("adapter.")
        tensors[name] = tensor.clone()
    for name in ("audio_embed.weight", "audio_head.weight", "lm_head.weight"):
        tensors[name] = torch.ones(3)
    for number in (0, 1, 3, 4):
        tensors[f"audio_ffn_adaptor.{number}.weight"] = torch.ones(2)
    return tensors


def undress(tensors):
    return {name.removeprefix("audio_moe_adaptor.secret."): t for name, t in tensors.items()}


@pytest.mark.parametrize("with_head", [True, False])
def test_released_names_convert_given_the_adapter_and_keep_the_unused(tmp_path, with_head):
    model = bare_model()
    tensors = released_tensors(model)
    if not with_head:
        del tensors["backbone.lm_head.weight"]
    save_file(tensors, tmp_path / "model.safetensors")
    converted, unused = from_released(tmp_path, model.config, undress)
    for name, tensor in model.state_dict().items():
        assert torch.equal(converted.state_dict()[name], tensor), name
    assert sorted(unused) == sorted(
        ["audio_embed.weight", "audio_head.weight", "lm_head.weight"]
        + [f"audio_ffn_adaptor.{number}.weight" for number in (0, 1, 3, 4)]
    )


def test_the_unknown_adapter_is_listed_not_guessed(tmp_path):
    save_file(released_tensors(bare_model()), tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="unpublished") as caught:
        from_released(tmp_path, bare_config())
    assert "audio_moe_adaptor.secret.router.weight (4, 64)" in str(caught.value)


def test_released_tensors_that_do_not_fit_are_refused(tmp_path):
    tensors = released_tensors(bare_model())
    del tensors["backbone.model.norm.weight"]
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"language_model\.model\.norm\.weight"):
        from_released(tmp_path, bare_config(), undress)


def test_a_name_of_no_known_kind_is_refused():
    with pytest.raises(CheckpointError, match=r"vision\.x"):
        sort_released_names(["backbone.model.norm.weight", "vision.x"])
