"""Captions are read back as they were written, and the rules write and judge by what is known."""

import asyncio
import json
from typing import Any

import numpy as np
import pytest

from eureka_audio.dataflux.question import fault_of
from eureka_audio.dataflux.taxonomy import read_taxonomy
from eureka_audio.errors import EndpointError
from eureka_audio.protocols import Reply, Request
from eureka_audio.records import Answer, AudioClip, AudioEvent, Conversation, Question, Speaker
from eureka_audio.synthesis.parts import Material
from eureka_audio.synthesis.scenes import compose_scene
from eureka_audio.tasks.caption_reading import read_caption
from eureka_audio.tasks.captions import Heard, caption
from eureka_audio.tasks.rules import RuleJudge, RuleWriter, rule_model

LEAVES = read_taxonomy().leaves
TIMES, FIRST = LEAVES["sound/counting/number/times"], LEAVES["sound/order/position/first"]


def clip_of(*labels: str, **known: Any) -> AudioClip:
    events = tuple(
        AudioEvent(kind="sound", label=label, start_seconds=2.0 * n, end_seconds=2.0 * n + 1)
        for n, label in enumerate(labels)
    )
    shared = {"id": "a", "path": "/a.wav", "duration_seconds": 9.0}
    return AudioClip.model_validate({**shared, "events": events, **known})


def ask(model: Any, **inputs: Any) -> Any:
    reply = asyncio.run(model.reply(Request(Conversation(messages=()), inputs=inputs)))
    return json.loads(reply.text) if isinstance(reply, Reply) else reply


def test_captions_of_scenes_are_read_back() -> None:
    for index in range(60):
        _, clip = compose_scene(3, index, Material("train"))
        assert clip.dense_caption is not None
        assert clip.events is not None
        read = read_caption(clip.dense_caption)
        assert read is not None, clip.dense_caption
        assert read.events is not None
        assert sorted(e.label for e in read.events) == sorted(e.label for e in clip.events)
        assert read.background == clip.background


def test_what_is_said_is_no_event_and_strange_words_are_not_read() -> None:
    woman = Speaker(gender="female", age_group="adult")
    words = "a bell rings twice, then a dog barks, with rain in the background"
    spoken = AudioEvent(
        kind="speech", label="speech", end_seconds=1, transcript=words, speaker=woman
    )
    bell = AudioEvent(kind="sound", label="bell ringing", end_seconds=1)
    text = caption([Heard(spoken), Heard(bell, 2)], [False, True], None, np.random.default_rng(0))
    read = read_caption(text)
    assert read is not None
    assert read.events is not None
    assert [event.label for event in read.events] == ["speech", "bell ringing", "bell ringing"]
    assert read.speaker == woman
    assert read.background is None
    assert read_caption("The sun is shining.") is None
    assert read_caption("") is None


def test_the_writer_asks_what_it_knows_and_says_so_where_it_does_not() -> None:
    clip = clip_of("bell ringing", "bell ringing", dense_caption="a bell rings twice.")
    found = ask(RuleWriter(), clip=clip, caption="?", leaf=TIMES, number=5)
    assert found["is_success"]
    row = found["questions"][0]
    question = Question(query=row["question"], choices=row["options"], answer=row["answer"])
    assert fault_of(question) == ""
    assert (question.choices[0], len(question.choices)) == ("two", 4)
    assert not ask(RuleWriter(), clip=clip, caption="?", leaf=FIRST, number=5)["is_success"]
    unknown = clip.model_copy(update={"events": None, "dense_caption": None})
    heard = "a bell rings three times."
    found = ask(RuleWriter(), clip=unknown, caption=heard, leaf=TIMES, number=5)
    assert found["questions"][0]["options"][0] == "three"
    assert not ask(RuleWriter(), clip=unknown, caption="hm", leaf=TIMES, number=5)["is_success"]
    emotion = LEAVES["speech/emotion/category/which"]
    assert not ask(RuleWriter(), clip=clip, caption="?", leaf=emotion, number=5)["is_success"]


QUESTION = Question(
    query="Which sound begins the clip?", choices=("rain", "beep", "siren"), answer=1
)


@pytest.mark.parametrize(
    ("caption", "choices", "match", "winner"),
    [
        ("a beep sounds once, then a siren wails.", (1, 1), "STRONG_MATCH", "TIE"),
        ("a beep sounds once, then a siren wails.", (1, 2), "STRONG_MATCH", "MODEL_A"),
        ("a beep sounds once, then a siren wails.", (2, 2), "STRONG_MATCH", "NONE"),
        ("a siren wails, then a beep sounds once.", (1, 1), "CONFLICT", "TIE"),
        ("a beep sounds once.", (1, 1), "WEAK_MATCH", "TIE"),
        ("something else", (0, 1), "WEAK_MATCH", "MODEL_B"),
    ],
)
def test_the_judge_judges_by_what_is_known(
    caption: str, choices: tuple[int, int], match: str, winner: str
) -> None:
    answers = tuple(Answer(model=f"{n}", choice=choice) for n, choice in enumerate(choices))
    clip = clip_of("beep", "siren")
    found = ask(
        RuleJudge(),
        clip=clip,
        caption=caption,
        leaf=FIRST,
        question=QUESTION,
        answers=answers,
        nonce="n",
    )
    assert found["consistency_with_caption"] == match
    assert found["winner"] == winner
    assert found["nonce"] == "n"
    assert found["final_action"] == ("DISCARD" if winner == "NONE" else "KEEP_USING_WINNER")


def test_the_judge_refuses_what_it_has_no_rule_for() -> None:
    leaf = LEAVES["speech/emotion/category/which"]
    inputs = {"clip": clip_of("beep"), "caption": "", "question": QUESTION, "answers": ()}
    assert isinstance(ask(RuleJudge(), leaf=leaf, nonce="n", **inputs), EndpointError)
    assert isinstance(rule_model("judge"), RuleJudge)
    with pytest.raises(KeyError):
        rule_model("jury")
