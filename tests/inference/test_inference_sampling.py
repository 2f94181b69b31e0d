"""Choosing tokens: transformers' filters are the reference."""

import pytest
import torch
from transformers.generation.logits_process import (
    RepetitionPenaltyLogitsProcessor,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from eureka_audio.errors import ConfigError
from eureka_audio.inference.sampling import (
    GenerationOptions,
    SamplingConfig,
    choose_token,
    filter_logits,
    penalise_seen,
)


@pytest.mark.parametrize("top_k", [0, 1, 5, 99])
@pytest.mark.parametrize("top_p", [1.0, 0.9, 0.5, 1e-6])
def test_filters_keep_what_transformers_keeps(top_k: int, top_p: float) -> None:
    logits = torch.randn(64, 30, generator=torch.Generator().manual_seed(top_k))
    expected = logits
    if top_k:
        expected = TopKLogitsWarper(top_k)(None, expected)
    if top_p < 1:
        expected = TopPLogitsWarper(top_p)(None, expected)
    assert torch.equal(filter_logits(logits, top_k, top_p), expected)


def test_the_penalty_is_that_of_transformers() -> None:
    logits = torch.randn(3, 20)
    ids = torch.tensor([[1, 2, 2], [0, 5, 19], [7, 7, 7]])
    expected = RepetitionPenaltyLogitsProcessor(1.4)(ids, logits.clone())
    rows = zip(logits, ids.tolist(), strict=True)
    assert torch.equal(torch.stack([penalise_seen(row, seen, 1.4) for row, seen in rows]), expected)


def test_draws_follow_the_probabilities() -> None:
    probs = torch.tensor([0.5, 0.3, 0.2])
    options = SamplingConfig(temperature=1.0)
    generator = options.generator(0)
    drawn = [choose_token(probs.log(), options, generator) for _ in range(4000)]
    shares = torch.bincount(torch.tensor(drawn)) / len(drawn)
    torch.testing.assert_close(shares, probs, atol=0.03, rtol=0)


def test_without_a_seed_answers_differ() -> None:
    sampling = SamplingConfig(temperature=1.0)
    logits = torch.zeros(1_000_000)
    draws = {choose_token(logits, sampling, sampling.generator(None)) for _ in range(4)}
    assert len(draws) > 1


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"temperature": 1.0, "top_p": 0.0}, "top_p"),
        ({"temperature": 1.0, "top_p": 1.1}, "top_p"),
        ({"temperature": 1.0, "top_k": -1}, "top_k"),
        ({"repetition_penalty": 0}, "repetition_penalty"),
        ({"stop": [""]}, "stop"),
        ({"max_repeats": 1}, "max_repeats"),
        ({"max_new_tokens": "5"}, "max_new_tokens"),
        ({"max_new_tokens": 5.5}, "max_new_tokens"),
        ({"max_new_tokens": True}, "max_new_tokens"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": None}, "temperature"),
        ({"temperature": 1.0, "top_p": "0.5"}, "top_p"),
        ({"temperature": 1.0, "top_k": 2.5}, "top_k"),
        ({"temperature": 1.0, "seed": "one"}, "seed"),
        ({"repetition_penalty": "1"}, "repetition_penalty"),
        ({"stop": 5}, "stop"),
        ({"max_repeats": "8"}, "max_repeats"),
        ({"num_beams": 0}, "num_beams"),
        ({"num_beams": 2.0}, "num_beams"),
        ({"num_beams": 2, "temperature": 1.0}, "num_beams"),
        ({"num_beams": 2, "ctc_weight": -1.0}, "ctc_weight"),
        ({"ctc_weight": 0.5}, "ctc_weight"),
        ({"no_speech_threshold": 1.5}, "no_speech_threshold"),
        ({"no_speech_threshold": "half"}, "no_speech_threshold"),
        # Greedy decoding would not look at these.
        ({"top_p": 0.8}, "top_p"),
        ({"top_k": 20}, "top_k"),
        ({"seed": 1}, "seed"),
    ],
)
def test_a_setting_out_of_range_or_without_effect_is_an_error(
    settings: dict[str, object], named: str
) -> None:
    with pytest.raises(ConfigError, match=f"^{named}: expected"):
        GenerationOptions(**settings)


def test_one_stop_string_needs_no_list() -> None:
    assert GenerationOptions(stop="end").stop == ("end",)
