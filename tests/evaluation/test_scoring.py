"""From a file of predictions to results whose books balance."""

import json
import random
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from eureka_audio.errors import EvaluationError
from eureka_audio.evaluation.benchmarks import BENCHMARKS, benchmark_named
from eureka_audio.evaluation.scoring import score_file

MMAU = {"choices": ["Man", "Woman"], "answer": "Woman", "task": "sound"}


def score(
    folder: Path, bench: str, rule: str, rows: list[Any], **options: Any
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    source, out = folder / "predictions.jsonl", folder / "results.jsonl"
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    source.write_text("\n".join(lines) + "\n", encoding="utf-8")
    summary = score_file(benchmark_named(bench), source, rule, out, **options)
    results = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert summary["items"] == summary["scored"] + summary["missing"] + summary["failed"]
    assert summary["items"] == len(results)
    assert summary["skipped"] == summary["missing"] + summary["failed"]
    for kind in ("missing", "failed", "unparseable"):
        assert sum(summary["reasons"][kind].values()) == summary[kind]
    return summary, results


def test_every_row_that_goes_in_comes_out(tmp_path: Path) -> None:
    rows: list[Any] = [
        {"uid": "right", "prediction": "Woman", **MMAU},
        {"uid": "wrong", "prediction": "Man", **MMAU},
        {"uid": "empty", "prediction": "", **MMAU},
        {"uid": "null", "prediction": None, **MMAU},
        {"uid": "absent", **MMAU},
        {"uid": "number", "prediction": 3, **MMAU},
        {"uid": "no choices", "prediction": "Man", "answer": "Man"},
        {"uid": "no answer", "prediction": "Man", "choices": ["Man", "Woman"]},
        {"uid": "odd choices", "prediction": "Man", "choices": ["Man", 2], "answer": "Man"},
        {"uid": "odd answer", "prediction": "Man", "choices": ["Man"], "answer": 5},
        {"prediction": "Man", **MMAU},
        "{broken",
        "[1, 2]",
        "",
    ]
    summary, results = score(tmp_path, "mmau", "official", rows)
    assert [r["uid"] for r in results][:10] == [r["uid"] for r in rows[:10]]
    assert [r["correct"] for r in results[:4]] == [True, False, False, None]
    assert (summary["scored"], summary["missing"], summary["failed"]) == (3, 2, 8)
    assert summary["reasons"]["missing"] == {"no prediction": 2}
    assert set(summary["reasons"]["failed"]) == {
        "prediction is not a string",
        "choices is not a list",
        "choices are not strings",
        "no answer",
        "answer is not a string",
        "no uid",
        "not JSON",
        "not an object",
    }
    assert summary["value"] == pytest.approx(1 / 3)
    assert summary["details"]["over_all_items"] == 1 / 13
    assert summary["groups"]["task"]["sound"] == {"value": pytest.approx(1 / 3), "denominator": 3}
    assert not summary["valid"]
    assert any("public set has 1,000" in note for note in summary["notes"])
    for result in results:
        assert (result["status"] == "scored") == ("reason" not in result)


def test_official_key_names_of_predictions_are_understood(tmp_path: Path) -> None:
    rows = [
        {"id": "a", "model_output": "Woman", **MMAU},
        {"id": "b", "answer_prediction": "Man", **MMAU},
    ]
    _, results = score(tmp_path, "mmar", "official", rows)
    assert [(r["uid"], r["correct"]) for r in results] == [("a", True), ("b", False)]


def test_letters_are_mapped_only_under_the_rule_that_says_so(tmp_path: Path) -> None:
    rows = [{"uid": 1, "prediction": "B", **MMAU}]
    assert score(tmp_path, "caption", "official", rows)[0]["value"] == 0
    summary, _ = score(tmp_path, "caption", "letter_mapped", rows)
    assert summary["value"] == 1
    assert "1 replies stated a letter" in summary["notes"][-1]


def test_a_reader_may_think_aloud_in_dense_captioning_only(tmp_path: Path) -> None:
    rows = [{"uid": 1, "prediction": "<think>Man?</think>Woman", **MMAU}]
    assert score(tmp_path, "caption", "official", rows)[0]["value"] == 1
    assert score(tmp_path, "mmau", "official", rows)[0]["value"] == 0


def test_judge_reads_recorded_replies_or_asks(tmp_path: Path) -> None:
    row = {"prediction": "a lady", "question": "Who?", **MMAU}
    rows = [
        {"uid": 1, "judge_reply": "Result: yes", **row},
        {"uid": 2, "judge_result": "same\nno", **row},
        {"uid": 3, "judge_reply": "hm", **row},
        {"uid": 4, **row},
    ]
    summary, results = score(tmp_path, "mmau", "judge", rows)
    assert [r["correct"] for r in results] == [True, False, None, None]
    assert (summary["scored"], summary["failed"], summary["unparseable"]) == (2, 2, 1)
    assert summary["value"] == 0.5
    asked: list[str] = []
    summary, results = score(
        tmp_path, "mmau", "judge", rows, judge=lambda prompt: asked.append(prompt) or "yes"
    )
    assert len(asked) == 1
    assert results[3]["judge_reply"] == "yes"


def test_transcripts(tmp_path: Path) -> None:
    rows = [
        {"uid": 1, "prediction": "mister smith", "reference": "Mr. Smith", "subset": "clean"},
        {"uid": 2, "prediction": "ha", "reference": "(laughs)", "subset": "other"},
        {"uid": 3, "prediction": "null", "reference": "hello"},
        {"uid": 4, "prediction": None, "reference": "hello"},
        {"uid": 5, "prediction": "hello"},
        {"uid": 6, "prediction": "\ud800", "reference": "x"},
    ]
    summary, results = score(tmp_path, "asr_en", "kimi", rows)
    assert [(r["edits"], r["ref_len"]) for r in results[:2]] == [(0, 2), (1, 0)]
    assert [r["status"] for r in results[2:]] == ["missing", "missing", "failed", "scored"]
    assert summary["details"]["empty_references"] == 1
    assert summary["groups"]["subset"]["other"] == {"value": None, "denominator": 0}
    assert score(tmp_path, "asr_en", "whisper", rows)[1][2]["status"] == "scored"


def test_a_rate_without_reference_tokens_is_undefined_not_zero(tmp_path: Path) -> None:
    summary, _ = score(
        tmp_path, "asr_en", "kimi", [{"uid": 1, "prediction": "a", "reference": "()"}]
    )
    assert summary["value"] is None
    assert summary["percent"] is None
    assert any("undefined" in note for note in summary["notes"])


def test_dice_are_thrown_in_file_order_and_told(tmp_path: Path) -> None:
    rows = [{"uid": i, "prediction": "who knows", "answer": "A"} for i in range(50)]
    rows[7]["prediction"] = "B"
    summary, results = score(tmp_path, "mmsu", "voicebench", rows, seed=5)
    dice = random.Random(5)
    drawn = [dice.choice(["A", "B", "C", "D"]) for _ in range(49)]
    assert [r["drawn"] for r in results if "drawn" in r] == drawn
    assert [r["extracted"] for r in results[6:9]] == [None, "B", None]
    assert summary["value"] == drawn.count("A") / 50
    assert summary["details"]["expected_accuracy"] == pytest.approx(49 / 4 / 50)
    assert summary["details"]["fail_rate"] == 0.98
    assert "seed 5" in summary["notes"][-1]
    strict, results = score(tmp_path, "mmsu", "strict", rows)
    assert strict["value"] == 0
    assert not any("drawn" in r for r in results)
    assert strict["unparseable"] == 49


def test_a_letter_is_read_even_without_an_answer(tmp_path: Path) -> None:
    rows = [
        {"uid": 1, "prediction": "(C)"},
        {"uid": 2, "prediction": "C", "answer": "Z"},
        {"uid": 3, "prediction": "C.", "reference": "c"},
    ]
    summary, results = score(tmp_path, "openbookqa", "voicebench", rows)
    assert [(r["status"], r["extracted"], r["correct"]) for r in results] == [
        ("scored", "C", None),
        ("failed", None, None),
        ("scored", "C", True),
    ]
    assert summary["value"] == 1
    assert any("hold no answer" in note for note in summary["notes"])


def test_refusals(tmp_path: Path) -> None:
    rows = [{"uid": 1, "prediction": "SORRY"}, {"uid": 2, "prediction": " "}, {"uid": 3}]
    assert score(tmp_path, "advbench", "voicebench", rows)[0]["value"] == 1
    _, results = score(tmp_path, "advbench", "case_sensitive", rows)
    assert [r["refused"] for r in results] == [False, True, None]


def test_instructions(tmp_path: Path) -> None:
    two = {
        "instruction_id_list": ["punctuation:no_comma", "startend:quotation"],
        "kwargs": [{}, {"num_words": None}],
    }
    one = {"instruction_id_list": ["keywords:letter_frequency"], "kwargs": [{"letter": "!"}]}
    rows = [
        {"key": 1, "prediction": '"no"', **two},
        {"key": 2, "prediction": 'Sure:\n"no"', **two},
        {"key": 3, "prediction": None, **two},
        {"key": 4, "prediction": "x", "instruction_id_list": ["nope"], "kwargs": [{}]},
        {"key": 5, "prediction": "x", "instruction_id_list": ["nope"], "kwargs": ["x"]},
    ]
    summary, results = score(tmp_path, "ifeval", "voicebench", rows)
    assert results[0]["strict"] == [True, True]
    assert (results[1]["strict"], results[1]["loose"]) == ([True, False], [True, True])
    rates = [0.5, 0.75, 1.0, 1.0]
    names = ("strict_prompt", "strict_instruction", "loose_prompt", "loose_instruction")
    assert [summary["details"][name] for name in names] == rates
    assert summary["value"] == sum(rates) / 4
    assert (summary["missing"], summary["failed"]) == (1, 2)
    again = [{"key": 9, "prediction": "x", **one}]
    summary, results = score(tmp_path, "ifeval", "voicebench", again)
    assert set(results[0]["invented"]) > {"keywords:letter_frequency/letter"}
    assert "random value was drawn (seed 0)" in summary["notes"][-1]
    assert score(tmp_path, "ifeval", "voicebench", [])[0]["value"] is None


def test_scoring_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    rows = [{"uid": i, "prediction": "?", "answer": "A"} for i in range(20)]
    first = score(tmp_path, "mmsu", "voicebench", rows)[0]
    written = (tmp_path / "results.jsonl").read_bytes()
    assert score(tmp_path, "mmsu", "voicebench", rows)[0] == first
    assert (tmp_path / "results.jsonl").read_bytes() == written


def test_a_wrong_rule_or_file_leaves_no_results(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with pytest.raises(EvaluationError, match="one of official, letter_mapped, judge"):
        score_file(BENCHMARKS["mmau"], tmp_path / "x", "kimi", out)
    with pytest.raises(EvaluationError, match="found none at"):
        score_file(BENCHMARKS["mmau"], tmp_path / "x", "official", out)
    assert not list(tmp_path.iterdir())


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    sizes, peaks = [], []
    for num_rows in (200, 4_000):
        source = tmp_path / "p.jsonl"
        with source.open("w") as file:
            for i in range(num_rows):
                file.write(
                    json.dumps({"uid": i, "prediction": "a b c", "reference": "a x c"}) + "\n"
                )
        sizes.append(source.stat().st_size)
        score_file(BENCHMARKS["asr_en"], source, "kimi", tmp_path / "r.jsonl")
        tracemalloc.start()
        score_file(BENCHMARKS["asr_en"], source, "kimi", tmp_path / "r.jsonl")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert (
        peaks[1] - peaks[0] < (sizes[1] - sizes[0]) / 4
    )  # caches may grow a little; rows that are kept grow more
