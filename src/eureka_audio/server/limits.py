"""How much a server takes on: settings with safe defaults, and the door that says "full"."""

import asyncio
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

from eureka_audio.audio.fetch import AudioAccess
from eureka_audio.audio.mono import AudioLimits
from eureka_audio.server.problems import Problem

MIB = 2**20
NO_PLACES = AudioAccess(allowed_folders=())  # neither URLs nor files
STRANGERS_LIMITS = AudioLimits(
    max_duration_seconds=600.0, max_encoded_bytes=25 * MIB, max_decoded_bytes=256 * MIB
)


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """What a server allows; the defaults suit strangers.

    Attributes:
        model: what to load.
        model_names: what clients may call it; the first is what `/v1/models` lists.
        api_key: what clients must know; `None` lets everybody in.
        access: which URLs and files a client may name; none by default.
        limits: how long and large one recording may be.
        max_body_bytes: of a request; OpenAI's figure.
        body_timeout_seconds: for a whole body to arrive.
        max_batch_size: answers that grow at once; the others wait.
        max_pending: requests in the house at once, waiting ones included; more are sent away.
        max_sessions: realtime connections at once.
        max_audio_parts: recordings in one conversation.
        max_choices: the largest `n`.
        decode_workers: processes that decode audio.
        decode_timeout_seconds: for one recording.
        drain_timeout_seconds: what requests under way get once the server is told to stop.
        idle_unload_seconds: the model leaves memory after so long without work; `None` keeps it.
        stall_timeout_seconds: work without progress for so long counts as a dead model.
    """

    model: str = "nano"
    model_names: tuple[str, ...] = ("nano",)
    api_key: str | None = field(default=None, repr=False)
    access: AudioAccess = NO_PLACES
    limits: AudioLimits = STRANGERS_LIMITS
    max_body_bytes: int = 25 * MIB
    body_timeout_seconds: float = 60.0
    max_batch_size: int = 32
    max_pending: int = 64
    max_sessions: int = 32
    max_audio_parts: int = 16
    max_choices: int = 16
    decode_workers: int = 2
    decode_timeout_seconds: float = 20.0
    drain_timeout_seconds: float = 30.0
    idle_unload_seconds: float | None = None
    stall_timeout_seconds: float = 60.0


class Door:
    """Lets requests in while there is room, and nobody once the server is to stop.

    Args:
        max_inside: requests at once.
    """

    def __init__(self, max_inside: int) -> None:
        self.max_inside = max_inside
        self.num_inside = 0
        self.is_draining = False
        self._closed = asyncio.Event()

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Count one request as inside.

        Raises:
            Problem: 503 while the server stops, 429 when it is full.
        """
        self.check_open()
        if self.num_inside >= self.max_inside:
            raise Problem(
                429,
                f"expected fewer than {self.max_inside} requests at once; the server is full, "
                "come back in a second",
                "overloaded",
                retry_after_seconds=1,
            )
        with self._counted():
            yield

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self.num_inside += 1
        try:
            yield
        finally:
            self.num_inside -= 1

    def finish(self) -> AbstractContextManager[None]:
        """Count work that was promised before the door closed, whether or not there is room."""
        return self._counted()

    def check_open(self) -> None:
        """Refuse while the server stops.

        Raises:
            Problem: 503.
        """
        if self.is_draining:
            raise Problem(
                503,
                "the server is shutting down; ask again in a few seconds",
                "shutting_down",
                retry_after_seconds=5,
            )

    def close(self) -> None:
        """Let nobody in any more; who is inside may finish. From the event loop's thread."""
        self.is_draining = True
        self._closed.set()

    async def wait_until_closed(self) -> None:
        """Return once nobody is let in any more."""
        await self._closed.wait()
