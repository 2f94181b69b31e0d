"""The command: exit codes, what is printed, what is left behind."""

import json
from pathlib import Path

import pytest

from eureka_audio.cli.main import main


def run(*arguments: str) -> int:
    return main(["evaluate", "score", *arguments])


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    path = tmp_path / "p.jsonl"
    rows = [
        {"uid": "a", "prediction": "Woman", "choices": ["Man", "Woman"], "answer": "Woman"},
        {"uid": "b", "prediction": None, "choices": ["Man", "Woman"], "answer": "Man", "task": "x"},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_good_rows_and_missing_ones_exit_0(
    predictions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = predictions.with_name("r.jsonl")
    assert run("mmau", str(predictions), "--rule", "official", "--out", str(out), "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["items"], summary["scored"], summary["missing"]) == (2, 1, 1)
    assert len(out.read_text().splitlines()) == 2


def test_the_table_tells_the_rule_the_score_and_the_reasons(
    predictions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("mmau", str(predictions), "--rule", "official", "--out", str(predictions) + ".out")
    printed = capsys.readouterr().out
    for part in ("rule official: accuracy 100.00 %", "missing 1", "1 x no prediction", "note:"):
        assert part in printed


def test_a_failed_row_exits_1(predictions: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with predictions.open("a") as stream:
        stream.write("not json\n")
    assert run("mmau", str(predictions), "--rule", "official", "--out", "/dev/null/x") == 1
    out = predictions.with_name("r.jsonl")
    assert run("mmau", str(predictions), "--rule", "official", "--out", str(out)) == 1


def test_an_undefined_score_exits_1(tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    assert run("asr_en", str(empty), "--rule", "kimi", "--out", str(tmp_path / "r.jsonl")) == 1


@pytest.mark.parametrize(
    ("bench", "rule", "message"),
    [
        ("mmua", "official", "did you mean"),
        ("mmau", "kimi", "one of official, letter_mapped, judge"),
        ("asr_zh", "whisper", "one of kimi, qwen2_audio, wenet"),
    ],
)
def test_usage_errors_exit_2_in_one_line(
    predictions: Path, capsys: pytest.CaptureFixture[str], bench: str, rule: str, message: str
) -> None:
    assert run(bench, str(predictions), "--rule", rule, "--out", str(predictions) + ".out") == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1


def test_a_rule_must_be_named(predictions: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        run("mmau", str(predictions), "--out", "x")
    assert caught.value.code == 2


def test_help_lists_every_benchmark_with_its_rules(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("--help")
    assert "openbookqa           voicebench, strict" in capsys.readouterr().out
