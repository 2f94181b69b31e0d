"""Spelling what is said: the loss, its targets, and what is read off its scores."""

import pytest
import torch

from eureka_audio.records import AudioClip, AudioEvent, Speaker
from eureka_audio.text.letters import encode_characters
from eureka_audio.training.ctc import (
    ctc_loss_sum,
    frames_needed,
    greedy_ids,
    greedy_letters,
    heard_words,
    num_learnt,
    pad_targets,
    sampled_tokens,
    spoken_words,
)

BLANK = 5


def test_the_loss_is_torchs_summed_over_the_rows_that_are_known() -> None:
    torch.manual_seed(0)
    logits = torch.randn(3, 9, 50, requires_grad=True)
    frames = torch.tensor([9, 7, 4])
    targets, lengths = pad_targets([[40, 3, 3], None, [7]], frames.tolist())
    loss = ctc_loss_sum(logits, frames, targets, lengths, BLANK)
    expected = sum(
        torch.nn.functional.ctc_loss(
            logits[row : row + 1, : int(frames[row])].log_softmax(-1).transpose(0, 1),
            torch.tensor([ids]),
            frames[row : row + 1],
            torch.tensor([len(ids)]),
            blank=BLANK,
            reduction="sum",
        )
        for row, ids in ((0, [40, 3, 3]), (2, [7]))
    )
    torch.testing.assert_close(loss, expected)
    (gradient,) = torch.autograd.grad(loss, logits)
    (wanted,) = torch.autograd.grad(expected, logits)
    torch.testing.assert_close(gradient, wanted)


def test_nothing_known_costs_nothing_and_still_has_a_gradient() -> None:
    logits = torch.randn(2, 4, 6, requires_grad=True)
    loss = ctc_loss_sum(
        logits, torch.tensor([4, 4]), *pad_targets([None, None], [4, 4]), blank=BLANK
    )
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert logits.grad is not None
    assert float(logits.grad.abs().sum()) == 0.0


def test_what_has_not_enough_frames_is_not_learnt() -> None:
    assert frames_needed([1, 2, 2, 3]) == 5
    targets, lengths = pad_targets([[1, 2, 2, 3], [1, 2, 2, 3], [], None], [5, 4, 3, 3])
    assert lengths.tolist() == [4, -1, 0, -1]
    assert targets.shape == (4, 4)
    assert num_learnt(lengths, torch.tensor([5, 4, 3, 3])) == 4 + 3  # in silence, every frame


def test_the_best_path_is_read_without_repeats_and_blanks() -> None:
    letters = [encode_characters(c)[0] for c in "ab"]
    path = torch.tensor([[0, letters[0], letters[0], 0, letters[1], letters[1], letters[0]]])
    logits = torch.nn.functional.one_hot(path, 29).float()
    assert greedy_ids(logits, torch.tensor([6]), 0) == [letters]
    assert greedy_letters(logits, torch.tensor([6])) == ["ab"]


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"transcript": "hello", "language": "en"}, "hello"),
        ({"transcript": "bonjour", "language": "fr"}, None),
        ({}, None),
        ({"events": (AudioEvent(kind="sound", label="rain", end_seconds=1),)}, ""),
    ],
)
def test_what_is_said_is_known_unknown_or_nothing(
    facts: dict[str, object], words: str | None
) -> None:
    clip = AudioClip(id="a", path="a.wav", duration_seconds=1.0, **facts)  # type: ignore[arg-type]
    assert spoken_words(clip) == words


DOG = AudioEvent(kind="sound", label="dog", end_seconds=1)
SPEECH = AudioEvent(kind="speech", label="speech", end_seconds=1)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({}, None),
        ({"events": ()}, ""),
        ({"events": (DOG, SPEECH, DOG)}, "dog speech"),
        ({"transcript": "bonjour", "language": "fr"}, None),
        ({"transcript": "hello", "language": "en"}, "hello"),
        (
            {
                "transcript": "hello",
                "language": "en",
                "speaker": Speaker(gender="female", age_group="child"),
                "emotion": "joy",
                "events": (SPEECH, DOG),
            },
            "hello female child joy dog",
        ),
    ],
)
def test_the_adapter_spells_who_speaks_and_what_sounds_too(
    facts: dict[str, object], words: str | None
) -> None:
    clip = AudioClip(id="a", path="a.wav", duration_seconds=1.0, **facts)  # type: ignore[arg-type]
    assert heard_words(clip) == words


def test_a_sample_stands_for_the_rest_of_a_vocabulary() -> None:
    torch.manual_seed(0)
    targets, scores = torch.tensor([[7, 3], [7, 0]]), torch.randn(2_000)
    whole = float(scores.logsumexp(0).exp())
    found = []
    for _ in range(200):
        tokens, added = sampled_tokens(targets, BLANK, 2_000, 100)
        assert tokens[:4].tolist() == [0, 3, 5, 7]
        assert added[:4].tolist() == [0, 0, 0, 0]
        assert len(tokens) == len(set(tokens.tolist())) == 104
        found.append(float((scores[tokens] + added).logsumexp(0).exp()))
    assert sum(found) / len(found) == pytest.approx(whole, rel=0.03)


def test_a_small_vocabulary_is_scored_whole() -> None:
    tokens, added = sampled_tokens(torch.tensor([[7, 3]]), BLANK, 50, 100)
    assert sorted(tokens.tolist()) == list(range(50))
    assert float(added.abs().sum()) == 0
    every, added = sampled_tokens(torch.arange(5), 5, 6, 100)
    assert every.tolist() == list(range(6))
    assert len(added) == 6
