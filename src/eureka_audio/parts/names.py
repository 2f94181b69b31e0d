"""From a name to a folder: a packaged model, a part of the catalogue, a folder, or a repository of
the hub.
"""

import re
from importlib import resources
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from eureka_audio.errors import CheckpointError
from eureka_audio.parts.catalogue import PARTS
from eureka_audio.parts.fetch import find_part

PACKAGED_MODELS = ("nano", "small")
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
HUB_FILES = ["*.json", "*.safetensors", "*.txt", "*.jinja"]
HUB_SURPLUS = ["*fp32*"]  # the same weights once more, beside Whisper-large-v3's
# No network, no such repository, a gate, a name that is none, a client told to stay offline.
HUB_ERRORS = (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError, ValueError)


def find_source(name: str | Path) -> Path:
    """The folder of whatever a part can be taken from: the catalogue's, else `find_checkpoint`'s.

    Raises:
        PartError: the catalogue has it, and it can be neither found nor fetched.
        CheckpointError: there is none of that name.
    """
    part = PARTS.get(str(name))
    if part is not None and not (Path(name) / "config.json").exists():
        return find_part(part)
    try:
        return find_checkpoint(name)
    except CheckpointError as error:
        raise CheckpointError(f"{error} (or one of the catalogue: {', '.join(PARTS)})") from error


def find_checkpoint(name: str | Path) -> Path:
    """The folder of a checkpoint.

    Args:
        name: the name of a packaged model, a folder, or a repository of the Hugging Face hub.

    Raises:
        CheckpointError: there is none of that name; the message says what was tried.
    """
    path = Path(name)
    # A folder that happens to be called like a packaged model (recipes/nano) does not hide it.
    if str(name) in PACKAGED_MODELS and not (path / "config.json").exists():
        return _packaged(str(name))
    if path.is_dir() and not (path / "config.json").exists():
        raise CheckpointError(
            f"{path.absolute()}: expected the folder of a checkpoint, found no config.json in it; "
            "check the path"
        )
    if path.exists():
        return path
    if isinstance(name, str) and HUB_ID.fullmatch(name) and not name.startswith("."):
        return _download(name)
    raise CheckpointError(
        f"{name}: expected {' or '.join(map(repr, PACKAGED_MODELS))}, a folder or a hub id "
        "(owner/name), found no such folder; check the name"
    )


def _packaged(name: str) -> Path:
    folder = Path(str(resources.files("eureka_audio"))) / "weights" / name
    if not (folder / "config.json").exists():
        raise CheckpointError(
            f"{name}: expected its weights in {folder}, found none; install a release that brings "
            f"them, or train it (recipes/{name}) and pass the folder of the result"
        )
    return folder


def _download(repo_id: str) -> Path:
    try:
        return Path(
            snapshot_download(repo_id, allow_patterns=HUB_FILES, ignore_patterns=HUB_SURPLUS)
        )
    except HUB_ERRORS as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise CheckpointError(
            f"{repo_id}: no such folder here, and the hub gave none ({reason[0]:.120}); check the "
            "name, or download it where there is a network and pass its folder"
        ) from error
