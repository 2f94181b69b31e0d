"""Manifests: records as JSON lines on disk.

One record per line, UTF-8. Reading is lazy and validates each line; writing is atomic, so a reader
never meets half a manifest.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from eureka_audio.durable import atomic_write
from eureka_audio.errors import ManifestError
from eureka_audio.records import AudioClip, Record, Split

R = TypeVar("R", bound=Record)
MANIFEST_NAME = "manifest.jsonl"


def read_manifest(path: str | Path, record_type: type[R]) -> Iterator[R]:
    """Read the records of a manifest one by one; blank lines are passed over.

    Raises:
        ManifestError: the file is missing, or a line is not a valid ``record_type``; the message
            names ``path:line``.
    """
    path = Path(path)
    if not path.is_file():
        raise ManifestError(
            f"expected a manifest of {record_type.__name__} records, found no file at "
            f"{path}; check the path"
        )
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                yield record_type.model_validate_json(line)
            except ValidationError as error:
                raise ManifestError(_describe(path, number, record_type, error)) from error


def read_clips(path: str | Path, split: Split | None = None) -> list[AudioClip]:
    """The clips of a manifest, with absolute paths: the one way to read clips.

    Args:
        path: a manifest, or a folder with ``manifest.jsonl``.
        split: only these.

    Raises:
        ManifestError: the file is missing, or a line is not a valid clip.
    """
    path = Path(path)
    manifest = (path / MANIFEST_NAME if path.is_dir() else path).resolve()
    return [
        clip.model_copy(update={"path": str(audio_path(clip, manifest))})
        for clip in read_manifest(manifest, AudioClip)
        if split in (None, clip.split)
    ]


def _describe(path: Path, number: int, record_type: type[Record], error: ValidationError) -> str:
    """The message of a bad line: where, which field, what was wrong, what to do."""
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"]) or "the line"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return (
        f"{path}:{number}: expected a {record_type.__name__} as JSON, but {field}: {first['msg']}"
        f"{more}; correct or remove this line"
    )


def write_manifest(path: str | Path, records: Iterable[Record], *, defaults: bool = False) -> int:
    """Write records as JSON lines, all or nothing, and return how many there were.

    Fields that hold their default are left out, which keeps lines short and reads back the same;
    ``defaults`` writes them for readers that do not know them.
    """
    count = 0
    with atomic_write(path) as stream:
        for record in records:
            print(record.model_dump_json(exclude_defaults=not defaults), file=stream)
            count += 1
    return count


def audio_path(clip: AudioClip, manifest: str | Path) -> Path:
    """Where a clip's audio lies: ``clip.path`` as it is when absolute, else beside the manifest."""
    return Path(manifest).parent / clip.path
