"""The server, put together: routes, what surrounds them, and what lives as long as it does."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from importlib import resources
from typing import cast

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from eureka_audio import __version__
from eureka_audio.errors import EurekaAudioError
from eureka_audio.server.context import Context
from eureka_audio.server.decoding import DecodePool
from eureka_audio.server.limits import Door, ServerSettings
from eureka_audio.server.metrics import Metrics
from eureka_audio.server.middleware import BodyLimit, DoorKeeper, Envelope, KeyCheck
from eureka_audio.server.openapi import describe
from eureka_audio.server.problems import Problem, invalid, problem_of
from eureka_audio.server.routes import chat, inspect, realtime, status, transcriptions
from eureka_audio.server.service import LocalService

# Readable without the key: whether it lives, and the page itself, which holds no secret.
OPEN_PATHS = ("/", "/health", "/favicon.ico")
WEB_FOLDER = str(resources.files("eureka_audio.server") / "web")


def create_app(settings: ServerSettings, service: LocalService) -> FastAPI:
    """A server around a model.

    Args:
        settings: what it allows.
        service: the model; loaded when the server starts, closed when it ends.
    """
    door = Door(settings.max_pending)
    decoders = DecodePool(settings.limits, settings.decode_workers, settings.decode_timeout_seconds)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await asyncio.gather(decoders.start(), service.start())
        caretaker = asyncio.create_task(service.unload_when_idle())
        try:
            yield
        finally:
            caretaker.cancel()
            await service.close()
            await decoders.close()

    app = FastAPI(
        title="Eureka-Audio",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,  # they load scripts from elsewhere
        redoc_url=None,
    )
    metrics = Metrics(service, door)
    app.state.context = Context(
        settings, service, decoders, door, Door(settings.max_sessions), metrics
    )
    app.state.started_at = time.time()
    for kind in (Problem, EurekaAudioError, RequestValidationError, ValidationError, HTTPException):
        app.add_exception_handler(kind, _told)
    app.add_exception_handler(ClientDisconnect, _gone)
    for routes in (transcriptions, chat, realtime, inspect, status):
        app.include_router(routes.router)
    app.add_api_route("/", _page, include_in_schema=False)
    app.mount("/static", StaticFiles(directory=WEB_FOLDER), name="static")
    setattr(app, "openapi", lambda: describe(app))  # noqa: B010 (FastAPI's own way to replace it)
    # The last one added is the outermost.
    app.add_middleware(
        BodyLimit,
        max_bytes=settings.max_body_bytes,
        timeout_seconds=settings.body_timeout_seconds,
    )
    app.add_middleware(DoorKeeper, door=door)
    app.add_middleware(KeyCheck, api_key=settings.api_key, open_paths=OPEN_PATHS)
    app.add_middleware(Envelope, observe=metrics.observe)
    return app


async def _page() -> Response:
    """The page in the browser."""
    return FileResponse(f"{WEB_FOLDER}/index.html", headers={"cache-control": "no-cache"})


async def _gone(request: Request, error: Exception) -> Response:
    """Nobody reads this: the client hung up."""
    return Response(status_code=499)


async def _told(request: Request, error: Exception) -> Response:
    """Any refusal in OpenAI's words."""
    problem = _as_problem(error)
    return JSONResponse(problem.body, problem.status, problem.headers)


def _as_problem(error: Exception) -> Problem:
    match error:
        case Problem():
            return error
        case EurekaAudioError():
            return problem_of(error)
        case RequestValidationError() | ValidationError():
            first = error.errors()[0]
            place = [str(part) for part in first["loc"] if part != "body"]
            param = ".".join(place) or None
            got = "" if first["type"] == "missing" else f", got {first.get('input')!r:.80}"
            where = f"{param}: " if param else ""
            return invalid(f"{where}{first['msg']}{got}", param)
        case _:
            http = cast(HTTPException, error)
            code = {404: "unknown_url", 405: "method_not_allowed"}.get(http.status_code, "invalid")
            return Problem(http.status_code, f"{http.detail}; see docs/serving.md", code)
