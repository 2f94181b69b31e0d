"""Compact checkpoints: int8 weights, and the difference from catalogued parts."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from eureka_audio.checksums import write_checksums
from eureka_audio.errors import CheckpointError, PartError
from eureka_audio.model.int8 import dequantise, quantise, round_to_int8
from eureka_audio.model.joining import from_pretrained_parts
from eureka_audio.model.weights import COMPACT_NAME, load_checkpoint, save_checkpoint
from eureka_audio.parts.catalogue import PARTS, Part
from eureka_audio.parts.fetch import part_folder
from tiny import DECODER, MEL_BINS, bare_model, make_batch, three_rows, tiny_whisper

ENCODER = "audio_encoder."


def test_int8_is_near_in_every_channel_and_stays_what_it_is():
    torch.manual_seed(0)
    weights = {
        "x.conv": torch.randn(6, 4, 3),
        "x.linear": torch.randn(5, 7),
        "x.bias": torch.ones(5),
    }
    weights["x.linear"][2] = 0.0
    stored = quantise(weights, ["x."])
    assert {name for name, t in stored.items() if t.dtype == torch.int8} == {"x.conv", "x.linear"}
    back = dequantise(stored)
    assert set(back) == set(weights)
    for name, tensor in weights.items():
        step = tensor.flatten(1).abs().amax(1) / 127 if tensor.ndim > 1 else torch.zeros(5)
        error = (back[name] - tensor).reshape(len(tensor), -1).abs().amax(1)
        assert bool((error <= step / 2 + 1e-6).all()), name
    again = dequantise(quantise(back, ["x."]))
    for name, tensor in back.items():
        torch.testing.assert_close(again[name], tensor, rtol=1e-6, atol=0)


def test_an_int8_encoder_is_saved_small_and_heard_as_trained(tmp_path):
    model = bare_model()
    round_to_int8(model.audio_encoder)
    save_checkpoint(model, tmp_path / "int8", int8=[ENCODER])
    stored = load_file(tmp_path / "int8" / COMPACT_NAME)
    assert stored[f"{ENCODER}layers.0.fc1.weight"].dtype == torch.int8
    assert stored[f"{ENCODER}embed_positions.weight"].dtype == torch.float32
    assert stored["adapter.router.weight"].dtype == torch.float32
    again, batch = load_checkpoint(tmp_path / "int8"), make_batch(three_rows())
    with torch.no_grad():
        torch.testing.assert_close(again(**batch).logits, model(**batch).logits)


@pytest.fixture
def joined(tmp_path, monkeypatch):
    """A model joined from two parts that a catalogue names and the cache holds."""
    monkeypatch.setenv("EUREKA_AUDIO_CACHE", str(tmp_path / "cache"))
    text = LlamaConfig(**DECODER, vocab_size=45, tie_word_embeddings=True, pad_token_id=0)
    sources = {
        "audio_encoder": tiny_whisper(num_mel_bins=MEL_BINS, max_source_positions=100),
        "language_model": LlamaForCausalLM(text),
    }
    named, folders = {}, {}
    for number, (kind, source) in enumerate(sources.items()):
        part = Part(f"tiny-{kind}", kind, "gguf", (), (), f"{number}" * 64, "MIT", "a/b")
        monkeypatch.setitem(PARTS, part.name, part)
        folders[kind] = part_folder(part)
        source.half().save_pretrained(folders[kind])
        write_checksums(folders[kind])
        named[kind] = {"name": part.name, "sha256": part.sha256}
    torch.manual_seed(1)
    model = from_pretrained_parts(
        folders["audio_encoder"],
        folders["language_model"],
        vocab_size=48,
        new_tokens=(45, 46, 47),
        audio_token_id=4,
        pad_windows=False,
        parts=named,
        adapter_config={"num_experts": 4, "expert_intermediate_size": 16},
    )
    return model.eval()


def same(model, folder) -> set[str]:
    """Load a compact checkpoint, compare it tensor by tensor; returns what was stored."""
    again = load_checkpoint(folder)
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    batch = make_batch(three_rows())
    if model.dtype is torch.float32:  # `to` has rounded the other's rotary frequencies, too
        with torch.no_grad():
            torch.testing.assert_close(again(**batch).logits, model(**batch).logits)
    return set(load_file(folder / COMPACT_NAME))


def test_transformers_reads_a_compact_checkpoint_as_any_other(joined, tmp_path):
    save_checkpoint(joined, tmp_path / "int8", int8=["audio_encoder."])
    ours = load_checkpoint(tmp_path / "int8")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "int8")
    assert type(model) is type(ours)
    for name, tensor in ours.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name
    half, info = AutoModelForCausalLM.from_pretrained(
        tmp_path / "int8", dtype=torch.bfloat16, output_loading_info=True
    )
    assert (half.dtype, info) == (torch.bfloat16, {})


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_delta_holds_what_training_changed(joined, tmp_path, dtype):
    joined.to(dtype)
    changed = "language_model.model.layers.1.mlp.up_proj.weight"
    with torch.no_grad():
        joined.get_parameter(changed)[3, 4] += 1
    save_checkpoint(joined, tmp_path / "delta", delta=True)
    stored = same(joined, tmp_path / "delta")
    adapter = {name for name in joined.state_dict() if name.startswith("adapter.")}
    rows = "language_model.model.embed_tokens.weight[45:]"
    assert stored == {*adapter, changed, rows}


def test_changed_old_rows_of_the_embeddings_are_kept_whole(joined, tmp_path):
    with torch.no_grad():
        joined.get_input_embeddings().weight[7] += 1
    save_checkpoint(joined, tmp_path / "delta", delta=True)
    assert "language_model.model.embed_tokens.weight" in same(joined, tmp_path / "delta")


def test_low_rank_differences_are_stored_as_such(joined, tmp_path):
    name = "language_model.model.layers.0.self_attn.q_proj.weight"
    weight = joined.get_parameter(name)
    a, b = torch.randn(2, weight.shape[1]), torch.randn(weight.shape[0], 2)
    with torch.no_grad():
        weight.add_(b @ a)
    save_checkpoint(joined, tmp_path / "delta", delta=True, low_rank={name: (a, b)})
    assert {f"{name}.lora_A", f"{name}.lora_B"} < same(joined, tmp_path / "delta")
    with pytest.raises(CheckpointError, match="scale in B"):
        save_checkpoint(joined, tmp_path / "off", delta=True, low_rank={name: (a, 2 * b)})


def test_a_model_of_no_known_parts_has_no_delta(tmp_path):
    with pytest.raises(CheckpointError, match="save it whole"):
        save_checkpoint(bare_model(), tmp_path / "delta", delta=True)


def test_an_int8_checkpoint_needs_no_part_it_only_came_from(joined, tmp_path, monkeypatch):
    save_checkpoint(joined, tmp_path / "whole", int8=[ENCODER])
    monkeypatch.setenv("EUREKA_AUDIO_CACHE", str(tmp_path / "nowhere"))
    load_checkpoint(tmp_path / "whole")


def test_another_part_under_the_same_name_is_refused(joined, tmp_path, monkeypatch):
    save_checkpoint(joined, tmp_path / "delta", delta=True)
    part = PARTS["tiny-language_model"]
    other = Part(part.name, part.kind, "gguf", (), (), "f" * 64, "MIT", "a/b")
    monkeypatch.setitem(PARTS, part.name, other)
    with pytest.raises(PartError, match="SHA-256"):
        load_checkpoint(tmp_path / "delta")


def test_a_part_that_was_changed_in_the_cache_is_refused(joined, tmp_path):
    save_checkpoint(joined, tmp_path / "delta", delta=True)
    file = part_folder(PARTS["tiny-audio_encoder"]) / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(PartError, match="fetched again"):
        load_checkpoint(tmp_path / "delta")


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_the_type_can_be_chosen(joined, tmp_path, dtype):
    save_checkpoint(joined, tmp_path / "delta", delta=True)
    loaded = load_checkpoint(tmp_path / "delta", **({} if dtype is None else {"dtype": dtype}))
    assert loaded.dtype is (dtype or torch.float32)


def edit(folder, change) -> None:
    """Rewrite a compact file, checksums included: whole, but another thing."""
    file = folder / COMPACT_NAME
    tensors = load_file(file)
    change(tensors)
    kinds = "audio_encoder language_model"
    save_file(tensors, file, metadata={"format": "pt", "joined_with": kinds})
    write_checksums(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.pop("adapter.router.weight"), "missing: adapter.router.weight"),
        (lambda t: t.update(x=torch.zeros(1)), "not expected: x"),
        (lambda t: t.update({"adapter.proj.weight[3:]": torch.zeros(1, 2)}), "no part brings"),
        (
            lambda t: t.update({"audio_encoder.conv1.bias[3:]": torch.zeros(1)}),
            r"conv1\.bias\[3:\]",
        ),
        (lambda t: t.update({"audio_encoder.conv1.bias.lora_A": torch.zeros(1, 1)}), "lora_A"),
        (lambda t: t.update({"audio_encoder.conv1.bias.lora_B": torch.zeros(1, 1)}), "lora_B"),
        (lambda t: t.update({"y": torch.zeros(2, 2, dtype=torch.int8)}), "without a scale"),
    ],
)
def test_a_compact_file_that_does_not_fit_is_refused(joined, tmp_path, change, said):
    save_checkpoint(joined, tmp_path / "delta", delta=True)
    edit(tmp_path / "delta", change)
    with pytest.raises(CheckpointError, match=said):
        load_checkpoint(tmp_path / "delta")


def test_two_ways_to_read_the_weights_are_one_too_many(joined, tmp_path):
    save_checkpoint(joined, tmp_path / "delta", delta=True)
    save_file({"x": torch.zeros(1)}, tmp_path / "delta" / "model.safetensors")
    write_checksums(tmp_path / "delta")
    with pytest.raises(CheckpointError, match="got both"):
        load_checkpoint(tmp_path / "delta")
