"""Parts saved by transformers itself joined: what goes in comes out, and works."""

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    Qwen2Config,
    Qwen3Config,
)

from eureka_audio.errors import CheckpointError, ConfigError
from eureka_audio.model import EurekaAudioConfig
from eureka_audio.model.joining import from_pretrained_parts
from eureka_audio.model.weights import load_checkpoint, save_checkpoint
from tiny import AUDIO, DECODER, MEL_BINS, bare_model, make_batch, three_rows, tiny_whisper

ADAPTER = {"num_experts": 4, "expert_intermediate_size": 16}
HEARING = {"num_mel_bins": MEL_BINS, "max_source_positions": 100}
KINDS = {"qwen3": Qwen3Config, "qwen2": Qwen2Config, "llama": LlamaConfig}


def tiny_language_model(kind: str, **settings: object):
    config = KINDS[kind](**{**DECODER, "vocab_size": 48, "pad_token_id": 0, **settings})
    torch.manual_seed(4)
    return AutoModelForCausalLM.from_config(config).eval()


@pytest.fixture(scope="module")
def whisper(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whisper")
    model = tiny_whisper(**HEARING)
    model.save_pretrained(folder)
    return folder, model


@pytest.fixture(params=[(kind, tied) for kind in KINDS for tied in (True, False)])
def language_model(request, tmp_path):
    kind, tied = request.param
    model = tiny_language_model(kind, tie_word_embeddings=tied)
    model.save_pretrained(tmp_path, max_shard_size="10KB")
    return tmp_path, model


def test_encoder_and_decoder_give_what_transformers_gives(whisper, language_model):
    folder, text = language_model
    model = from_pretrained_parts(
        whisper[0], folder, audio_token_id=AUDIO, pad_windows=False, adapter_config=ADAPTER
    ).eval()
    ids, features = torch.randint(5, 48, (2, 9)), torch.randn(2, 8, 200)
    with torch.no_grad():
        assert torch.equal(model(input_ids=ids).logits, text(input_ids=ids).logits)
        expected = whisper[1].model.encoder(features).last_hidden_state
        assert torch.equal(model.audio_encoder(features).last_hidden_state, expected)
    rms = text.get_input_embeddings().weight.float().square().mean().sqrt().item()
    assert model.adapter.layer_norm.weight[0].item() == pytest.approx(rms, rel=0.01)
    tied = text.config.tie_word_embeddings
    head = model.get_output_embeddings().weight
    assert (head is model.get_input_embeddings().weight) == tied
    assert model.generate(**make_batch(three_rows()), max_new_tokens=3).shape[0] == 3


def test_a_joined_model_is_saved_and_read_again(whisper, language_model, tmp_path):
    folder, _ = language_model
    model = from_pretrained_parts(
        whisper[0], folder, audio_token_id=AUDIO, pad_windows=False, adapter_config=ADAPTER
    ).eval()
    save_checkpoint(model, tmp_path / "joined")
    again = load_checkpoint(tmp_path / "joined")
    assert type(again.language_model) is type(model.language_model)
    batch = make_batch(three_rows())
    with torch.no_grad():
        assert torch.equal(again(**batch).logits, model(**batch).logits)


def test_parts_keep_their_type_and_rotary_stays_exact(whisper, tmp_path):
    text = tiny_language_model("qwen3")
    text.save_pretrained(tmp_path)
    model = from_pretrained_parts(whisper[0], tmp_path, dtype=torch.bfloat16)
    for name, tensor in text.state_dict().items():
        assert torch.equal(model.language_model.state_dict()[name], tensor.bfloat16()), name
    assert model.language_model.model.rotary_emb.inv_freq.dtype is torch.float32


@pytest.mark.parametrize("tied", [True, False])
def test_new_tokens_start_at_the_mean_of_the_old(whisper, tmp_path, tied):
    text = tiny_language_model("llama", tie_word_embeddings=tied)
    text.save_pretrained(tmp_path)
    model = from_pretrained_parts(whisper[0], tmp_path, vocab_size=51, new_tokens=(48, 49, 50))
    assert model.config.text_config.vocab_size == 51
    for ours, old in (
        (model.get_input_embeddings(), text.get_input_embeddings()),
        (model.get_output_embeddings(), text.get_output_embeddings()),
    ):
        assert torch.equal(ours.weight[:48], old.weight)
        torch.testing.assert_close(ours.weight[48:], old.weight.mean(0).expand(3, -1))


def test_a_vocabulary_with_room_is_not_grown(whisper, tmp_path):
    text = tiny_language_model("qwen3")
    text.save_pretrained(tmp_path)
    model = from_pretrained_parts(whisper[0], tmp_path, vocab_size=45, new_tokens=(43, 44))
    weight, old = model.get_input_embeddings().weight, text.get_input_embeddings().weight
    assert model.config.text_config.vocab_size == 48
    torch.testing.assert_close(weight[44], old[:43].mean(0))
    assert torch.equal(weight[:43], old[:43])


def test_a_eureka_audio_lends_either_part(whisper, tmp_path):
    lender = bare_model()
    save_checkpoint(lender, tmp_path)
    model = from_pretrained_parts(tmp_path, tmp_path)
    for name, tensor in lender.state_dict().items():
        if not name.startswith("adapter."):
            assert torch.equal(model.state_dict()[name], tensor), name
    mixed = from_pretrained_parts(whisper[0], tmp_path)
    ids = torch.randint(5, 48, (1, 6))
    with torch.no_grad():
        assert torch.equal(mixed.eval()(input_ids=ids).logits, lender(input_ids=ids).logits)


def test_the_gain_can_be_chosen(whisper, tmp_path):
    tiny_language_model("qwen3").save_pretrained(tmp_path)
    adapter = {"layer_norm_init": 0.5, "expert_intermediate_size": 16}
    model = from_pretrained_parts(whisper[0], tmp_path, adapter_config=adapter)
    assert torch.all(model.adapter.layer_norm.weight == 0.5)


def test_parts_that_are_not_what_they_should_be(whisper, tmp_path):
    tiny_language_model("qwen3").save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="nowhere"):
        from_pretrained_parts(whisper[0].parent / "nowhere", tmp_path)
    with pytest.raises(CheckpointError, match="expected model_type 'whisper', got 'qwen3'"):
        from_pretrained_parts(tmp_path, tmp_path)
    with pytest.raises(CheckpointError, match="expected a causal language model"):
        from_pretrained_parts(whisper[0], whisper[0])


def test_an_encoder_that_lacks_a_tensor_is_refused(tmp_path):
    broken = tiny_whisper(**HEARING)
    tiny_language_model("qwen3").save_pretrained(tmp_path / "text")
    tensors = dict(broken.state_dict())
    del tensors["model.encoder.conv1.weight"], tensors["proj_out.weight"]
    broken.save_pretrained(tmp_path / "broken", state_dict=tensors)
    with pytest.raises(CheckpointError, match=r"whole parts.*audio_encoder\.conv1\.weight"):
        from_pretrained_parts(tmp_path / "broken", tmp_path / "text")


def test_language_models_whose_logits_are_scaled_are_refused():
    text = {"model_type": "gemma2", "final_logit_softcapping": 30.0, "num_hidden_layers": 1}
    config = EurekaAudioConfig(text_config=text)
    assert config.text_config.model_type == "gemma2"
    with pytest.raises(ConfigError, match="final_logit_softcapping"):
        bare_model(text_config=text)


def test_a_kind_nobody_knows_is_refused():
    with pytest.raises(ConfigError, match=r"causal language model.*'whisperer'"):
        EurekaAudioConfig(text_config={"model_type": "whisperer"})
