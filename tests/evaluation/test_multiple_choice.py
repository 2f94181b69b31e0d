"""Option matching under its three names."""

import json
import os
from pathlib import Path

import pytest

from eureka_audio.evaluation.judge import judge_prompt, read_judgement
from eureka_audio.evaluation.multiple_choice import final_answer, map_letter, matches_answer

CHOICES = ["Man", "Woman", "Child", "Robot"]
NOTES = ["C", "D", "G", "A"]


@pytest.mark.parametrize(
    "reply",
    [
        *["B", "b", " (B)", "(b).", "**B**", "B.", "B)", "B. Woman", "(B) Woman", "B: Woman"],
        *["The answer is B", "The answer is B.", "Answer: (B)", "Option B.", "**B.** a woman"],
        *["答案：B", "答案是B。", "选B", "A is wrong. The correct answer is B."],
        "It is not A.\nAnswer: B\nBecause it is.",
        *[
            "I choose B",
            "I would pick B.",
            "The answer is b.",
            "option b",
            "我选择B",
            "Ｂ",
            "（Ｂ）",
        ],
        *["B is correct", "B is the best answer, since she speaks", "B是正确的", "\\boxed{B}"],
        *[
            "Answer: \\boxed{\\text{B}}",
            "<answer>B</answer>",
            "\\( \\text{B} \\)",
            "The best choice would be (B).",
        ],
    ],
)
def test_a_stated_letter_becomes_its_option(reply: str) -> None:
    assert map_letter(reply, CHOICES) == "Woman"


@pytest.mark.parametrize(
    "reply",
    [
        *["Woman", "a woman speaks", "A woman", "I hear a child", "", "E", "(F)", "Both", "be"],
        *["The answer is a woman", "Answer: Because it is loud", "option", "I think so", "A or B"],
        *[
            "A, B",
            "(A) or (B)",
            "Answer: A, B",
            "The answer is A and B.",
            "A、B",
            "答案是A或B",
            "B/C",
        ],
        *["B because", "So both (B) and (C)", "I pick a man", "a is what I hear"],
    ],
)
def test_any_other_reply_is_left_alone(reply: str) -> None:
    assert map_letter(reply, CHOICES) == reply


def test_a_letter_that_is_an_option_stays_that_option() -> None:
    assert map_letter("A", NOTES) == "A"
    assert map_letter("Answer: A", NOTES) == "Answer: A"
    assert map_letter("B", NOTES) == "D"
    assert map_letter("Answer: a.", ["said", "a"]) == "Answer: a."
    assert map_letter("Answer: A.", ["said", "a"]) == "said"
    assert map_letter("Answer: B:maj7/1", ["A#:7/1", "B:maj7/1"]) == "Answer: B:maj7/1"


def test_the_official_matcher_and_its_traps() -> None:
    assert matches_answer("It is a WOMAN, surely", "Woman", CHOICES)
    assert not matches_answer("not a man but a woman", "Woman", CHOICES)
    assert not matches_answer("B", "Woman", CHOICES)
    assert not matches_answer("", "Woman", CHOICES)
    assert not matches_answer("!?", "", ["", "x"])
    assert not matches_answer("答案是中文", "中文", ["中文", "英文"])
    assert matches_answer("sad", "happy sad", ["happy sad", "sad happy"]) is False
    assert matches_answer("sad happy", "happy sad", ["happy sad", "sad happy"])


@pytest.mark.parametrize(
    "reply",
    [
        "Woman",
        "<|channel|>analysis<|message|>A man?<|end|><|start|>assistant"
        "<|channel|>final<|message|>Woman<|return|>",
        "analysisThe caption names a man and more.assistantfinalWoman",
        "<think>Man or woman?</think>\n\nWoman",
    ],
)
def test_thoughts_are_no_answer(reply: str) -> None:
    assert final_answer(reply) == "Woman"


def test_an_unfinished_thought_is_left_as_it_is() -> None:
    assert final_answer("<think>Man") == "<think>Man"


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        ("It matches.\nResult: yes", True),
        ("yes\nResult: no", False),
        ("Result: unknown", False),
        ("Result: YES and no", True),
        ("Result: maybe", None),
        ("", None),
        ("yes\n\n  ", True),
    ],
)
def test_a_judgement_is_read_from_the_last_line(reply: str, verdict: bool | None) -> None:
    assert read_judgement(reply) is verdict


def test_a_judge_is_told_everything_once() -> None:
    prompt = judge_prompt("Who {speaks}?", CHOICES, "Woman", "a {lady}")
    for part in ("Who {speaks}?", "(B) Woman", "Correct answer: Woman", "Reply: a {lady}"):
        assert prompt.count(part) == 1


@pytest.mark.shared_data
@pytest.mark.skipif("EUREKA_AUDIO_DATA" not in os.environ, reason="EUREKA_AUDIO_DATA is not set")
@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("mmau-test-mini.json", (1000, 1000, 967, 967, 879, 2)),
        ("MMAR-meta.jsonl", (1000, 996, 985, 985, 897, 0)),
    ],
)
def test_counts_of_right_answers_in_six_styles(file: str, expected: tuple[int, ...]) -> None:
    """What the official programs accept when every answer is right, measured with them."""
    text = (Path(os.environ["EUREKA_AUDIO_DATA"]) / "benchmark_meta" / file).read_text("utf-8")
    items = json.loads(text) if file.endswith(".json") else map(json.loads, text.splitlines())
    styles = ("{a}", "Answer: {a}", "{l}. {a}", "({l}) {a}", "The answer is {l}. {a}", "{l}")
    counts = [0] * len(styles)
    for item in items:
        answer, choices = item["answer"], item["choices"]
        letter = "ABCDEFGH"[choices.index(answer)]
        for index, style in enumerate(styles):
            reply = style.format(a=answer, l=letter)
            counts[index] += matches_answer(reply, answer, choices)
    assert tuple(counts) == expected
