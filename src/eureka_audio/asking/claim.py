"""A folder belongs to one run: what it asks and whom is written down, and compared on return."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eureka_audio.durable import atomic_write
from eureka_audio.errors import ForeignRunError, RunError

IDENTITY = "run.json"


def claim_folder(folder: Path, identity: Mapping[str, Any]) -> None:
    """Write down whose folder this is, or check that it is ours.

    Args:
        folder: of the run.
        identity: what JSON can hold; a run with another one is refused.

    Raises:
        ForeignRunError: the folder holds another run.
    """
    path = folder / IDENTITY
    if not path.exists():
        with atomic_write(path) as stream:
            stream.write(json.dumps(identity, indent=1) + "\n")
        return
    theirs = read_claim(folder)
    mine = json.loads(json.dumps(identity))
    changed = [name for name in {**mine, **theirs} if theirs.get(name) != mine.get(name)]
    if changed:
        name = changed[0]
        raise ForeignRunError(
            f"expected {folder} to be empty or to hold this run, but its {name} is"
            f" {theirs.get(name)!r:.200}, not {mine.get(name)!r:.200}; choose another folder"
        )


def read_claim(folder: Path) -> dict[str, Any]:
    """Whose folder this is.

    Raises:
        RunError: nobody's, or what is written there cannot be read.
    """
    try:
        found = json.loads((folder / IDENTITY).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(
            f"expected the folder of a run at {folder}, found no readable {IDENTITY} in it"
            f" ({error}); check the path"
        ) from error
    return dict(found)
