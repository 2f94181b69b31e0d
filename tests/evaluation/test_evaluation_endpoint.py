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


class TiredJudge(BaseHTTPRequestHandler):
    """Says yes to "dog", no to all else, and refuses for good when asked about a "cat"."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked = body["messages"][-1]["content"]
        verdict = "Reply: dog" in asked
        choice = {"message": {"content": f"So:\n{'yes' if verdict else 'no'}"}}
        reply = json.dumps({"choices": [{**choice, "finish_reason": "stop"}]}).encode()
        self.send_response(400 if "Reply: cat" in asked else 200)
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *arguments: object) -> None: ...


def test_a_judge_that_fails_in_a_third_of_calls_loses_no_item(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), TiredJudge)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    where = f"http://127.0.0.1:{server.server_address[1]}/v1"
    row = {"question": "What?", "choices": ["bell", "dog"], "answer": "dog"}
    replies = ["dog", "bell", "cat"] * 10
    path, out = tmp_path / "p.jsonl", tmp_path / "r.jsonl"
    path.write_text(
        "".join(
            json.dumps({"uid": n, "prediction": reply, **row}) + "\n"
            for n, reply in enumerate(replies)
        )
    )
    words = ["score", "mmau", str(path), "--rule", "judge", "--out", str(out), "--json"]
    code = main(["evaluate", *words, "--judge", "mind", "--judge-endpoint", where])
    server.shutdown()
    server.server_close()
    assert code == 1
    summary = json.loads(capsys.readouterr().out)
    assert (summary["items"], summary["scored"], summary["failed"]) == (30, 20, 10)
    assert summary["reasons"]["failed"] == {"the judge did not answer": 10}
    assert summary["value"] == 0.5
    results = [json.loads(line) for line in out.read_text().splitlines()]
    assert [result["correct"] for result in results] == [True, False, None] * 10


@pytest.mark.parametrize(
    "more",
    [
        ["--rule", "judge", "--judge", "mind"],
        ["--rule", "official", "--judge", "mind", "--judge-endpoint", "http://127.0.0.1:9/v1"],
    ],
)
def test_half_a_judge_or_one_that_is_not_asked_is_refused(
    tmp_path: Path, more: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text("")
    assert main(["evaluate", "score", "mmau", str(path), "--out", str(path) + "r", *more]) == 2
    assert "have no effect" in capsys.readouterr().err
