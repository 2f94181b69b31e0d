"""The page for reviewing, on this machine alone: loopback, a secret in the address, nothing from
elsewhere.

Whoever does not know the secret is told that there is nothing; a request that a foreign page made
the browser send is refused by its Host or Origin.
"""

import hmac
import io
import json
import re
import secrets
import wave
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np

from eureka_audio.audio.clock import SAMPLING_RATE
from eureka_audio.audio.decode import load_audio
from eureka_audio.dataflux.review import CHOICES
from eureka_audio.dataflux.review_session import Session
from eureka_audio.errors import AudioError, ConfigError
from eureka_audio.pages.clips import MIME_TYPES
from eureka_audio.pages.page import page

LOOPBACK = "127.0.0.1"
MAX_BODY_BYTES = 4096
TIMEOUT_SECONDS = 30
SOURCES = "media-src 'self'; connect-src 'self'"
_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})", re.ASCII)


class RefusedError(Exception):
    """A request that is answered with an error and no more."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status.phrase)
        self.status = status


class ReviewServer(ThreadingHTTPServer):
    """Serves one session.

    Args:
        session: what is reviewed.
        port: 0 for any that is free.

    Raises:
        ConfigError: the port cannot be had.
    """

    daemon_threads = True

    def __init__(self, session: Session, port: int = 0) -> None:
        self.session = session
        self.token = secrets.token_urlsafe(24)
        try:
            super().__init__((LOOPBACK, port), _Handler)
        except (OSError, OverflowError) as error:
            raise ConfigError(
                f"--port: expected a free port on {LOOPBACK}, got {port} ({error}); choose another"
            ) from error

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"http://{LOOPBACK}:{self.server_port}/{self.token}/"

    @property
    def hosts(self) -> set[str]:
        """Under which names the page may be asked for."""
        return {f"{name}:{self.server_port}" for name in (LOOPBACK, "localhost")}


class _Handler(BaseHTTPRequestHandler):
    server: ReviewServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "eureka-audio", ""
    timeout = TIMEOUT_SECONDS

    def do_GET(self) -> None:
        """Answer what is read: the page, an item, its clip, the summary."""
        self._answer(
            {"": self._page, "item": self._item, "audio": self._audio, "summary": self._summary}
        )

    def do_POST(self) -> None:
        """Answer what changes something: a decision, an undoing."""
        self._answer({"decide": self._decide, "undo": self._undo})

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: lines would hold the secret."""

    def _answer(self, known: dict[str, Callable[[], None]]) -> None:
        try:
            known[self._name(known)]()
        except RefusedError as refused:
            self.close_connection = True  # what is left of its body is not read as a request
            self._send(refused.status, "text/plain; charset=utf-8", refused.status.phrase.encode())
        except (ConnectionError, TimeoutError):  # the browser has moved on
            self.close_connection = True
        except OSError:  # a full disk: the page says that nothing was saved
            self.close_connection = True
            self._send(HTTPStatus.INSUFFICIENT_STORAGE, "text/plain; charset=utf-8", b"not saved")

    def _name(self, known: dict[str, Callable[[], None]]) -> str:
        """What is asked for, once it is clear that the page or its owner asks."""
        origin = self.headers.get("Origin")
        if self.headers.get("Host") not in self.server.hosts:
            raise RefusedError(HTTPStatus.FORBIDDEN)
        if origin is not None and origin.removeprefix("http://") not in self.server.hosts:
            raise RefusedError(HTTPStatus.FORBIDDEN)
        self._url = urlsplit(self.path)
        _, token, *rest = (*self._url.path.split("/", 2), "")
        if not hmac.compare_digest(token.encode(), self.server.token.encode()):
            raise RefusedError(HTTPStatus.NOT_FOUND)
        if rest[0] not in known or not self._url.path.startswith(f"/{token}/"):
            raise RefusedError(HTTPStatus.NOT_FOUND)
        return str(rest[0])

    # --- what is read --------------------------------------------------------------------------

    def _page(self) -> None:
        session = self.server.session
        content = {
            "blind": session.blind,
            "start": session.first_open(),
            "total": len(session.pool.items),
        }
        self._send(HTTPStatus.OK, "text/html; charset=utf-8", review_page(content).encode())

    def _item(self) -> None:
        self._send_json(self.server.session.view(self._place()))

    def _summary(self) -> None:
        self._send_json(self.server.session.summary())

    def _audio(self) -> None:
        mime, content = _playable(Path(self.server.session.item(self._place()).audio))
        first, end = _span(self.headers.get("Range"), len(content))
        status = HTTPStatus.OK
        headers = {"Accept-Ranges": "bytes"}
        if (first, end) != (0, len(content)):
            status = HTTPStatus.PARTIAL_CONTENT
            headers["Content-Range"] = f"bytes {first}-{end - 1}/{len(content)}"
        self._send(status, mime, content[first:end], headers)

    def _place(self) -> int:
        place = parse_qs(self._url.query).get("place", [""])[0]
        if not re.fullmatch(r"\d{1,9}", place, re.ASCII):
            raise RefusedError(HTTPStatus.BAD_REQUEST)
        if int(place) >= len(self.server.session.pool.items):
            raise RefusedError(HTTPStatus.NOT_FOUND)
        return int(place)

    # --- what changes something ----------------------------------------------------------------

    def _decide(self) -> None:
        body = self._body()
        item, decision = body.get("item"), body.get("decision")
        if not isinstance(item, str) or decision not in CHOICES:
            raise RefusedError(HTTPStatus.BAD_REQUEST)
        if not self.server.session.holds(item):
            raise RefusedError(HTTPStatus.NOT_FOUND)
        self._send_json(self.server.session.decide(item, decision))

    def _undo(self) -> None:
        self._body()
        self._send_json(self.server.session.undo())

    def _body(self) -> dict[str, Any]:
        if self.headers.get_content_type() != "application/json":
            raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch(r"\d{1,9}", length, re.ASCII):
            raise RefusedError(HTTPStatus.LENGTH_REQUIRED)
        if int(length) > MAX_BODY_BYTES:
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        try:
            body = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError) as error:
            raise RefusedError(HTTPStatus.BAD_REQUEST) from error
        if not isinstance(body, dict):
            raise RefusedError(HTTPStatus.BAD_REQUEST)
        return body

    # --- replies -------------------------------------------------------------------------------

    def _send_json(self, value: Any) -> None:
        self._send(HTTPStatus.OK, "application/json", json.dumps(value).encode())

    def _send(
        self, status: HTTPStatus, mime: str, content: bytes, more: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        headers = {
            "Content-Type": mime,
            "Content-Length": str(len(content)),
            "Cache-Control": "no-store",
            "Content-Security-Policy": "frame-ancestors 'none'",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }
        for name, value in (headers | (more or {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


def review_page(content: dict[str, Any]) -> str:
    """The page on which a person reviews."""
    return page(
        content,
        files("eureka_audio.dataflux") / "page",
        ("shared", "review"),
        title="DataFlux review",
        without_scripts="This page needs scripts; eureka-audio dataflux review DIR --summary works"
        " without.",
        sources=SOURCES,
    )


def _playable(path: Path) -> tuple[str, bytes]:
    """A clip as a browser plays it: as it is where browsers know its form, else as WAV."""
    mime = MIME_TYPES.get(path.suffix.lower())
    try:
        if mime is not None:
            return mime, path.read_bytes()
        waveform = load_audio(path).waveform
    except (AudioError, OSError) as error:
        raise RefusedError(HTTPStatus.NOT_FOUND) from error
    content = io.BytesIO()
    with wave.open(content, "wb") as stream:
        stream.setnchannels(1)
        stream.setsampwidth(2)
        stream.setframerate(SAMPLING_RATE)
        stream.writeframes((np.clip(waveform, -1, 1) * 32767).astype("<i2").tobytes())
    return "audio/wav", content.getvalue()


def _span(asked: str | None, length: int) -> tuple[int, int]:
    """The first byte asked for and the one behind the last; all where no range is asked for."""
    found = _RANGE.fullmatch(asked or "")
    if found is None or found[0] == "bytes=-":
        return 0, length
    first, last = found[1], found[2]
    if not first:
        return max(0, length - int(last)), length
    end = min(length, int(last) + 1) if last else length
    if int(first) >= end:
        raise RefusedError(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
    return int(first), end
