"""Puts every item to a model once, in rounds: what failed in passing is asked again.

Outcomes go to a ledger, batch by batch. A run that was killed goes on where it stopped and never
asks a finished item again. Batches are cut from the whole list, so a resumed run asks in the same
company as an undisturbed one.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from eureka_audio.asking.ledger import Ledger, Row
from eureka_audio.asking.outcomes import outcome
from eureka_audio.errors import EurekaAudioError, RunError
from eureka_audio.protocols import Reply

MAX_FAILED_BATCHES = 5  # in a row, every item of them: then the model is taken to be down
Item = TypeVar("Item")


@dataclass(frozen=True)
class RunOptions:
    """How a model is asked.

    Attributes:
        batch_size: items per call, and per fsync.
        max_attempts: how often an item is asked that failed in a way that may pass.
        retry_failed: forget the failures of earlier calls and ask those items again.
        on_progress: called with the number of items that were just finished.
    """

    batch_size: int = 32
    max_attempts: int = 3
    retry_failed: bool = False
    on_progress: Callable[[int], None] = lambda count: None


@dataclass(frozen=True)
class Asker(Generic[Item]):
    """How a batch of items becomes answers, and what of an item its row in the ledger keeps."""

    ask: Callable[[Sequence[Item]], Sequence[Reply | EurekaAudioError]]
    label: Callable[[Item], Mapping[str, str]]


class Rounds(Generic[Item]):
    """What the ledger knows, kept up to date while asking.

    Attributes:
        replies: the rows of answered items, by key.
        errors: the last row of items that failed, by key.
        asked: questions put to the model.
    """

    def __init__(self, ledger: Ledger, options: RunOptions) -> None:
        self.ledger = ledger
        self.options = options
        self.replies: dict[str, Row] = {}
        self.errors: dict[str, Row] = {}
        self.attempts: Counter[str] = Counter()
        self.asked = self._failed_batches = 0
        self._held: list[Row] = []
        for row in ledger.rows:
            if "error" not in row or not options.retry_failed:
                self._take(row)

    def run(self, items: Sequence[tuple[str, Item]], asker: Asker[Item]) -> None:
        """Ask items, given with their keys, until each is answered or out of attempts.

        Raises:
            RunError: the model does not answer at all. What was answered stays.
        """
        self.options.on_progress(sum(key in self.replies for key, _ in items))
        for _ in range(self.options.max_attempts):
            if not self._one_round(items, asker):
                break

    def _one_round(self, items: Sequence[tuple[str, Item]], asker: Asker[Item]) -> bool:
        """Ask every open item once; whether there was any."""
        asked = False
        size = self.options.batch_size
        for start in range(0, len(items), size):
            batch = [pair for pair in items[start : start + size] if self.is_open(pair[0])]
            if not batch:
                continue
            asked = True
            self.asked += len(batch)
            answers = asker.ask([item for _, item in batch])
            rows = [
                {"key": key, **asker.label(item), **outcome(answer)}
                for (key, item), answer in zip(batch, answers, strict=True)
            ]
            self._record(rows)
            self.options.on_progress(sum("error" not in row for row in rows))
        self._flush()
        return asked

    def is_open(self, key: str) -> bool:
        """Whether an item still has to be asked."""
        if key in self.replies:
            return False
        if key in self.errors and not self.errors[key]["error"]["retryable"]:
            return False
        return self.attempts[key] < self.options.max_attempts

    def _record(self, rows: Sequence[Row]) -> None:
        """Keep a batch.

        The failures of an outage are held back until the model answers again, so that they cost no
        attempts.

        Raises:
            RunError: too many batches failed one after another.
        """
        down = all("error" in row and row["error"]["retryable"] for row in rows)
        self._failed_batches = self._failed_batches + 1 if down else 0
        if self._failed_batches >= MAX_FAILED_BATCHES:
            raise RunError(
                f"expected answers, got none in {MAX_FAILED_BATCHES} batches in a row, the last"
                f" error being: {rows[-1]['error']['message']}; {len(self.replies)} items are"
                " answered and kept: run again to go on"
            )
        self._held += rows
        if not down:
            self._flush()

    def _flush(self) -> None:
        """Write what is held back."""
        if self._held:
            self.ledger.append(self._held)
            for row in self._held:
                self._take(row)
        self._held = []

    def _take(self, row: Row) -> None:
        key = row["key"]
        self.attempts[key] += 1
        if "error" in row:
            self.errors[key] = row
        else:
            self.replies[key] = row
