"""The many-at-once client against a server on the loopback that misbehaves in every way we know."""

import asyncio
import email.utils
import json
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from test_openai_client import Server, completion, send

pytest.importorskip("openai")

from eureka_audio.clients.chat import ChatModel, Price
from eureka_audio.clients.gate import FAILURES_TO_TRIP, FIRST_PAUSE_SECONDS, Gate
from eureka_audio.clients.wire import Endpoint
from eureka_audio.errors import EndpointError, EurekaAudioError, ModelDownError
from eureka_audio.protocols import Reply, Request
from eureka_audio.records import AudioPart, Conversation, Message, TextPart


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.server.shutdown()
    server.server.server_close()


def model(server: Server, **settings: Any) -> ChatModel:
    gate = settings.pop("gate", None) or Gate("m", 8, give_up_seconds=20)
    endpoint = Endpoint(server.url, api_key="secret-key", timeout_seconds=5)
    return ChatModel(endpoint, "m", gate, **{"first_wait_seconds": 0.001, **settings})


def request(text: str = "hello", **changes: Any) -> Request:
    user = Message(role="user", content=(TextPart(text=text),))
    return Request(Conversation(messages=(user,)), **changes)


def ask(it: ChatModel, *requests: Request) -> list[Reply | EurekaAudioError]:
    async def go() -> list[Reply | EurekaAudioError]:
        return list(await asyncio.gather(*(it.reply(one) for one in requests or (request(),))))

    return asyncio.run(go())


def test_a_request_carries_all_that_shapes_the_answer(server: Server) -> None:
    audio = {"array": np.zeros(1_600, np.float32), "sampling_rate": 16_000}
    user = Message(role="user", content=(AudioPart(audio=audio), TextPart(text="what?")))
    schema = {"type": "object"}
    settings = {"schema": schema, "max_new_tokens": 7, "temperature": 0.5, "seed": 3}
    it = model(server, settings={"top_p": 0.9})
    (reply,) = ask(it, Request(Conversation(messages=(user,)), **settings))
    assert isinstance(reply, Reply)
    body = server.calls[0]
    assert body["messages"][0]["content"][0]["type"] == "input_audio"
    assert body["response_format"]["json_schema"]["schema"] == schema
    assert (body["max_tokens"], body["temperature"], body["seed"]) == (7, 0.5, 3)
    assert body["top_p"] == 0.9
    assert server.headers[0]["authorization"] == "Bearer secret-key"
    beside = {"type": "json_object", "schema": schema}
    for structured, sent in (
        ("json_object", {"type": "json_object"}),
        ("json_object_schema", beside),
        ("none", None),
    ):
        ask(model(server, structured=structured), request(schema=schema))
        assert server.calls[-1].get("response_format") == sent


def test_tokens_and_money_are_counted_or_null(server: Server) -> None:
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 20,
        "completion_tokens_details": {"reasoning_tokens": 5},
    }
    server.handler = lambda r, body, call: send(r, 200, {**completion("hi"), "usage": usage})
    (reply,) = ask(model(server, price=Price(1.0, 10.0)))
    assert isinstance(reply, Reply)
    assert (reply.usage.prompt_tokens, reply.usage.new_tokens) == (100, 20)
    assert reply.usage.reasoning_tokens == 5
    assert reply.usage.cost == pytest.approx(0.0003)
    (unpriced,) = ask(model(server))
    assert isinstance(unpriced, Reply)
    assert unpriced.usage.cost is None
    bare = {"choices": completion("hi")["choices"]}
    server.handler = lambda r, body, call: send(r, 200, bare)
    (silent,) = ask(model(server, price=Price(1.0, 10.0)))
    assert isinstance(silent, Reply)
    assert (silent.usage.prompt_tokens, silent.usage.cost) == (None, None)


FAULTS: list[Any] = [
    lambda r, body: send(r, 429, {"error": "slow"}),
    lambda r, body: send(r, 429, {"error": "slow"}, Retry_After="0"),
    lambda r, body: send(r, 429, {"error": "slow"}, Retry_After_Ms="5"),
    lambda r, body: send(r, 408, {}),
    lambda r, body: send(r, 500, {"error": "broken"}),
    lambda r, body: send(r, 502, b"<html>"),
    lambda r, body: send(r, 503, {}),
    lambda r, body: send(r, 529, {}),
    lambda r, body: send(r, 200, {"error": {"message": "overloaded"}}),
    lambda r, body: send(r, 200, completion("")),
    lambda r, body: send(r, 200, completion(None)),
    lambda r, body: send(r, 200, {"choices": []}),
    lambda r, body: r.connection.close(),
]


@pytest.mark.parametrize("fault", range(len(FAULTS)))
def test_what_may_pass_is_asked_again(server: Server, fault: int) -> None:
    def handler(r: BaseHTTPRequestHandler, body: dict[str, Any], call: int) -> None:
        FAULTS[fault](r, body) if call < 3 else send(r, 200, completion("hi"))

    server.handler = handler
    (reply,) = ask(model(server))
    assert isinstance(reply, Reply), reply
    assert len(server.calls) == 3


@pytest.mark.parametrize("status", [400, 404, 413, 422])
def test_what_will_not_pass_is_asked_once(server: Server, status: int) -> None:
    server.handler = lambda r, body, call: send(r, status, {"error": "no secret-key"})
    (error,) = ask(model(server))
    assert isinstance(error, EndpointError)
    assert not error.retryable
    assert len(server.calls) == 1
    assert "secret-key" not in str(error)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_means_that_the_model_is_down(server: Server, status: int) -> None:
    server.handler = lambda r, body, call: send(r, status, {"error": "bad key secret-key"})
    (error,) = ask(model(server))
    assert isinstance(error, ModelDownError)
    assert "secret-key" not in str(error)
    assert len(server.calls) == 1


def test_attempts_end(server: Server) -> None:
    server.handler = lambda r, body, call: send(r, 500, {})
    (error,) = ask(model(server, max_attempts=3))
    assert isinstance(error, EndpointError)
    assert len(server.calls) == 3


def test_nobody_asks_before_the_server_has_said_so(server: Server) -> None:
    times: list[float] = []
    lock = threading.Lock()

    def handler(r: BaseHTTPRequestHandler, body: dict[str, Any], call: int) -> None:
        with lock:
            times.append(time.monotonic())
        if call == 1:
            when = email.utils.formatdate(time.time() + 2, usegmt=True)
            send(r, 429, {}, Retry_After=when)
        else:
            send(r, 200, completion("hi"))

    server.handler = handler
    gate = Gate("m", 1)
    replies = ask(model(server, gate=gate), *(request(f"{n}") for n in range(4)))
    assert all(isinstance(reply, Reply) for reply in replies)
    assert times[1] - times[0] > 0.9  # a date has whole seconds


def test_a_server_that_is_down_is_left_alone_until_it_is_up(server: Server) -> None:
    began = time.monotonic()

    def handler(r: BaseHTTPRequestHandler, body: dict[str, Any], call: int) -> None:
        up = time.monotonic() - began > 3
        send(r, 200, completion("hi")) if up else send(r, 500, {})

    server.handler = handler
    replies = ask(model(server, max_attempts=30), *(request(f"{n}") for n in range(30)))
    assert [reply for reply in replies if not isinstance(reply, Reply)] == []
    failed = len(server.calls) - 30
    assert FAILURES_TO_TRIP <= failed <= 30  # of hundreds that 30 callers would have made


def test_requests_under_way_when_a_server_goes_down_do_not_lengthen_the_pause() -> None:
    gate = Gate("m", 64)
    for _ in range(64):
        gate.failed("broken")

    async def seconds_to_the_next() -> float:
        began = time.monotonic()
        async with gate.passage():
            return time.monotonic() - began

    first = asyncio.run(seconds_to_the_next())
    assert 0.9 * FIRST_PAUSE_SECONDS < first < 10  # 64 doublings would be MAX_PAUSE_SECONDS
    gate.failed("broken")
    assert asyncio.run(seconds_to_the_next()) > 1.8 * FIRST_PAUSE_SECONDS


def test_a_server_that_stays_down_is_given_up(server: Server) -> None:
    server.handler = lambda r, body, call: send(r, 500, {})
    gate = Gate("m", 8, give_up_seconds=1.0)
    replies = ask(model(server, gate=gate, max_attempts=99), *(request(f"{n}") for n in range(9)))
    assert all(isinstance(reply, ModelDownError) for reply in replies)
    assert "run again to go on" in str(replies[0])


def test_no_more_at_once_than_the_gate_allows_and_no_faster(server: Server) -> None:
    under_way, most = 0, 0
    lock = threading.Lock()

    def handler(r: BaseHTTPRequestHandler, body: dict[str, Any], call: int) -> None:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        time.sleep(0.02)
        with lock:
            under_way -= 1
        send(r, 200, completion("hi"))

    server.handler = handler
    ask(model(server, gate=Gate("m", 3)), *(request(f"{n}") for n in range(12)))
    assert most <= 3
    began = time.monotonic()
    gate = Gate("m", 8, requests_per_minute=600)
    ask(model(server, gate=gate), *(request(f"{n}") for n in range(6)))
    assert time.monotonic() - began >= 0.5


def test_chaos_loses_no_request(server: Server) -> None:
    def handler(r: BaseHTTPRequestHandler, body: dict[str, Any], call: int) -> None:
        if call % 3 == 0:
            FAULTS[call % len(FAULTS)](r, body)
        else:
            send(r, 200, completion(json.dumps(body["messages"])))

    server.handler = handler
    replies = ask(model(server, max_attempts=20), *(request(f"say {n}") for n in range(60)))
    for number, reply in enumerate(replies):
        assert isinstance(reply, Reply)
        assert f"say {number}" in reply.text
