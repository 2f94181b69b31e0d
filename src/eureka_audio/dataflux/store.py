"""The books of a run on disk: every call once, every item with its fate; outlives any crash.

    DIR/run.json       whose folder this is
    DIR/books.sqlite   clips, calls and items, in write-ahead mode
    DIR/kept.jsonl     what was kept, written when a run ends

What is written survives a kill of the process at once, and a power cut once it was awaited: what
comes in one turn of the loop is one commit, and the commits of one moment share an fsync. Memory
does not grow with the run: whatever is looked up is looked up on disk.
"""

import asyncio
import fcntl
import json
import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from eureka_audio.dataflux.items import CallRecord, Fate, Item
from eureka_audio.errors import ConfigError, RunError
from eureka_audio.records import AudioClip

BOOKS, KEPT, LOCK = "books.sqlite", "kept.jsonl", "lock"
# An item is "passed" when all steps are behind it and only the selection among such is open.
_TABLES = """
CREATE TABLE IF NOT EXISTS clips (position INTEGER PRIMARY KEY, id TEXT UNIQUE, record TEXT);
CREATE TABLE IF NOT EXISTS calls (key TEXT PRIMARY KEY, step TEXT, model TEXT, record TEXT);
CREATE TABLE IF NOT EXISTS items (
  leaf TEXT, rank INTEGER, number INTEGER, clip TEXT, sha256 TEXT, passed INTEGER, fate TEXT,
  reason TEXT, detail TEXT, record TEXT, PRIMARY KEY (leaf, rank, number)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS items_by_audio ON items (sha256);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT);
"""
_COLUMNS = "record, fate, reason, detail"
_UNDECIDED = "UPDATE items SET fate = 'discarded', reason = 'surplus', detail = '' WHERE passed"
_PASSED = "SELECT rank, number FROM items WHERE leaf = ? AND rank < ? AND passed"
_ONE = f"SELECT {_COLUMNS} FROM items WHERE leaf = ? AND rank = ? AND number = ?"
_KEPT_ABOUT = f"SELECT {_COLUMNS} FROM items WHERE sha256 = ? AND fate = 'kept'"
_DECIDE = (
    "UPDATE items SET fate = ?, reason = ?, detail = ? WHERE leaf = ? AND rank = ? AND number = ?"
)
_INCOMING = "CREATE TABLE incoming (mark TEXT, id TEXT UNIQUE, record TEXT)"
_ORDERED = (
    "INSERT INTO clips SELECT ROW_NUMBER() OVER (ORDER BY mark, id) - 1, id, record FROM incoming"
)
_PUT_CALL = "INSERT OR IGNORE INTO calls VALUES (?, ?, ?, ?)"
_PUT_ITEM = "INSERT OR REPLACE INTO items VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
Statement = tuple[str, tuple[Any, ...]]
Choose = Callable[[Item, Iterable[Item], int], tuple[Fate, str, str]]


class Store:
    """The books, open; made by `open_store`, or `read_store` to look at them only."""

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        self.folder = folder
        self._num_clips: int | None = None
        path = folder / BOOKS
        if read_only:
            if not path.is_file():
                raise RunError(f"expected a DataFlux run in {folder}, found no {BOOKS}; check it")
            self._db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
            return
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(_TABLES)
        self._log = path.with_name(f"{BOOKS}-wal")
        self._coming: list[tuple[Sequence[Statement], asyncio.Future[None]]] = []
        self._waiting: list[asyncio.Future[None]] = []
        self._syncer: asyncio.Task[None] | None = None

    # --- writing -------------------------------------------------------------------------------

    async def put_call(self, call: CallRecord) -> None:
        """Keep a call; when this returns it survives a crash."""
        values = (call.key, call.step, call.model, call.model_dump_json(exclude_defaults=True))
        await self._write([(_PUT_CALL, values)])

    async def put_items(self, items: Iterable[tuple[Item, bool]]) -> None:
        """Keep all items of a candidate at once, each with whether it passed all steps."""
        await self._write([(_PUT_ITEM, _item_row(item, passed)) for item, passed in items])

    async def _write(self, statements: Sequence[Statement]) -> None:
        """Commit in this turn of the loop, and return when the disk has it.

        Raises:
            RunError: the disk refuses.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        if not self._coming:
            loop.call_soon(self._commit_all)
        self._coming.append((statements, done))
        await done

    def _commit_all(self) -> None:
        """Commit what came in this turn of the loop, and let the disk catch up."""
        coming, self._coming = self._coming, []
        try:
            self._commit(one for statements, _ in coming for one in statements)
        except sqlite3.Error as error:
            for _, done in coming:
                if not done.done():
                    done.set_exception(_unwritable(self.folder, error))
            return
        self._waiting += [done for _, done in coming]
        if self._syncer is None or self._syncer.done():
            self._syncer = asyncio.create_task(self._sync_all())

    async def _sync_all(self) -> None:
        """Let the disk catch up in a thread, for all that wait at once, until nobody does."""
        while self._waiting:
            group, self._waiting = self._waiting, []
            try:
                await asyncio.to_thread(self._sync)
            except OSError as error:
                for done in group:
                    if not done.done():
                        done.set_exception(_unwritable(self.folder, error))
                continue
            for done in group:
                if not done.done():
                    done.set_result(None)

    def _sync(self) -> None:
        """See to it that what was committed survives a power cut."""
        descriptor = os.open(self._log, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _commit(self, statements: Iterable[Statement]) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for words, values in statements:
                self._db.execute(words, values)
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def write_now(self, statements: Iterable[Statement]) -> None:
        """Commit statements before a loop runs, or after it.

        Raises:
            RunError: the disk refuses.
        """
        try:
            self._commit(statements)
            self._sync()
        except (sqlite3.Error, OSError) as error:
            raise _unwritable(self.folder, error) from error

    def put_clips(self, clips: Iterable[tuple[str, AudioClip]]) -> None:
        """Replace the clips; each comes with a mark, by which they are ordered.

        Raises:
            ConfigError: two have one name.
            RunError: the disk refuses.
        """
        name, self._num_clips = "", None

        def rows() -> Iterator[tuple[str, str, str]]:
            nonlocal name
            for mark, clip in clips:
                name = clip.id
                yield mark, name, clip.model_dump_json()

        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute(_INCOMING)
            self._db.executemany("INSERT INTO incoming VALUES (?, ?, ?)", rows())
            for words in ("DELETE FROM clips", _ORDERED, "DROP TABLE incoming"):
                self._db.execute(words)
            self._db.execute("COMMIT")
        except sqlite3.IntegrityError as error:
            raise ConfigError(
                f"audio: expected every clip to have a name of its own, got {name!r} twice; rename "
                "one"
            ) from error
        except sqlite3.Error as error:
            raise _unwritable(self.folder, error) from error
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def decide(self, leaves: Sequence[str], choose: Choose, before_rank: Mapping[str, int]) -> None:
        """Decide anew on all items that passed every step.

        Args:
            leaves: in the order in which they choose.
            choose: the decision on an item, from those kept about the same audio and the number
                kept of its leaf.
            before_rank: for each leaf, the rank up to which its candidates are complete; what lies
                beyond counts as surplus.
        """
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.execute(_UNDECIDED)
            for leaf in leaves:
                num_kept = 0
                rows = self._db.execute(_PASSED, (leaf, before_rank[leaf])).fetchall()
                for rank, number in rows:
                    item = _item(self._db.execute(_ONE, (leaf, rank, number)).fetchone())
                    kept = map(_item, self._db.execute(_KEPT_ABOUT, (item.audio_sha256,)))
                    decision = choose(item, kept, num_kept)
                    num_kept += decision[0] == "kept"
                    self._db.execute(_DECIDE, (*decision, leaf, rank, number))
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise _unwritable(self.folder, error) from error

    def forget_failed(self) -> int:
        """Drop the items of candidates that failed, so that they are tried again; how many."""
        failed = "SELECT DISTINCT leaf, rank FROM items WHERE fate = 'failed'"
        places = self._db.execute(failed).fetchall()
        self.write_now(("DELETE FROM items WHERE leaf = ? AND rank = ?", place) for place in places)
        return len(places)

    def forget_items(self) -> None:
        """Drop all items; the calls stay, so that only what changed is asked again."""
        self.write_now([("DELETE FROM items", ())])

    def set_fact(self, name: str, value: Any) -> None:
        """Keep one thing to know about the run, such as how long it took."""
        self.write_now([("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, json.dumps(value)))])

    # --- reading -------------------------------------------------------------------------------

    def call(self, key: str) -> CallRecord | None:
        """A call that was answered before."""
        row = self._db.execute("SELECT record FROM calls WHERE key = ?", (key,)).fetchone()
        return None if row is None else CallRecord.model_validate_json(row[0])

    def calls(self) -> Iterator[CallRecord]:
        """All calls, in no particular order."""
        for (record,) in self._db.execute("SELECT record FROM calls"):
            yield CallRecord.model_validate_json(record)

    def items(self, fate: Fate | None = None, leaf: str | None = None) -> Iterator[Item]:
        """Items by leaf, rank and number; of one fate or leaf where named."""
        words = (
            f"SELECT {_COLUMNS} FROM items WHERE (?1 IS NULL OR fate = ?1)"
            " AND (?2 IS NULL OR leaf = ?2) ORDER BY leaf, rank, number"
        )
        yield from map(_item, self._db.execute(words, (fate, leaf)))

    def num_kept(self, leaf: str) -> int:
        """Items of a leaf that are kept as of the last decision."""
        words = "SELECT COUNT(*) FROM items WHERE leaf = ? AND fate = 'kept'"
        return int(self._db.execute(words, (leaf,)).fetchone()[0])

    def is_done(self, leaf: str, rank: int) -> bool:
        """Whether a candidate has been through all steps."""
        words = "SELECT 1 FROM items WHERE leaf = ? AND rank = ? LIMIT 1"
        return self._db.execute(words, (leaf, rank)).fetchone() is not None

    def num_clips(self) -> int:
        """How many clips there are."""
        if self._num_clips is None:  # counting reads all of them
            found = self._db.execute("SELECT COUNT(*) FROM clips").fetchone()
            self._num_clips = int(found[0])
        return self._num_clips

    def clip(self, position: int) -> AudioClip:
        """The clip at a place, counted round and round."""
        place = position % self.num_clips()
        words = "SELECT record FROM clips WHERE position = ?"
        return AudioClip.model_validate_json(self._db.execute(words, (place,)).fetchone()[0])

    def books(self) -> Counter[tuple[str, Fate, str]]:
        """Items by leaf, fate and reason."""
        words = "SELECT leaf, fate, reason, COUNT(*) FROM items GROUP BY leaf, fate, reason"
        found = self._db.execute(words)
        return Counter({(leaf, fate, reason): number for leaf, fate, reason, number in found})

    def fact(self, name: str) -> Any:
        """What is known about the run under a name, or None."""
        row = self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else json.loads(row[0])

    def close(self) -> None:
        """Close the books."""
        self._db.close()


@contextmanager
def open_store(folder: Path) -> Iterator[Store]:
    """Open the books of a run, made when missing, for this process alone.

    Raises:
        RunError: another process holds them, or the disk refuses.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as lock:
        _hold(lock, folder)
        try:
            store = Store(folder)
        except sqlite3.Error as error:
            raise _unwritable(folder, error) from error
        try:
            yield store
        finally:
            store.close()


@contextmanager
def read_store(folder: Path) -> Iterator[Store]:
    """Look into the books of a run, which may be under way.

    Raises:
        RunError: there are none.
    """
    store = Store(folder, read_only=True)
    try:
        yield store
    finally:
        store.close()


def _hold(lock: IO[str], folder: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise RunError(
            f"expected to be alone in {folder}, but another run holds it; wait for it, or choose "
            "another folder"
        ) from error


def _item_row(item: Item, passed: bool) -> tuple[Any, ...]:
    place = (item.leaf, item.rank, item.number, item.clip_id, item.audio_sha256)
    fate = (int(passed), item.fate, item.reason, item.detail)
    return (*place, *fate, item.model_dump_json(exclude_defaults=True))


def _item(row: tuple[str, str, str, str]) -> Item:
    """An item; its fate stands in columns of its own, which decisions change."""
    record, fate, reason, detail = row
    decided = {"fate": fate, "reason": reason, "detail": detail}
    return Item.model_validate_json(record).model_copy(update=decided)


def _unwritable(folder: Path, error: Exception) -> RunError:
    return RunError(
        f"expected to write the books in {folder}, got {type(error).__name__}: {error}; make room "
        "or see to the disk, and run again: what was answered is kept"
    )
