"""Records as JSON lines."""

from pathlib import Path

import pytest

from eureka_audio.errors import ManifestError
from eureka_audio.manifest import (
    audio_path,
    read_clips,
    read_manifest,
    write_manifest,
)
from eureka_audio.records import AudioClip, AudioEvent, Conversation, Message, TextPart

CLIP = AudioClip(
    id="a",
    path="a.flac",
    duration_seconds=1.5,
    transcript="naïve",
    events=(AudioEvent(kind="sound", label="dog barking", end_seconds=1.0),),
    split="dev",
)


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    clips = [CLIP, CLIP.model_copy(update={"id": "b", "events": ()})]
    assert write_manifest(tmp_path / "m.jsonl", clips) == 2
    assert list(read_manifest(tmp_path / "m.jsonl", AudioClip)) == clips


def test_clips_are_read_with_paths_that_can_be_opened(tmp_path: Path) -> None:
    elsewhere = CLIP.model_copy(update={"id": "b", "path": "/data/b.flac", "split": "test"})
    write_manifest(tmp_path / "manifest.jsonl", [CLIP, elsewhere])
    for source in (tmp_path, tmp_path / "manifest.jsonl", str(tmp_path)):
        assert [clip.path for clip in read_clips(source)] == [f"{tmp_path}/a.flac", "/data/b.flac"]
    assert [clip.id for clip in read_clips(tmp_path, "dev")] == ["a"]
    assert read_clips(tmp_path, "train") == []
    with pytest.raises(ManifestError, match="none"):
        read_clips(tmp_path / "none")


def test_a_record_with_a_union_reads_back(tmp_path: Path) -> None:
    said = Conversation(
        messages=(Message(role="user", content=(TextPart(type="text", text="hi"),)),)
    )
    write_manifest(tmp_path / "m.jsonl", [said])
    assert list(read_manifest(tmp_path / "m.jsonl", Conversation)) == [said]


def test_reading_is_lazy_and_names_the_bad_line(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    write_manifest(path, [CLIP])
    path.write_text(path.read_text() + "\n" + '{"id": "x", "path": "x.flac"}\n')
    records = read_manifest(path, AudioClip)
    assert next(records) == CLIP
    with pytest.raises(ManifestError, match=r"m\.jsonl:3: .*duration_seconds.*correct or remove"):
        next(records)


@pytest.mark.parametrize("line", ["not json", '{"id": 1}', '{"id": "x", "colour": "red"}', "[]"])
def test_a_malformed_line_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "m.jsonl").write_text(line + "\n")
    with pytest.raises(ManifestError, match=r"m\.jsonl:1"):
        list(read_manifest(tmp_path / "m.jsonl", AudioClip))


def test_a_missing_manifest_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="found no file at"):
        list(read_manifest(tmp_path / "absent.jsonl", AudioClip))


def test_a_failing_iterator_leaves_the_old_manifest(tmp_path: Path) -> None:
    write_manifest(tmp_path / "m.jsonl", [CLIP])

    def broken() -> "object":
        yield CLIP
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        write_manifest(tmp_path / "m.jsonl", broken())  # type: ignore[arg-type]
    assert len(list(read_manifest(tmp_path / "m.jsonl", AudioClip))) == 1


def test_audio_lies_beside_the_manifest_unless_its_path_is_absolute(tmp_path: Path) -> None:
    assert audio_path(CLIP, tmp_path / "m.jsonl") == tmp_path / "a.flac"
    absolute = CLIP.model_copy(update={"path": "/data/a.flac"})
    assert audio_path(absolute, tmp_path / "m.jsonl") == Path("/data/a.flac")
