"""Choices are scored as whole answers; a plain loop over full conversations is the reference."""

import math

import pytest
import torch

from eureka_audio.errors import MessageError
from eureka_audio.inference import choices as choices_module
from eureka_audio.inference.choices import (
    check_choices,
    choice_token_ids,
    relative_probabilities,
    score_choices,
)
from eureka_audio.protocols import ChoosingModel
from eureka_audio.text.chat import answered, question_request
from tiny import noise, tiny_assistant, tiny_processor

OFFERS = [["cat", "dog"], ["a", "the lazy dog jumps", "naïve"], ["brown fox", "<|im_end|>", "b c"]]


@torch.no_grad()
def log_prob(model, question, answer: str) -> float:
    """By one pass over the whole conversation, as training reads it."""
    item = tiny_processor().encode(answered(question, answer), add_generation_prompt=False)
    inputs = tiny_processor().collate([item], with_labels=True)
    labels = inputs.pop("labels")[0, 1:]
    logits = model(**inputs).logits[0, :-1].log_softmax(-1)
    learnt = labels != -100
    return float(logits[learnt].gather(1, labels[learnt][:, None]).sum())


@pytest.mark.parametrize("seed", range(4))
def test_scores_are_log_probabilities_of_complete_answers(seed: int) -> None:
    assistant = tiny_assistant(seed)
    questions = [question_request(noise(i + 0.5, i), "q?" * i) for i in range(len(OFFERS))]
    encoded = [
        tiny_processor().encode(question, add_generation_prompt=True) for question in questions
    ]
    scores = score_choices(assistant.engine.runner, encoded, OFFERS)
    for question, offered, scored in zip(questions, OFFERS, scores, strict=True):
        expected = {choice: log_prob(assistant.model, question, choice) for choice in offered}
        assert scored == pytest.approx(expected, abs=2e-3)


def test_many_choices_are_scored_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    assistant = tiny_assistant()
    encoded = [tiny_processor().encode(question_request(noise(1), "?"), add_generation_prompt=True)]
    offered = [[f"choice {i}" for i in range(9)]]
    [whole] = score_choices(assistant.engine.runner, encoded, offered)
    monkeypatch.setattr(choices_module, "MAX_BRANCHES", 4)
    [parts] = score_choices(assistant.engine.runner, encoded, offered)
    assert parts == pytest.approx(whole, abs=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_the_answer_is_the_most_probable_choice(seed: int) -> None:
    reply = tiny_assistant(seed).ask(noise(1, seed), "which?", ["cat", "dog", "the fox"])
    assert reply.text == max(reply.scores, key=reply.scores.get)
    assert math.isclose(sum(reply.scores.values()), 1)
    assert reply.usage.prompt_tokens > reply.num_audio_tokens == 13


def test_a_special_token_in_a_choice_is_text() -> None:
    runner = tiny_assistant().engine.runner
    assert choice_token_ids(runner, "<|im_end|>")[-1] in runner.end_ids
    assert not runner.end_ids & set(choice_token_ids(runner, "<|im_end|>")[:-1])


@pytest.mark.parametrize(
    "choices", ["ab", [], ["a"], ["a", "a"], ["a", " "], ["a", 1], ["a", "\ud800"]]
)
def test_choices_that_are_none_are_refused(choices: object) -> None:
    with pytest.raises(MessageError, match="choices: expected"):
        check_choices(choices)


def test_probabilities_survive_very_small_numbers() -> None:
    assert relative_probabilities({"a": -5000.0, "b": -5000.0}) == {"a": 0.5, "b": 0.5}


def test_it_meets_the_protocol_as_ask_would_answer() -> None:
    assistant = tiny_assistant()
    assert isinstance(assistant, ChoosingModel)
    clips = [noise(1.0), noise(0.5, 1)]
    asked = [
        question_request(clip, "what?", offer)
        for clip, offer in zip(clips, OFFERS[:2], strict=True)
    ]
    offers = [[*OFFERS[0], OFFERS[0][0]], OFFERS[1]]  # one option given twice
    replies = assistant.choose(asked, offers)
    assert replies == assistant.ask(clips, "what?", OFFERS[:2])
    bad = assistant.choose([*asked, asked[0]], [["cat"], *offers[1:], OFFERS[0]])
    assert isinstance(bad[0], MessageError)
    assert [str(reply) for reply in bad[1:]] == [str(replies[1]), str(replies[0])]
