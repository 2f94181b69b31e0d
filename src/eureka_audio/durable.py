"""Writing a file so that a reader, or a power cut, never meets half of it.

Every component that leaves something on disk writes through here: temporary file beside the target,
fsync, rename, fsync of the folder.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Any, Literal, overload


@overload
def atomic_write(
    path: str | Path, *, binary: Literal[False] = ...
) -> AbstractContextManager[IO[str]]: ...
@overload
def atomic_write(
    path: str | Path, *, binary: Literal[True]
) -> AbstractContextManager[IO[bytes]]: ...
@contextmanager
def atomic_write(path: str | Path, *, binary: bool = False) -> Iterator[IO[Any]]:
    r"""Open a temporary file that becomes ``path`` when the block ends well, else vanishes.

    The folder is made when it is missing. Text is UTF-8 with ``\n`` line ends.

    Example:
        >>> import tempfile, pathlib
        >>> target = pathlib.Path(tempfile.mkdtemp()) / "note.txt"
        >>> with atomic_write(target) as stream:
        ...     _ = stream.write("whole or not at all")
        >>> target.read_text()
        'whole or not at all'
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp")
    temporary = Path(name)
    try:
        with (
            os.fdopen(descriptor, "wb")
            if binary
            else os.fdopen(descriptor, "w", encoding="utf-8", newline="\n")
        ) as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Give a temporary folder that becomes ``path`` when the block ends well, else vanishes.

    A folder already at ``path`` is replaced. A folder found under its final name is complete.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp"))
    try:
        yield temporary
        for file in sorted(temporary.rglob("*")):
            sync_folder(file)
        sync_folder(temporary)
        temporary.chmod(0o777 & ~_umask())
        if target.exists():
            replaced = temporary.with_suffix(".old")
            target.rename(replaced)
            temporary.rename(target)
            shutil.rmtree(replaced)
        else:
            temporary.rename(target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Make the names inside a folder (a rename, for example) survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    """The process's file mode mask, which ``mkstemp`` ignores (it makes files private)."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
