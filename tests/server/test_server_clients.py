"""Clients that a user may have: the command line with --server, curl, LiteLLM's requests."""

import base64
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx2
import pytest

from eureka_audio.cli.main import main
from server.running import Running, running, wav


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("clips")
    for number in range(2):
        (folder / f"{number}.wav").write_bytes(wav(1.0, number))
    return [str(folder / f"{number}.wav") for number in range(2)]


def text_of(server: Running, path: str) -> str:
    with Path(path).open("rb") as file:
        return server.client().audio.transcriptions.create(model="tiny", file=file).text


def test_transcribe_asks_a_server(server: Running, clips: list[str], capsys: Any) -> None:
    arguments = ["transcribe", *clips, "--server", server.url, "--model", "tiny"]
    assert main([*arguments, "--json"]) == 0
    objects = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [each["path"] for each in objects] == clips
    assert [each["text"] for each in objects] == [text_of(server, path) for path in clips]
    assert main([*arguments[:2], *arguments[3:], "--format", "srt"]) == 0
    assert "-->" in capsys.readouterr().out


def test_a_bad_file_and_a_wrong_address(
    server: Running, tmp_path: Path, clips: list[str], capsys: Any
) -> None:
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"no audio")
    arguments = ["--server", server.url, "--model", "tiny"]
    assert main(["transcribe", str(bad), clips[0], *arguments]) == 1
    captured = capsys.readouterr()
    assert "expected audio" in captured.err
    assert captured.out.strip()
    assert main(["transcribe", clips[0], "--server", "http://127.0.0.1:9", "--model", "tiny"]) == 1
    assert main(["transcribe", clips[0], "--server", "localhost", "--model", "tiny"]) == 2
    assert main(["transcribe", clips[0], *arguments, "--num-beams", "3"]) == 2


def test_the_key_goes_along(clips: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    with running(api_key="k-77") as server:
        arguments = ["transcribe", clips[0], "--server", f"{server.url}/v1/", "--model", "tiny"]
        assert main(arguments) == 1
        assert "k-77" not in capsys.readouterr().err
        monkeypatch.setenv("EUREKA_AUDIO_API_KEY", "k-77")
        assert main(arguments) == 0
        assert capsys.readouterr().out.strip() == text_of_key(server, clips[0])


def text_of_key(server: Running, path: str) -> str:
    with Path(path).open("rb") as file:
        client = server.client(api_key="k-77")
        return client.audio.transcriptions.create(model="tiny", file=file).text


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_curl(server: Running, clips: list[str]) -> None:
    done = subprocess.run(
        ["curl", "-s", f"{server.url}/v1/audio/transcriptions", "-F", f"file=@{clips[0]}",
         "-F", "model=tiny", "-F", "response_format=text"],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stdout == text_of(server, clips[0]) + "\n"


def test_litellm(server: Running, clips: list[str]) -> None:
    litellm = pytest.importorskip("litellm")
    place = {"api_base": f"{server.url}/v1", "api_key": "none", "model": "openai/tiny"}
    with Path(clips[0]).open("rb") as file:
        assert litellm.transcription(file=file, **place).text == text_of(server, clips[0])
    data = base64.b64encode(Path(clips[0]).read_bytes()).decode()
    part = {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}
    content = [part, {"type": "text", "text": "what?"}]
    asked = {"messages": [{"role": "user", "content": content}], "max_tokens": 8}
    answer = server.client().chat.completions.create(model="tiny", **asked)
    assert litellm.completion(**asked, **place).choices[0].message.content == (
        answer.choices[0].message.content
    )
    with pytest.raises(litellm.NotFoundError):
        litellm.completion(**asked, **place | {"model": "openai/other"})


def test_the_requests_that_litellm_sends(server: Running, clips: list[str]) -> None:
    """LiteLLM's provider `openai/` over raw HTTP: its headers, its fields."""
    headers = {"authorization": "Bearer sk-none", "x-stainless-lang": "python"}
    with Path(clips[0]).open("rb") as file:
        answer = httpx2.post(
            f"{server.url}/v1/audio/transcriptions",
            headers=headers,
            data={
                "model": "tiny",
                "response_format": "verbose_json",
                "timestamp_granularities[]": "segment",
            },
            files={"file": (clips[0], file, "audio/wav")},
        )
    assert answer.status_code == 200, answer.text
    assert answer.json()["duration"] == 1.0
    body = {
        "model": "tiny",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}],
        "max_tokens": 4,
        "stream": True,
        "stream_options": {"include_usage": True},
        "user": "someone",
    }
    answer = httpx2.post(f"{server.url}/v1/chat/completions", headers=headers, json=body)
    assert answer.text.endswith("data: [DONE]\n\n")
