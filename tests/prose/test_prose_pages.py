"""The code blocks of README and docs are run, so that they cannot drift.

python     run in the order of the page, each block knowing the names of those before it
bash       run when every line is an `eureka-audio` command
anything   under `<!-- shown, not run: reason -->` is not run; of its `eureka-audio` lines, the
           command and its options must exist
"""

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from eureka_audio.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "examples" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(
    r"(?:<!-- (?P<remark>[^>]*?) -->\n+)?^```(?P<language>\w+)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
NOT_RUN_BY_OTHERS = {"examples/README.md"}  # its commands make the clips: hours of speech


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    page: str
    line: int
    language: str
    remark: str
    code: str

    @property
    def shown_only(self) -> bool:
        """Whether it is not to be run."""
        return self.remark.startswith("shown, not run") or self.page in NOT_RUN_BY_OTHERS

    @property
    def commands(self) -> list[list[str]]:
        """Its shell commands, continued lines joined, comments gone."""
        joined = self.code.replace("\\\n", " ")
        return [
            words for line in joined.splitlines() if (words := shlex.split(line, comments=True))
        ]

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(text: str, page: str) -> list[Block]:
    """The fenced blocks of a page, in order."""
    return [
        Block(
            page,
            text.count("\n", 0, found.start("code")),
            found["language"],
            found["remark"] or "",
            found["code"],
        )
        for found in FENCE.finditer(text)
    ]


BLOCKS = [
    block
    for page in PAGES
    for block in blocks_of(page.read_text(encoding="utf-8"), str(page.relative_to(ROOT)))
]


RUN = [block for block in BLOCKS if not block.shown_only]


@pytest.mark.parametrize("block", [b for b in RUN if b.language == "python"], ids=str)
def test_python_blocks_run(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    earlier = [
        b for b in RUN if b.page == block.page and b.language == "python" and b.line < block.line
    ]
    names: dict[str, Any] = {"__name__": "__main__"}
    for part in [*earlier, block]:
        exec(compile(part.code, str(part), "exec"), names)


@pytest.mark.parametrize("block", [b for b in RUN if b.language == "bash"], ids=str)
def test_bash_blocks_run(block: Block) -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    assert {words[0] for words in block.commands} == {"eureka-audio"}, "mark it: shown, not run"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.code],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(words, id=f"{block}-{words[1]}")
        for block in BLOCKS
        if block.language == "bash"
        for words in block.commands
        if words[0] == "eureka-audio"
    ],
)
def test_the_options_of_commands_exist(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    page = help_page(words[1:2], capsys)
    if "{" in page and len(words) > 2 and re.search(rf"^ {{4}}{words[2]}\b", page, re.MULTILINE):
        page = help_page(words[1:3], capsys)
    for word in words[1:]:
        if word.startswith("--"):
            assert word.partition("=")[0] in page, f"{' '.join(words[:3])} has no {word}"


def help_page(command: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What `eureka-audio COMMAND --help` prints."""
    with pytest.raises(SystemExit) as stopped:
        main([*command, "--help"])
    assert stopped.value.code == 0
    return capsys.readouterr().out


def test_the_readme_has_its_snippets() -> None:
    readme = [block for block in RUN if block.page == "README.md"]
    assert sum(block.language == "python" for block in readme) >= 1
    assert sum(block.language == "bash" for block in readme) >= 1


def test_the_readme_is_read_in_one_go() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_a_decision_takes_five_lines() -> None:
    sections = (ROOT / "docs" / "decisions.md").read_text(encoding="utf-8").split("\n## ")[1:]
    assert len(sections) > 20
    long = [title for title, *lines in map(str.splitlines, sections) if sum(map(bool, lines)) > 5]
    assert long == []


def test_blocks_are_found_with_their_remarks() -> None:
    text = "a\n\n<!-- shown, not run: slow -->\n```bash\nmake test\n```\n\n```python\n1 / 0\n```\n"
    first, second = blocks_of(text, "page.md")
    assert first.shown_only
    assert (first.language, first.commands) == ("bash", [["make", "test"]])
    assert not second.shown_only
    with pytest.raises(ZeroDivisionError):
        exec(second.code)
