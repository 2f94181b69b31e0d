"""Item-by-item agreement with the evaluators' own programs on adversarial replies.

The files under ``golden/`` hold our inputs and the verdicts that the public programs gave on them:
Whisper's and the Mandarin normaliser, sacreBLEU's tokeniser and jiwer for transcripts; VoiceBench's
tables; MMAU's matcher; lm-eval's instruction checks (langdetect seeded with 0).
"""

import json
from pathlib import Path
from typing import Any

import pytest

from eureka_audio.evaluation.instruction_following.checks import INSTRUCTIONS
from eureka_audio.evaluation.instruction_following.scorer import judge_reply
from eureka_audio.evaluation.multiple_choice import matches_answer
from eureka_audio.evaluation.normalizers import ASR_RULES, asr_rule
from eureka_audio.evaluation.voicebench import extract_letter, is_refusal


def golden(name: str) -> list[dict[str, Any]]:
    path = Path(__file__).parent / "golden" / name
    return [json.loads(line) for line in path.read_text("utf-8").rstrip("\n").split("\n")]


@pytest.mark.parametrize("rule", ASR_RULES)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_transcript_tokens(rule: str, language: str) -> None:
    rows = [r for r in golden("transcript_tokens.jsonl") if r["language"] == language and rule in r]
    if not rows:
        pytest.skip(f"{rule} says nothing about {language}")
    tokens = asr_rule(rule, language).tokens
    wrong = [(r["text"], r[rule], tokens(r["text"])) for r in rows if tokens(r["text"]) != r[rule]]
    assert len(rows) > 150
    assert not wrong


def test_letters() -> None:
    rows = golden("letters.jsonl")
    assert [extract_letter(r["reply"]) for r in rows] == [r["letter"] for r in rows]


@pytest.mark.parametrize("rule", ["voicebench", "case_sensitive"])
def test_refusals(rule: str) -> None:
    rows = golden("refusals.jsonl")
    verdicts = [is_refusal(r["reply"], case_sensitive=rule == "case_sensitive") for r in rows]
    assert verdicts == [r[rule] for r in rows]


def test_option_texts() -> None:
    rows = golden("option_texts.jsonl")
    verdicts = [matches_answer(r["reply"], r["answer"], r["choices"]) for r in rows]
    assert verdicts == [r["correct"] for r in rows]
    assert 0.2 < sum(verdicts) / len(verdicts) < 0.8


@pytest.mark.parametrize("rule", ["voicebench", "google"])
def test_instructions(rule: str) -> None:
    rows = golden("instructions.jsonl")
    if rule == "google":  # it does not ignore 0 and empty arguments
        rows = [r for r in rows if all(all(arguments.values()) for arguments in r["kwargs"])]
    assert {i for r in rows for i in r["instruction_id_list"]} == set(INSTRUCTIONS)
    for row in rows:
        followed = judge_reply(row["reply"], row["instruction_id_list"], row["kwargs"], rule)
        assert (list(followed.strict), list(followed.loose)) == (row["strict"], row["loose"]), row
        assert not followed.invented
