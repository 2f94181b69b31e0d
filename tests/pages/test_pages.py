"""The shell of a page lets nothing out, and clips stay within their budget."""

import base64
import hashlib
import re
from pathlib import Path

import pytest

from eureka_audio.pages import clips
from eureka_audio.pages.clips import AudioBudget
from eureka_audio.pages.page import page


@pytest.fixture
def assets(tmp_path: Path) -> Path:
    """The script and style of a page of one's own."""
    (tmp_path / "own.js").write_text("own();")
    (tmp_path / "own.css").write_text("own {}")
    (tmp_path / "other.js").write_text("other();")
    return tmp_path


def test_the_policy_names_what_is_there_and_nothing_else(assets: Path) -> None:
    text = page(
        {"text": "</script><script>alert(1)//{{js}}"},
        assets,
        ("other", "own"),
        title="<b>",
        without_scripts="a & b",
    )
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    for kind, content in (("script", script), ("style", style)):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in text
    assert script.endswith("other();\nown();")
    assert style.endswith("own {}")
    assert "default-src 'none'" in text
    assert "<title>&lt;b&gt;</title>" in text
    assert "a &amp; b" in text
    assert "alert(1)" in text
    assert text.count("</script>") == 2


def test_clips_beyond_the_budget_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clips, "MAX_EMBEDDED_BYTES", 10)
    small, large, strange = (tmp_path / name for name in ("a.wav", "b c.wav", "d.sph"))
    small.write_bytes(b"12345678")
    large.write_bytes(b"123456789")
    strange.write_bytes(b"1")
    (tmp_path / "page").mkdir()
    budget = AudioBudget(tmp_path / "page")
    assert [budget.number(path) for path in (small, large, small, strange)] == [0, 1, 0, 2]
    assert budget.number(tmp_path / "gone.wav") is None
    assert budget.sources == [
        "data:audio/wav;base64," + base64.b64encode(b"12345678").decode(),
        "../b%20c.wav",
        "../d.sph",
    ]
