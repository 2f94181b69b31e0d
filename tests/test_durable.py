"""Whole files or none."""

from pathlib import Path

import pytest

from eureka_audio.durable import atomic_folder, atomic_write


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_writes_text_and_makes_the_folder(tmp_path: Path) -> None:
    target = tmp_path / "new" / "note.txt"
    with atomic_write(target) as stream:
        stream.write("héard\n")  # type: ignore[arg-type]
    assert target.read_bytes() == "héard\n".encode()
    assert names(target.parent) == ["note.txt"]


def test_a_failing_block_keeps_the_old_file_and_leaves_no_trace(tmp_path: Path) -> None:
    target = tmp_path / "note.txt"
    target.write_text("old")

    def fail_midway() -> None:
        with atomic_write(target, binary=True) as stream:
            stream.write(b"half")  # type: ignore[arg-type]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_midway()
    assert target.read_text() == "old"
    assert names(tmp_path) == ["note.txt"]


def test_the_file_appears_only_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "note.txt"
    with atomic_write(target) as stream:
        stream.write("x")  # type: ignore[arg-type]
        assert not target.exists()
    assert target.exists()


def test_the_file_has_the_mode_of_an_ordinary_file(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "a") as _:
        pass
    (tmp_path / "b").touch()
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_a_folder_replaces_its_predecessor_whole(tmp_path: Path) -> None:
    for content in ("one", "two"):
        with atomic_folder(tmp_path / "model") as folder:
            (folder / content).write_text(content)
    assert names(tmp_path / "model") == ["two"]
    assert names(tmp_path) == ["model"]


def test_a_failing_block_keeps_the_old_folder(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "model") as folder:
        (folder / "weights").write_text("good")

    def fail_midway() -> None:
        with atomic_folder(tmp_path / "model") as folder:
            (folder / "weights").write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail_midway()
    assert (tmp_path / "model" / "weights").read_text() == "good"
    assert names(tmp_path) == ["model"]
