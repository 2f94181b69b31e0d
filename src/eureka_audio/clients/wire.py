"""One request over HTTP, answered in JSON, under a deadline, every failure a typed error.

Standard library only. No redirects are followed and no proxy is used, so that a key goes to the
server it was meant for and to nobody else.
"""

import contextlib
import http.client
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from eureka_audio.errors import ConfigError, EndpointError

MAX_RESPONSE_BYTES = 16 * 1024 * 1024
READ_BYTES = 64 * 1024
# Overload, time-outs and faults of the server: the next attempt may fare better.
RETRYABLE_STATUSES = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})


class RetryLaterError(EndpointError):
    """The server says how long to wait.

    Attributes:
        seconds: from now.
    """

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


@dataclass(frozen=True)
class Endpoint:
    """Where a model is served.

    Attributes:
        base_url: up to and including the version, for example ``http://localhost:8000/v1``.
        api_key: sent as a bearer token; empty for none. Never shown.
        timeout_seconds: for one request, from connecting to the last byte.
    """

    base_url: str
    api_key: str = field(default="", repr=False)
    timeout_seconds: float = 120.0

    def __post_init__(self) -> None:
        parts = urlsplit(self.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise ConfigError(
                "expected the address of an endpoint like http://localhost:8000/v1, got"
                f" {parts.scheme or 'no scheme'}://{parts.hostname or 'no host'}; keys do not"
                " belong into it"
            )

    def post(self, route: str, body: Mapping[str, Any]) -> Any:
        """Send one request and return the JSON of a successful answer.

        Raises:
            EndpointError: anything else; ``retryable`` says whether asking again may help.
        """
        return self._send(route, json.dumps(body).encode(), "application/json")

    def post_form(self, route: str, fields: Sequence[tuple[str, str]], file: bytes) -> Any:
        """Send one form with a file in its field `file`; as `post`."""
        boundary = secrets.token_hex(16)
        content_type = f"multipart/form-data; boundary={boundary}"
        return self._send(route, _form(fields, file, boundary), content_type)

    def _send(self, route: str, body: bytes, content_type: str) -> Any:
        deadline = time.monotonic() + self.timeout_seconds
        try:
            status, headers, content = self._exchange(route, body, content_type, deadline)
        except (OSError, http.client.HTTPException) as error:
            raise EndpointError(
                f"expected an answer from {self.base_url}, got {type(error).__name__}"
                f" ({str(error)[:120]}); check that the server runs"
            ) from error
        if status != 200:
            raise self._refusal(status, headers, content)
        try:
            return json.loads(content)
        except ValueError as error:
            raise EndpointError(
                f"expected JSON from {self.base_url}, got {content[:80]!r}; is this an"
                " OpenAI-compatible server?"
            ) from error

    def _exchange(
        self, route: str, body: bytes, content_type: str, deadline: float
    ) -> tuple[int, Mapping[str, str], bytes]:
        parts = urlsplit(self.base_url)
        kind = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        connection = kind(parts.hostname or "", parts.port, timeout=self.timeout_seconds)
        headers = {"Content-Type": content_type, "Accept": "application/json"}
        if self.api_key:
            headers["Authorization"] = f"Bearer {self.api_key}"
        try:
            connection.request("POST", f"{parts.path.rstrip('/')}/{route}", body, headers)
            response = connection.getresponse()
            content = _read_all(response, deadline)
            return response.status, dict(response.getheaders()), content
        finally:
            connection.close()

    def _refusal(self, status: int, headers: Mapping[str, str], content: bytes) -> EndpointError:
        said = content[:200].decode("utf-8", "replace").strip()
        if self.api_key:
            said = said.replace(self.api_key, "[key]")
        message = f"expected status 200 from {self.base_url}, got {status}: {said!r}"
        if status not in RETRYABLE_STATUSES:
            return EndpointError(f"{message}; correct the request", retryable=False)
        wait = seconds_to_wait(headers)
        return EndpointError(message) if wait is None else RetryLaterError(message, wait)


def _form(fields: Sequence[tuple[str, str]], file: bytes, boundary: str) -> bytes:
    """A multipart/form-data body; names of fields are ours and need no escapes."""
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields
    ]
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="audio"\r\n\r\n'
    return "".join([*parts, head]).encode() + file + f"\r\n--{boundary}--\r\n".encode()


def _read_all(response: http.client.HTTPResponse, deadline: float) -> bytes:
    """The whole body, within the deadline even when it trickles in."""
    pieces, size = [], 0
    while piece := response.read1(READ_BYTES):
        pieces.append(piece)
        size += len(piece)
        if size > MAX_RESPONSE_BYTES:
            raise http.client.HTTPException(f"more than {MAX_RESPONSE_BYTES:,} bytes")
        if time.monotonic() > deadline:
            raise TimeoutError("the answer did not end in time")
    if response.length:
        raise http.client.HTTPException(f"the answer broke off, {response.length:,} bytes early")
    return b"".join(pieces)


def seconds_to_wait(headers: Mapping[str, str]) -> float | None:
    """What Retry-After says, in seconds or as a date; None when it says nothing usable."""
    lowered = {name.lower(): text for name, text in headers.items()}
    with contextlib.suppress(ValueError):
        return max(0.0, float(lowered.get("retry-after-ms", "")) / 1000)
    value = lowered.get("retry-after", "")
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError):
        return None
