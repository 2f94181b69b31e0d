"""Clips that play in a page: within it, up to a budget, or named by their place on disk."""

import base64
import os
from pathlib import Path
from urllib.parse import quote

MAX_EMBEDDED_BYTES = 8 * 1024 * 1024
# What browsers play, by the ending of the file's name.
MIME_TYPES = {
    ".flac": "audio/flac",
    ".wav": "audio/wav",
    ".mp3": "audio/mpeg",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".m4a": "audio/mp4",
}


class AudioBudget:
    """Puts clips into the page until it is large enough; the rest are named by relative path.

    Args:
        folder: where the page will lie.

    Attributes:
        sources: what a player plays, by number: the bytes themselves, or where they are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._left = MAX_EMBEDDED_BYTES
        self.sources: list[str] = []
        self._numbers: dict[Path, int | None] = {}

    def number(self, path: Path) -> int | None:
        """The number of a clip in `sources`; None when the clip is gone."""
        if path not in self._numbers:
            self._numbers[path] = len(self.sources) if path.is_file() else None
            if path.is_file():
                self.sources.append(self._place(path))
        return self._numbers[path]

    def _place(self, path: Path) -> str:
        size = path.stat().st_size
        mime = MIME_TYPES.get(path.suffix.lower())
        if mime is None or size > self._left:
            return quote(os.path.relpath(path, self._folder))
        self._left -= size
        return f"data:{mime};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"
