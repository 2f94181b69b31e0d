"""Paths and URLs: nothing outside the policy is opened, and nothing here leaves the machine.

Name look-up and sockets are replaced: every connection is recorded, and the only thing that
answers is a scripted server behind a public address that never exists.
"""

import os
import re
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from eureka_audio.audio import fetch
from eureka_audio.audio.decode import load_audio
from eureka_audio.audio.fetch import (
    AudioAccess,
    display_name,
    fetch_url,
    is_public,
    open_file,
)
from eureka_audio.errors import (
    AudioAccessError,
    AudioError,
    AudioFormatError,
    AudioLimitError,
    AudioNotFoundError,
)

PUBLIC = "93.184.215.14"
# Far longer than any test takes: where time must run out, the test says when.
OPEN = AudioAccess(allow_urls=True, timeout_seconds=60.0)

LOCAL_HOSTS = [
    *("127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0x7f.1", "0", "0.0.0.0"),
    *("localhost", "localhost.", "LOCALHOST", "[::1]", "[::]", "[::ffff:127.0.0.1]"),
    *("[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "[64:ff9b::a00:1]", "[2002:7f00:1::]", "[::7f00:1]"),
    *("169.254.169.254", "metadata.google.internal", "[fd00:ec2::254]", "[fe80::1]", "[fc00::1]"),
    *("10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "198.18.0.1"),
    *("192.0.2.1", "224.0.0.1", "255.255.255.255", "240.0.0.1", "[ff02::1]", "[2001:db8::1]"),
    *("intranet", "mixed.example", "nowhere.example"),
]
BAD_URLS = [
    *(f"http://{host}/a.wav" for host in LOCAL_HOSTS),
    "https://127.0.0.1/a.wav",
    *(f"http://127.0.0.1:{port}/" for port in (22, 80, 6379, 8080)),
    "http://public.example:22/",
    "http://public.example:8080/",
    "http://public.example:99999/",
    "http://public.example:x/",
    "http://user@public.example/",
    "http://public.example@127.0.0.1/",
    "http://user:hunter2@127.0.0.1/?token=hunter2",
    "http://public.example\\@127.0.0.1/",
    "http://127.0.0.1\\@public.example/",
    "http://public.example%00.evil/",
    "http://127.0.0.1%2eexample/",
    "http://[fe80::1%25eth0]/",
    "http://127\u30020\u30020\u30021/",
    "http://\u2460\u2461\u2466.0.0.1/",
    "http://pub\u0142ic.example/",
    "http:// 127.0.0.1/",
    "http://public.example/\r\nHost: evil",
    "http://public.example/\ta",
    "http://",
    "http:///a.wav",
    "http://[::1/",
    "file:///etc/passwd",
    "FILE:///etc/passwd",
    "ftp://public.example/a.wav",
    "gopher://127.0.0.1:6379/_INFO",
    "dict://127.0.0.1:11211/",
    "jar:http://public.example/",
    "s3://bucket/key",
]


class Network:
    """A resolver and sockets that keep to this process; ``connections`` holds every attempt."""

    def __init__(self) -> None:
        self.connections: list[Any] = []
        self.lookups: list[str] = []
        self.pair: Callable[[], tuple[socket.socket, socket.socket]] = socket.socketpair
        self.serve: Callable[[str, socket.socket], None] = lambda request, peer: None
        self.answers: dict[str, list[list[str]]] = {
            "localhost": [["127.0.0.1", "::1"]],
            "metadata.google.internal": [["169.254.169.254"]],
            "intranet": [["10.1.2.3"]],
            "mixed.example": [[PUBLIC, "10.0.0.1"]],
            "public.example": [[PUBLIC]],
            "other.example": [[PUBLIC]],
            "rebinding.example": [[PUBLIC], ["127.0.0.1"]],
        }

    def getaddrinfo(self, host: str, port: int, *_: object, **__: object) -> list[Any]:
        self.lookups.append(host)
        name = host.rstrip(".").lower()
        if name in self.answers:
            rounds = self.answers[name]
            addresses = rounds.pop(0) if len(rounds) > 1 else rounds[0]
        elif ":" in host:
            addresses = [host]
        else:
            try:
                addresses = [socket.inet_ntoa(socket.inet_aton(name))]
            except OSError as error:
                raise socket.gaierror(f"no such host: {host}") from error
        return [
            (socket.AF_INET6 if ":" in a else socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port))
            for a in addresses
        ]

    def socket(self, *_: object) -> "ScriptedSocket":
        return ScriptedSocket(self)


class ScriptedSocket:
    """Connects to a thread of this test instead of an address."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.near, self.far = network.pair()

    def connect(self, address: Any) -> None:
        self.network.connections.append(address)

    def settimeout(self, seconds: float) -> None:
        assert 0 < seconds <= OPEN.timeout_seconds
        self.near.settimeout(seconds)

    def sendall(self, data: bytes) -> None:
        self.near.sendall(data)
        threading.Thread(target=self._serve, args=(data.decode(),), daemon=True).start()

    def _serve(self, request: str) -> None:
        try:
            self.far.recv(65_536)
            self.network.serve(request, self.far)
        except OSError:
            return  # the client hung up, as it may
        finally:
            self.far.close()

    def recv_into(self, buffer: Any) -> int:
        return self.near.recv_into(buffer)

    def close(self) -> None:
        self.near.close()


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Iterator[Network]:
    network = Network()
    pairs: list[socket.socket] = []
    real_pair = socket.socketpair
    real_socket = socket.socket

    def pair() -> tuple[socket.socket, socket.socket]:
        with monkeypatch.context() as inner:  # socketpair itself makes sockets
            inner.setattr(socket, "socket", real_socket)
            both = real_pair()
        pairs.extend(both)
        return both

    network.pair = pair
    monkeypatch.setattr(socket, "getaddrinfo", network.getaddrinfo)
    monkeypatch.setattr(socket, "socket", network.socket)
    yield network
    for end in pairs:
        end.close()


def reply(body: bytes, status: str = "200 OK", **headers: str) -> Callable[[str, Any], None]:
    lines = "".join(f"{key.replace('_', '-')}: {value}\r\n" for key, value in headers.items())

    def serve(request: str, peer: socket.socket) -> None:
        peer.sendall(f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + body)

    return serve


def redirect(location: str, status: int = 302) -> Callable[[str, Any], None]:
    return reply(b"", f"{status} Found", Location=location, Content_Length="0")


# --- URLs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", [*BAD_URLS, "http://public.example/a.wav"])
def test_with_default_settings_no_url_is_even_looked_up(url: str, network: Network) -> None:
    with pytest.raises(AudioError):
        load_audio(url)
    assert network.lookups == network.connections == []


def test_there_are_at_least_sixty_payloads() -> None:
    assert len(set(BAD_URLS)) >= 60


@pytest.mark.parametrize("url", BAD_URLS)
def test_no_connection_to_a_place_that_is_not_public(url: str, network: Network) -> None:
    with pytest.raises(AudioError) as caught:
        load_audio(url, access=OPEN)
    assert "\n" not in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert network.connections == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1/",
        "http://169.254.169.254/latest/meta-data",
        "//localhost/",
        "file:///etc/passwd",
        "http://public.example\\@127.0.0.1/",
        "http://[::ffff:10.0.0.1]/",
        "http://public.example:6379/",
    ],
)
def test_redirects_pass_the_same_checks(status: int, location: str, network: Network) -> None:
    network.serve = redirect(location, status)
    with pytest.raises(AudioAccessError):
        fetch_url("http://public.example/a.wav", OPEN)
    assert network.connections == [(PUBLIC, 80)]


def test_a_good_redirect_is_followed(network: Network, encoded: dict[str, bytes]) -> None:
    def serve(request: str, peer: socket.socket) -> None:
        moved = request.startswith("GET /a.wav?key=1 ")
        (redirect("/b.wav") if moved else reply(encoded["wav"]))(request, peer)

    network.serve = serve
    decoded = load_audio("http://public.example/a.wav?key=1", access=OPEN)
    assert decoded.duration_seconds == pytest.approx(1.0)
    assert decoded.name == "http://public.example/a.wav"
    assert len(network.connections) == 2


def test_six_redirects_are_too_many(network: Network) -> None:
    network.serve = redirect("/again")
    with pytest.raises(AudioAccessError, match="redirects"):
        fetch_url("http://public.example/", OPEN)
    assert len(network.connections) == fetch.MAX_REDIRECTS + 1


def test_the_address_checked_is_the_address_used(network: Network) -> None:
    """A name that is public when checked and private a moment later."""
    network.serve = reply(b"content")
    assert fetch_url("http://rebinding.example/", OPEN) == b"content"
    assert network.lookups == ["rebinding.example"]
    assert network.connections == [(PUBLIC, 80)]
    with pytest.raises(AudioAccessError, match="public internet"):
        fetch_url("http://rebinding.example/", OPEN)
    assert len(network.connections) == 1


def test_the_request_names_the_host_and_asks_for_no_compression(network: Network) -> None:
    requests: list[str] = []

    def serve(request: str, peer: socket.socket) -> None:
        requests.append(request)
        reply(b"content")(request, peer)

    network.serve = serve
    fetch_url("http://public.example/a", OPEN)
    assert "Host: public.example\r\n" in requests[0]
    assert "Accept-Encoding: identity\r\n" in requests[0]


def test_https_is_checked_against_the_host_name(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[str] = []

    class Context:
        def wrap_socket(self, raw: Any, server_hostname: str) -> Any:
            names.append(server_hostname)
            return raw

    monkeypatch.setattr(fetch.ssl, "create_default_context", Context)
    network.serve = reply(b"content")
    assert fetch_url("https://public.example/", OPEN) == b"content"
    assert (names, network.connections) == (["public.example"], [(PUBLIC, 443)])
    network.serve = redirect("http://public.example/plain")
    with pytest.raises(AudioAccessError, match="https to http"):
        fetch_url("https://public.example/", OPEN)


@pytest.mark.parametrize(
    ("serve", "kind"),
    [
        (reply(b"", "404 Not Found", Content_Length="0"), AudioNotFoundError),
        (reply(b"", "403 Forbidden", Content_Length="0"), AudioAccessError),
        (reply(b"", "500 Oops", Content_Length="0"), AudioAccessError),
        (reply(b"", "206 Partial", Content_Length="0"), AudioAccessError),
        (reply(b"", "302 Found"), AudioAccessError),
        (reply(b"x" * 99, Content_Encoding="gzip"), AudioAccessError),
        (reply(b"x" * 99, Content_Encoding="br"), AudioAccessError),
        (reply(b"x" * 99, Content_Length="200"), AudioFormatError),
        (reply(b"x", Content_Length="99999999999"), AudioLimitError),
        (reply(b"zz\r\nx", Transfer_Encoding="chunked"), AudioAccessError),
        (lambda _, peer: peer.sendall(b"nonsense\r\n\r\n"), AudioAccessError),
        (lambda _, peer: None, AudioAccessError),
        (reply(b"", X="y" * 70_000), AudioAccessError),
    ],
)
def test_bad_answers(
    serve: Callable[[str, Any], None], kind: type[AudioError], network: Network
) -> None:
    network.serve = serve
    with pytest.raises(kind) as caught:
        fetch_url("http://public.example/a.wav", OPEN)
    assert type(caught.value) is kind


@pytest.mark.parametrize("headers", [{}, {"Content_Length": "10"}])
def test_a_body_is_cut_off_at_the_cap(headers: dict[str, str], network: Network) -> None:
    """Endless with no length; with a lying length only what was declared is read."""
    sent = 0

    def serve(request: str, peer: socket.socket) -> None:
        nonlocal sent
        reply(b"", **headers)(request, peer)
        while True:
            sent += peer.send(bytes(65_536))

    network.serve = serve
    access = AudioAccess(allow_urls=True, timeout_seconds=60.0, max_download_bytes=1_000_000)
    if headers:
        assert fetch_url("http://public.example/", access) == bytes(10)
    else:
        with pytest.raises(AudioLimitError, match="1000000"):
            fetch_url("http://public.example/", access)
    assert sent < 3_000_000


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_a_slow_drip_meets_the_deadline(
    head: bytes, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each byte comes in good time, in the headers or the body; together they take too long.

    The clock is the test's own and moves with each byte, so that the machine's speed plays no part.
    """
    now = 0.0
    monkeypatch.setattr(fetch, "time", SimpleNamespace(monotonic=lambda: now))

    def serve(request: str, peer: socket.socket) -> None:
        nonlocal now
        peer.sendall(head)
        for _ in range(100):
            now += OPEN.timeout_seconds / 50
            peer.sendall(b"H")

    network.serve = serve
    with pytest.raises(AudioAccessError, match="time allowed"):
        fetch_url("http://public.example/", OPEN)


def test_a_look_up_that_hangs_meets_the_deadline(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, answered = threading.Event(), threading.Event()

    def hang(*_: object, **__: object) -> list[Any]:
        release.wait(60)
        answered.set()
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    with pytest.raises(AudioAccessError, match="time allowed"):
        fetch_url("http://public.example/", AudioAccess(allow_urls=True, timeout_seconds=0.2))
    assert not answered.is_set()
    release.set()


@pytest.mark.parametrize(
    ("address", "public"),
    [
        (PUBLIC, True),
        ("2606:4700::1111", True),
        ("64:ff9b::5db8:d70e", True),
        ("::ffff:93.184.215.14", True),
        ("64:ff9b::127.0.0.1", False),
        ("2002:a00:1::", False),
        ("fe80::1%eth0", False),
        ("not an address", False),
    ],
)
def test_public_addresses(address: str, public: bool) -> None:
    assert is_public(address) is public


def test_no_other_module_opens_a_url() -> None:
    source = Path(fetch.__file__).parents[1]
    pattern = re.compile(
        r"^\s*(?:import|from) (?:http\.client|urllib\.request|requests|httpx)", re.M
    )
    users = [
        path.name for path in (source / "audio").glob("*.py") if pattern.search(path.read_text())
    ]
    assert users == ["fetch.py"]


# --- paths ---------------------------------------------------------------------------------------


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """A folder that may be read, with a secret beside it."""
    (tmp_path / "secret.wav").write_bytes(b"secret")
    (tmp_path / "shelf-other").mkdir()
    (tmp_path / "shelf-other" / "b.wav").write_bytes(b"secret")
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    (shelf / "a.wav").write_bytes(b"sound")
    (shelf / "inside.wav").symlink_to(shelf / "a.wav")
    (shelf / "outside.wav").symlink_to(tmp_path / "secret.wav")
    (shelf / "up").symlink_to(tmp_path)
    return shelf


def test_files_inside_the_allowed_folder_are_opened(shelf: Path) -> None:
    access = AudioAccess(allowed_folders=(shelf / ".." / "shelf",))
    for name in ("a.wav", "inside.wav", "../shelf/a.wav", "up/shelf/a.wav"):
        with open_file(shelf / name, access) as file:
            assert file.read() == b"sound"


@pytest.mark.parametrize(
    "name",
    [
        *(
            "../secret.wav",
            "outside.wav",
            "up/secret.wav",
            "../shelf-other/b.wav",
            "missing/../../x",
        ),
        *("/etc/passwd", "/proc/self/environ", "/dev/zero", "~root/x", "\\\\evil\\share\\a.wav"),
    ],
)
def test_nothing_outside_the_allowed_folder_is_opened(
    name: str, shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Any] = []
    real_open = os.open
    monkeypatch.setattr(
        os, "open", lambda path, *rest: opened.append(path) or real_open(path, *rest)
    )
    monkeypatch.chdir(shelf)
    with pytest.raises((AudioAccessError, AudioNotFoundError)):
        open_file(name, AudioAccess(allowed_folders=(shelf,)))
    assert opened == []


def test_a_link_put_in_place_after_the_check_is_not_followed(
    shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = shelf / "a.wav"
    real_open = os.open

    def swap_and_open(path: Any, flags: int) -> int:
        target.unlink()
        target.symlink_to(shelf.parent / "secret.wav")
        return real_open(path, flags)

    monkeypatch.setattr(os, "open", swap_and_open)
    with pytest.raises(AudioError):
        open_file(target, AudioAccess(allowed_folders=(shelf,)))


def test_no_folder_allowed_means_no_file(shelf: Path) -> None:
    with pytest.raises(AudioAccessError, match="limited"):
        open_file(shelf / "a.wav", AudioAccess(allowed_folders=()))


def test_a_file_that_becomes_a_pipe_is_not_waited_for(
    shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_open = os.open

    def swap_and_open(path: Any, flags: int) -> int:
        Path(path).unlink()
        os.mkfifo(path)
        return real_open(path, flags)

    monkeypatch.setattr(os, "open", swap_and_open)
    with pytest.raises(AudioNotFoundError, match="pipe"):
        open_file(shelf / "a.wav")


def test_names_in_messages_hold_no_secret_and_stay_short() -> None:
    assert display_name("http://u:p@host/a?key=1#x") == "http://host/a"
    assert display_name("http://host?key=1") == "http://host"
    assert "\n" not in display_name("a\nb")
    assert len(display_name("x" * 10_000)) < 200


def test_load_audio_of_a_url_reports_damage_by_its_name(network: Network) -> None:
    network.serve = reply(b"no sound at all")
    with pytest.raises(AudioFormatError, match=r"^http://public\.example/a\.wav: "):
        load_audio("http://public.example/a.wav", access=OPEN)
