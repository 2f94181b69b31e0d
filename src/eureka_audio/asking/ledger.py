"""An append-only file of JSON lines that outlives any crash.

Each batch is one write and one fsync; a line that a crash cut in half is dropped on the next
opening, and only one process may hold the file at a time.
"""

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from eureka_audio.durable import sync_folder
from eureka_audio.errors import RunError

Row = dict[str, Any]


class Ledger:
    """The rows so far, and a way to add some.

    Attributes:
        rows: what was read on opening, in order.
    """

    def __init__(self, stream: IO[bytes], rows: list[Row]) -> None:
        self._stream = stream
        self.rows = rows

    def append(self, rows: Iterable[Row]) -> None:
        """Add rows; when this returns they survive a crash."""
        self._stream.write(b"".join(json.dumps(row).encode() + b"\n" for row in rows))
        self._stream.flush()
        os.fsync(self._stream.fileno())


@contextmanager
def open_ledger(path: Path) -> Iterator[Ledger]:
    """Open a ledger, made when missing, for this process alone.

    Raises:
        RunError: another process holds it, or a line in its middle is damaged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as stream:
        sync_folder(path.parent)
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunError(
                f"expected to be alone in {path.parent}, but another run holds {path.name}; wait"
                " for it, or choose another folder"
            ) from error
        yield Ledger(stream, _read(stream, path))


def read_ledger(path: Path) -> list[Row]:
    """All whole rows of a ledger, which another process may be writing; none where it is missing.

    Raises:
        RunError: a line is damaged.
    """
    return _rows(path.read_bytes(), path) if path.is_file() else []


def _read(stream: IO[bytes], path: Path) -> list[Row]:
    """All whole lines; what a crash left of a last one is cut off."""
    stream.seek(0)
    content = stream.read()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        stream.truncate(whole)
    rows = _rows(content, path)
    stream.seek(0, os.SEEK_END)
    return rows


def _rows(content: bytes, path: Path) -> list[Row]:
    rows = []
    whole = content.rfind(b"\n") + 1
    for number, line in enumerate(content[:whole].splitlines(), start=1):
        try:
            rows.append(json.loads(line))
        except ValueError as error:
            raise RunError(
                f"{path}:{number}: expected a row as JSON, got a damaged line ({error}); remove it"
                " and run again: its items will be asked once more"
            ) from error
    return rows
