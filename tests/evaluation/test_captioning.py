"""Captions judged by what a reader that hears nothing can answer from them."""

import json
from pathlib import Path
from typing import Any

from eureka_audio.clients.scripted import ScriptedModel
from eureka_audio.errors import AudioFormatError, EurekaAudioError
from eureka_audio.evaluation.captioning import caption_trials, run_captioning
from eureka_audio.evaluation.runner import RunIdentity
from eureka_audio.evaluation.trials import Trial

HEARD = {"dog.wav": "a dog barks", "bell.wav": "a bell rings"}
CHOICES = ["dog", "bell"]


def questions(folder: Path) -> list[Trial]:
    made = []
    for name, caption in HEARD.items():
        (folder / name).write_bytes(name.encode())
        for number in range(2):
            fields = {
                "question": f"What is heard, number {number}?",
                "choices": CHOICES,
                "answer": caption.split()[1],
                "description": caption,
            }
            made.append(Trial("caption", f"{name}/{number}", "", "", folder / name, fields))
    return made


def reader(words: str) -> str:
    """Answers from the words it is given, else always the first option."""
    return "bell" if "a bell rings" in words else "dog"


def answers(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(row) for row in (folder / name / "predictions.jsonl").open()]


def test_floor_and_ceiling_frame_the_score(tmp_path: Path) -> None:
    asked = questions(tmp_path)
    assert len(caption_trials(asked, "Describe.")) == 2

    def describe(words: str) -> str | EurekaAudioError:
        return "a bell rings" if len(captioner.asked) == 2 else AudioFormatError("deaf")

    captioner = ScriptedModel(describe)
    one, other = RunIdentity("caption", "ears", "1"), RunIdentity("caption", "reader", "1")
    described, read = run_captioning(
        (captioner, one), (ScriptedModel(reader), other), asked, tmp_path / "out", "Describe."
    )
    assert (described.answered, described.failed) == (1, {"AudioFormatError": 1})
    assert (read.items, read.answered) == (12, 12)
    rows = answers(tmp_path / "out", "caption")
    assert [row["caption"] for row in rows] == ["", "", "a bell rings", "a bell rings"]
    assert [row["prediction"] for row in rows] == ["dog", "dog", "bell", "bell"]
    assert {row["prediction"] for row in answers(tmp_path / "out", "caption@floor")} == {"dog"}
    ceiling = answers(tmp_path / "out", "caption@ceiling")
    assert all(row["prediction"] == row["answer"] for row in ceiling)
    assert "a bell rings" not in answers(tmp_path / "out", "caption@floor")[2]["prompt"]


def test_a_caption_that_looks_like_a_prompt_is_only_text(tmp_path: Path) -> None:
    asked = questions(tmp_path)[:1]
    one = RunIdentity("caption", "m", "1")
    run_captioning(
        (ScriptedModel(lambda words: "{question} {choices}"), one),
        (ScriptedModel(reader), one),
        asked,
        tmp_path / "out",
        "Describe.",
    )
    (row,) = answers(tmp_path / "out", "caption")
    assert "{question} {choices}\n\nFrom this description alone" in row["prompt"]
    assert row["prompt"].count("dog; bell") == 1
