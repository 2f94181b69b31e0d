"""Commands that ask a server: a loopback one that answers in OpenAI's format."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from eureka_audio.cli.main import main
from eureka_audio.evaluation.results import read_summary


class Listener(BaseHTTPRequestHandler):
    """Describes what it hears as a dog; answers from what it reads, else with the first option."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        content: Any = body["messages"][-1]["content"]
        if not isinstance(content, str):
            said = "a dog barks" if "Describe" in content[-1]["text"] else "dog"
        else:
            said = "dog" if "a dog barks" in content else "bell"
        choice = {"message": {"content": said}, "finish_reason": "stop"}
        reply = json.dumps({"choices": [choice]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *arguments: object) -> None: ...


@pytest.fixture
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Listener)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    server.shutdown()
    server.server_close()


@pytest.fixture
def mmar(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "a.wav", np.zeros(1_600), 16_000)
    rows = [
        {
            "id": f"item-{n}",
            "audio_path": "a.wav",
            "question": f"What is heard, {n}?",
            "choices": ["bell", "dog"],
            "answer": "dog",
            "modality": "sound",
        }
        for n in range(3)
    ]
    (tmp_path / "MMAR-meta.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def test_a_run_against_an_endpoint(mmar: Path, url: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["run", "mmar", "--data", str(mmar), "--model", "ears", "--endpoint", url]
    assert main(["evaluate", *words, "--out", str(out)]) == 0
    (part,) = read_summary(out)["parts"]
    assert part["rules"]["official"]["value"] == 1
    assert read_summary(out)["run"]["model"] == "ears"


def test_captions_read_by_an_endpoint(mmar: Path, url: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["caption", "mmar", "--data", str(mmar), "--model", "ears", "--endpoint", url]
    words += ["--reader", "mind", "--reader-endpoint", url, "--out", str(out)]
    for _ in range(2):
        assert main(["evaluate", *words]) == 0
    parts = {part["name"]: part for part in read_summary(out)["parts"]}
    scores = {name: part["rules"]["official"]["value"] for name, part in parts.items()}
    assert scores == {"mmar_caption": 1, "mmar_caption@floor": 0}
    assert parts["mmar_caption@floor"]["title"].endswith("(floor)")
    assert "MMAR" in (out / "report.md").read_text()


def test_questions_without_choices_are_no_captioning(
    mmar: Path, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = {"id": "c", "path": "a.wav", "duration_seconds": 0.1, "transcript": "hello"}
    (mmar / "manifest.jsonl").write_text(json.dumps(clip) + "\n")
    words = ["caption", "asr_en", "--data", str(mmar), "--model", "ears", "--endpoint", url]
    words += ["--reader", "mind", "--reader-endpoint", url, "--out", str(tmp_path / "out")]
    assert main(["evaluate", *words]) == 2
    assert "questions with choices" in capsys.readouterr().err
