"""Checksums: what was written is what is read, or the first file that differs is named."""

import json
from pathlib import Path

import pytest

from eureka_audio.checksums import CHECKSUMS_NAME, verify_checksums, write_checksums
from eureka_audio.errors import CheckpointError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "inner").mkdir()
    (tmp_path / "weights").write_bytes(b"one")
    (tmp_path / "inner" / "settings").write_bytes(b"two")
    return tmp_path


@pytest.mark.parametrize("name", [CHECKSUMS_NAME, "SUMS"])
def test_every_file_is_listed_save_the_table_itself(folder: Path, name: str) -> None:
    write_checksums(folder, name)
    assert verify_checksums(folder, name) == {"inner/settings", "weights"}
    write_checksums(folder, name)  # again, over its own table
    assert verify_checksums(folder, name) == {"inner/settings", "weights"}


@pytest.mark.parametrize("name", ["weights", "inner/settings"])
def test_a_file_that_differs_or_is_gone_is_named(folder: Path, name: str) -> None:
    write_checksums(folder)
    (folder / name).write_bytes(b"six")
    with pytest.raises(CheckpointError, match=f"{name}: expected the SHA-256"):
        verify_checksums(folder)
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=f"{name}: expected this file"):
        verify_checksums(folder)


def test_a_listed_name_never_leads_out_of_the_folder(folder: Path) -> None:
    write_checksums(folder)
    table = json.loads((folder / CHECKSUMS_NAME).read_text())
    table["sha256"]["inner/../weights"] = table["sha256"]["weights"]
    (folder / CHECKSUMS_NAME).write_text(json.dumps(table))
    with pytest.raises(CheckpointError, match=r"inner/\.\./weights: expected this file"):
        verify_checksums(folder)


@pytest.mark.parametrize("content", ["", "{", "[]", "5", "null", '{"sha256": []}', "[" * 100_000])
def test_a_table_that_is_none_is_an_error(folder: Path, content: str) -> None:
    (folder / CHECKSUMS_NAME).write_text(content)
    with pytest.raises(CheckpointError, match=rf"{CHECKSUMS_NAME}: expected a table"):
        verify_checksums(folder)
    (folder / CHECKSUMS_NAME).unlink()
    with pytest.raises(CheckpointError, match=rf"{CHECKSUMS_NAME}: expected a table"):
        verify_checksums(folder)


def test_a_table_as_earlier_runs_wrote_it_is_read(folder: Path) -> None:
    write_checksums(folder)
    table = json.loads((folder / CHECKSUMS_NAME).read_text())["sha256"]
    (folder / CHECKSUMS_NAME).write_text(json.dumps(table))
    assert verify_checksums(folder) == {"inner/settings", "weights"}
    (folder / "weights").write_bytes(b"six")
    with pytest.raises(CheckpointError, match="weights"):
        verify_checksums(folder)
