"""Checkpoints: the round trip, every kind of damage, and files that want to run code."""

import ast
import json
import os
import pickle
import random
import shutil
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import eureka_audio.model
from eureka_audio.checksums import CHECKSUMS_NAME, write_checksums
from eureka_audio.errors import CheckpointError
from eureka_audio.model.weights import load_checkpoint, save_checkpoint, tensor_shapes
from tiny import bare_model, make_batch, three_rows


class Scribbler:
    """Stands for a processor: saves two files."""

    def save_pretrained(self, folder: Path) -> None:
        (folder / "tokenizer.json").write_text('{"model": {}}')
        (folder / "chat_template.jinja").write_text("{{ messages }}")


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("weights") / "tiny"
    save_checkpoint(bare_model(), folder, Scribbler(), max_shard_size="25KB")
    return folder


@pytest.fixture
def checkpoint(saved, tmp_path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "tiny"))


def without_checksums(folder: Path) -> Path:
    (folder / CHECKSUMS_NAME).unlink()
    return folder


def refuse(folder: Path, *said: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(folder, allow_unverified=True)
    for words in said:
        assert words in str(caught.value)


def test_what_is_read_is_what_was_written(saved):
    assert {"config.json", "generation_config.json", CHECKSUMS_NAME} < {
        file.name for file in saved.iterdir()
    }
    assert len(list(saved.glob("*.safetensors"))) > 1
    model, loaded = bare_model(), load_checkpoint(saved)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name]), name
    batch = make_batch(three_rows())
    with torch.no_grad():
        assert torch.equal(loaded(**batch).logits, model(**batch).logits)
    assert not loaded.training


def test_type_and_device_can_be_chosen(saved):
    assert load_checkpoint(saved, dtype=torch.bfloat16).dtype is torch.bfloat16
    assert load_checkpoint(saved, device_map="cpu").device.type == "cpu"


def test_saving_replaces_a_folder_whole(saved, checkpoint):
    (checkpoint / "left_over.safetensors").write_bytes(b"old")
    model = load_checkpoint(saved)
    save_checkpoint(model, checkpoint)
    assert [file.name for file in checkpoint.glob("*.safetensors")] == ["model.safetensors"]
    load_checkpoint(checkpoint)


def test_a_checkpoint_without_checksums_loads_only_when_it_is_trusted(checkpoint):
    without_checksums(checkpoint)
    with pytest.raises(CheckpointError, match="allow_unverified"):
        load_checkpoint(checkpoint)
    load_checkpoint(checkpoint, allow_unverified=True)


@pytest.mark.parametrize("seed", range(40))
def test_a_flipped_bit_is_noticed_wherever_it_is(checkpoint, seed):
    rng = random.Random(seed)
    file = rng.choice(sorted(file for file in checkpoint.iterdir() if file.name != CHECKSUMS_NAME))
    content = bytearray(file.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    file.write_bytes(content)
    refuse(checkpoint, file.name)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("recorded", [True, False])
def test_a_truncated_file_is_noticed(checkpoint, seed, recorded):
    rng = random.Random(seed)
    if not recorded:
        without_checksums(checkpoint)
    file = rng.choice(sorted(checkpoint.glob("*.safetensors")))
    file.write_bytes(file.read_bytes()[: rng.randrange(file.stat().st_size)])
    refuse(checkpoint, file.name)


@pytest.mark.parametrize("recorded", [True, False])
def test_a_missing_shard_is_noticed(checkpoint, recorded):
    if not recorded:
        without_checksums(checkpoint)
    shard = sorted(checkpoint.glob("*.safetensors"))[1]
    shard.unlink()
    refuse(checkpoint, shard.name, "got")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_folder_without_its_main_files(checkpoint, name):
    without_checksums(checkpoint)
    if name == "config.json":
        (checkpoint / name).unlink()
    else:
        for file in checkpoint.glob("model*"):
            file.unlink()
    refuse(checkpoint, name, "No such file", "incomplete")


def test_swapped_shards_are_noticed(checkpoint):
    first, second = sorted(checkpoint.glob("*.safetensors"))[:2]
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    refuse(checkpoint, first.name)


def test_an_unrecorded_file_is_noticed(checkpoint):
    save_file({"x": torch.zeros(1)}, checkpoint / "extra.safetensors")
    refuse(checkpoint, "extra.safetensors", "remove it")


def test_notes_beside_a_checkpoint_are_welcome(checkpoint):
    (checkpoint / "README.md").write_text("# Tiny")
    (checkpoint / ".cache").mkdir()
    (checkpoint / ".cache" / "download.json").write_text("{}")
    load_checkpoint(checkpoint)


def edit_tensors(folder: Path, change) -> None:
    """Rewrite the shards of a checkpoint, its checksums included: whole, but another thing."""
    done = False
    for file in sorted(folder.glob("*.safetensors")):
        tensors = load_file(file)
        done = change(tensors) or done
        save_file(tensors, file, metadata={"format": "pt"})
    assert done
    write_checksums(folder)


ROUTER = "adapter.router.weight"


def test_a_missing_tensor_is_named(checkpoint):
    edit_tensors(checkpoint, lambda tensors: tensors.pop(ROUTER, None) is not None)
    refuse(checkpoint, "missing: adapter.router.weight")


def test_an_extra_tensor_is_named(checkpoint):
    def change(tensors):
        if ROUTER in tensors:
            tensors["adapter.gate.weight"] = torch.zeros(3)
            return True
        return False

    edit_tensors(checkpoint, change)
    refuse(checkpoint, "not expected: adapter.gate.weight")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tensor: tensor[:-1], "got (3, 64)"),
        (lambda tensor: tensor.to(torch.int8), "in I8"),
    ],
)
def test_a_misshapen_tensor_is_named(checkpoint, change, said):
    def edit(tensors):
        if ROUTER in tensors:
            tensors[ROUTER] = change(tensors[ROUTER]).contiguous()
            return True
        return False

    edit_tensors(checkpoint, edit)
    refuse(checkpoint, "expected adapter.router.weight of shape (4, 64)", said)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_none_are_named(checkpoint, value):
    def edit(tensors):
        if ROUTER in tensors:
            tensors[ROUTER][1, 2] = value
            return True
        return False

    edit_tensors(checkpoint, edit)
    refuse(checkpoint, "NaN or infinity in adapter.router.weight")


def edit_json(file: Path, **changes: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_type": "whisper"}, "this is another model's checkpoint"),
        ({"pad_windows": "perhaps"}, "usable configuration"),
        ({"adapter_config": {"num_experts": 0}}, "num_experts_per_tok"),
        ({"adapter_config": 3}, "usable configuration"),
        ({"text_config": {"vocab_size": 49}}, "as audio_config and text_config imply"),
    ],
)
def test_a_configuration_that_lies_is_refused(checkpoint, changes, said):
    edit_json(without_checksums(checkpoint) / "config.json", **changes)
    refuse(checkpoint, said)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("vocab_size", 10**9, "embed_tokens.weight of shape (1000000000, 32)"),
        ("num_hidden_layers", 3, "missing: language_model.model.layers.2."),
    ],
)
def test_a_size_that_lies_is_refused_before_anything_is_allocated(checkpoint, field, value, said):
    file = without_checksums(checkpoint) / "config.json"
    text = json.loads(file.read_text())["text_config"]
    edit_json(file, text_config={**text, "layer_types": None, field: value})
    refuse(checkpoint, said)


@pytest.mark.parametrize("content", ["", "{", "[" * 100_000, "\xff"])
def test_a_configuration_that_is_no_json_is_refused(checkpoint, content):
    (without_checksums(checkpoint) / "config.json").write_text(content, "latin-1")
    refuse(checkpoint, "config.json", "expected JSON")


@pytest.mark.parametrize("header", [2**62, 200 * 2**20, 100])
def test_a_header_longer_than_its_file_is_refused_before_it_is_read(tmp_path, header):
    file = tmp_path / "model.safetensors"
    file.write_bytes(struct.pack("<Q", header) + b"{}")
    with pytest.raises(CheckpointError, match="header"):
        tensor_shapes(file)


@pytest.mark.parametrize(
    "header", [b"[1]", b'{"a": 1}', b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0]}}']
)
def test_a_header_of_another_form_is_refused(tmp_path, header):
    file = tmp_path / "model.safetensors"
    file.write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        tensor_shapes(file)


@pytest.mark.parametrize("name", ["../tiny/model.safetensors", "/etc/passwd", "config.json"])
def test_an_index_that_points_elsewhere_is_refused(checkpoint, name):
    index = without_checksums(checkpoint) / "model.safetensors.index.json"
    edit_json(index, weight_map={ROUTER: name})
    refuse(checkpoint, "expected names of safetensors files beside it")


def test_two_ways_to_read_the_weights_are_one_too_many(checkpoint):
    save_file({"x": torch.zeros(1)}, without_checksums(checkpoint) / "model.safetensors")
    refuse(checkpoint, "got both")


def test_a_link_out_of_the_checkpoint_is_refused(checkpoint, tmp_path):
    elsewhere = tmp_path / "elsewhere.json"
    (checkpoint / "tokenizer.json").rename(elsewhere)
    (checkpoint / "tokenizer.json").symlink_to(elsewhere)
    refuse(checkpoint, "tokenizer.json", "leads out of the checkpoint")


def test_a_snapshot_of_links_into_a_hub_cache_loads(checkpoint, tmp_path):
    cache = tmp_path / "models--tiny"
    blobs, snapshot = cache / "blobs", cache / "snapshots" / "abc"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for index, file in enumerate(sorted(checkpoint.iterdir())):
        file.rename(blobs / str(index))
        (snapshot / file.name).symlink_to(os.path.relpath(blobs / str(index), snapshot))
    load_checkpoint(snapshot)


@pytest.mark.parametrize("path", ["nowhere", "a_file"])
def test_no_folder_at_all(tmp_path, path):
    (tmp_path / "a_file").write_text("x")
    refuse(tmp_path / path, path, "check the path")


class Canary:
    """Leaves a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):
        return (Path.touch, (self.file,))


def hostile(kind: str, folder: Path, canary: Path) -> str:
    """Put one artefact into a checkpoint; the name of the file that holds it."""
    code = f"import pathlib\npathlib.Path({str(canary)!r}).touch()\n"
    if kind in ("pytorch_model.bin", "optimizer.pt", "weights.pkl", "mel_filters.npz"):
        (folder / kind).write_bytes(pickle.dumps(Canary(canary)))
        return kind
    if kind == "modeling_eureka.py":
        (folder / kind).write_text(code)
        return kind
    name, setting = kind.split(":")
    (folder / "modeling_x.pyx").write_text(code)
    value = {"AutoModel": "modeling_x.X", "AutoConfig": "modeling_x.C"}
    settings = {
        "auto_map": {"auto_map": value},
        "nested": {"extra": [{"text_config": {"trust_remote_code": True}}]},
    }[setting]
    file = folder / name
    if not file.exists():
        file.write_text("{}")
    edit_json(file, **settings)
    return name


HOSTILE = [
    "pytorch_model.bin",
    "optimizer.pt",
    "weights.pkl",
    "mel_filters.npz",
    "modeling_eureka.py",
    "config.json:auto_map",
    "config.json:nested",
    "generation_config.json:auto_map",
    "tokenizer_config.json:auto_map",
    "processor_config.json:auto_map",
    "preprocessor_config.json:nested",
]


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_could_run_code_is_refused_and_does_not_run(checkpoint, tmp_path, kind):
    canary = tmp_path / "canary"
    name = hostile(kind, without_checksums(checkpoint), canary)
    refuse(checkpoint, name, "code")
    assert not canary.exists()


def test_no_refusal_is_an_assertion_which_python_can_switch_off():
    for file in Path(eureka_audio.model.__file__).parent.glob("*.py"):
        tree = ast.parse(file.read_text())
        assert not [node for node in ast.walk(tree) if isinstance(node, ast.Assert)], file


def test_no_pickle_in_the_package():
    for file in Path(eureka_audio.model.__file__).parent.glob("*.py"):
        text = file.read_text()
        for word in ("import pickle", "torch.load", "dill", "marshal", "allow_pickle"):
            assert word not in text, file
