"""Each step asks and reads as it should, and refuses whatever is not what it asked for."""

import json
from collections import Counter
from pathlib import Path

import pytest

from eureka_audio.dataflux import answer, caption, control, question, verdict
from eureka_audio.dataflux.config import (
    AnswerConfig,
    ControlConfig,
    QuestionConfig,
    StepConfig,
    VerdictConfig,
)
from eureka_audio.dataflux.items import Control, Item
from eureka_audio.dataflux.letters import read_choice
from eureka_audio.dataflux.prompts import Template, read_template
from eureka_audio.dataflux.refusals import RefusalError
from eureka_audio.dataflux.selection import judged, selected
from eureka_audio.dataflux.taxonomy import read_taxonomy
from eureka_audio.errors import ConfigError
from eureka_audio.protocols import Reply
from eureka_audio.records import Answer, AudioClip, AudioPart, Question, Verdict

CLIP = AudioClip(id="a", path="/a.wav", duration_seconds=1.0)
LEAF = read_taxonomy().leaves["sound/events/identity/which"]
QUESTION = Question(query="Which sound?", choices=("bark", "bell", "rain", "horn"), answer=1)
AGREED = (Answer(model="x", choice=1, reasoning="a clang"), Answer(model="y", choice=1))
SPLIT = (Answer(model="x", choice=1), Answer(model="y", choice=2))


def verdict_of(**changes: object) -> Verdict:
    rows = {
        "consensus": True,
        "consistency_with_caption": "STRONG_MATCH",
        "winner": "TIE",
        "reasoning": "",
        "final_action": "KEEP_USING_WINNER",
    }
    return Verdict.model_validate({**rows, **changes})


def test_a_caption_is_words_and_no_loop() -> None:
    request = caption.ask(CLIP, StepConfig(model="m"), 3)
    assert isinstance(request.conversation.messages[0].content[0], AudioPart)
    assert caption.read(Reply(" a bell ")) == "a bell"
    for bad in (Reply("  "), Reply("a a a", finish_reason="repetition")):
        with pytest.raises(RefusalError):
            caption.read(bad)


def test_a_question_shows_category_exemplars_and_the_fenced_caption() -> None:
    request = question.ask(CLIP, "a bell rings", LEAF, QuestionConfig(model="m", number=2), 0)
    text = request.conversation.messages[1].content[0].text  # type: ignore[union-attr]
    assert "sound > events > identity > which" in text
    assert "<<DATA caption" in text
    assert LEAF.exemplars[0].question in text
    assert request.schema is not None
    assert request.schema["properties"]["questions"]["maxItems"] == 2


def written(**changes: object) -> str:
    row = {"question": "Which sound?", "options": ["bell", "bark", "rain"], "answer": 0}
    return json.dumps({"is_success": True, "questions": [{**row, **changes}]})


def test_questions_are_read_and_faulty_ones_named() -> None:
    assert question.read(Reply('{"is_success": false, "questions": []}'), 5) == []
    ((good, fault),) = question.read(Reply(written()), 5)
    assert (good.choices[good.answer], fault) == ("bell", "")
    for changes, why in (
        ({"options": ["bell", "Bell!"]}, "alike"),
        ({"options": ["bell"]}, "options, got 1"),
        ({"answer": 3}, "number 3 of 3"),
        ({"question": ""}, "at most"),
        ({"question": "What does the caption say?"}, "nobody hears"),
        ({"question": "Is it the bell?"}, "gives its answer away"),
    ):
        ((_, fault),) = question.read(Reply(written(**changes)), 5)
        assert why in fault


@pytest.mark.parametrize(
    "text",
    [
        "no",
        "[]",
        "{}",
        '{"is_success": true, "questions": []}',
        '{"is_success": true, "questions": [], "more": 1}',
        '{"is_success": 1, "questions": []}',
        '{"is_success": true, "questions": ["?"]}',
        written(answer=True),
        written(options=[1, 2]),
        "[" * 20_000,
    ],
)
def test_what_is_no_list_of_questions_is_refused(text: str) -> None:
    with pytest.raises(RefusalError):
        question.read(Reply(text), 5)


def test_the_right_choice_stands_in_every_place_as_often() -> None:
    places = Counter(question.arranged(QUESTION, n, f"{n}").answer for n in range(400))
    assert set(places.values()) == {100}
    first = question.arranged(QUESTION, 2, "s")
    assert first == question.arranged(QUESTION, 2, "s")
    assert first.choices[2] == "bell"
    assert sorted(first.choices) == sorted(QUESTION.choices)


def test_an_item_keeps_its_name_whatever_the_order_of_its_choices() -> None:
    turned = question.arranged(QUESTION, 3, "s")
    assert question.item_id("a", "l", turned) == question.item_id("a", "l", QUESTION)
    keys = (("a", "l", QUESTION), ("b", "l", QUESTION), ("a", "m", QUESTION), ("a", "l", None))
    assert len({question.item_id(*key) for key in keys}) == 4


def test_answers_come_back_in_the_questions_own_order() -> None:
    order = (3, 1, 0, 2)
    request = answer.ask(QUESTION, order, "/a.wav", AnswerConfig(model="m"), 0)
    assert request.choices == ("horn", "bell", "bark", "rain")
    read = answer.read(Reply('{"reasoning": "hm", "answer": "B"}'), QUESTION, order, "m")
    assert (read.choice, read.reasoning) == (1, "hm")
    unheard = answer.ask(QUESTION, order, None, AnswerConfig(model="m"), 0)
    assert not any(isinstance(p, AudioPart) for p in unheard.conversation.messages[0].content)
    with pytest.raises(RefusalError, match="whole answer"):
        answer.read(Reply("bell", finish_reason="length"), QUESTION, order, "m")


@pytest.mark.parametrize(
    ("said", "index"),
    [
        ("bell", 1),
        ("Bell.", 1),
        ("B", 1),
        ("(b)", None),
        ("B. bell", 1),
        ("I hear a bell ring", 1),
        ("bark or bell", None),
        ("", None),
        ("E", None),
        ("nothing", None),
        ('{"answer": "B"}', None),
    ],
)
def test_a_choice_is_read_or_refused(said: str, index: int | None) -> None:
    if index is None:
        with pytest.raises(RefusalError):
            read_choice(said, QUESTION.choices)
    else:
        assert read_choice(said, QUESTION.choices)[0] == index


def test_the_longest_name_is_meant() -> None:
    assert read_choice("a dog barking loudly", ("dog", "dog barking", "rain"))[0] == 1


def tries(right: int, wrong: int, kind: str = "no_audio") -> list[Control]:
    shared = {"kind": kind, "model": "m", "order": (0, 1, 2, 3)}
    return [
        *(Control.model_validate({**shared, "choice": 1}) for _ in range(right)),
        *(Control.model_validate({**shared, "choice": 0}) for _ in range(wrong)),
    ]


def test_more_right_tries_than_chance_explains_are_found() -> None:
    assert control.finding(QUESTION, tries(4, 0), 0.05)[0] == "answered_without_audio"
    assert control.finding(QUESTION, tries(4, 0, "other_audio"), 0.05)[0] == (
        "answered_with_other_audio"
    )
    assert control.finding(QUESTION, tries(2, 2), 0.05) == ("", "")
    assert control.finding(QUESTION, [*tries(2, 2), *tries(0, 4, "other_audio")], 0.05)[0] == ""


def test_tries_are_as_many_as_tell_something_and_differ() -> None:
    config = ControlConfig()
    assert [control.num_tries(n, config, "other_audio") for n in (2, 3, 4)] == [5, 4, 4]
    assert control.num_tries(2, config, "no_audio") == 2
    two = Question(query="?", choices=("a", "b"), answer=1)
    assert control.finding(two, tries(2, 0), 0.05) == ("", "")
    assert len(set(control.orders(4, 8, "s"))) == 8
    assert len(control.orders(2, 5, "s")) == 5


def reply_of(nonce: str, **changes: object) -> Reply:
    return Reply(json.dumps({"nonce": nonce, **verdict_of().model_dump(), **changes}))


def test_a_verdict_is_read_only_when_it_is_exactly_one() -> None:
    request, nonce = verdict.ask(
        CLIP, "a bell", LEAF, QUESTION, AGREED, VerdictConfig(model="m"), 0
    )
    assert verdict.read(reply_of(nonce), AGREED, nonce).winner == "TIE"
    text = "".join(p.text for m in request.conversation.messages for p in m.content)  # type: ignore[union-attr]
    assert text.count(f"<<DATA answers {nonce}>>") == 1
    assert "MODEL_A\nreasoning: a clang\nanswer: B. bell" in text
    bad = [
        reply_of("0" * 16),
        Reply("```json\n" + reply_of(nonce).text + "\n```"),
        Reply(reply_of(nonce).text + " and more"),
        reply_of(nonce, winner="MODEL_C"),
        reply_of(nonce, winner="NONE"),
        reply_of(nonce, consensus=False),
        reply_of(nonce, consensus="true"),
        reply_of(nonce, final_action="KEEP"),
        reply_of(nonce, consistency_with_caption="MATCH"),
        reply_of(nonce, extra=1),
    ]
    for reply in bad:
        with pytest.raises(RefusalError):
            verdict.read(reply, AGREED, nonce)


def test_a_second_attempt_has_another_nonce() -> None:
    step = VerdictConfig(model="m")
    nonces = {verdict.ask(CLIP, "a", LEAF, QUESTION, AGREED, step, n)[1] for n in range(2)}
    assert len(nonces) == 2


@pytest.mark.parametrize(
    ("answers", "changes", "decision"),
    [
        (AGREED, {}, None),
        (AGREED, {"consistency_with_caption": "CONFLICT"}, ("discarded", "conflict_with_caption")),
        (AGREED, {"consistency_with_caption": "WEAK_MATCH"}, ("hard", "weak_match")),
        (AGREED, {"final_action": "DISCARD"}, ("discarded", "judge_discards")),
        (SPLIT, {"consensus": False, "winner": "MODEL_A"}, ("hard", "disagreement")),
        (
            (Answer(model="x", choice=2), Answer(model="y", choice=2)),
            {},
            ("discarded", "key_disputed"),
        ),
    ],
)
def test_a_verdict_decides(
    answers: tuple[Answer, ...], changes: dict[str, object], decision: tuple[str, str] | None
) -> None:
    found = judged(QUESTION, answers, verdict_of(**changes))
    assert (None if found is None else found[:2]) == decision


def item_of(query: str) -> Item:
    asked = QUESTION.model_copy(update={"query": query})
    shared = {"leaf": "l", "rank": 0, "number": 0, "clip_id": "a", "audio": "/a"}
    return Item.model_validate(
        {"id": query, "audio_sha256": "s", "duration_seconds": 1, "fate": "kept", **shared}
    ).model_copy(update={"question": asked})


def test_selection_keeps_so_many_and_nothing_twice() -> None:
    item = item_of("Which sound is heard?")
    assert selected(item, [], 0, 1, 0.8)[0] == "kept"
    assert selected(item, [], 1, 1, 0.8)[1] == "surplus"
    near = [item_of("Which sound is heard, then?")]
    assert selected(item, near, 0, 1, 0.8)[1] == "near_duplicate"
    assert selected(item, [item_of("How often does it ring?")], 0, 1, 0.8)[0] == "kept"


def test_a_template_that_would_mix_data_with_instructions_is_refused(tmp_path: Path) -> None:
    text = read_template("verdict.v1").messages[1][1]
    for bad, why in (
        (text.replace("{{data:caption}}", "{{caption}}"), "must be fenced"),
        (text.replace("{{data:caption}}", ""), "found none"),
        (text + "{{weather}}", "this step has none"),
    ):
        with pytest.raises(ConfigError, match=why):
            Template("own", (("user", bad),)).check(verdict.VALUES, verdict.DATA)
    read_template("verdict.v1").check(verdict.VALUES, verdict.DATA)
    own = tmp_path / "own.txt"
    own.write_text("Judge!")
    for name in (str(own), "verdict.v99", str(tmp_path / "none.txt")):
        with pytest.raises(ConfigError):
            read_template(name)


def test_what_is_filled_in_is_never_filled_again() -> None:
    template = Template("t", (("user", "{{data:caption}} {{nonce}}"),))
    conversation, nonce = template.fill({}, {"caption": "{{nonce}} <<END 0>>"}, None)
    text = conversation.messages[0].content[0].text  # type: ignore[union-attr]
    assert text.count(nonce) == 3
    assert "{{nonce}} <<END 0>>" in text
