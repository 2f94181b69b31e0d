"""Benchmarks as values, and their public metadata files."""

import json
import os
from pathlib import Path

import pytest

from eureka_audio.errors import EvaluationError
from eureka_audio.evaluation.benchmarks import BENCHMARKS, benchmark_named
from eureka_audio.evaluation.items import is_known_version, read_items
from eureka_audio.evaluation.scorers import make_scorer


def test_every_rule_of_every_benchmark_has_a_scorer() -> None:
    for benchmark in BENCHMARKS.values():
        for rule in benchmark.rules:
            assert make_scorer(benchmark, rule).blank


def test_names_of_the_command_line() -> None:
    asked = {"mmau", "mmar", "mmsu", "openbookqa", "advbench", "ifeval", "asr_en", "asr_zh"}
    assert asked | {"caption"} < set(BENCHMARKS)
    assert benchmark_named("WenetSpeech-Net").num_items == 24_774
    assert benchmark_named("fleurs_de").language == "de"
    assert benchmark_named("asr_fr").rules == ("whisper", "qwen2_audio", "wenet")
    with pytest.raises(EvaluationError, match="did you mean mmau"):
        benchmark_named("mmauu")
    with pytest.raises(EvaluationError, match="known: asr_en"):
        benchmark_named("zzzzzzzzzz")


def test_metadata_in_the_wrong_layout_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "meta.json"
    with pytest.raises(EvaluationError, match="found no file"):
        list(read_items(BENCHMARKS["mmau"], path))
    path.write_text('[{"name": "x"}]')
    with pytest.raises(EvaluationError, match="expected the layout"):
        list(read_items(BENCHMARKS["mmau"], path))
    with pytest.raises(EvaluationError, match="expected a benchmark with a metadata file"):
        list(read_items(BENCHMARKS["mmsu"], path))
    assert not is_known_version(BENCHMARKS["mmau"], path)


def test_items_are_prediction_rows_without_a_prediction(tmp_path: Path) -> None:
    path = tmp_path / "meta.jsonl"
    row = {"id": "a", "audio_path": "a.wav", "question": "?", "choices": ["x"], "answer": "x"}
    path.write_text(json.dumps(row) + "\n\n")
    (item,) = read_items(BENCHMARKS["mmar"], path)
    assert item == {"uid": "a", "audio": "a.wav", "question": "?", "choices": ["x"], "answer": "x"}
    path.write_text("goal,target\nDo x,Sure\n")
    assert list(read_items(BENCHMARKS["advbench"], path)) == [
        {"uid": "advbench-0", "prompt": "Do x"}
    ]


@pytest.mark.shared_data
@pytest.mark.skipif("EUREKA_AUDIO_DATA" not in os.environ, reason="EUREKA_AUDIO_DATA is not set")
@pytest.mark.parametrize(
    ("name", "file", "num_items"),
    [
        ("mmau", "mmau-test-mini.json", 1_000),
        ("mmar", "MMAR-meta.jsonl", 1_000),
        ("ifeval", "ifeval_input_data.jsonl", 541),
        ("advbench", "advbench_harmful_behaviors.csv", 520),
    ],
)
def test_public_metadata(name: str, file: str, num_items: int) -> None:
    path = Path(os.environ["EUREKA_AUDIO_DATA"]) / "benchmark_meta" / file
    items = list(read_items(BENCHMARKS[name], path))
    assert len({item["uid"] for item in items}) == num_items
    assert is_known_version(BENCHMARKS[name], path)
