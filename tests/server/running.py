"""A real server on a loopback port, in a thread, around a tiny model."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any

import numpy as np
import soundfile
import uvicorn
from openai import OpenAI

from eureka_audio.inference.assistant import EurekaAudio
from eureka_audio.server.app import create_app
from eureka_audio.server.context import Context
from eureka_audio.server.limits import ServerSettings
from eureka_audio.server.run import server_config
from eureka_audio.server.service import LocalService
from tiny import noise_samples, tiny_assistant

TINY = ServerSettings(model="tiny", model_names=("tiny",), decode_workers=1)


@dataclass
class Running:
    """A server that answers."""

    app: Any
    server: uvicorn.Server
    loop: asyncio.AbstractEventLoop

    @property
    def context(self) -> Context:
        return self.app.state.context

    @property
    def port(self) -> int:
        return self.server.servers[0].sockets[0].getsockname()[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, **settings: Any) -> OpenAI:
        settings = {"api_key": "none", "max_retries": 0, "timeout": 60, **settings}
        return OpenAI(base_url=f"{self.url}/v1", **settings)


@contextmanager
def running(
    settings: ServerSettings = TINY,
    load: Callable[[], EurekaAudio] = tiny_assistant,
    **changes: Any,
) -> Iterator[Running]:
    settings = replace(settings, **changes)
    service = LocalService(load, settings.idle_unload_seconds, settings.stall_timeout_seconds)
    app = create_app(settings, service)
    server = uvicorn.Server(server_config(app, "127.0.0.1", 0, settings))
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        await server.serve()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.01)
    try:
        yield Running(app, server, loops[0])
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive(), "the server did not end"


def wav(seconds: float = 1.0, seed: int = 0, **settings: Any) -> bytes:
    """A file of noise."""
    file = BytesIO()
    soundfile.write(file, noise_samples(seconds, seed), 16_000, format="WAV", **settings)
    return file.getvalue()


def wav_of(samples: np.ndarray, rate: int = 16_000, subtype: str = "FLOAT") -> bytes:
    file = BytesIO()
    soundfile.write(file, samples, rate, format="WAV", subtype=subtype)
    return file.getvalue()


def wait_until(holds: Callable[[], Any], seconds: float = 20.0) -> None:
    """Return once something is so."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.01)
