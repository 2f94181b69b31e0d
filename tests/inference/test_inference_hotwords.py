"""Hotwords help to choose among what was found, and only whole words count."""

from types import SimpleNamespace
from typing import Any

import pytest
from test_inference_rescoring import BEAMS, encode, searched

from eureka_audio.inference.beam_search import Beam
from eureka_audio.inference.judge import Judge
from eureka_audio.inference.responder import generation_request, judged
from eureka_audio.inference.sampling import GenerationOptions
from eureka_audio.inference.transcription.hotwords import HOTWORD_BONUS, Hotwords
from tiny import tiny_model, tiny_responder


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("said abelard", 1),
        ("Abelard, ABELARD!", 2),
        ("abelards", 0),
        ("new   york", 1),
        ("newyork", 0),
        ("abelard " * 50, 3),
        ("", 0),
    ],
)
def test_whole_words_earn_a_bonus(text: str, count: int) -> None:
    assert Hotwords.of(["Abelard", "New York"]).bonus(text) == count * HOTWORD_BONUS


def test_the_longer_words_of_a_prompt_count_too() -> None:
    hotwords = Hotwords.of([], "A talk about Heloise and the city of Paris.")
    assert set(hotwords.phrases) == {"about", "heloise", "paris"}
    assert not Hotwords.of(["", " "], "a of")
    assert Hotwords.of([]).bonus("anything") == 0


def test_odd_phrases_are_only_text() -> None:
    assert Hotwords.of(["(.*", "<|im_end|>", "\\"]).bonus("anything (.*") in (0, HOTWORD_BONUS)


def beam(text: str, log_prob: float) -> Any:
    answer = SimpleNamespace(text=text, token_ids=[1, 2, 3], finish_reason="stop")
    return Beam(answer, log_prob, 0.0)


def test_the_judge_prefers_an_answer_with_a_hotword() -> None:
    beams = [beam("said a bell hard", -0.5), beam("said abelard", -0.9)]
    plain = Judge(tiny_model(), GenerationOptions())
    assert plain.best(beams, None).text == "said a bell hard"
    favour = Hotwords.of(["abelard"]).bonus
    biased = Judge(tiny_model(), GenerationOptions(), favour)
    assert biased.best(beams, None).text == "said abelard"
    assert plain.hint is None
    assert biased.hint is not None
    assert biased.hint(beams[1].answer) == HOTWORD_BONUS


def favour_of_e(text: str) -> float:
    return 1e6 * text.count("e")


def test_what_is_favoured_grows_and_is_kept() -> None:
    changed = 0
    for seed in range(6):
        responder, [item] = tiny_responder(tiny_model(seed)), encode((0.9,))
        [search] = searched(responder, [item])
        options = GenerationOptions(num_beams=BEAMS)
        judge = Judge(responder.engine.model, options, favour_of_e)
        with responder.engine.submitted([generation_request(item, 12, options, judge)]) as [handle]:
            found = [each.answer for each in handle.hypotheses()]
            kept = judged(handle, judge)
        worth = [favour_of_e(answer.text) / (len(answer.token_ids) + 1) for answer in found]
        assert kept is found[worth.index(max(worth))]
        changed += [answer.text for answer in found] != search
    assert changed
