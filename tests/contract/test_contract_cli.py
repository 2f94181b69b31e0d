"""The command line: every command explains itself, and misuse ends with exit code 2."""

import re
from pathlib import Path

import pytest

from eureka_audio.cli.main import main

PROMISED = {"transcribe", "ask", "caption", "train", "synthesize", "evaluate"}


def output_of(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[object, str, str]:
    """Exit code, standard output and standard error of one call."""
    code: object
    try:
        code = main(list(arguments))
    except SystemExit as stop:
        code = stop.code
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def commands(capsys: pytest.CaptureFixture[str]) -> set[str]:
    """The commands that the help page lists."""
    _, page, _ = output_of("--help", capsys=capsys)
    return set(re.findall(r"^ {4}([a-z][a-z-]+)(?: {2,}|$)", page, flags=re.MULTILINE))


def test_the_promised_commands_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert commands(capsys) >= PROMISED


def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    for command in sorted(commands(capsys)):
        code, page, _ = output_of(command, "--help", capsys=capsys)
        assert code == 0, command
        assert page.startswith("usage:"), command
        options = re.findall(r"^  (?:-\w, )?(--[a-z-]+)(.*)$", page, flags=re.MULTILINE)
        assert options, command


@pytest.mark.parametrize(
    "arguments",
    [[], ["nonsense"], ["transcribe"], ["transcribe", "a.wav", "--nonsense"], ["train"]],
    ids=["nothing", "no such command", "no input", "no such option", "no recipe"],
)
def test_misuse_ends_with_two(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code, _, errors = output_of(*arguments, capsys=capsys)
    assert code == 2
    assert errors.strip()
    assert "Traceback" not in errors


def test_a_missing_recipe_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, errors = output_of(
        "train", str(tmp_path / "none.yaml"), "--recordings", str(tmp_path), capsys=capsys
    )
    assert code == 2
    assert "none.yaml" in errors
    assert len(errors.strip().splitlines()) == 1
