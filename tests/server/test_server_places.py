"""URLs and paths that clients name: none is opened by default, and never one that is not public."""

import base64
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest

from audio.test_audio_fetch import BAD_URLS, Network, redirect, reply
from eureka_audio.audio import fetch
from eureka_audio.audio.fetch import AudioAccess
from server.running import Running, running, wav


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    """Look-ups and sockets of `fetch` stay in this process; others may reach loopback only."""
    network = Network()
    scripted = {"getaddrinfo": network.getaddrinfo, "socket": network.socket}
    monkeypatch.setattr(fetch, "socket", SimpleNamespace(**{**vars(socket), **scripted}))
    real_connect = socket.socket.connect

    def connect(self: socket.socket, address: Any) -> None:
        if not isinstance(address, tuple) or address[0] not in ("127.0.0.1", "::1"):
            network.connections.append(address)
            raise OSError("nothing leaves the machine")
        real_connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)
    return network


@pytest.fixture(scope="module")
def open_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("allowed")
    (folder / "clip.wav").write_bytes(wav())
    (folder.parent / "secret.wav").write_bytes(wav())
    (folder / "link.wav").symlink_to(folder.parent / "secret.wav")
    os.mkfifo(folder / "pipe.wav")
    access = AudioAccess(allow_urls=True, allowed_folders=(folder,), timeout_seconds=2.0)
    with running(access=access) as server:
        yield server


def ask(server: Running, url: str, stream: bool = False) -> httpx2.Response:
    content = [{"type": "audio_url", "audio_url": {"url": url}}]
    body = {
        "model": "tiny",
        "messages": [{"role": "user", "content": content}],
        "max_tokens": 1,
        "stream": stream,
    }
    return httpx2.post(f"{server.url}/v1/chat/completions", json=body, timeout=30)


PATHS = [
    "/etc/passwd", "/proc/self/environ", "/dev/zero", "../secret.wav", "file:///etc/passwd",
    "FILE:///etc/passwd", "file://evil.example/etc/passwd", "file:///%65tc/passwd",
    "\\\\host\\share\\a.wav", "//host/share/a.wav", "~/.ssh/id_rsa", "", "\0", "C:\\a.wav", ".",
    "x" * 10_000,
]  # fmt: skip


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_by_default_nothing_is_even_looked_up(
    server: Running, network: Network, stream: bool
) -> None:
    urls = [*dict.fromkeys(BAD_URLS), "http://public.example/a.wav", *PATHS]
    assert len(urls) >= 60
    for url in urls:
        answer = ask(server, url, stream)
        assert answer.status_code == 400, url
        error = answer.json()["error"]
        assert error.keys() == {"message", "type", "param", "code"}
        assert "hunter2" not in error["message"]
    assert network.lookups == network.connections == []


def test_with_urls_allowed_only_public_places_are_reached(
    open_server: Running, network: Network
) -> None:
    for url in dict.fromkeys(BAD_URLS):
        assert ask(open_server, url).status_code == 400, url
    assert network.connections == []


def test_a_public_url_is_heard(open_server: Running, network: Network) -> None:
    network.serve = reply(wav())
    answer = ask(open_server, "http://public.example/a.wav")
    assert answer.status_code == 200, answer.text
    assert answer.json()["usage"]["prompt_tokens_details"]["audio_tokens"] == 13


def test_a_redirect_inwards_is_not_followed(open_server: Running, network: Network) -> None:
    for place in ("http://127.0.0.1/a.wav", "http://169.254.169.254/", "file:///etc/passwd"):
        network.connections.clear()
        network.serve = redirect(place)
        assert ask(open_server, "http://public.example/a.wav").status_code == 400
        assert len(network.connections) == 1


def test_only_allowed_folders_are_opened(open_server: Running) -> None:
    [folder] = open_server.context.settings.access.allowed_folders
    good = folder / "clip.wav"
    assert ask(open_server, str(good)).status_code == 200
    assert ask(open_server, good.as_uri()).status_code == 200
    secret = f"{folder}/../secret.wav"
    for path in (*PATHS, secret, str(folder / "link.wav"), str(folder / "pipe.wav"), str(folder)):
        answer = ask(open_server, path)
        assert answer.status_code == 400, path
        assert "root:" not in answer.text


def test_only_one_place_opens_what_a_client_names() -> None:
    """No module of the server knows an HTTP client or opens a path of a request."""
    folder = Path(fetch.__file__).parents[1] / "server"
    for path in folder.rglob("*.py"):
        text = path.read_text()
        for word in ("urllib.request", "http.client", "httpx", "requests.get", "aiohttp"):
            assert word not in text, f"{path.name} uses {word}"


def test_bytes_need_no_permission(server: Running) -> None:
    uri = "data:audio/wav;base64," + base64.b64encode(wav()).decode()
    assert ask(server, uri).status_code == 200
    for bad in ("data:audio/wav;base64", "data:", "data:audio/wav;base64,", "data:,hello"):
        assert ask(server, bad).status_code == 400
