"""The key under which a reply is kept: it covers all that the reply depends on, and nothing else.

So a reply is used again exactly when the same question would be asked.
"""

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

MISSING_AUDIO = "missing"


def content_key(content: Mapping[str, Any]) -> str:
    """SHA-256 of a mapping that JSON can hold, whatever the order of its keys.

    Example:
        >>> content_key({"a": 1, "b": 2}) == content_key({"b": 2, "a": 1})
        True
    """
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@lru_cache(maxsize=10_000)
def file_fingerprint(path: str | Path) -> str:
    """SHA-256 of a file's bytes; a word when there is no such file (the model will say so)."""
    try:
        with Path(path).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return MISSING_AUDIO
