"""The SHA-256 of every file of a folder, written among them, and compared when the folder is read.

safetensors itself notices no flipped bit, and a file system not always a file cut short. Whatever
leaves a folder of weights on disk, for users or for the next step of a run, writes it through here.
"""

import hashlib
import json
from pathlib import Path

from eureka_audio.errors import CheckpointError

CHECKSUMS_NAME = "checksums.json"


def write_checksums(folder: str | Path, name: str = CHECKSUMS_NAME) -> None:
    """Write `folder/name`, a JSON table of the SHA-256 of every other file below the folder.

    Example:
        >>> import tempfile, pathlib
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> _ = (folder / "weights").write_bytes(b"as they were")
        >>> write_checksums(folder)
        >>> sorted(verify_checksums(folder))
        ['weights']
    """
    root = Path(folder)
    sums = {file: sha256(root / file) for file in file_names(root) if file != name}
    (root / name).write_text(json.dumps({"sha256": sums}, indent=2) + "\n", "utf-8")


def verify_checksums(folder: str | Path, name: str = CHECKSUMS_NAME) -> set[str]:
    """Compare every file that `folder/name` lists with its SHA-256; returns the names listed.

    Raises:
        CheckpointError: the table cannot be read, or a file is missing or not what it was; the
            first one found is named.
    """
    root = Path(folder)
    sums = _read_table(root / name)
    present = set(file_names(root))
    for file, expected in sums.items():
        if file not in present:
            raise CheckpointError(
                f"{root / file}: expected this file, as {name} lists it, got nothing (missing); "
                "fetch or make the checkpoint again"
            )
        if sha256(root / file) != expected:
            raise CheckpointError(
                f"{root / file}: expected the SHA-256 recorded in {name}, got another; the file is "
                "damaged or was changed, fetch or make it again"
            )
    return set(sums)


def _read_table(file: Path) -> dict[str, object]:
    try:
        table = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{file}: expected a table of SHA-256 sums, got none that can be read ({error}); fetch "
            "or make the checkpoint again"
        ) from error
    # Checkpoints of runs begun before the table had a key of its own are still gone on from.
    sums = table.get("sha256", table) if isinstance(table, dict) else table
    if not isinstance(sums, dict):
        raise CheckpointError(
            f"{file}: expected a table of SHA-256 sums, got a {type(sums).__name__}; fetch or make "
            "the checkpoint again"
        )
    return sums


def file_names(folder: Path) -> list[str]:
    """Names of all files and links below a folder, relative to it, in order."""
    files = (file for file in folder.rglob("*") if file.is_file() or file.is_symlink())
    return sorted(file.relative_to(folder).as_posix() for file in files)


def sha256(file: Path) -> str:
    """SHA-256 of a file, as hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
