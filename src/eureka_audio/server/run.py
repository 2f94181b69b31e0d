"""A server process: from settings to a listening socket, and to a clean end."""

import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.config import LOGGING_CONFIG

from eureka_audio.inference.assistant import EurekaAudio
from eureka_audio.server.app import create_app
from eureka_audio.server.context import Context
from eureka_audio.server.limits import ServerSettings
from eureka_audio.server.service import LocalService


class DrainingServer(uvicorn.Server):
    """Told to stop, it answers what it has begun, refuses what is new with 503, then ends.

    A second signal ends it at once.
    """

    def __init__(self, config: uvicorn.Config, context: Context) -> None:
        super().__init__(config)
        self._context = context
        self._deadline: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take a signal."""
        if self._deadline is not None or not self.started:
            super().handle_exit(sig, frame)
            return
        self._deadline = time.monotonic() + self._context.settings.drain_timeout_seconds

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second; True ends the server."""
        if self._deadline is not None:
            self._context.door.close()
            is_over = time.monotonic() > self._deadline
            num_inside = self._context.door.num_inside + self._context.sessions.num_inside
            self.should_exit |= is_over or not num_inside
        return await super().on_tick(counter)


def server_config(app: ASGIApp, host: str, port: int, settings: ServerSettings) -> uvicorn.Config:
    """How the socket is served."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http="h11",
        ws="websockets-sansio",
        log_config=_logging(),
        access_log=False,  # ours names the request id
        timeout_graceful_shutdown=3,
        server_header=False,
        ws_max_size=settings.max_body_bytes,
        h11_max_incomplete_event_size=64 * 1024,
    )


def _logging() -> dict[str, Any]:
    """uvicorn's, with our own lines among its."""
    ours = {"handlers": ["default"], "level": "INFO"}
    return {**LOGGING_CONFIG, "loggers": {**LOGGING_CONFIG["loggers"], "eureka_audio": ours}}


def run(settings: ServerSettings, load: Callable[[], EurekaAudio], host: str, port: int) -> int:
    """Serve until told to stop; returns the exit code.

    Args:
        settings: what it allows.
        load: makes the model.
        host: where it listens.
        port: 0 takes a free one.
    """
    service = LocalService(load, settings.idle_unload_seconds, settings.stall_timeout_seconds)
    app = create_app(settings, service)
    server = DrainingServer(server_config(app, host, port, settings), app.state.context)
    server.run()
    return 0 if server.started else 1
