"""What every request passes through, whatever its route: plain ASGI, from the outside in.

- `Envelope`: an id for each request, security headers; nothing unforeseen reaches a client.
- `KeyCheck`: the API key, on every route but those that are open by name.
- `DoorKeeper`: room for one more, or 429 / 503.
- `BodyLimit`: no body larger or slower than allowed, counted while it arrives.
"""

import asyncio
import hmac
import logging
import time
import uuid
from collections.abc import Callable, Iterable, MutableMapping
from typing import Any

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from eureka_audio.server.limits import Door
from eureka_audio.server.problems import Problem, internal_problem

log = logging.getLogger("eureka_audio.server")

# No outside request, no inline script: model text can never become one.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "media-src 'self' blob:; connect-src 'self'; font-src 'self'; worker-src 'self' blob:; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS = (
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"microphone=(self), camera=(), geolocation=()"),
)
Observer = Callable[[str, str, int, float], None]


def header(scope: Scope, name: bytes) -> str | None:
    """One header of a request, or None."""
    for key, value in scope.get("headers", ()):
        if key == name:
            return str(value.decode("latin-1"))
    return None


async def send_problem(problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with a problem; a WebSocket is closed before it opens, which HTTP sees as 403."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": problem.code})
        return
    await JSONResponse(problem.body, problem.status, problem.headers)(scope, receive, send)


class Envelope:
    """Gives each request an id, each response its headers, and each surprise a log entry."""

    def __init__(self, app: ASGIApp, observe: Observer) -> None:
        self.app = app
        self.observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = f"req_{uuid.uuid4().hex}"
        scope.setdefault("state", {})["request_id"] = request_id
        status, started = 0, time.monotonic()

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                extra = [(b"x-request-id", request_id.encode()), *SECURITY_HEADERS]
                message = {**message, "headers": [*message.get("headers", ()), *extra]}
            await send(message)

        try:
            await self.app(scope, receive, send_with_headers)
        except Problem as problem:
            if status:  # too late for a status of its own
                raise
            await send_problem(problem, scope, receive, send_with_headers)
        except Exception:  # the edge of the process: the log knows, the client does not
            log.exception("%s: unforeseen", request_id)
            if status:
                raise
            await send_problem(internal_problem(), scope, receive, send_with_headers)
        finally:
            seconds = time.monotonic() - started
            self.observe(_route_of(scope), scope["method"], status, seconds)
            log.info(
                "%s %s %s -> %s in %.3f s",
                request_id, scope["method"], _printable(scope["path"]), status or "gone", seconds,
            )  # fmt: skip


def _route_of(scope: Scope) -> str:
    """The pattern of a request's route: few values, whatever strangers ask for."""
    return str(getattr(scope.get("route"), "path", "unknown"))


def _printable(path: str) -> str:
    return ascii(path[:200])[1:-1]


class KeyCheck:
    """Asks for the API key, in constant time, everywhere but on the open paths."""

    def __init__(self, app: ASGIApp, api_key: str | None, open_paths: Iterable[str]) -> None:
        self.app = app
        self.api_key = None if api_key is None else api_key.encode()
        self.open_paths = frozenset(open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request or WebSocket."""
        if scope["type"] in ("http", "websocket") and not self._may_enter(scope):
            problem = Problem(
                401,
                "expected the API key of this server as 'Authorization: Bearer KEY', got none or "
                "another; ask whoever runs it",
                "invalid_api_key",
            )
            await send_problem(problem, scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _may_enter(self, scope: Scope) -> bool:
        if self.api_key is None or self._is_open(scope):
            return True
        given = (_bearer(scope) or "").encode("utf-8", "surrogateescape")
        return hmac.compare_digest(given, self.api_key)

    def _is_open(self, scope: Scope) -> bool:
        path = scope["path"]
        return (
            scope["type"] == "http"
            and scope["method"] in ("GET", "HEAD")
            and (path in self.open_paths or path.startswith("/static/"))
        )


def _bearer(scope: Scope) -> str | None:
    """The key a client gave: in the header or, where a browser cannot set one, as a subprotocol."""
    scheme, _, key = (header(scope, b"authorization") or "").partition(" ")
    if scheme.lower() == "bearer":
        return key.strip()
    if scope["type"] == "websocket":
        prefix = "openai-insecure-api-key."
        for protocol in scope.get("subprotocols", ()):
            if protocol.startswith(prefix):
                return str(protocol.removeprefix(prefix))
    return None


class DoorKeeper:
    """Counts the requests that cost something; the rest pass freely."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self.app = app
        self.door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; a WebSocket enters anew with each thing it asks for."""
        if scope["type"] == "http" and scope["method"] == "POST":
            with self.door.enter():
                await self.app(scope, receive, send)
        else:
            await self.app(scope, receive, send)


class BodyLimit:
    """Counts the bytes of a body and the time it takes, whatever its headers claim."""

    def __init__(self, app: ASGIApp, max_bytes: int, timeout_seconds: float) -> None:
        self.app = app
        self.max_bytes = max_bytes
        self.timeout_seconds = timeout_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared = header(scope, b"content-length") or "0"
        if declared.isdigit() and int(declared[:20]) > self.max_bytes:
            raise self._too_large(int(declared[:20]))
        num_bytes, is_complete = 0, False
        deadline = time.monotonic() + self.timeout_seconds

        async def counted() -> MutableMapping[str, Any]:
            nonlocal num_bytes, is_complete
            if is_complete:  # what follows is a disconnect, at any time
                return await receive()
            try:
                async with asyncio.timeout(deadline - time.monotonic()):
                    message = await receive()
            except TimeoutError:
                raise Problem(
                    408,
                    f"expected the whole body within {self.timeout_seconds:g} s; send it faster, "
                    "or less",
                    "body_timeout",
                ) from None
            num_bytes += len(message.get("body", b""))
            is_complete = not message.get("more_body", False)
            if num_bytes > self.max_bytes:
                raise self._too_large(num_bytes)
            return message

        await self.app(scope, counted, send)

    def _too_large(self, num_bytes: int) -> Problem:
        return Problem(
            413,
            f"Maximum content size limit ({self.max_bytes}) exceeded ({num_bytes} bytes read); "
            "send a shorter or compressed recording",
            "content_too_large",
        )
