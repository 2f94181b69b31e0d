"""Is a folder what it was, and harmless to read?

Its `checksums.json` is compared (`eureka_audio.checksums`); a folder without one is refused unless
the caller takes it as it is. Files that could
carry code (pickles, Python) and settings that would load some (`auto_map`, `trust_remote_code`) are
refused, not skipped.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from eureka_audio.checksums import CHECKSUMS_NAME, file_names, verify_checksums
from eureka_audio.errors import CheckpointError

MAX_JSON_BYTES = 64 * 2**20  # tokenizer.json of a large vocabulary takes about 11 MiB
CODE_SUFFIXES = {
    ".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".npy", ".npz", ".h5", ".py", ".pyc", ".so",
}  # fmt: skip
CODE_SETTINGS = {"auto_map", "trust_remote_code", "custom_pipelines"}


def verify_checkpoint(path: str | Path, *, allow_unverified: bool = False) -> None:
    """Compare a folder with its checksums, and refuse whatever could run code.

    A file that would steer loading and that nobody recorded is refused too.

    Args:
        path: the folder.
        allow_unverified: whether one without checksums is taken as it is.

    Raises:
        CheckpointError: the first file found wrong is named.
    """
    folder = Path(path)
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing"
        raise CheckpointError(
            f"{folder}: expected the folder of a checkpoint, got {found}; check the path"
        )
    names = file_names(folder)
    for name in names:
        _refuse_code(folder / name)
    if CHECKSUMS_NAME not in names:
        if allow_unverified:
            return
        raise CheckpointError(
            f"{folder}: expected {CHECKSUMS_NAME} beside the weights, found none, so damage could "
            "not be noticed; save with save_checkpoint, or pass allow_unverified=True "
            "(--allow-unverified) if you trust the folder as it is"
        )
    recorded = verify_checksums(folder)
    for name in names:
        if name not in recorded and name != CHECKSUMS_NAME and _is_read_by_loaders(name):
            raise CheckpointError(
                f"{folder / name}: expected only files listed in {CHECKSUMS_NAME}, got this one "
                "besides; remove it"
            )


def _is_read_by_loaders(name: str) -> bool:
    """Whether a file steers loading: not a README, nor what a download left in a dot folder."""
    hidden = any(part.startswith(".") for part in name.split("/"))
    return not hidden and name.endswith((".safetensors", ".json", ".jinja"))


def _refuse_code(file: Path) -> None:
    """Refuse files that could carry code, settings that load some, links that lead away."""
    if file.suffix.lower() in CODE_SUFFIXES:
        raise CheckpointError(
            f"{file}: expected only safetensors and JSON, got a {file.suffix} file, which could "
            "run code; remove it if you trust the rest"
        )
    if file.is_symlink() and not _stays_near(file):
        raise CheckpointError(
            f"{file}: expected a file, got a link that leads out of the checkpoint; copy the file"
        )
    if file.suffix == ".json" and (setting := next(_code_settings(read_json(file)), None)):
        raise CheckpointError(
            f"{file}: expected settings only, got {setting!r}, which asks to load code; remove the "
            "entry if you trust the rest"
        )


def _stays_near(link: Path) -> bool:
    """Whether a link ends in its own folder, or in the `blobs` of the hub cache around it."""
    target, folder = link.resolve(), link.parent.resolve()
    return target.is_file() and (
        target.is_relative_to(folder) or target.parent == folder.parent.parent / "blobs"
    )


def _code_settings(value: Any) -> Iterator[str]:
    """Settings anywhere in a JSON value that would make a loader run code."""
    if isinstance(value, dict):
        yield from (key for key in value if key in CODE_SETTINGS and value[key])
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _code_settings(item)


def read_json(file: Path) -> dict[str, Any]:
    if file_size(file) > MAX_JSON_BYTES:
        raise CheckpointError(
            f"{file}: expected at most {MAX_JSON_BYTES:,} bytes of JSON, got {file_size(file):,}; "
            "do not use it"
        )
    return parse_json(file.read_bytes(), file)


def parse_json(text: bytes, file: Path) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{file}: expected JSON, got {error}; fetch it again") from error
    return value if isinstance(value, dict) else {"": value}


def file_size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError as error:
        raise CheckpointError(
            f"{file}: expected a file, got {error.strerror}; the checkpoint is incomplete"
        ) from error
