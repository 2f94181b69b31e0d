"""From a command to a report: run, resume, report, compare, on clips a second long."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from browser import Pages
from eureka_audio.cli.main import main
from eureka_audio.clients.scripted import ScriptedModel
from eureka_audio.errors import AudioFormatError, EurekaAudioError, EvaluationError
from eureka_audio.evaluation.report import (
    evaluation_page,
    paper_tables,
    tables_with_ours,
    write_report,
)
from eureka_audio.evaluation.results import parts_of, read_summary, score_run
from eureka_audio.protocols import Reply
from eureka_audio.records import Conversation

SCRIPT = "<script>alert('reply')</script><!--"


class Pupil(ScriptedModel):
    """Knows some answers."""

    def __init__(self, knows: str = "woman") -> None:
        super().__init__(lambda words: self.reply(words))
        self._knows = knows

    def reply(self, words: str) -> str | EurekaAudioError:
        if "broken" in words:
            return AudioFormatError("not audio")
        if "script" in words:
            return SCRIPT
        return self._knows


def good() -> Pupil:
    return Pupil()


def weak() -> Pupil:
    return Pupil("man")


def nothing() -> object:
    return object()


QUESTIONS = ["who?", "who is it?", "broken?", "script?"]


@pytest.fixture
def mmau(tmp_path: Path) -> Path:
    """MMAU in its public layout, four items long."""
    folder = tmp_path / "mmau"
    (folder / "test-mini-audios").mkdir(parents=True)
    soundfile.write(folder / "test-mini-audios" / "a.wav", np.zeros(1_600), 16_000)
    rows = [
        {
            "id": f"item-{n}",
            "audio_id": "./test-mini-audios/a.wav",
            "question": question,
            "choices": ["man", "woman"],
            "answer": "woman",
            "task": "speech",
            "difficulty": "easy",
            "sub-category": "who",
        }
        for n, question in enumerate(QUESTIONS)
    ]
    (folder / "mmau-test-mini.json").write_text(json.dumps(rows))
    return folder


def evaluate(*arguments: object) -> int:
    code: int = main(["evaluate", *map(str, arguments)])
    return code


def run(mmau: Path, out: Path, model: str, *more: object) -> int:
    return evaluate("run", "mmau", "--data", mmau, "--model", model, "--out", out, *more)


GOOD, WEAK, NOTHING = (f"{__name__}:{name}" for name in ("good", "weak", "nothing"))


def test_a_run_leaves_verdicts_a_summary_and_a_report(
    mmau: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(mmau, out, GOOD) == 1  # one item failed
    printed = capsys.readouterr()
    assert "MMAU test-mini" in printed.out
    assert "1 items failed" in printed.err
    (part,) = read_summary(out)["parts"]
    assert part["failures"] == {"AudioFormatError": 1}
    official = part["rules"]["official"]
    assert (official["items"], official["scored"], official["missing"]) == (4, 3, 1)
    modes = official["modes"]
    assert modes["strict"] == {"value": 0.5, "items": 4, "interval": None}
    assert modes["paper"] == {"value": 2 / 3, "items": 3, "dropped": ["item-2"]}
    assert official["interval"] is None  # one clip tells nothing of others
    before = {path: path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}
    assert run(mmau, out, GOOD) == 1
    assert {path: path.read_bytes() for path in before} == before
    names = {path.name for path in before}
    assert {"report.html", "report.md", "report.json", "results.letter_mapped.jsonl"} <= names


def test_the_page_is_closed_and_inert(mmau: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(mmau, out, GOOD)
    text = (out / "report.html").read_text()
    assert "default-src 'none'" in text
    assert "unsafe-inline" not in text
    assert text.count("<script") == text.count("</script>") == 2
    assert SCRIPT not in text
    assert not re.search(r"(?:src|href)=|https?://(?!www\.w3\.org/2000/svg)", text)
    (block,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text)
    content = json.loads(block)
    (shown,) = content["runs"]
    assert [item["state"] for item in shown["items"]] == ["good", "good", "none", "bad"]
    assert shown["items"][3]["reply"] == SCRIPT
    assert {item["audio"] for item in shown["items"]} == {0}
    (clip,) = content["clips"]
    assert clip.startswith("data:audio/wav;base64,")
    assert shown["items"][2]["error"] == "not audio"
    assert shown["asked"].startswith("4 questions and tasks about 1 recording.")
    assert SCRIPT not in (out / "report.md").read_text()


def test_no_text_can_leave_its_place_in_the_page() -> None:
    text = evaluation_page({"title": "</script>{{js}}\u2028<!--&"})
    assert text.count("</script>") == 2
    assert "{{js}}" in text
    assert "innerHTML" not in text


def test_the_page_in_a_browser(mmau: Path, tmp_path: Path, pages: Pages) -> None:
    out = tmp_path / "out"
    run(mmau, out, GOOD)
    page = pages.open((out / "report.html").as_uri())
    assert "4 of 4 items match; 4 shown." in page.inner_text("body")
    assert SCRIPT in page.inner_text("body")
    page.fill("input[type=search]", "broken")
    assert "1 of 4 items match; 1 shown." in page.inner_text("body")


def test_ours_stands_beside_the_published_rows(mmau: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(mmau, out, GOOD)
    tables = {table["number"]: table for table in tables_with_ours([read_summary(out)])}
    assert tables["4"]["rows"][-1]["values"] == {"mmau": 50.0}
    assert not any(row.get("ours") for row in tables["3"]["rows"])
    published = paper_tables()["tables"]
    assert [len(table["rows"]) for table in published] == [11, 13, 3]
    instruct = next(r for r in published[1]["rows"] if r["model"].endswith("w DataFlux"))
    assert instruct["values"] == {"mmau": 74.67, "mmar": 56.2}


def test_two_runs_are_compared(
    mmau: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(mmau, tmp_path / "a", WEAK)
    run(mmau, tmp_path / "b", GOOD)
    capsys.readouterr()
    assert evaluate("compare", tmp_path / "a", tmp_path / "b", "--json") == 0
    first = json.loads(capsys.readouterr().out.splitlines()[0])
    assert (first["first"], first["only_second"], first["p_mcnemar"]) == (0, 2, 0.5)
    assert evaluate("compare", tmp_path / "a", tmp_path / "b") == 0
    assert "B minus A +66.67 points" in capsys.readouterr().out
    both = ("report", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "both")
    assert evaluate(*both) == 0
    assert (tmp_path / "both" / "report.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["run", "mmau", "--data", "none", "--model", GOOD, "--out", "x"], "expected the data"),
        (["run", "mmauu", "--data", "none", "--model", GOOD, "--out", "x"], "did you mean mmau"),
        (["run", "mmau", "--data", "a", "b", "--model", GOOD, "--out", "x"], "expected one --data"),
        (["run", "mmau", "--data", "MMAU", "--model", "no.such:thing", "--out", "x"], "named|name"),
        (["run", "mmau", "--data", "MMAU", "--model", NOTHING, "--out", "x"], "answer"),
        (["run", "mmau", "--data", "MMAU", "--model", GOOD, "--out", "x", "--limit", "0"], "limit"),
        (["run", "mmau", "--data", "MMAU", "--model", GOOD, "--out", "x", "--attempts", "0"], "1"),
        (["run", "eureka", "--data", "none", "--model", GOOD, "--out", "x"], "found no file"),
        (["compare", "none", "none"], "finished run"),
        (["report", "none", "--out", "x"], "found none"),
    ],
)  # fmt: skip
def test_misuse_is_one_line_and_exit_code_2(
    arguments: Sequence[str],
    why: str,
    mmau: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(mmau.parent)
    assert evaluate(*("mmau" if word == "MMAU" else word for word in arguments)) == 2
    errors = capsys.readouterr().err
    assert re.search(why, errors)
    assert "Traceback" not in errors


def test_results_that_are_not_there(tmp_path: Path, mmau: Path) -> None:
    with pytest.raises(EvaluationError, match="finished run"):
        parts_of(tmp_path)
    with pytest.raises(EvaluationError, match="found none"):
        write_report([tmp_path], tmp_path)
    run(mmau, tmp_path / "out", GOOD)
    (part,) = parts_of(tmp_path / "out")
    with pytest.raises(EvaluationError, match="expected verdicts"):
        part.results("judge")
    assert score_run(tmp_path / "out") == read_summary(tmp_path / "out")


def test_a_manifest_of_ones_own_has_speech_and_questions(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "z.wav", np.zeros(1_600), 16_000)
    clip: dict[str, Any] = {"id": "z", "path": "z.wav", "duration_seconds": 0.1, "language": "en"}
    clip |= {"transcript": "zero", "speaker": {"gender": "male"}}
    (tmp_path / "manifest.jsonl").write_text(json.dumps(clip) + "\n")
    out = tmp_path / "out"
    code = evaluate("run", "manifest", "--data", tmp_path, "--model", WEAK, "--out", out)
    assert code == 0
    parts = {part["name"]: part for part in read_summary(out)["parts"]}
    assert set(parts) == {"eureka_questions", "eureka_speech"}
    (block,) = re.findall(r'id="data">(.*?)</script>', (out / "report.html").read_text())
    (shown,) = json.loads(block)["runs"]
    (questions,) = [part for part in shown["parts"] if part["unit"] == "questions"]
    members = {
        (group["name"], member["name"]): member["example"]
        for group in questions["rules"][0]["groups"]
        for member in group["members"]
    }
    # The name of a skill says little to a newcomer; the question says it all.
    assert members["skill", "gender"] == "is the speaker male or female?"
    assert members["dataset", "synthetic"] == ""
    assert parts["eureka_speech"]["rules"]["whisper"]["value"] == 1.0


class Chooser(Pupil):
    """Finds the first option most probable."""

    def choose(
        self, conversations: Sequence[Conversation], choices: Sequence[Sequence[str]]
    ) -> list[Reply | EurekaAudioError]:
        return [Reply(offer[0], scores={offer[0]: 0.75, offer[1]: 0.25}) for offer in choices]


def chooser() -> Chooser:
    return Chooser()


def test_chosen_answers_are_marked_wherever_they_are_shown(
    mmau: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(mmau, out, f"{__name__}:chooser", "--choose") == 0
    assert "most probable option" in capsys.readouterr().out
    (part,) = read_summary(out)["parts"]
    official = part["rules"]["official"]
    assert (official["value"], official["chosen"]) == (0.0, 4)
    assert any("not comparable with" in note for note in official["notes"])
    assert "most probable" in (out / "report.md").read_text()
    page_text = (out / "report.html").read_text()
    assert '"chosen": 4' in page_text
    assert '"scores": {"man": 0.75, "woman": 0.25}' in page_text
    assert run(mmau, tmp_path / "free", GOOD, "--choose") == 2
    assert "a method choose" in capsys.readouterr().err
