"""The house around the code: what the papers say is there, is there."""

import json
import os
import re
import runpy
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "examples" / "README.md"]
PAGES += sorted((ROOT / "docs").glob("*.md"))
CODE_BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def anchors(page: Path) -> set[str]:
    """The anchors that a page's headings get when it is rendered."""
    prose = CODE_BLOCK.sub("", page.read_text(encoding="utf-8"))
    headings = (line.lstrip("#").strip() for line in prose.splitlines() if line.startswith("#"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path, text: str) -> list[str]:
    """Relative links of a page whose file or heading does not exist."""
    prose = CODE_BLOCK.sub("", text)
    broken = []
    for link in LINK.findall(prose):
        if "://" in link:
            continue
        name, _, fragment = link.partition("#")
        target = (page.parent / name) if name else page
        if not target.exists() or (fragment and fragment not in anchors(target)):
            broken.append(link)
    return broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert broken_links(page, page.read_text(encoding="utf-8")) == []


def test_a_broken_link_is_seen() -> None:
    text = "[a](LICENSE) [b](docs/none.md) [c](#licence-and-credits) [d](#no-such-heading)"
    assert broken_links(ROOT / "README.md", text) == ["docs/none.md", "#no-such-heading"]


def tree_of(readme: str) -> dict[str, str]:
    """Path -> comment of every entry of the tree that a README prints, two spaces a level."""
    block = readme.partition("<!-- tree -->")[2].partition("```\n")[2].partition("```")[0]
    entries: dict[str, str] = {}
    parents: list[str] = []
    for line in block.splitlines():
        if not line.strip():
            continue
        depth = (len(line) - len(line.lstrip())) // 2
        name, _, comment = line.strip().partition("  ")
        parents[depth:] = [name]
        entries["".join(parents)] = comment.strip()
    return entries


def test_the_tree_of_the_readme_is_the_tree() -> None:
    entries = tree_of((ROOT / "README.md").read_text(encoding="utf-8"))
    gone = [path for path in entries if not (ROOT / path).exists()]
    assert gone == [], "the README lists what is not there"
    package = ROOT / "src" / "eureka_audio"
    rooms = {f"src/eureka_audio/{path.parent.name}/" for path in package.glob("*/__init__.py")}
    assert rooms - set(entries) == set(), "rooms that the README's tree leaves out"
    assert [path for path, comment in entries.items() if not comment] == []


def test_the_paper_map_names_files_that_exist() -> None:
    text = (ROOT / "docs" / "paper-map.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:src|recipes|tests|benchmarks|docs|data|model|audio|text|training|"
                       r"inference|evaluation|cli)/[\w./-]+)`", text)  # fmt: skip
    assert named
    package = ROOT / "src" / "eureka_audio"
    assert [n for n in named if not (ROOT / n).exists() and not (package / n).exists()] == []


def pins() -> dict[str, str]:
    """Package -> the one version that constraints.txt allows."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = [line for line in lines if line and not line.startswith("#")]
    assert [line for line in pinned if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
    return dict(line.split("==") for line in pinned)


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = {
        re.split(r"[<>=!\[; ]", requirement)[0].lower()
        for requirements in (project["dependencies"], *extras.values())
        for requirement in requirements
    } - {"eureka-audio"}
    assert wanted - set(pins()) == set()
    assert pins()["torch"] == "2.13.0"


def test_all_takes_every_extra() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    everything = set(re.search(r"\[(.*)\]", extras["all"][0])[1].split(","))  # type: ignore[index]
    assert everything == set(extras) - {"all", "dev", "peers", "cluster"}


def test_ci_runs_the_command_of_the_readme() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert "set -euo pipefail" in script.read_text()
    assert re.search(r"^status=0\nmake test\b", script.read_text(), re.MULTILINE)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "make test" in readme
    assert "make demo" in readme


@pytest.mark.parametrize("target", ["setup", "demo", "test", "nano"])
def test_make_knows_the_targets(target: str) -> None:
    done = subprocess.run(
        ["make", "--dry-run", target, "EUREKA_AUDIO_DATA=recordings"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_make_refuses_an_old_python(tmp_path: Path) -> None:
    old = tmp_path / "python"
    pretend = (
        "import collections, sys; V = collections.namedtuple('V', 'major minor'); "
        "sys.version_info = V(3, 10); exec(sys.argv[1])"
    )
    old.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{pretend}" "$2"\n')
    old.chmod(0o755)
    done = subprocess.run(
        ["make", "setup", f"PYTHON={old}", f"VENV={tmp_path}/venv"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "expected Python 3.11 or newer, got 3.10" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_the_figures_of_the_readme_are_the_committed_results() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "figures.py"), "--check"]
    assert subprocess.run(command, check=False).returncode == 0


@pytest.fixture
def acceptance_table(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    table: Callable[..., str] = runpy.run_path(str(ROOT / "benchmarks" / "figures.py"))[
        "acceptance_table"
    ]
    return table


def test_figures_of_dev_do_not_enter_the_readme(acceptance_table: Callable[..., str]) -> None:
    result = json.loads((ROOT / "benchmarks" / "results" / "acceptance.json").read_text())
    assert "| items |" in acceptance_table(result)
    assert "on at most 4 items of each kind" in acceptance_table({**result, "limit": 4})
    assert "on at most" not in acceptance_table({**result, "limit": None})
    with pytest.raises(SystemExit, match="got those of dev"):
        acceptance_table({**result, "split": "dev"})
    with pytest.raises(SystemExit, match="expected figures of limit 150, got those of 4"):
        acceptance_table(result, {**result, "limit": 4})


def test_a_further_model_of_ours_is_a_column_of_its_own(
    acceptance_table: Callable[..., str],
) -> None:
    result = json.loads((ROOT / "benchmarks" / "results" / "acceptance.json").read_text())
    figures = {"digit": {"value": 0.5, "items": 125}}
    other = {**result, "model": "other", "results": {"other": {"figures": figures}}}
    head, _, *rows = acceptance_table(result, other).splitlines()
    assert head.startswith("| what | `nano` | `other` | faster-whisper")
    assert {row.count("|") for row in rows if row.startswith("|")} == {head.count("|")}
    assert any("| 99.2 % | 50.0 % (missed) |" in row for row in rows)


# What runs code hidden in a file that it reads.
UNSAFE = re.compile(
    r"weights_only\s*=\s*False|\bpickle\.loads?\b|\bmarshal\.loads?\b|\bdill\b"
    r"|allow_pickle\s*=\s*True|trust_remote_code\s*=\s*True"
)


def test_nothing_that_is_read_may_run_code() -> None:
    files = [file for room in ("src", "benchmarks") for file in (ROOT / room).rglob("*.py")]
    assert len(files) > 100
    found = [f"{file.relative_to(ROOT)}" for file in files if UNSAFE.search(file.read_text())]
    assert found == []
    assert UNSAFE.search("torch.load(path, weights_only=False)")
