"""The client against a real server on the loopback that misbehaves in every way we know."""

import base64
import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from eureka_audio.asking.rounds import RunOptions
from eureka_audio.clients.openai import OpenAIClient
from eureka_audio.clients.wire import Endpoint, RetryLaterError
from eureka_audio.errors import AudioNotFoundError, ConfigError, EndpointError
from eureka_audio.evaluation.runner import RunIdentity, run_trials
from eureka_audio.evaluation.trials import Trial
from eureka_audio.protocols import AudioLanguageModel, Reply, TextLanguageModel
from eureka_audio.records import AudioPart, Conversation, Message, TextPart

Handler = Callable[[BaseHTTPRequestHandler, dict[str, Any], int], None]


def send(request: BaseHTTPRequestHandler, status: int, body: Any, **headers: str) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    request.send_response(status)
    for name, value in headers.items():
        request.send_header(name.replace("_", "-"), value)
    request.send_header("Content-Length", str(len(content)))
    request.end_headers()
    request.wfile.write(content)


def completion(text: Any, reason: str = "stop") -> dict[str, Any]:
    choice = {"message": {"content": text}, "finish_reason": reason}
    return {"choices": [choice], "usage": {"completion_tokens": 3}}


class Server:
    """A loopback server whose behaviour is one function of request, body and call number."""

    def __init__(self) -> None:
        self.handler: Handler = lambda request, body, call: send(request, 200, completion("hi"))
        self.calls: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        lock, outer = threading.Lock(), self

        class Request(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    outer.calls.append(body)
                    outer.headers.append({k.lower(): v for k, v in self.headers.items()})
                    call = len(outer.calls)
                outer.handler(self, body, call)

            def log_message(self, *arguments: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Request)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.server.shutdown()
    server.server.server_close()


def client(server: Server, **settings: Any) -> OpenAIClient:
    endpoint = Endpoint(server.url, api_key="secret-key", timeout_seconds=60)
    return OpenAIClient(endpoint, "m", **{"first_wait_seconds": 0.001, **settings})


def question(text: str, *audio: Any) -> Conversation:
    parts = (*(AudioPart(audio=one) for one in audio), TextPart(text=text))
    return Conversation(messages=(Message(role="user", content=parts),))


def test_words_and_audio_arrive(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "tone.wav"
    soundfile.write(path, np.zeros(8_000, dtype=np.float32), 8_000)
    model = client(server, settings={"seed": 7})
    assert isinstance(model, AudioLanguageModel)
    assert isinstance(model, TextLanguageModel)
    (reply,) = model.answer([question("what?", path)], max_new_tokens=9)
    assert reply == Reply("hi", 3, 0, 1.0, "stop")
    (body,) = server.calls
    assert (body["model"], body["max_tokens"], body["temperature"], body["seed"]) == ("m", 9, 0, 7)
    sound, text = body["messages"][0]["content"]
    waveform, rate = soundfile.read(io.BytesIO(base64.b64decode(sound["input_audio"]["data"])))
    assert (len(waveform), rate, text["text"]) == (16_000, 16_000, "what?")
    assert server.headers[0]["authorization"] == "Bearer secret-key"
    model.answer([question("only words")])
    assert server.calls[1]["messages"] == [{"role": "user", "content": "only words"}]


def test_thirty_percent_failures_lose_no_item(server: Server, tmp_path: Path) -> None:
    faults: list[Handler] = [
        lambda request, body, call: send(request, 500, {"error": "oops"}),
        lambda request, body, call: send(request, 429, {}, Retry_After="0"),
        lambda request, body, call: send(request, 200, b'{"choices": [{"mess'),
        lambda request, body, call: send(request, 200, {"error": {"message": "under 200"}}),
        lambda request, body, call: send(request, 200, completion(None)),
        lambda request, body, call: request.connection.close(),
    ]

    def flaky(request: BaseHTTPRequestHandler, body: dict[str, Any], call: int) -> None:
        if call % 10 in (1, 4, 7):
            faults[call % len(faults)](request, body, call)
        else:
            send(request, 200, completion(body["messages"][0]["content"].upper()))

    server.handler = flaky
    trials = [Trial("mmau", str(n), prompt=f"say {n}") for n in range(60)]
    identity = RunIdentity("mmau", "m", server.url)
    once = client(server, max_attempts=1)
    books = run_trials(once, trials, tmp_path, identity, RunOptions(batch_size=20, max_attempts=20))
    rows = [json.loads(r) for r in (tmp_path / "mmau/predictions.jsonl").read_text().splitlines()]
    assert books.as_dict() == {"items": 60, "answered": 60, "failed": 0, "reasons": {}}
    assert [row["prediction"] for row in rows] == [f"SAY {n}" for n in range(60)]
    assert len(server.calls) > 60


def test_a_fault_that_passes_costs_no_item(server: Server) -> None:
    server.handler = lambda request, body, call: (
        send(request, 503, {}) if call < 4 else send(request, 200, completion("there"))
    )
    assert str(client(server).answer([question("?")])[0]) == "there"
    assert len(server.calls) == 4


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_a_refusal_is_not_asked_again(server: Server, status: int) -> None:
    server.handler = lambda request, body, call: send(request, status, b"bad secret-key")
    (error,) = client(server).answer([question("?")])
    assert isinstance(error, EndpointError)
    assert not error.retryable
    assert str(status) in str(error)
    assert "secret-key" not in str(error) + repr(client(server))
    assert len(server.calls) == 1


def test_what_is_no_reply_is_an_error(server: Server) -> None:
    for body in ({}, [], {"choices": []}, completion(5), completion("", "length"), "text", None):
        server.handler = lambda request, _, call, body=body: send(request, 200, body)  # type: ignore[misc]
        (error,) = client(server, max_attempts=1).answer([question("?")])
        assert isinstance(error, EndpointError), body
        assert error.retryable
    server.handler = lambda request, _, call: send(request, 200, completion("", "content_filter"))
    (error,) = client(server).answer([question("?")])
    assert isinstance(error, EndpointError)
    assert not error.retryable
    server.handler = lambda request, _, call: send(request, 200, completion("cut", "length"))
    (reply,) = client(server).answer([question("?")])
    assert isinstance(reply, Reply)
    assert reply.finish_reason == "length"


def test_a_stalling_server_is_left_in_time(server: Server) -> None:
    left, said_all = threading.Event(), threading.Event()

    def trickle(request: BaseHTTPRequestHandler, body: dict[str, Any], call: int) -> None:
        request.send_response(200)
        request.end_headers()
        with suppress(OSError):  # the client hangs up, as it should
            for _ in range(1200):
                request.wfile.write(b" ")
                if left.wait(0.05):
                    return
            said_all.set()

    server.handler = trickle
    model = OpenAIClient(Endpoint(server.url, timeout_seconds=0.3), "m", max_attempts=1)
    (error,) = model.answer([question("?")])
    assert isinstance(error, EndpointError)
    assert not said_all.is_set()
    left.set()


def test_waits_are_those_of_the_server(server: Server) -> None:
    server.handler = lambda request, body, call: send(request, 429, {}, Retry_After="2.5")
    with pytest.raises(RetryLaterError) as told:
        client(server).endpoint.post("chat/completions", {})
    assert told.value.seconds == 2.5
    assert client(server)._wait(1, told.value) == 2.5
    later = "Fri, 31 Dec 2100 23:59:59 GMT"
    server.handler = lambda request, body, call: send(request, 503, {}, Retry_After=later)
    with pytest.raises(RetryLaterError) as told:
        client(server).endpoint.post("chat/completions", {})
    assert client(server)._wait(1, told.value) == 60


def test_bad_input_stays_with_its_item(server: Server) -> None:
    missing, good = client(server).answer([question("?", "none.wav"), question("?")])
    assert isinstance(missing, AudioNotFoundError)
    assert isinstance(good, Reply)
    nobody = OpenAIClient(
        Endpoint("http://127.0.0.1:9/v1", timeout_seconds=60), "m", max_attempts=1
    )
    (error,) = nobody.answer([question("?")])
    assert isinstance(error, EndpointError)
    for address in ("localhost:8000", "ftp://host/v1", "http://user:key@host/v1"):
        with pytest.raises(ConfigError):
            Endpoint(address)
