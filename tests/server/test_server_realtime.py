"""`/v1/realtime` through OpenAI's own client, and as vLLM's clients speak."""

import base64
import json
from typing import Any

import numpy as np
import pytest
from websockets.sync.client import ClientConnection, connect

from server.running import Running, running, wait_until
from tiny import noise_samples, tiny_assistant


def pcm(seconds: float = 1.0, rate: int = 16_000) -> bytes:
    samples = np.repeat(noise_samples(seconds), max(1, rate // 16_000))
    return (samples * 32_767).astype("<i2").tobytes()


def said(rate: int) -> str:
    samples = np.frombuffer(pcm(rate=rate), dtype="<i2")
    return tiny_assistant().transcribe((samples, rate)).text


def open_raw(server: Running) -> ClientConnection:
    return connect(f"ws://127.0.0.1:{server.port}/v1/realtime")


def send(socket: ClientConnection, kind: str, **fields: Any) -> None:
    socket.send(json.dumps({"type": kind, **fields}))


def receive(socket: ClientConnection) -> dict[str, Any]:
    return json.loads(socket.recv(timeout=30))


def audio(content: bytes) -> str:
    return base64.b64encode(content).decode()


SESSION = {
    "type": "transcription",
    "audio": {
        "input": {
            "format": {"type": "audio/pcm", "rate": 24_000},
            "transcription": {"model": "tiny", "language": "en"},
            "turn_detection": None,
        }
    },
}


def test_the_official_client_gets_its_events(server: Running) -> None:
    content = pcm(1.0, 32_000)[: 2 * 24_000]
    with server.client().realtime.connect(extra_query={"intent": "transcription"}) as connection:
        assert connection.recv().type == "session.created"
        connection.session.update(session=SESSION)
        updated = connection.recv()
        assert updated.type == "session.updated"
        assert updated.session.audio.input.transcription.model == "tiny"
        for start in range(0, len(content), 9_600):
            connection.input_audio_buffer.append(audio=audio(content[start : start + 9_600]))
        connection.input_audio_buffer.commit()
        events = []
        while not events or events[-1].type != "conversation.item.done":
            events.append(connection.recv())
    kinds = [event.type for event in events]
    assert kinds[:2] == ["input_audio_buffer.committed", "conversation.item.added"]
    deltas = [e.delta for e in events if e.type.endswith("transcription.delta")]
    [completed] = [e for e in events if e.type.endswith("transcription.completed")]
    assert "".join(deltas) == completed.transcript != ""
    assert completed.item_id == events[0].item_id
    assert completed.usage.total_tokens > 0


def test_vllm_s_dialect(server: Running) -> None:
    with open_raw(server) as socket:
        assert receive(socket)["type"] == "session.created"
        send(socket, "session.update", model="tiny")
        assert receive(socket)["type"] == "session.updated"
        send(socket, "input_audio_buffer.commit")
        for _ in range(2):  # two utterances
            send(socket, "input_audio_buffer.append", audio=audio(pcm()))
            send(socket, "input_audio_buffer.commit", final=True)
            events = [receive(socket)]
            while events[-1]["type"] != "transcription.done":
                events.append(receive(socket))
            assert {event["type"] for event in events[:-1]} <= {"transcription.delta"}
            assert "".join(event["delta"] for event in events[:-1]) == events[-1]["text"]
            assert events[-1]["text"] == said(16_000)
            assert events[-1]["usage"]["prompt_tokens"] == 13


def test_the_dialect_of_before(server: Running) -> None:
    with open_raw(server) as socket:
        receive(socket)
        session = {
            "input_audio_format": "pcm16",
            "input_audio_transcription": {"model": "tiny"},
            "turn_detection": None,
        }
        send(socket, "transcription_session.update", session=session)
        assert receive(socket)["type"] == "transcription_session.updated"


@pytest.mark.parametrize(
    ("event", "code"),
    [
        ("nonsense", "invalid_value"),
        ("{}", "invalid_value"),
        ('{"type": "response.create"}', "invalid_value"),
        ('{"type": "input_audio_buffer.append"}', "invalid_value"),
        ('{"type": "input_audio_buffer.append", "audio": "%%%"}', "invalid_value"),
        ('{"type": "input_audio_buffer.append", "audio": 5}', "invalid_value"),
        ('{"type": "input_audio_buffer.commit"}', "input_audio_buffer_commit_empty"),
        ('{"type": "session.update", "session": {"audio": {"input": {"transcription": '
         '{"model": "gpt-9"}}}}}', "model_not_found"),
        ('{"type": "session.update", "session": {"audio": {"input": {"turn_detection": '
         '{"type": "server_vad"}}}}}', "unsupported_value"),
        ('{"type": "session.update", "session": {"type": "realtime"}}', "invalid_value"),
        ('{"type": "session.update", "session": {"audio": {"input": {"format": {"rate": 5}}}}}',
         "invalid_value"),
        ("[" * 5_000, "invalid_value"),
    ],
    ids=range(12),
)  # fmt: skip
def test_a_bad_event_is_an_error_and_the_session_lives(
    server: Running, event: str, code: str
) -> None:
    with open_raw(server) as socket:
        receive(socket)
        socket.send(event)
        answer = receive(socket)
        assert answer["type"] == "error"
        assert answer["error"]["code"] == code
        assert answer["error"].keys() >= {"message", "type", "param", "code", "event_id"}
        send(socket, "input_audio_buffer.clear")
        assert receive(socket)["type"] == "input_audio_buffer.cleared"


def test_a_buffer_has_its_limits() -> None:
    from dataclasses import replace

    from server.running import TINY

    limits = replace(TINY.limits, max_duration_seconds=2.0)
    with running(limits=limits, max_sessions=1) as server, open_raw(server) as socket:
        receive(socket)
        for _ in range(3):
            send(socket, "input_audio_buffer.append", audio=audio(pcm(1.0)))
        send(socket, "input_audio_buffer.append", audio=audio(pcm(1.0)))
        assert receive(socket)["error"]["code"] == "audio_too_large"
        from websockets.exceptions import InvalidStatus

        with pytest.raises(InvalidStatus):  # one session is all it takes
            open_raw(server)
    wait_until(lambda: server.context.sessions.num_inside == 0)


def test_a_client_that_vanishes_leaves_nothing_behind(server: Running) -> None:
    for _ in range(3):
        socket = open_raw(server)
        receive(socket)
        send(socket, "session.update", model="tiny")
        send(socket, "input_audio_buffer.append", audio=audio(pcm(5.0)))
        send(socket, "input_audio_buffer.commit", final=True)
        socket.socket.close()
    wait_until(lambda: server.context.sessions.num_inside == 0)
    wait_until(lambda: server.context.service.stats.num_running == 0)
    assert server.context.door.num_inside == 0
