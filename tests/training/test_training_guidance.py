"""Guided attention: letters laid along phones, and heads drawn to look there."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_recipe import tiny_recipe, workspace

from eureka_audio.data.augment import UNMOVED, Timeline
from eureka_audio.processor import EncodedConversation
from eureka_audio.records import AudioClip, Phone
from eureka_audio.synthesis.letter_times import letter_times
from eureka_audio.tasks import draw_task
from eureka_audio.text.chat import encode_chat
from eureka_audio.training import recipe as recipe_module
from eureka_audio.training.guidance import (
    answer_places,
    as_places,
    guidance_loss,
    guided_heads,
)
from eureka_audio.training.stages import Workspace, run_stage, stage_names


def phones(labels: str, step: float = 0.1) -> tuple[Phone, ...]:
    """Phones of 0.1 s each, one after the other; `.` is a pause."""
    return tuple(
        Phone(label, round(i * step, 3), round((i + 1) * step, 3))
        for i, label in enumerate(labels.split())
        if label != "."
    )


@pytest.mark.parametrize(
    ("words", "labels", "times"),
    [
        ("go", "g ow", [0.0, 0.1, 0.2]),
        ("six", "s ih k s", [0.0, 0.1, 0.2, 0.4]),
        # A silent letter lasts no time.
        ("knee", "n iy", [0.0, 0.0, 0.1, 0.1, 0.2]),
        # A space lasts until the next word begins.
        ("a bee", "ax . . b iy", [0.0, 0.1, 0.3, 0.4, 0.4, 0.5]),
    ],
)
def test_letters_are_laid_along_the_phones(words: str, labels: str, times: list[float]) -> None:
    assert letter_times(words, phones(labels)).tolist() == pytest.approx(times)


def test_borders_never_run_backwards() -> None:
    borders = letter_times("though the knights thought", phones("dh ow . dh ax n ay t s th ao t"))
    assert (np.diff(borders) >= 0).all()
    assert borders[-1] == pytest.approx(1.2)
    assert borders[7] == pytest.approx(0.3)  # "the" begins where its "dh" does


def clip(**known: object) -> AudioClip:
    return AudioClip(id="x", path="x.wav", duration_seconds=1.0, language="en", **known)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    made = workspace(tmp_path_factory.mktemp("tiny"))
    run_stage(made, "tokenizer")
    return made


def encoded(space: Workspace, heard: AudioClip, num_tokens: int) -> EncodedConversation:
    drawn = draw_task(heard, None, {"transcribe": 1}, np.random.default_rng(0))
    assert drawn is not None
    tokenizer = space.processor.tokenizer
    chat = encode_chat(drawn[1], tokenizer, [[num_tokens]], add_generation_prompt=False)
    return EncodedConversation(tuple(chat.input_ids), tuple(chat.labels), (), 0.0)


def looked_at(space: Workspace, heard: AudioClip, timeline: Timeline = UNMOVED) -> list[set[int]]:
    """Audio tokens, counted from 0, to look at for each token of the answer."""
    chat = encoded(space, heard, 13)
    first = chat.input_ids.index(space.processor.audio_token_id)
    places = answer_places(chat, heard, timeline, space.processor)
    learnt = [i for i, label in enumerate(chat.labels) if label != -100]
    assert [query + 1 for query, _, _ in places] == learnt[: len(places)]
    return [set(range(begin - first, end - first)) for _, begin, end in places]


def test_each_token_is_looked_for_where_its_letters_are_said(space: Workspace) -> None:
    heard = clip(transcript="one", phones=phones(". w ah n", 0.16))
    places = looked_at(space, heard)
    assert places
    everything = set().union(*places)
    # Spoken from 0.16 s on, which is token 2; one token of slack on either side.
    assert min(everything) == 1
    assert max(everything) <= 9
    later = looked_at(space, heard, Timeline(speed=1.0, shift_seconds=0.16))
    assert min(set().union(*later)) == 3


def test_nothing_is_claimed_of_other_answers_and_unknown_phones(space: Workspace) -> None:
    assert looked_at(space, clip(transcript="one")) == []
    known = clip(transcript="one", phones=phones("w ah n"))
    other = encoded(space, clip(transcript="two"), 13)
    assert answer_places(other, known, UNMOVED, space.processor) == []


def test_a_head_that_looks_there_costs_nothing_and_one_that_does_not_much() -> None:
    attentions = [torch.full((1, 2, 6, 6), 1 / 6) for _ in range(3)]
    places = as_places([(0, 4, 1, 3)])
    assert float(guidance_loss(attentions, places)) == pytest.approx(np.log(3), abs=1e-3)
    for layer, head in guided_heads(3):
        attentions[layer][0, head, 4] = torch.tensor([0, 0.5, 0.5, 0, 0, 0])
    assert float(guidance_loss(attentions, places)) == pytest.approx(0, abs=1e-4)
    assert float(guidance_loss(attentions, as_places([(0, 4, 3, 5)]))) > 5
    assert float(guidance_loss(attentions, as_places([]))) == 0


def test_practice_and_fine_tuning_are_guided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(clips: list[AudioClip], path: Path) -> list[AudioClip]:
        known = phones("w ah n")
        return [c.model_copy(update={"phones": known}) if c.transcript else c for c in clips]

    monkeypatch.setattr(recipe_module, "with_alignment", told)
    raw = tiny_recipe(30, save_every=30).model_dump()
    stage = raw["stages"]["stage2"] | {"guidance_weight": 1.0, "text_share": 0.5}
    raw["oracles"] = {
        "oracle": {name: stage[name] for name in ("mixture", "tasks", "trainer", "guidance_weight")}
    }
    raw["stages"] = {"stage2": stage}
    for phase in (*raw["encoders"].values(), raw["decoder"]):
        phase["trainer"]["max_steps"] = 1
    space = workspace(tmp_path, recipe=type(tiny_recipe()).model_validate(raw))
    for name in stage_names(space.recipe)[:-1]:
        run_stage(space, name)
    for name in ("oracle", "stage2"):
        log = [json.loads(line) for line in (space.run / name / "log.jsonl").open()]
        astray = [line["guidance_loss"] for line in log if line["guidance_loss"] > 0]
        assert np.mean(astray[-5:]) < 0.8 * np.mean(astray[:5])
