"""A server's life: health that tells the truth, idleness, and a clean end."""

import base64
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from eureka_audio.cli.main import main
from eureka_audio.inference.runner import ModelRunner
from eureka_audio.model.weights import save_checkpoint
from server.running import Running, running, wait_until, wav
from tiny import tiny_assistant, tiny_model, tiny_processor

PART = {"type": "input_audio", "input_audio": {"data": base64.b64encode(wav()).decode()}}
QUESTION = [PART, {"type": "text", "text": "What is this?"}]
CHAT = {"model": "tiny", "messages": [{"role": "user", "content": QUESTION}], "max_tokens": 400}


def transcribe(server: Running, seconds: float = 1.0) -> httpx2.Response:
    return httpx2.post(
        f"{server.url}/v1/audio/transcriptions",
        data={"model": "tiny"},
        files={"file": ("a.wav", wav(seconds))},
        timeout=60,
    )


def health(server: Running) -> httpx2.Response:
    return httpx2.get(f"{server.url}/health")


def test_health_is_good_while_it_is(server: Running) -> None:
    answer = health(server)
    assert answer.status_code == 200
    assert answer.json()["model"] == "ready"


@pytest.mark.parametrize("method", ["hear", "embed", "read", "speakable"])
def test_an_engine_that_fails_everybody_is_told_by_health(method: str) -> None:
    def break_down(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA error at 0x7f001234")

    with running() as server, pytest.MonkeyPatch.context() as patch:
        patch.setattr(ModelRunner, method, break_down)
        for _ in range(3):
            answer = transcribe(server)
            assert answer.status_code == 500
            assert answer.json()["error"]["code"] == "internal_error"
            assert "CUDA" not in answer.text
        assert health(server).status_code == 503
        assert health(server).json()["model"] == "failing"
        patch.undo()
        assert transcribe(server).status_code == 200
        assert health(server).status_code == 200


def test_a_broken_engine_is_told_by_health(monkeypatch: pytest.MonkeyPatch) -> None:
    def break_down(*_: object, **__: object) -> None:
        raise SystemExit(1)

    with running() as server:
        monkeypatch.setattr(ModelRunner, "read", break_down)
        assert transcribe(server).status_code == 503
        wait_until(lambda: health(server).status_code == 503, 2.0)
        assert health(server).json()["model"] == "dead"
        assert transcribe(server).status_code == 503


def test_a_hanging_engine_is_told_by_health(monkeypatch: pytest.MonkeyPatch) -> None:
    hang = threading.Event()
    real = ModelRunner.speakable

    def wait(self: ModelRunner, logits: Any) -> Any:
        hang.wait(30)
        return real(self, logits)

    with running(stall_timeout_seconds=0.5) as server:
        monkeypatch.setattr(ModelRunner, "speakable", wait)
        thread = threading.Thread(target=transcribe, args=(server,))
        thread.start()
        wait_until(lambda: health(server).status_code == 503, 20.0)
        assert health(server).json()["model"] == "stalled"
        hang.set()
        thread.join(60)
        wait_until(lambda: health(server).status_code == 200)


def test_a_stream_whose_engine_dies_ends_in_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from openai import APIError

    calls = []
    real = ModelRunner.speakable

    def break_down(self: ModelRunner, logits: Any) -> Any:
        calls.append(1)
        if len(calls) > 1:
            raise RuntimeError("gone")
        return real(self, logits)

    with running() as server:
        monkeypatch.setattr(ModelRunner, "speakable", break_down)
        stream = server.client().chat.completions.create(**CHAT, stream=True)
        with pytest.raises(APIError) as caught:
            list(stream)
        assert "gone" not in str(caught.value.body)


def test_an_idle_model_leaves_memory_and_comes_back() -> None:
    with running(idle_unload_seconds=0.3) as server:
        first = transcribe(server).json()["text"]
        wait_until(lambda: health(server).json()["model"] == "unloaded")
        assert health(server).status_code == 200
        assert "eureka_audio_model_loaded 0.0" in httpx2.get(f"{server.url}/metrics").text
        assert transcribe(server).json()["text"] == first


def test_a_model_at_work_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    real = ModelRunner.speakable

    def slowly(self: ModelRunner, logits: Any) -> Any:
        time.sleep(0.05)
        return real(self, logits)

    monkeypatch.setattr(ModelRunner, "speakable", slowly)
    with running(idle_unload_seconds=0.2) as server:
        body = {**CHAT, "max_tokens": 20, "stop": ["impossible"]}
        assert httpx2.post(f"{server.url}/v1/chat/completions", json=body).status_code == 200


def test_many_aborted_requests_leave_nothing_behind() -> None:
    """Streams and whole answers, dropped in every state; all counts return to what they were."""
    with running() as server:
        transcribe(server)
        before = server.context.service.stats

        def drop(number: int) -> None:
            timeout = httpx2.Timeout(30, read=0.01 * (number % 8) + 0.001)
            body = {**CHAT, "stream": number % 2 == 0}
            try:
                with httpx2.Client(timeout=timeout) as client:
                    client.post(f"{server.url}/v1/chat/completions", json=body)
            except httpx2.HTTPError:
                pass

        threads = [threading.Thread(target=drop, args=(number,)) for number in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        wait_until(lambda: server.context.door.num_inside == 0)
        wait_until(lambda: server.context.service.stats.num_running == 0)
        after = server.context.service.stats
        assert after.queue_length == 0
        assert after.num_cache_bytes <= max(before.num_cache_bytes, 2**20)
        assert transcribe(server).status_code == 200


class Process:
    """`eureka-audio serve` as a user starts it."""

    def __init__(self, folder: Path, *options: str) -> None:
        arguments = ["serve", "--model", str(folder), "--served-model-name", "tiny", "--port", "0"]
        self.log = folder.parent / f"log-{time.monotonic_ns()}"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "eureka_audio.cli.main", *arguments, *options],
                stderr=log,
                stdout=log,
            )
        wait_until(lambda: "running on" in self.log.read_text() or self.has_ended, 180)
        text = self.log.read_text()
        assert "running on" in text, text
        self.url = text.split("running on ")[1].split()[0]

    @property
    def has_ended(self) -> bool:
        return self.process.poll() is not None


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served") / "tiny"
    save_checkpoint(tiny_model(), folder, tiny_processor())
    return folder


def test_a_server_told_to_stop_answers_what_it_has_begun(folder: Path) -> None:
    served = Process(folder, "--drain-timeout", "60")
    workers = psutil.Process(served.process.pid).children(recursive=True)
    answers: list[httpx2.Response] = []

    def ask() -> None:
        answers.append(
            httpx2.post(
                f"{served.url}/v1/audio/transcriptions",
                data={"model": "tiny"},
                files={"file": ("a.wav", wav(120.0))},
                timeout=120,
            )
        )

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    wait_until(lambda: httpx2.get(f"{served.url}/health").json()["requests"] == 3, 60)
    served.process.send_signal(signal.SIGTERM)
    refused = []
    while not served.has_ended and len(answers) < 3:
        try:
            late = httpx2.post(f"{served.url}/v1/chat/completions", json=CHAT, timeout=60)
            refused.append(late.status_code)
        except httpx2.HTTPError:
            break
    for thread in threads:
        thread.join(120)
    assert [answer.status_code for answer in answers] == [200] * 3
    assert refused
    assert 503 in refused
    assert set(refused) <= {200, 503}  # 200: before the signal was seen
    assert served.process.wait(60) == 0
    assert not [worker for worker in workers if worker.is_running()]


def test_a_session_is_told_that_the_server_stops(folder: Path) -> None:
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect

    served = Process(folder)
    with connect(served.url.replace("http", "ws") + "/v1/realtime") as socket:
        assert json.loads(socket.recv(timeout=30))["type"] == "session.created"
        served.process.send_signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed) as caught:
            socket.recv(timeout=30)
        assert caught.value.rcvd.code == 1001
    assert served.process.wait(60) == 0


@pytest.mark.parametrize(
    "options",
    [
        ["--max-pending", "0"],
        ["--max-audio-seconds", "nan"],
        ["--idle-unload", "-1"],
        ["--allow-folder", "/no/such/folder"],
        ["--served-model-name", ""],
        ["--port", "99999"],
    ],
)
def test_a_wrong_option_ends_with_two(options: list[str], capsys: Any) -> None:
    assert main(["serve", *options]) == 2
    assert options[0] in capsys.readouterr().err


def test_a_model_that_is_none_is_one_line(tmp_path: Path, capsys: Any) -> None:
    assert main(["serve", "--model", str(tmp_path)]) == 1
    errors = capsys.readouterr().err
    assert "config.json" in errors
    assert "Traceback" not in errors


def test_an_empty_key_is_no_key(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setitem(os.environ, "EUREKA_AUDIO_API_KEY", " ")
    assert main(["serve"]) == 2
    assert "EUREKA_AUDIO_API_KEY" in capsys.readouterr().err


def test_the_same_answers_alone_and_among_others() -> None:
    """Similar requests at once: each gets its own answer, that of the model alone."""
    assistant = tiny_assistant()
    clips = [wav(0.3 + 0.2 * seed, seed) for seed in range(8)]
    expected = [assistant.transcribe(clip).text for clip in clips]
    assert len(set(expected)) > 3
    wrong = []

    def ask(number: int) -> None:
        answer = httpx2.post(
            f"{server.url}/v1/audio/transcriptions",
            data={"model": "tiny"},
            files={"file": ("a.wav", clips[number])},
            timeout=60,
        )
        if answer.json()["text"] != expected[number]:
            wrong.append((number, answer.text, expected[number]))

    with running() as server:
        threads = [threading.Thread(target=ask, args=(number % 8,)) for number in range(24)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
    assert wrong == []
