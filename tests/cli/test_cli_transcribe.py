"""transcribe's formats, stdin, names that would steer a terminal, arguments after options."""

import argparse
import io
import json
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from eureka_audio.cli.main import _Parser, main
from eureka_audio.cli.outcome import one_line, print_json, print_text, printable
from eureka_audio.inference.assistant import EurekaAudio
from eureka_audio.model.integrity import CHECKSUMS_NAME
from eureka_audio.model.weights import save_checkpoint
from eureka_audio.text.letters import CTC_VOCAB_SIZE
from tiny import tiny_model, tiny_processor


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A checkpoint that can tell when words are said."""
    folder = tmp_path_factory.mktemp("model") / "tiny"
    spelling = tiny_model()
    torch.manual_seed(0)
    spelling.add_ctc_head(nn.Linear(16, CTC_VOCAB_SIZE))
    save_checkpoint(spelling, folder, tiny_processor())
    return str(folder)


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_json_with_timestamps_tells_when_each_word_is_said(model, clips, capsys) -> None:
    command = ["transcribe", *clips, "--model", model]
    assert main([*command, "--timestamps", "word", "--format", "json"]) == 0
    for path, line in zip(clips, lines_of(capsys), strict=True):
        found = json.loads(line)
        assert found["path"] == path
        assert " ".join(word["word"] for word in found["words"]) == found["text"]
        assert {"segments", "warnings", "language", "duration_seconds"} <= found.keys()
    assert main([*command, "--timestamps", "segment"]) == 0
    assert all(line.startswith((f"{clips[0]}: [", f"{clips[1]}: [")) for line in lines_of(capsys))


@pytest.mark.parametrize("kind", ["srt", "vtt"])
def test_subtitles_are_printed_for_one_file_and_written_for_several(
    kind: str, model, clips, tmp_path: Path, capsys
) -> None:
    assert main(["transcribe", clips[0], "--model", model, "--format", kind]) == 0
    printed = capsys.readouterr().out
    assert "-->" in printed
    out = ["--out", str(tmp_path / "subtitles")]
    assert main(["transcribe", *clips, "--model", model, "--format", kind, *out]) == 0
    assert (tmp_path / "subtitles" / f"one.{kind}").read_text() == printed
    assert (tmp_path / "subtitles" / f"two.{kind}").exists()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "words",
    [
        ["a.wav", "b.wav", "--format", "srt"],
        ["a.wav", "x/a.flac", "--format", "srt", "--out", "o"],
        ["a.wav", "--json", "--format", "srt"],
        ["a.wav", "--format", "pdf"],
        ["a.wav", "--language", "Klingon"],
        ["a.wav", "--num-beams", "100000"],
        ["a.wav", "--dtype", "int3"],
        ["a.wav", "--dtype", "int8", "--server", "http://127.0.0.1:1"],
        ["-", "-"],
    ],
)
def test_what_does_not_go_together_is_a_usage_error(words, model, capsys) -> None:
    try:
        code = main(["transcribe", *words, "--model", model])
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    assert "error:" in capsys.readouterr().err.splitlines()[-1]


def test_times_of_words_need_a_model_that_can_tell(clips, tmp_path: Path, capsys) -> None:
    save_checkpoint(tiny_model(), tmp_path / "tiny", tiny_processor())
    words = ["transcribe", clips[0], "--model", str(tmp_path / "tiny")]
    assert main([*words, "--timestamps", "word"]) == 2
    assert "CTC head" in capsys.readouterr().err
    assert main([*words, "--timestamps", "segment", "--json"]) == 0


def test_a_recording_may_come_from_stdin(model, clips, capsys, monkeypatch) -> None:
    assert main(["transcribe", clips[0], "--model", model]) == 0
    expected = capsys.readouterr().out
    content = io.BytesIO(Path(clips[0]).read_bytes())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(content))
    assert main(["transcribe", "-", "--model", model]) == 0
    assert capsys.readouterr().out == expected


@pytest.mark.parametrize("dtype", ["float32", "int8", "int4"])
def test_weights_may_be_kept_in_fewer_bits(dtype: str, model, clips, capsys, monkeypatch) -> None:
    chosen = []
    load = EurekaAudio.from_pretrained
    monkeypatch.setattr(
        EurekaAudio,
        "from_pretrained",
        lambda *args, **settings: chosen.append(settings["dtype"]) or load(*args, **settings),
    )
    assert main(["transcribe", clips[0], "--model", model, "--dtype", dtype]) == 0
    assert chosen == [dtype]


def test_a_checkpoint_without_checksums_is_loaded_only_when_told_to(
    clips, tmp_path: Path, capsys
) -> None:
    save_checkpoint(tiny_model(), tmp_path / "tiny", tiny_processor())
    (tmp_path / "tiny" / CHECKSUMS_NAME).unlink()
    words = ["transcribe", clips[0], "--model", str(tmp_path / "tiny")]
    assert main(words) == 1
    assert "--allow-unverified" in capsys.readouterr().err
    assert main([*words, "--allow-unverified"]) == 0


STEERING = "\x1b[31mred\nline\r\x9b2J\u202e"


@pytest.mark.parametrize("command", [["transcribe"], ["transcribe", "--json"]])
def test_no_name_steers_the_terminal(command, model, clips, tmp_path: Path, capsys) -> None:
    odd = tmp_path / f"{STEERING}.wav"
    odd.write_bytes(Path(clips[0]).read_bytes())
    gone = str(tmp_path / f"gone{STEERING}.wav")
    assert main([*command, str(odd), gone, clips[0], "--model", model]) == 1
    captured = capsys.readouterr()
    for text in (captured.out, captured.err):
        assert text.replace("\n", "").isprintable()
    assert len(captured.out.splitlines()) == (3 if "--json" in command else 2)
    with pytest.raises(SystemExit):
        main(["transcribe", "a.wav", f"--{STEERING}"])
    assert "\x1b" not in capsys.readouterr().err


def test_what_is_printed_is_printable(capsys) -> None:
    print_text("two\nlines \x1b[1m")
    print_json({"a": "é\x7f\x9b"})
    assert capsys.readouterr().out == 'two\nlines \\x1b[1m\n{"a": "\\u00e9\\u007f\\u009b"}\n'
    assert one_line("a\n\x1b b") == "a \\x1b b"
    assert printable("plain é 你") == "plain é 你"


def test_arguments_may_stand_after_options(capsys) -> None:
    parser = _Parser()
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train")
    train.add_argument("recipe")
    train.add_argument("overrides", nargs="*")
    train.add_argument("--out")
    make = commands.add_parser("make")
    make.set_defaults(act="made")
    kinds = make.add_subparsers(dest="kind", required=True)
    kinds.add_parser("speech").add_argument("--num", type=int)

    def parsed(*words: str) -> dict[str, object]:
        return vars(parser.parse_words(words, argparse.Namespace()))

    expected = {"command": "train", "recipe": "r", "overrides": ["a=1", "b=2"], "out": "X"}
    assert parsed("train", "r", "--out", "X", "a=1", "b=2") == expected
    assert parsed("train", "r", "a=1", "--out", "X", "b=2") == expected
    assert parsed("train", "--out", "X", "r", "a=1", "b=2") == expected
    assert parsed("make", "speech", "--num", "3") == {
        "command": "make", "act": "made", "kind": "speech", "num": 3,
    }  # fmt: skip
    for wrong in ([], ["make"], ["train"], ["train", "r", "--no"], ["sing"]):
        with pytest.raises(SystemExit) as stop:
            parsed(*wrong)
        assert stop.value.code == 2
    capsys.readouterr()


def test_transcribe_takes_options_between_its_files(model, clips, capsys) -> None:
    assert main(["transcribe", clips[0], "--model", model, "--json", clips[1]]) == 0
    assert len(lines_of(capsys)) == 2
