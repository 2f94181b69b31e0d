"""transcribe, ask and caption as a new user would try them, with everything that can be wrong."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from eureka_audio.cli import arguments
from eureka_audio.cli.main import COMMANDS, main
from tiny import noise_samples

QUESTION = ["--question", "what?"]


@pytest.mark.parametrize("command", [["transcribe"], ["caption"], ["ask", *QUESTION]])
def test_json_gives_one_object_for_each_input_in_order(command, model, clips, capsys) -> None:
    assert main([*command, *clips, "--model", model, "--json"]) == 0
    captured = capsys.readouterr()
    objects = [json.loads(line) for line in captured.out.splitlines()]
    assert [item["path"] for item in objects] == clips
    assert [item["duration_seconds"] for item in objects] == [1.0, 2.0]
    assert [item["num_audio_tokens"] for item in objects] == [13, 25]
    assert all({"text", "num_new_tokens", "finish_reason"} <= item.keys() for item in objects)
    assert captured.err == ""


def test_choices_come_with_their_scores(model, clips, capsys) -> None:
    choices = ["--choice", "a dog", "--choice", "a cat"]
    assert main(["ask", clips[0], *QUESTION, *choices, "--model", model, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["text"] in answer["scores"]
    assert set(answer["scores"]) == {"a dog", "a cat"}
    assert main(["ask", clips[0], *QUESTION, *choices, "--model", model]) == 0
    assert capsys.readouterr().out.strip() == answer["text"]


def test_one_file_prints_its_text_and_several_their_names(model, clips, capsys) -> None:
    words = ["--language", "English", "--num-beams", "2"]
    assert main(["transcribe", *clips, "--model", model, *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in lines] == clips


def test_a_long_list_is_answered_in_groups(model, clips, capsys, monkeypatch) -> None:
    monkeypatch.setattr(arguments, "GROUP_FILES", 2)
    assert main(["transcribe", *(clips * 2), clips[0], "--model", model, "--json"]) == 0
    objects = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [item["path"] for item in objects] == [*(clips * 2), clips[0]]


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("command", [["transcribe"], ["transcribe", "--json"]])
def test_a_name_that_no_terminal_can_show_loses_nothing(
    command: list[str], encoding: str, model, clips, tmp_path: Path, monkeypatch
) -> None:
    odd = tmp_path / os.fsdecode(b"caf\xe9.wav")  # as Latin-1 wrote it
    odd.write_bytes(Path(clips[0]).read_bytes())
    accented = tmp_path / "é.wav"
    accented.write_bytes(Path(clips[0]).read_bytes())
    files = [str(odd), str(accented), clips[1], f"{tmp_path}/gone\udce9.wav"]
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    assert main([*command, *files, "--model", model]) == 1
    sys.stdout.flush()
    lines = written.getvalue().decode(encoding).splitlines()
    if "--json" in command:
        assert [json.loads(line)["path"] for line in lines] == files
    else:
        assert len(lines) == 3
        assert "caf\\udce9.wav: " in lines[0]


def make_bad(kind: str, folder: Path) -> str:
    """An input that cannot be heard; returns its path."""
    path = folder / f"{kind}.wav"
    tone = noise_samples(1.0)
    if kind == "folder":
        path.mkdir()
    elif kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("I am no sound at all.\n" * 50)
    elif kind == "truncated":
        path = folder / "truncated.flac"
        soundfile.write(path, noise_samples(5.0), 16_000)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif kind == "short":
        soundfile.write(path, tone[:800], 16_000)
    elif kind == "nan":
        tone[700] = np.nan
        soundfile.write(path, tone, 16_000, subtype="FLOAT")
    elif kind == "fast":
        soundfile.write(path, tone, 384_000)
    return str(path)


def test_an_empty_name_is_one_line(model, clips, capsys) -> None:
    assert main(["transcribe", "", clips[0], "--model", model]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert "expected the path of a file, got an empty one" in line


BAD = {
    "gone": "AudioNotFoundError",
    "folder": "AudioNotFoundError",
    "empty": "EmptyAudioError",
    "text": "AudioFormatError",
    "truncated": "AudioFormatError",
    "short": "EmptyAudioError",
    "nan": "InvalidSamplesError",
    "fast": "AudioLimitError",
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_input_is_one_line_and_the_others_are_answered(
    kind: str, model, clips, tmp_path: Path, capsys
) -> None:
    bad = make_bad(kind, tmp_path)
    assert main(["transcribe", clips[0], bad, clips[1], "--model", model, "--json"]) == 1
    captured = capsys.readouterr()
    first, second, third = (json.loads(line) for line in captured.out.splitlines())
    assert second["path"] == bad
    assert set(second) == {"path", "error"}
    assert second["error"]["type"] == BAD[kind]
    assert Path(bad).name in second["error"]["message"]
    assert "text" in first
    assert "text" in third

    assert main(["caption", clips[0], bad, "--model", model]) == 1
    captured = capsys.readouterr()
    assert captured.out.startswith(clips[0])
    [line] = captured.err.splitlines()
    assert line.startswith("error: ")
    assert Path(bad).name in line


def test_eight_channels_and_a_high_rate_are_heard(model, tmp_path: Path, capsys) -> None:
    wide, fast = tmp_path / "wide.wav", tmp_path / "fast.wav"
    soundfile.write(wide, np.tile(noise_samples(1.0)[:, None], 8), 16_000)
    soundfile.write(fast, noise_samples(12.0), 192_000)
    assert main(["transcribe", str(wide), str(fast), "--model", model, "--json"]) == 0
    objects = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [item["duration_seconds"] for item in objects] == [1.0, 1.0]


def test_half_an_hour_of_silence_is_not_heard(model, tmp_path: Path, capsys, monkeypatch) -> None:
    def hear(*_: object) -> None:
        raise AssertionError("features were computed")

    monkeypatch.setattr("eureka_audio.processor.log_mel_spectrogram", hear)
    path = tmp_path / "silence.flac"
    soundfile.write(path, np.zeros(1800 * 8_000, np.int16), 8_000)
    assert main(["transcribe", str(path), "--model", model, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["text"], answer["duration_seconds"]) == ("", 1800.0)
    assert main(["caption", str(path), "--model", model]) == 1
    assert "got 22,500 of audio" in capsys.readouterr().err


def test_a_special_token_in_a_question_is_harmless(model, clips, capsys) -> None:
    question = "is it <|im_end|> or <|audio_pad|>?"
    assert main(["ask", clips[0], "--question", question, "--model", model, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["num_audio_tokens"] == 13


@pytest.mark.parametrize("name", ["no/such/folder", "gone", "."])
def test_a_missing_model_is_one_line(name: str, clips, capsys, monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["transcribe", *clips, "--model", name, "--json"]) == 1
    captured = capsys.readouterr()
    assert len(captured.err.splitlines()) == 1
    objects = [json.loads(line) for line in captured.out.splitlines()]
    assert [item["path"] for item in objects] == clips
    assert {item["error"]["type"] for item in objects} == {"CheckpointError"}


def test_a_damaged_model_is_one_line(model, clips, capsys, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for file in Path(model).iterdir():
        (damaged / file.name).write_bytes(file.read_bytes())
    [weights] = damaged.glob("*.safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 4
    weights.write_bytes(content)
    assert main(["transcribe", clips[0], "--model", str(damaged)]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert weights.name in line


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["sing"],
        ["transcribe"],
        ["ask", "a.wav"],
        ["ask", "a.wav", "--question", " "],
        ["ask", "a.wav", *QUESTION, "--choice", "a"],
        ["ask", "a.wav", *QUESTION, "--choice", "a", "--choice", "a"],
        ["ask", "a.wav", *QUESTION, "--choice", "a", "--choice", " "],
        ["ask", "a.wav", *QUESTION, "--choice", "a", "--choice", "b\udcff"],
        ["ask", "a.wav", "--question", "what\udcff?"],
        ["transcribe", "a.wav", "--language", " "],
        ["transcribe", "a.wav", "--language", "\udcff"],
        ["transcribe", "a.wav", "--device", "meta"],
        ["transcribe", "a.wav", "--device", "privateuseone"],
        ["transcribe", "a.wav", "--num-beams", "0"],
        ["transcribe", "a.wav", "--num-beams", "two"],
        ["transcribe", "a.wav", "--colour"],
        ["transcribe", "a.wav", "--device", "abacus"],
    ],
)
def test_a_wrong_command_line_is_2(words: list[str], capsys) -> None:
    try:
        code = main(words)
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    assert "error:" in captured.err.splitlines()[-1]


def test_a_fault_of_ours_is_one_line_too(model, clips, capsys, monkeypatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("first\nsecond")

    monkeypatch.setattr("eureka_audio.inference.assistant.EurekaAudio.transcribe", fail)
    monkeypatch.delenv("EUREKA_AUDIO_DEBUG", raising=False)
    assert main(["transcribe", clips[0], "--model", model]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert "unexpected ZeroDivisionError: first second" in line
    monkeypatch.setenv("EUREKA_AUDIO_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        main(["transcribe", clips[0], "--model", model])


def test_a_full_disk_is_one_line_and_no_bug_of_ours(model, clips, capsys, monkeypatch) -> None:
    def fill(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("eureka_audio.inference.assistant.EurekaAudio.transcribe", fill)
    monkeypatch.delenv("EUREKA_AUDIO_DEBUG", raising=False)
    assert main(["transcribe", clips[0], "--model", model]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert "No space left on device" in line
    assert "bug" not in line
    monkeypatch.setenv("EUREKA_AUDIO_DEBUG", "1")
    with pytest.raises(OSError, match="No space left"):
        main(["transcribe", clips[0], "--model", model])


def test_an_interruption_is_130(model, clips, capsys, monkeypatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("eureka_audio.inference.assistant.EurekaAudio.transcribe", interrupt)
    assert main(["transcribe", clips[0], "--model", model]) == 130
    assert capsys.readouterr().err == "error: interrupted\n"


def test_a_reader_that_has_seen_enough(model, clips) -> None:
    command = f"'{sys.executable}' -m eureka_audio.cli.main transcribe"
    script = f"{command} {' '.join(clips * 3)} --model {model} --json | true"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {script}"], capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert f"eureka-audio {command}" in capsys.readouterr().out.replace("usage: pytest", "")


def test_help_lists_every_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "eureka_audio.cli.main", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert all(f"    {command}" in done.stdout for command in COMMANDS)
