"""The one place that opens a path or a URL which a user named.

A path: only a regular file is ever opened, never a pipe or a device, so nothing blocks; with
``allowed_folders`` only what really lies (symbolic links followed) under one of them.

A URL: refused unless allowed. Then the host is resolved once, every address it has must be public,
the connection goes to the address that was checked (no second look-up to fool), every redirect
passes the same checks, bytes are capped while they arrive, and one deadline covers the whole fetch.

Departure: the released code fetches any URL without timeout, size or address check and opens any
path. A server must not.
"""

import http.client
import io
import ipaddress
import os
import re
import socket
import ssl
import stat
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple
from urllib.parse import SplitResult, urljoin, urlsplit

from eureka_audio.errors import (
    AudioAccessError,
    AudioFormatError,
    AudioLimitError,
    AudioNotFoundError,
)

SCHEMES = {"http": 80, "https": 443}
ALLOWED_PORTS = frozenset(SCHEMES.values())
MAX_REDIRECTS = 5
REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})
READ_BYTES = 64 * 1024

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_PLAIN_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+")
# Open without waiting (a pipe put in place of the file would block) and without inheriting.
_OPEN_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_BINARY", 0)
)


@dataclass(frozen=True, slots=True)
class AudioAccess:
    """What a user's path or URL may reach.

    The default suits a person at their own machine: any local file, no URL. A server should name
    its folders (``()`` = no local file at all).

    Attributes:
        allow_urls: whether http and https URLs are fetched.
        allowed_folders: local files must really lie under one of these; ``None`` = anywhere.
        max_download_bytes: the longest body taken from a URL.
        timeout_seconds: for a whole fetch: look-up, redirects and body together.
    """

    allow_urls: bool = False
    allowed_folders: tuple[Path, ...] | None = None
    max_download_bytes: int = 25 * 2**20
    timeout_seconds: float = 10.0


LOCAL_USER = AudioAccess()


def open_file(path: str | os.PathLike[str], access: AudioAccess = LOCAL_USER) -> BinaryIO:
    """Open a regular file for reading; never blocks.

    Raises:
        AudioNotFoundError: there is no such file, or it is a folder, a pipe, a device, ...
        AudioAccessError: it lies outside the allowed folders, or may not be read.
    """
    text = os.fspath(path)
    if not text:
        raise AudioNotFoundError("expected the path of a file, got an empty one; name a file")
    name = display_name(text)
    if text.startswith("\\\\") or (os.name == "nt" and text.startswith("//")):
        raise AudioAccessError(f"{name}: expected a local file, got a network path; copy it first")
    try:
        target = _resolve_inside(text, name, access.allowed_folders)
        _require_regular(target.stat(), name)
        descriptor = os.open(target, _OPEN_FLAGS | _no_follow(access))
        try:
            _require_regular(os.fstat(descriptor), name)
            return os.fdopen(descriptor, "rb")
        except BaseException:
            os.close(descriptor)
            raise
    except PermissionError as error:
        raise AudioAccessError(f"{name}: may not be read; check its permissions") from error
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise AudioNotFoundError(f"{name}: no such file; check the path") from error


def _no_follow(access: AudioAccess) -> int:
    """A resolved path holds no link, so one that appears by now was put there to escape."""
    return 0 if access.allowed_folders is None else getattr(os, "O_NOFOLLOW", 0)


def _resolve_inside(path: str, name: str, folders: tuple[Path, ...] | None) -> Path:
    """The path to open: real, and under an allowed folder, when folders are limited."""
    if folders is None:
        return Path(path)
    real = Path(os.path.realpath(path))
    if any(real.is_relative_to(os.path.realpath(folder)) for folder in folders):
        return real
    raise AudioAccessError(
        f"{name}: local files are limited to {len(folders)} allowed folder(s) and this is in none; "
        "move it there or send the bytes"
    )


def _require_regular(status: os.stat_result, name: str) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise AudioNotFoundError(f"{name}: expected an audio file, found a folder; name a file")
    if not stat.S_ISREG(status.st_mode):
        raise AudioNotFoundError(
            f"{name}: expected a regular file, found a pipe, socket or device; save it to a file"
        )


def fetch_url(url: str, access: AudioAccess = LOCAL_USER) -> bytes:
    """The body behind a public http or https URL.

    Raises:
        AudioAccessError: URLs are off, the URL or an address behind it is not allowed, or the
            server did not answer properly in time.
        AudioNotFoundError: the server says that there is nothing (404, 410).
        AudioLimitError: the body is longer than ``access.max_download_bytes``.
        AudioFormatError: the body ended early.
    """
    name = display_name(url)
    if not access.allow_urls:
        raise AudioAccessError(
            f"{name}: URLs are off; download the file, or allow them with "
            "AudioAccess(allow_urls=True)"
        )
    deadline = _Deadline(access.timeout_seconds)
    previous: SplitResult | None = None
    for _ in range(MAX_REDIRECTS + 1):
        parts = _check_url(url, name)
        if previous is not None and (previous.scheme, parts.scheme) == ("https", "http"):
            raise AudioAccessError(f"{name}: redirects from https to http; use its final address")
        reply = _get(parts, name, access.max_download_bytes, deadline)
        if isinstance(reply, bytes):
            return reply
        previous, url = parts, urljoin(url, reply.location)
    raise AudioAccessError(f"{name}: more than {MAX_REDIRECTS} redirects; use its final address")


class _Redirect(NamedTuple):
    location: str


class _Address(NamedTuple):
    family: socket.AddressFamily
    sockaddr: Any


class _Deadline:
    """One point in time for all steps of a fetch."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def remaining(self) -> float:
        """Seconds left.

        Raises:
            TimeoutError: none.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("the deadline has passed")
        return left


def _check_url(url: str, name: str) -> SplitResult:
    """Split a URL, refusing every spelling on which two parsers could disagree."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise AudioAccessError(f"{name}: not a URL; check its spelling") from error
    host = parts.hostname or ""
    if parts.scheme not in SCHEMES:
        raise AudioAccessError(f"{name}: expected http or https; download the file first")
    if (
        not url.isascii()
        or not url.isprintable()
        or "\\" in url
        or " " in url
        or "@" in parts.netloc
        or not _PLAIN_HOST.fullmatch(host)
    ):
        raise AudioAccessError(
            f"{name}: expected a plain ASCII URL without user name, backslash, space or escaped "
            "host; spell it out"
        )
    if (port or SCHEMES[parts.scheme]) not in ALLOWED_PORTS:
        raise AudioAccessError(f"{name}: port {port} is not allowed; use 80 or 443")
    return parts


def _resolve(host: str, port: int, name: str, deadline: _Deadline) -> _Address:
    """One public address of a host, provided that all of its addresses are public."""
    found: list[Any] = []

    def look_up() -> None:
        try:
            found.extend(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError):
            return  # found stays empty

    # The system's look-up has no timeout of its own.
    worker = threading.Thread(target=look_up, daemon=True)
    worker.start()
    worker.join(deadline.remaining())
    deadline.remaining()
    addresses = [_Address(family, sockaddr) for family, _, _, _, sockaddr in list(found)]
    if not addresses:
        raise AudioAccessError(f"{name}: its host name leads nowhere; check the spelling")
    if not all(is_public(str(address.sockaddr[0])) for address in addresses):
        raise AudioAccessError(
            f"{name}: its host is not on the public internet; download the file yourself"
        )
    return addresses[0]


def is_public(address: str) -> bool:
    """Whether an IP address is reachable by anybody; IPv4 inside IPv6 is judged as IPv4.

    Example:
        >>> is_public("93.184.215.14"), is_public("169.254.169.254"), is_public("::ffff:10.0.0.1")
        (True, False, False)
    """
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if inner is None and ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
        ip = inner or ip
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)


def _get(parts: SplitResult, name: str, max_bytes: int, deadline: _Deadline) -> bytes | _Redirect:
    """One request to one checked address."""
    host = parts.hostname or ""
    try:
        address = _resolve(host, parts.port or SCHEMES[parts.scheme], name, deadline)
        connection = _PinnedConnection(parts, address, deadline)
        try:
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("GET", target, headers={"User-Agent": "eureka-audio"})
            response = connection.getresponse()
            if response.status in REDIRECT_STATUSES and response.getheader("Location"):
                return _Redirect(str(response.getheader("Location")))
            return _read_body(response, name, max_bytes, deadline)
        finally:
            connection.hang_up()
    except TimeoutError as error:
        raise AudioAccessError(
            f"{name}: did not arrive in the time allowed; try later or raise timeout_seconds"
        ) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise AudioAccessError(
            f"{name}: could not be fetched ({type(error).__name__}); try later or download it"
        ) from error


def _read_body(
    response: http.client.HTTPResponse, name: str, max_bytes: int, deadline: _Deadline
) -> bytes:
    if response.status in (404, 410):
        raise AudioNotFoundError(f"{name}: the server has no such file ({response.status})")
    if response.status != 200:
        raise AudioAccessError(f"{name}: the server answered {response.status}, expected 200")
    if response.getheader("Content-Encoding", "identity").strip().lower() != "identity":
        raise AudioAccessError(f"{name}: the server compressed the body against our request")
    body = bytearray()
    declared = response.length  # None when the body is chunked or runs until the end
    while (declared or 0) <= max_bytes and len(body) <= max_bytes:
        deadline.remaining()
        chunk = response.read1(READ_BYTES)
        if not chunk:
            break
        body += chunk
    if max(declared or 0, len(body)) > max_bytes:
        raise AudioLimitError(
            f"{name}: longer than the {max_bytes} bytes allowed for a URL; download it, or raise "
            "max_download_bytes"
        )
    if declared is not None and len(body) < declared:
        raise AudioFormatError(
            f"{name}: {declared} bytes were declared and {len(body)} came; fetch it again"
        )
    return bytes(body)


class _PinnedConnection(http.client.HTTPConnection):
    """A connection to the address that was checked, whatever the host name resolves to by now."""

    def __init__(self, parts: SplitResult, address: _Address, deadline: _Deadline) -> None:
        super().__init__(parts.hostname or "", parts.port or SCHEMES[parts.scheme])
        self.default_port = SCHEMES[parts.scheme]  # so that the Host header names only others
        self._address = address
        self._deadline = deadline
        self._encrypted = parts.scheme == "https"
        self._raw: socket.socket | None = None

    def connect(self) -> None:
        raw = socket.socket(self._address.family, socket.SOCK_STREAM)
        try:
            raw.settimeout(self._deadline.remaining())
            raw.connect(self._address.sockaddr)
            if self._encrypted:
                raw.settimeout(self._deadline.remaining())
                raw = ssl.create_default_context().wrap_socket(raw, server_hostname=self.host)
        except BaseException:
            raw.close()
            raise
        self._raw = raw
        self.sock = _DeadlineSocket(raw, self._deadline)

    def hang_up(self) -> None:
        """Close the connection for real, whether or not the body was read."""
        if self._raw is not None:
            self._raw.close()


class _DeadlineSocket:
    """The part of a socket that ``http.client`` uses, each wait cut to the time that is left.

    A plain socket timeout starts anew with every byte, so a slow drip would never end.
    """

    def __init__(self, raw: socket.socket, deadline: _Deadline) -> None:
        self._raw = raw
        self._deadline = deadline

    def sendall(self, data: Any) -> None:
        self._raw.settimeout(self._deadline.remaining())
        self._raw.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_DeadlineReader(self._raw, self._deadline))

    def close(self) -> None:
        """Nothing: ``http.client`` lets go of the socket before the body is read."""


class _DeadlineReader(io.RawIOBase):
    def __init__(self, raw: socket.socket, deadline: _Deadline) -> None:
        self._raw = raw
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._raw.settimeout(self._deadline.remaining())
        return self._raw.recv_into(buffer)


def display_name(source: str) -> str:
    """What messages call an input: one line, no secret of a URL, no longer than a line.

    Example:
        >>> display_name("https://user:key@example.org/a.wav?token=1")
        'https://example.org/a.wav'
    """
    scheme, separator, rest = source.partition("://")
    if separator:
        authority, slash, path = re.split(r"[?#]", rest, maxsplit=1)[0].partition("/")
        source = f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"
    line = "".join(character if character.isprintable() else "?" for character in source)
    return line if len(line) <= 200 else f"{line[:120]}...{line[-60:]}"
