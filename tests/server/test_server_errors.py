"""Every refusal is the exception that OpenAI's client has for it, with the four keys."""

import re
from collections.abc import Callable
from typing import Any

import httpx2
import openai
import pytest

from eureka_audio.errors import EngineError, EurekaAudioError
from eureka_audio.server.problems import CODES, problem_of
from eureka_audio.server.service import engine_problem
from server.running import Running, running, wait_until, wav, wav_of
from tiny import noise_samples

GOOD = ("clip.wav", wav())
MESSAGES: Any = [{"role": "user", "content": "hello"}]
FORBIDDEN_IN_BODIES = re.compile(r"0x[0-9a-f]{6}|Traceback|/src/|site-packages|\.py\b")


def transcribe(server: Running, **settings: Any) -> Any:
    client = server.client(**settings.pop("client", {}))
    return client.audio.transcriptions.create(**{"model": "tiny", "file": GOOD, **settings})


def chat(server: Running, **settings: Any) -> Any:
    return server.client().chat.completions.create(
        **{"model": "tiny", "messages": MESSAGES, "max_tokens": 2, **settings}
    )


CASES: dict[str, tuple[Callable[[Running], Any], type[openai.APIStatusError], int, str]] = {
    "bad audio": (
        lambda s: transcribe(s, file=("a.mp3", b"no audio at all")),
        openai.BadRequestError, 400, "audio_unreadable",
    ),
    "no model": (lambda s: transcribe(s, model=""), openai.NotFoundError, 404, "model_not_found"),
    "unknown model": (
        lambda s: chat(s, model="gpt-5"), openai.NotFoundError, 404, "model_not_found",
    ),
    "unknown format": (
        lambda s: transcribe(s, response_format="xml"),
        openai.BadRequestError, 400, "invalid_value",
    ),
    "bad n": (lambda s: chat(s, n=0), openai.BadRequestError, 400, "invalid_value"),
    "too long a context": (
        lambda s: chat(s, messages=[{"role": "user", "content": "word " * 5_000}]),
        openai.BadRequestError, 400, "context_length_exceeded",
    ),
    "too short an audio": (
        lambda s: transcribe(s, file=("a.wav", wav(0.05))),
        openai.BadRequestError, 400, "audio_too_short",
    ),
    "a URL": (
        lambda s: chat(s, messages=[{"role": "user", "content": [
            {"type": "audio_url", "audio_url": {"url": "http://127.0.0.1/a.wav"}}]}]),
        openai.BadRequestError, 400, "audio_forbidden",
    ),
    "too large a body": (
        lambda s: transcribe(s, file=("a.wav", b"x" * (s.context.settings.max_body_bytes + 1))),
        openai.APIStatusError, 413, "content_too_large",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_official_client_raises_the_right_class(server: Running, case: str) -> None:
    call, kind, status, code = CASES[case]
    with pytest.raises(kind) as caught:
        call(server)
    error = caught.value
    assert error.status_code == status
    assert error.body.keys() == {"message", "type", "param", "code"}
    assert error.body["code"] == code
    assert error.request_id is not None
    assert not FORBIDDEN_IN_BODIES.search(error.response.text)
    assert transcribe(server).text  # and a good request still works


def test_no_file_is_a_bad_request(server: Running) -> None:
    answer = httpx2.post(f"{server.url}/v1/audio/transcriptions", data={"model": "tiny"},
                         files={"other": b"x"})  # fmt: skip
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] in ("invalid_value", "missing_file")


def test_a_wrong_key_and_none() -> None:
    with running(api_key="s3cret-key") as server:
        with pytest.raises(openai.AuthenticationError) as caught:
            transcribe(server, client={"api_key": "wrong"})
        assert caught.value.body["code"] == "invalid_api_key"
        assert httpx2.get(f"{server.url}/v1/models").status_code == 401
        assert transcribe(server, client={"api_key": "s3cret-key"}).text


def test_a_full_server_says_when_to_come_back() -> None:
    with running(max_pending=1) as server, server.context.door.enter():
        with pytest.raises(openai.RateLimitError) as caught:
            transcribe(server)
        assert caught.value.response.headers["retry-after"] == "1"
        assert caught.value.body["code"] == "overloaded"


def test_a_server_that_stops_says_so() -> None:
    with running() as server:
        server.loop.call_soon_threadsafe(server.context.door.close)
        wait_until(lambda: server.context.door.is_draining)
        with pytest.raises(openai.InternalServerError) as caught:
            transcribe(server)
        assert caught.value.status_code == 503
        assert caught.value.response.headers["retry-after"] == "5"
        assert httpx2.get(f"{server.url}/health").status_code == 503


def test_a_dead_model_is_a_503(monkeypatch: pytest.MonkeyPatch) -> None:
    with running() as server:
        kind = type(server.context.service)
        monkeypatch.setattr(kind, "state", property(lambda self: "dead"))
        with pytest.raises(openai.InternalServerError) as caught:
            chat(server)
        assert caught.value.status_code == 503
        assert caught.value.body["code"] == "model_unavailable"
        assert httpx2.get(f"{server.url}/health").json()["model"] == "dead"


def test_what_nobody_foresaw_keeps_its_secrets(
    server: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def break_down(*_: object) -> None:
        raise RuntimeError("object at 0x7f0012345678 in /home/me/secret.py")

    monkeypatch.setattr(type(server.context), "check_model", break_down)
    with pytest.raises(openai.InternalServerError) as caught:
        chat(server)
    assert caught.value.body["code"] == "internal_error"
    assert "secret" not in caught.value.response.text
    assert caught.value.request_id in caplog.text


def test_unknown_routes_and_methods(server: Running) -> None:
    for method, path, status in (
        ("GET", "/v1/nothing", 404),
        ("GET", "/v1/audio/transcriptions", 405),
        ("POST", "/health", 405),
        ("GET", "/static/../app.py", 404),
        ("GET", "/static/%2e%2e/app.py", 404),
        ("GET", "/v1/models/none", 404),
    ):
        answer = httpx2.request(method, f"{server.url}{path}")
        assert answer.status_code == status, path
        assert answer.json()["error"].keys() == {"message", "type", "param", "code"}


def every_kind(kind: type[EurekaAudioError]) -> list[type[EurekaAudioError]]:
    return [kind, *(each for sub in kind.__subclasses__() for each in every_kind(sub))]


@pytest.mark.parametrize("kind", every_kind(EurekaAudioError), ids=lambda kind: kind.__name__)
def test_every_typed_error_has_a_status(kind: type[EurekaAudioError]) -> None:
    error = kind.__new__(kind)  # whatever else it is made of
    Exception.__init__(error, "x")
    problem = engine_problem(error) if isinstance(error, EngineError) else problem_of(error)
    known = any(issubclass(kind, each) for each in CODES)
    assert problem.status in ((400,) if known else (429, 500, 503))


def test_nan_and_infinity_are_refused(server: Running) -> None:
    for bad in (float("nan"), float("inf"), 1e29):
        samples = noise_samples(1.0)
        samples[500] = bad
        with pytest.raises(openai.BadRequestError) as caught:
            transcribe(server, file=("a.wav", wav_of(samples)))
        assert caught.value.body["code"] == "audio_invalid"
