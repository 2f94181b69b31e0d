"""The floors hold, and the tool that watches them is seen to fire."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def lint_imports(repository: Path, sources: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter with this repository's contracts over the package in `sources`."""
    program = Path(sys.executable).with_name("lint-imports")
    return subprocess.run(
        [str(program), "--config", str(repository / "pyproject.toml"), "--no-cache"],
        cwd=sources,
        env={**os.environ, "PYTHONPATH": str(sources), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture
def copied(repository: Path, tmp_path: Path) -> Path:
    """A folder with a copy of the package's modules, to break."""
    shutil.copytree(
        repository / "src" / "eureka_audio",
        tmp_path / "eureka_audio",
        ignore=shutil.ignore_patterns("weights", "__pycache__"),
    )
    return tmp_path


def test_the_floors_hold(repository: Path, copied: Path) -> None:
    done = lint_imports(repository, copied)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("module", "statement", "contract"),
    [
        ("audio/clock.py", "import eureka_audio.inference", "Stairs go down"),
        ("errors.py", "import eureka_audio.config", "Stairs go down"),
        ("text/chat.py", "def f():\n    import eureka_audio.audio.clock", "Stairs go down"),
        ("evaluation/metrics.py", "import torch", "A data machine needs no torch"),
    ],
    ids=["upwards", "from the ground floor", "sideways, inside a function", "torch"],
)
def test_a_violation_is_seen(
    repository: Path, copied: Path, module: str, statement: str, contract: str
) -> None:
    with (copied / "eureka_audio" / module).open("a") as file:
        file.write(f"\n{statement}\n")
    done = lint_imports(repository, copied)
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"{contract} BROKEN" in done.stdout


def test_a_room_without_a_floor_is_seen(repository: Path, copied: Path) -> None:
    (copied / "eureka_audio" / "utils.py").write_text('"""Homeless."""\n')
    done = lint_imports(repository, copied)
    assert done.returncode == 1
    assert "utils" in done.stdout
