"""Who may come in, with how much, and what comes with every answer."""

import logging
import socket
import threading
import time

import httpx2
import pytest
from starlette.routing import Mount, WebSocketRoute
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from eureka_audio.server.app import OPEN_PATHS
from server.running import Running, running, wav

KEY = "k-8d1f0e"


@pytest.fixture(scope="module")
def locked():
    with running(api_key=KEY, max_body_bytes=100_000, body_timeout_seconds=1.0) as server:
        yield server


def every_route(server: Running) -> list[tuple[str, str]]:
    """Method and path of whatever the routers know."""
    found = []
    routes = list(server.app.routes)
    for route in routes:
        inner = getattr(route, "original_router", None)  # FastAPI keeps included routers whole
        if inner is not None:
            routes += inner.routes
        elif not isinstance(route, Mount | WebSocketRoute):
            path = route.path.replace("{name:path}", "tiny")
            found += [(method, path) for method in route.methods]
    return found


def test_every_route_but_the_open_ones_needs_the_key(locked: Running) -> None:
    routes = every_route(locked)
    assert len(routes) >= 8
    for method, path in routes:
        for headers in ({}, {"authorization": "Bearer nope"}, {"authorization": f"Basic {KEY}"}):
            status = httpx2.request(method, locked.url + path, headers=headers).status_code
            is_open = path in OPEN_PATHS and method in ("GET", "HEAD")
            assert (status == 401) != is_open, (method, path, status)
    assert {path for _, path in routes} >= {"/metrics", "/v1/models", "/openapi.json", "/health"}


def test_a_websocket_needs_the_key_too(locked: Running) -> None:
    url = f"ws://127.0.0.1:{locked.port}/v1/realtime"
    with pytest.raises(InvalidStatus) as caught:
        connect(url)
    assert caught.value.response.status_code == 403
    with connect(url, additional_headers={"Authorization": f"Bearer {KEY}"}):
        pass
    protocols = ["realtime", f"openai-insecure-api-key.{KEY}"]
    with connect(url, subprotocols=protocols) as websocket:
        assert websocket.subprotocol == "realtime"


def test_the_key_is_compared_in_constant_time(
    locked: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    from eureka_audio.server import middleware

    seen = []
    real = middleware.hmac.compare_digest
    monkeypatch.setattr(
        middleware.hmac, "compare_digest", lambda a, b: seen.append(1) or real(a, b)
    )
    httpx2.get(f"{locked.url}/v1/models", headers={"authorization": "Bearer x"})
    assert seen


def test_the_key_is_in_no_log(locked: Running, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        httpx2.get(f"{locked.url}/v1/models", headers={"authorization": f"Bearer {KEY}"})
        httpx2.get(f"{locked.url}/v1/models?key={KEY}")
        assert KEY not in repr(locked.context.settings)
    ours = [record.getMessage() for record in caplog.records if "eureka" in record.name]
    assert ours
    assert KEY not in "".join(ours)


def test_no_other_site_may_read_or_connect(server: Running) -> None:
    evil = {"origin": "https://evil.example"}
    answer = httpx2.get(f"{server.url}/v1/models", headers=evil)
    assert not [name for name in answer.headers if name.startswith("access-control")]
    preflight = {**evil, "access-control-request-method": "POST"}
    answer = httpx2.options(f"{server.url}/v1/chat/completions", headers=preflight)
    assert answer.status_code == 405
    with pytest.raises(InvalidStatus):
        connect(f"ws://127.0.0.1:{server.port}/v1/realtime", origin="https://evil.example")
    with connect(f"ws://127.0.0.1:{server.port}/v1/realtime", origin=server.url):
        pass


def test_every_answer_has_its_headers(server: Running) -> None:
    for path in ("/", "/health", "/v1/models", "/v1/nothing", "/static/index.html"):
        headers = httpx2.get(server.url + path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http:" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-request-id"].startswith("req_")


def test_a_body_as_large_as_allowed_and_one_byte_more(locked: Running) -> None:
    url, most = f"{locked.url}/v1/chat/completions", locked.context.settings.max_body_bytes
    headers = {"authorization": f"Bearer {KEY}"}
    fits = httpx2.post(url, content=b" " * most, headers=headers)
    assert fits.status_code == 400  # it was read, and is no JSON
    over = httpx2.post(url, content=b" " * (most + 1), headers=headers)
    assert over.status_code == 413
    assert f"({most + 1} bytes read)" in over.json()["error"]["message"]


def raw(server: Running, head: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port))
    connection.settimeout(20)
    connection.sendall(head.replace("\n", "\r\n").encode())
    return connection


POST = f"POST /v1/chat/completions HTTP/1.1\nHost: x\nAuthorization: Bearer {KEY}\n"


def test_a_body_without_a_length_stops_near_the_limit(locked: Running) -> None:
    chunk = b"8000\r\n" + b" " * 0x8000 + b"\r\n"
    with raw(locked, POST + "Transfer-Encoding: chunked\n\n") as connection:
        num_sent = 0
        try:
            for _ in range(1_000):
                connection.sendall(chunk)
                num_sent += 0x8000
                time.sleep(0.001)
        except OSError:
            pass
        else:
            pytest.fail("32 MB were taken")
    assert num_sent < 16 * 2**20  # what the system's buffers swallow, not what was read


def test_a_slow_body_runs_out_of_time(locked: Running) -> None:
    with raw(locked, POST + "Content-Length: 1000\n\n") as connection:
        connection.sendall(b"{")
        assert connection.recv(100).startswith(b"HTTP/1.1 408")


def test_a_length_that_lies_and_one_that_is_none(locked: Running) -> None:
    for length in ("-1", "99999999999999999999999999", "1e3", "abc", "+5"):
        with raw(locked, POST + f"Content-Length: {length}\n\n") as connection:
            assert connection.recv(100).split(b" ")[1][:1] == b"4", length


def test_more_requests_than_fit_are_sent_away_and_the_rest_answered() -> None:
    with running(max_pending=2) as server:
        statuses: list[int] = []

        def ask() -> None:
            answer = httpx2.post(
                f"{server.url}/v1/audio/transcriptions",
                data={"model": "tiny"},
                files={"file": ("a.wav", wav(5.0))},
                timeout=60,
            )
            statuses.append(answer.status_code)
            assert answer.status_code == 200 or answer.headers["retry-after"]

        threads = [threading.Thread(target=ask) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert len(statuses) == 12
        assert set(statuses) == {200, 429}
        give_up = time.monotonic() + 30  # an answer is read a moment before its door closes
        while server.context.door.num_inside and time.monotonic() < give_up:
            time.sleep(0.05)
        assert server.context.door.num_inside == 0
        statuses.clear()
        ask()
        assert statuses == [200]


def test_the_models_are_listed(server: Running) -> None:
    client = server.client()
    assert [model.id for model in client.models.list()] == ["tiny"]
    assert client.models.retrieve("tiny").owned_by == "eureka-audio"


def test_metrics_are_in_the_format_of_prometheus(server: Running) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    httpx2.get(f"{server.url}/v1/nothing/{'x' * 50}")
    answer = httpx2.get(f"{server.url}/metrics")
    families = {each.name: each for each in text_string_to_metric_families(answer.text)}
    assert {
        "eureka_audio_requests",
        "eureka_audio_request_seconds",
        "eureka_audio_queue_length",
        "eureka_audio_batch_size",
        "eureka_audio_tokens_per_second",
        "eureka_audio_time_to_first_token_seconds",
        "eureka_audio_expert_tokens",
        "eureka_audio_model_loaded",
    } <= families.keys()
    routes = {sample.labels.get("route") for sample in families["eureka_audio_requests"].samples}
    assert not [route for route in routes if route and "xxx" in route]
