"""evaluate throughput: a table, then one line of JSON."""

import json
from pathlib import Path

import pytest
import soundfile

from eureka_audio.cli.main import main
from eureka_audio.clients.scripted import ScriptedModel
from tiny import noise_samples


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    rows = []
    for index in range(5):
        soundfile.write(tmp_path / f"{index}.wav", noise_samples(0.5 + index / 4, index), 16_000)
        rows.append({"id": str(index), "path": f"{index}.wav", "duration_seconds": 0.5 + index / 4})
    path = tmp_path / "manifest.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def throughput(manifest: Path, model: str, *more: str) -> int:
    data = ["--data", str(manifest), "--max-new-tokens", "6"]
    return main(["evaluate", "throughput", "--model", model, *data, *more])


def test_it_prints_a_table_and_one_line_of_json(manifest, model, tmp_path, capsys) -> None:
    out = tmp_path / "figures.json"
    sizes = ["--clips", "4", "--batch-sizes", "1", "3", "--out", str(out)]
    assert throughput(manifest, model, *sizes) == 0
    *shown, last = capsys.readouterr().out.splitlines()
    result = json.loads(last)
    assert len(shown) == 4  # two lines of heads, two batch sizes
    assert [part["batch_size"] for part in result["sweep"]] == [1, 3]
    for part in result["sweep"]:
        assert (part["clips"], part["failed"]) == (4, 0)
        assert 4 <= part["tokens"] <= 24
        assert part["tokens_per_second"] > 0
        assert part["decode_tokens_per_second"] > 0
        assert part["first_token_seconds"]["median"] > 0
        assert part["peak_memory_bytes"] > 2**20
        parts = part["prepare_seconds"] + part["prefill_seconds"] + part["decode_seconds"]
        assert parts == pytest.approx(part["seconds"], abs=1e-3)
    assert (result["timed"], result["hardware"]["device"]) == ("from inside", "cpu")
    assert json.loads(out.read_text()) == result


def test_a_bad_clip_is_counted_and_the_exit_code_says_so(manifest, model, capsys) -> None:
    (manifest.parent / "2.wav").write_bytes(b"no audio")
    assert throughput(manifest, model, "--batch-sizes", "2") == 1
    [part] = json.loads(capsys.readouterr().out.splitlines()[-1])["sweep"]
    assert (part["clips"], part["failed"]) == (4, 1)


def scripted() -> ScriptedModel:
    return ScriptedModel(lambda words: "a dog barks")


def test_another_model_is_timed_from_outside(manifest, monkeypatch, capsys) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    assert throughput(manifest, "test_cli_throughput:scripted", "--batch-sizes", "2") == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["timed"] == "from outside"
    assert result["sweep"][0]["prefill_seconds"] is None
    assert result["sweep"][0]["peak_memory_bytes"] is None


@pytest.mark.parametrize("wrong", [["--clips", "0"], ["--batch-sizes", "4", "0"]])
def test_what_cannot_be_measured_is_a_usage_error(manifest, model, wrong, capsys) -> None:
    assert throughput(manifest, model, *wrong) == 2
    assert "at least 1" in capsys.readouterr().err


def test_a_split_without_clips_is_a_usage_error(manifest, model, capsys) -> None:
    assert throughput(manifest, model, "--split", "dev") == 2
    assert "expected clips" in capsys.readouterr().err
