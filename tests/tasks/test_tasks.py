"""Tasks say only what a record warrants, in many wordings, with the answer among the choices."""

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

from eureka_audio.data.recordings import (
    EFFECT_LABELS,
    EMOTION_GROUPS,
    ESC10_LABELS,
    MUSIC_LABELS,
)
from eureka_audio.errors import ConfigError
from eureka_audio.records import AudioClip, AudioEvent, AudioPart, Conversation, Speaker, TextPart
from eureka_audio.synthesis.music import INSTRUMENTS
from eureka_audio.synthesis.parts import Material
from eureka_audio.synthesis.scenes import compose_scene, render_sound
from eureka_audio.synthesis.sounds import SOUNDS
from eureka_audio.tasks import TASKS, check_weights, draw_task, evaluation_items
from eureka_audio.tasks.captions import CLAUSES
from eureka_audio.tasks.labels import (
    EMOTIONS,
    ESC10_SOUNDS,
    ORCHESTRA_INSTRUMENTS,
    TEXTURES,
    all_labels,
    could_be_both,
    labels_of,
    names_of,
    parallel_names,
    reword,
)
from eureka_audio.tasks.phrases import phrases
from eureka_audio.tasks.questions import SKILLS, ask
from eureka_audio.tasks.scene import known_count

WOMAN = Speaker(gender="female", age_group="adult")


def clip(**known: object) -> AudioClip:
    return AudioClip.model_validate({"id": "x", "path": "x.flac", "duration_seconds": 9.0, **known})


def event(label: str, start: float, end: float, **known: object) -> AudioEvent:
    kinds = ("speech", "sound", "instrument", "music")
    kind = next(kind for kind in kinds if label in labels_of(kind))
    return AudioEvent.model_validate(
        {"kind": kind, "label": label, "start_seconds": start, "end_seconds": end, **known}
    )


UNKNOWN = clip()
SPOKEN = clip(transcript="nine", language="en", speaker=WOMAN)
DOG = clip(events=(event("dog barking", 0, 5),))
OBOE = clip(events=(event("oboe", 0, 1),))
SCENE = clip(
    transcript="we call it bear",
    language="en",
    speaker=WOMAN,
    events=(
        event("bell ringing", 0.2, 1.0),
        event("bell ringing", 1.4, 2.2),
        event("speech", 2.6, 4.0, transcript="we call it bear", speaker=WOMAN),
        event("dog barking", 4.4, 8.0),
    ),
    dense_caption='a bell rings twice, then a woman says "we call it bear", then a dog barks.',
)
RAINY = SCENE.model_copy(update={"background": "rain"})
ALL = (UNKNOWN, SPOKEN, DOG, OBOE, SCENE, RAINY)


def fit(one: AudioClip) -> set[str]:
    return {name for name, task in TASKS.items() if task.applies(one)}


def built(name: str, one: AudioClip, seed: int = 0) -> tuple[str, str]:
    conversation = TASKS[name].build(one, None, np.random.default_rng(seed))
    return asked(conversation)


def asked(conversation: Conversation) -> tuple[str, str]:
    *request, reply = [
        "".join(part.text for part in message.content if isinstance(part, TextPart))
        for message in conversation.messages
    ]
    assert conversation.messages[-1].role == "assistant"
    return "".join(request), reply


def choices_in(request: str) -> list[str]:
    return request.rsplit("\nAnswer with one of: ", 1)[1].removesuffix(".").split(", ")


def made_clips() -> Iterator[AudioClip]:
    for index in range(12):
        yield compose_scene(7, index, Material("train"))[1]
        yield render_sound(7, index, "train")[1]


@pytest.fixture(scope="module")
def made() -> list[AudioClip]:
    return list(made_clips())


def test_nothing_is_asked_of_a_clip_of_which_nothing_is_known() -> None:
    assert fit(UNKNOWN) == set()
    assert draw_task(UNKNOWN, None, {"questions": 1.0}, np.random.default_rng(0)) is None
    assert evaluation_items(UNKNOWN) == []


def both(*skills: str) -> set[str]:
    return {form for skill in skills for form in (skill, f"{skill}_choice")}


def test_each_clip_is_fit_for_what_it_tells() -> None:
    assert fit(SPOKEN) == {"transcribe", "speech_caption", "words"} | both(
        "digit", "gender", "age", "speaker", "speech"
    )
    assert fit(DOG) == {"no_speech", "caption"} | both("sound", "distinct", "heard", "speech")
    assert fit(OBOE) == {"no_speech", "caption"} | both("instrument", "distinct", "heard", "speech")
    voice = both("gender", "age", "speaker", "speech")
    anywhere = voice | both("after", "before", "times", "heard") | {"words"}
    anywhere |= {"transcribe", "caption"}
    assert fit(SCENE) == anywhere | both("first", "last", "distinct", "sequence")
    assert fit(RAINY) == anywhere | both("background")


@pytest.mark.parametrize(
    ("known", "lost"),
    [
        ({"speaker": None}, both("gender", "age", "speaker")),
        ({"speaker": Speaker(gender="male")}, both("age", "speaker")),
        ({"speaker": Speaker(age_group="adult")}, both("gender", "speaker")),
        ({"speaker": Speaker(age_group="child")}, both("gender")),
        ({"transcript": "nine nine"}, both("digit")),
        ({"language": None}, both("digit") | {"words", "transcribe", "speech_caption"}),
    ],
)
def test_an_unknown_field_closes_its_tasks(known: dict[str, object], lost: set[str]) -> None:
    assert fit(SPOKEN) - fit(SPOKEN.model_copy(update=known)) == lost


@pytest.mark.parametrize("one", ALL)
def test_choices_hold_the_answer_once_and_conversations_the_audio(one: AudioClip) -> None:
    audio = object()
    for name in fit(one):
        for seed in range(20):
            conversation = TASKS[name].build(one, audio, np.random.default_rng(seed))
            parts = [part for message in conversation.messages for part in message.content]
            assert [part.audio for part in parts if isinstance(part, AudioPart)] == [audio]
            request, answer = asked(conversation)
            if name.endswith("_choice"):
                choices = choices_in(request)
                assert choices.count(answer) == 1, name
                assert len(set(choices)) == len(choices), (name, choices)
                assert 2 <= len(choices) <= 16, (name, choices)
            else:
                assert "{thing}" not in request
                assert answer == answer.strip()
                assert (answer == "") == (name == "no_speech")


def test_where_nobody_speaks_the_transcript_is_empty() -> None:
    assert built("no_speech", DOG) == (built("transcribe", SPOKEN)[0], "")
    requests = {
        name: {built(name, clip, seed)[0] for seed in range(20)}
        for name, clip in (("no_speech", DOG), ("transcribe", SPOKEN))
    }
    assert requests["no_speech"] == requests["transcribe"]  # with and without a language


def test_open_answers_are_the_labels() -> None:
    answers = {
        "digit": (SPOKEN, "nine"),
        "sound": (DOG, "dog barking"),
        "instrument": (OBOE, "oboe"),
        "gender": (SPOKEN, "female"),
        "age": (SPOKEN, "adult"),
        "speaker": (SPOKEN, "a woman"),
        "first": (SCENE, "bell ringing"),
        "last": (SCENE, "dog barking"),
        "distinct": (SCENE, "three"),
        "times": (SCENE, "two"),
        "speech": (SCENE, "yes"),
        "sequence": (SCENE, "bell ringing then speech then dog barking"),
        "background": (RAINY, "rain"),
        "words": (SCENE, "we call it bear"),
        "transcribe": (SCENE, "we call it bear"),
        "caption": (DOG, "a dog barks."),
        "speech_caption": (SPOKEN, 'a woman says "nine".'),
    }
    for name, (one, answer) in answers.items():
        assert built(name, one)[1] == answer, name
    assert built("speech", DOG)[1] == "no"


def test_neighbours_of_a_thing() -> None:
    following = {fact.thing: fact.answer for fact in SKILLS["after"](SCENE)}
    preceding = {fact.thing: fact.answer for fact in SKILLS["before"](SCENE)}
    assert following == {"bell ringing": "speech", "speech": "dog barking"}
    assert preceding == {"speech": "bell ringing", "dog barking": "speech"}


def test_children_by_what_is_known_of_them() -> None:
    girl = SPOKEN.model_copy(update={"speaker": Speaker(gender="female", age_group="child")})
    child = SPOKEN.model_copy(update={"speaker": Speaker(age_group="child")})
    assert built("speaker", girl)[1] == "a girl"
    assert built("speaker", child)[1] == "a child"
    (fact,) = SKILLS["speaker"](child)
    assert set(fact.others) == {"a man", "a woman"}
    offered = {choices_in(built("gender_choice", girl, seed)[0])[0].lower() for seed in range(80)}
    assert not offered & {"man", "woman", "a man", "a woman"}
    assert "girl" in offered


def test_sounds_at_once_have_no_order() -> None:
    together = clip(
        events=(event("rain", 0.2, 4.0), event("dog barking", 0.25, 4.0)), dense_caption="-"
    )
    assert not fit(together) & both("first", "last", "after", "before", "sequence")
    overlapped = clip(events=(event("rain", 0.2, 4.0), event("dog barking", 1.5, 3.0)))
    assert fit(overlapped) >= both("first", "sequence")
    assert not fit(overlapped) & both("last", "after", "before")


def test_two_voices_leave_the_speaker_and_the_number_of_sounds_open() -> None:
    voices = clip(
        language="en",
        events=(
            event("speech", 0, 1, transcript="two", speaker=WOMAN),
            event("speech", 2, 3, transcript="one", speaker=Speaker(gender="male")),
        ),
    )
    assert fit(voices) == both("heard", "speech")


def test_only_what_a_caption_counts_is_counted() -> None:
    assert known_count(SCENE, "bell ringing") == 2
    assert known_count(SCENE, "dog barking") is None
    assert known_count(SCENE, "speech") is None
    assert known_count(DOG, "dog barking") is None
    twice = clip(
        events=(event("beep", 0, 1), event("rain", 2, 3), event("beep", 4, 5)),
        dense_caption="a beep sounds once, then rain falls, then a beep sounds once.",
    )
    assert known_count(twice, "beep") == 2
    half = twice.model_copy(
        update={"dense_caption": "a beep sounds once, then rain falls, then a beep sounds."}
    )
    assert known_count(half, "beep") is None
    short = twice.model_copy(update={"dense_caption": "a beep sounds once, then rain falls."})
    assert known_count(short, "beep") is None


def test_made_clips_keep_the_promises(made: list[AudioClip]) -> None:
    for one in made:
        heard = {e.label for e in one.events or ()} | {one.background}
        for name in fit(one):
            for seed in range(3):
                request, answer = built(name, one, seed)
                if name.endswith("_choice"):
                    assert answer in choices_in(request)
        for name in ("first", "last", "after", "before", "sound", "instrument", "background"):
            for fact in SKILLS[name](one):
                assert fact.answer in heard
                assert fact.answer not in fact.others
                assert not any(could_be_both(fact.answer, other) for other in fact.others)
        for fact in SKILLS["heard"](one):
            assert (fact.thing in heard) == (fact.answer == "yes")


def test_yes_is_as_frequent_as_no() -> None:
    answers = Counter(built("heard", SCENE, seed)[1] for seed in range(400))
    assert 160 < answers["yes"] < 240
    assert answers["yes"] + answers["no"] == 400


def test_textures_are_not_denied_where_nobody_listened_for_them() -> None:
    denied = {fact.thing for fact in SKILLS["heard"](DOG) if fact.answer == "no"}
    assert "rain" not in denied
    assert "helicopter" in denied


def test_singing_leaves_speech_open() -> None:
    song = clip(events=(event("folk song with vocals", 0, 5),))
    assert not fit(song) & both("speech")
    assert "speech" not in {fact.thing for fact in SKILLS["heard"](song)}
    assert fit(song) >= both("music")


def test_drawing_follows_weights_and_seed() -> None:
    weights = {"transcribe": 3.0, "digit": 1.0, "sound": 9.0, "caption": 0.0}

    def draw(seed: int) -> tuple[str, Conversation]:
        drawn = draw_task(SPOKEN, None, weights, np.random.default_rng(seed))
        assert drawn is not None
        return drawn

    names = Counter(draw(seed)[0] for seed in range(400))
    assert set(names) == {"transcribe", "digit"}
    assert 260 < names["transcribe"] < 340
    assert [draw(seed) for seed in range(20)] == [draw(seed) for seed in range(20)]


def test_questions_share_one_weight_among_those_not_named() -> None:
    weights = {"transcribe": 1.0, "questions": 1.0, "age": 0.0}
    drawn = [draw_task(SPOKEN, None, weights, np.random.default_rng(s)) for s in range(400)]
    names = Counter(one[0] for one in drawn if one is not None)
    assert 150 < names["transcribe"] < 250
    assert "age" not in names
    assert "age_choice" in names


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"transcibe": 1.0}, "did you mean 'transcribe'"),
        ({"digit": -1.0}, "at least 0, got -1.0 for 'digit'"),
        ({"digit": float("nan")}, "got nan"),
    ],
)
def test_weights_that_cannot_be_meant(weights: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_weights(weights)
    with pytest.raises(ConfigError, match=message):
        draw_task(SPOKEN, None, weights, np.random.default_rng(0))


def test_every_skill_has_many_wordings_and_one_kept_back() -> None:
    assert set(phrases()) == set(SKILLS)
    for skill, wordings in phrases().items():
        trained = {wordings.plain, *wordings.phrases, *wordings.with_choices}
        assert len(trained) >= 12, skill
        assert wordings.unseen not in trained
        needs_thing = skill in ("after", "before", "times", "heard")
        for phrase in (*trained, wordings.unseen):
            assert ("{thing}" in phrase) == needs_thing, phrase
            assert phrase == phrase.lower()
            assert phrase[-1] in "?.", phrase


def test_wordings_vary_when_drawn() -> None:
    for skill, one in (("digit", SPOKEN), ("sound", DOG), ("first", SCENE), ("heard", SCENE)):
        requests = {built(skill, one, seed)[0] for seed in range(100)}
        assert len(requests) > 40
        assert {request[0].isupper() for request in requests} == {True, False}
        assert {request[-1] in "?." for request in requests} == {True, False}


def test_whole_label_sets_are_offered_now_and_then() -> None:
    def sizes(name: str, one: AudioClip) -> set[int]:
        return {len(choices_in(built(name, one, seed)[0])) for seed in range(120)}

    assert len(sizes("sound_choice", DOG)) > 8
    assert max(sizes("instrument_choice", OBOE)) == 16
    assert max(sizes("digit_choice", SPOKEN)) == 10
    assert sizes("gender_choice", SPOKEN) == {2}


def test_every_label_of_the_data_is_known() -> None:
    recorded = {*ESC10_LABELS.values(), *(label for _, _, label in MUSIC_LABELS)}
    recorded |= {label for _, label in EFFECT_LABELS.values()}
    recorded |= {"vocal sound", "coughing", "crying baby"}
    assert set(EMOTION_GROUPS.values()) <= set(EMOTIONS)
    assert recorded | {sound.label for sound in SOUNDS} | set(INSTRUMENTS) <= set(all_labels())
    assert set(CLAUSES) <= set(all_labels())
    assert set(ORCHESTRA_INSTRUMENTS) <= set(labels_of("instrument"))
    assert tuple(ESC10_LABELS.values()) == ESC10_SOUNDS
    assert {sound.label for sound in SOUNDS if sound.is_background} == set(TEXTURES)


def test_no_name_stands_for_two_labels() -> None:
    names = [name for label in all_labels() for name in {label, *names_of(label)}]
    assert [name for name, count in Counter(names).items() if count > 1] == []
    assert not any("," in name for name in names)
    assert all(len(names_of(label)) >= 2 for label in all_labels())
    for table in ("digit", "count", "gender", "age", "speaker", "truth"):
        for row in parallel_names(table):
            assert len(row) == len(parallel_names(table)[0])
    assert names_of("no such label") == ()


def test_rewording_keeps_choices_apart() -> None:
    styles = set()
    for seed in range(200):
        names = reword(all_labels(), None, np.random.default_rng(seed))
        assert len(set(names.values())) == len(all_labels())
        styles.add(names["dog barking"])
    assert {"dog barking", "Dog barking", "dog_barking", "dog"} <= styles


def items(one: AudioClip, unseen: bool = False) -> dict[str, tuple[str, object, str]]:
    found = {
        i.name: (i.question, i.choices, i.answer)
        for i in evaluation_items(one, unseen_wording=unseen)
    }
    for question, choices, answer in found.values():
        assert isinstance(choices, tuple)
        assert answer in choices, question
    return found


def test_evaluation_asks_in_fixed_words() -> None:
    assert set(items(SPOKEN)) == {"digit", "gender", "age"}
    assert items(SPOKEN)["gender"] == (
        "is the speaker male or female?",
        ("male", "female"),
        "female",
    )
    assert items(DOG)["sound"] == (
        "what sound is heard?",
        tuple(ESC10_LABELS.values()),
        "dog barking",
    )
    assert items(OBOE)["instrument"][1] == ORCHESTRA_INSTRUMENTS
    assert set(items(SCENE)) == {
        "gender", "age", "distinct", "first", "last", "after", "before", "times",
    }  # fmt: skip
    after = items(SCENE)["after"]
    assert after == (
        "which sound is heard right after the bell ringing?", ("dog barking", "speech"), "speech",
    )  # fmt: skip
    assert items(SCENE) == items(SCENE)


def test_an_instrument_outside_the_orchestra_is_chosen_among_all() -> None:
    assert items(clip(events=(event("trumpet", 0, 1),)))["instrument"][1] == labels_of("instrument")


def test_unseen_wordings_are_never_drawn() -> None:
    for name, (question, _, answer) in items(SPOKEN, unseen=True).items():
        assert answer == items(SPOKEN)[name][2]
        facts = SKILLS[name](SPOKEN)
        drawn = (ask(name, facts, np.random.default_rng(s), offer=True) for s in range(200))
        assert question not in {one.question.lower() for one in drawn}
