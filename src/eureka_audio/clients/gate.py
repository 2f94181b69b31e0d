"""The way to one server: so many requests at once, no faster than it allows, none while it is down.

A server that fails several times in a row is taken to be down: then one request at a time finds out
whether it is up again, with pauses that double, while all others wait. What a server says about
waiting holds for everybody.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from eureka_audio.errors import ModelDownError

FAILURES_TO_TRIP = 5
FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 0.5, 30.0


@dataclass
class Gate:
    """The state of one server, as seen from here.

    Attributes:
        name: of the model, for messages.
        concurrency: requests under way at once.
        requests_per_minute: at most; None for no limit.
        give_up_seconds: without one success, after which the model is given up.
    """

    name: str
    concurrency: int
    requests_per_minute: float | None = None
    give_up_seconds: float = 300.0
    _failures: int = 0
    _failing_since: float | None = None
    _closed_until: float = 0.0
    _pause: float = 0.0
    _next_slot: float = 0.0
    _last_error: str = ""

    def __post_init__(self) -> None:
        self._places = asyncio.Semaphore(self.concurrency)
        self._probe = asyncio.Lock()

    @property
    def is_tripped(self) -> bool:
        """Whether the server is taken to be down."""
        return self._failures >= FAILURES_TO_TRIP

    @asynccontextmanager
    async def passage(self) -> AsyncIterator[None]:
        """Wait for one's turn and hold a place.

        Raises:
            ModelDownError: the server has been down for too long.
        """
        async with self._places:
            if self.is_tripped:
                async with self._probe:
                    await self._turn()
                    if self.is_tripped:  # still: this one finds out
                        yield
                        return
            await self._turn()
            yield

    async def _turn(self) -> None:
        """Sleep until the server may be asked."""
        while (wait := self._closed_until - time.monotonic()) > 0:
            self._check()
            await asyncio.sleep(min(wait, 1.0))
        self._check()
        if self.requests_per_minute is not None:
            slot = max(self._next_slot, time.monotonic())
            self._next_slot = slot + 60.0 / self.requests_per_minute
            await asyncio.sleep(slot - time.monotonic())

    def _check(self) -> None:
        since = self._failing_since
        if self.is_tripped and since and time.monotonic() - since > self.give_up_seconds:
            raise ModelDownError(
                f"expected answers from {self.name}, got none for {self.give_up_seconds:.0f} "
                f"seconds, the last error being: {self._last_error}; what was answered is kept: "
                "run again to go on"
            )

    def succeeded(self) -> None:
        """The server has answered."""
        self._failures, self._failing_since, self._pause = 0, None, 0.0

    def failed(self, error: str) -> None:
        """The server has failed in passing.

        The pause doubles by failed attempts to find out, not by requests that were under way when
        the server went down.
        """
        now = time.monotonic()
        self._failures += 1
        self._failing_since = self._failing_since or now
        self._last_error = error
        if self.is_tripped and now >= self._closed_until:
            self._pause = min(2 * self._pause or FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS)
            self._closed_until = now + self._pause

    def told_to_wait(self, seconds: float) -> None:
        """The server has said when it may be asked again: nobody asks before."""
        now = time.monotonic()
        self._closed_until = max(self._closed_until, now + seconds)
        if self._failing_since is not None:
            self._failing_since = max(self._failing_since, self._closed_until)
