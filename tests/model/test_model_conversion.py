"""Parts saved by transformers itself joined, and the released names sorted."""

import pytest
import torch
from safetensors.torch import save_file
from tiny_eureka import AUDIO, make_batch, three_rows, tiny_config, tiny_model
from transformers import Qwen3ForCausalLM, WhisperForConditionalGeneration

from eureka_audio.errors import CheckpointError
from eureka_audio.model.conversion import from_pretrained_parts, from_released, sort_released_names


@pytest.fixture
def parts(tmp_path):
    config = tiny_config()
    config.audio_config.update({"decoder_layers": 1, "decoder_attention_heads": 2})
    config.audio_config.update({"vocab_size": 60, "pad_token_id": 0})
    torch.manual_seed(3)
    whisper = WhisperForConditionalGeneration(config.audio_config).eval()
    qwen3 = Qwen3ForCausalLM(config.text_config).eval()
    whisper.save_pretrained(tmp_path / "whisper")
    qwen3.save_pretrained(tmp_path / "qwen3", max_shard_size="10KB")
    return tmp_path, whisper, qwen3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_parts_keep_their_weights_and_work(parts, dtype):
    folder, whisper, qwen3 = parts
    model = from_pretrained_parts(
        folder / "whisper",
        folder / "qwen3",
        audio_token_id=AUDIO,
        pad_windows=False,
        adapter_config={"num_experts": 4, "expert_intermediate_size": 16},
        dtype=dtype,
    ).eval()
    for name, tensor in whisper.model.encoder.state_dict().items():
        assert torch.equal(model.audio_encoder.state_dict()[name], tensor.to(dtype)), name
    for name, tensor in qwen3.state_dict().items():
        assert torch.equal(model.language_model.state_dict()[name], tensor.to(dtype)), name
    assert model.language_model.lm_head.weight is model.get_input_embeddings().weight
    assert model.language_model.model.rotary_emb.inv_freq.dtype is torch.float32
    rms = qwen3.get_input_embeddings().weight.float().square().mean().sqrt().item()
    assert model.adapter.layer_norm.weight[0].item() == pytest.approx(rms, rel=0.01)
    if dtype is torch.float32:
        ids, features = torch.randint(5, 48, (2, 9)), torch.randn(2, 8, 200)
        with torch.no_grad():
            assert torch.equal(model(input_ids=ids).logits, qwen3(input_ids=ids).logits)
            assert torch.equal(
                model.audio_encoder(features).last_hidden_state,
                whisper.model.encoder(features).last_hidden_state,
            )
    batch = make_batch(three_rows())
    assert model.generate(**batch, max_new_tokens=3).shape[0] == 3


def test_the_gain_can_be_chosen(parts):
    folder, _, _ = parts
    adapter = {"layer_norm_init": 0.5, "expert_intermediate_size": 16}
    model = from_pretrained_parts(folder / "whisper", folder / "qwen3", adapter_config=adapter)
    assert torch.all(model.adapter.layer_norm.weight == 0.5)


def test_parts_that_are_not_what_they_should_be(parts):
    folder, _, _ = parts
    with pytest.raises(CheckpointError, match="nowhere"):
        from_pretrained_parts(folder / "nowhere", folder / "qwen3")
    with pytest.raises(CheckpointError, match="expected model_type 'qwen3', got 'whisper'"):
        from_pretrained_parts(folder / "whisper", folder / "whisper")


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
    model = tiny_model()
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
    save_file(released_tensors(tiny_model()), tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="unpublished") as caught:
        from_released(tmp_path, tiny_config())
    assert "audio_moe_adaptor.secret.router.weight (4, 64)" in str(caught.value)


def test_released_tensors_that_do_not_fit_are_refused(tmp_path):
    tensors = released_tensors(tiny_model())
    del tensors["backbone.model.norm.weight"]
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"language_model\.model\.norm\.weight"):
        from_released(tmp_path, tiny_config(), undress)


def test_a_name_of_no_known_kind_is_refused():
    with pytest.raises(CheckpointError, match=r"vision\.x"):
        sort_released_names(["backbone.model.norm.weight", "vision.x"])
