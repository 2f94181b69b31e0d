"""`small`, of which the package brings what was trained: its parts are fetched by hash."""

from collections.abc import Callable
from pathlib import Path

import pytest

from eureka_audio import EurekaAudio
from eureka_audio.errors import PartError
from eureka_audio.model import part_tensors
from eureka_audio.parts.catalogue import Part
from eureka_audio.parts.names import find_checkpoint

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture(scope="module")
def small(need_parts: Callable[..., None]) -> EurekaAudio:
    need_parts("whisper-base", "smollm2-135m")
    return EurekaAudio.from_pretrained("small")


def test_what_was_trained_is_all_that_ships() -> None:
    files = list(find_checkpoint("small").iterdir())
    assert sum(file.stat().st_size for file in files) < 40e6


def test_without_its_parts_it_says_which_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(part: Part) -> Path:
        raise PartError(f"{part.name}: expected pip to download it, got: no network")

    monkeypatch.setattr(part_tensors, "find_part", offline)
    with pytest.raises(PartError, match=r"(whisper-base|smollm2-135m).*no network"):
        EurekaAudio.from_pretrained("small")


@pytest.mark.slow
def test_it_writes_down_what_is_said(small: EurekaAudio) -> None:
    heard = small.transcribe(EXAMPLES / "man-bus-was-late.flac").text
    assert len({"the", "bus", "was", "late", "this", "evening"} & set(heard.split())) >= 3


@pytest.mark.slow
def test_it_still_talks(small: EurekaAudio) -> None:
    question = [{"role": "user", "content": "What is the capital of France?"}]
    assert "Paris" in small.generate(question, max_new_tokens=32).text
