"""`generate` with audio: cached, batched, sampled, with beams."""

import pytest
import torch

from eureka_audio.errors import ConfigError
from tiny import AUDIO, bare_model, make_batch, make_row, three_rows

LENGTH = {"max_new_tokens": 8, "min_new_tokens": 8, "do_sample": False}


def new_tokens(model, batch, **settings):
    ids = model.generate(**batch, **{**LENGTH, **settings})
    return ids[:, batch["input_ids"].shape[1] :]


@pytest.mark.parametrize("pad_windows", [False, True])
def test_a_left_padded_batch_generates_what_its_rows_do_alone(pad_windows):
    model = bare_model(pad_windows=pad_windows)
    rows = [*three_rows(), make_row(text=(5, 6, 7))]
    together = new_tokens(model, make_batch(rows))
    assert len({tuple(ids) for ids in together.tolist()}) > 1
    for ids, row in zip(together, rows, strict=True):
        assert torch.equal(ids, new_tokens(model, make_batch([row]))[0])


def test_cached_equals_uncached_equals_step_by_step():
    model = bare_model()
    batch = make_batch([make_row(40, 17)])
    cached = new_tokens(model, batch)
    assert torch.equal(cached, new_tokens(model, batch, use_cache=False))
    ids = batch["input_ids"]
    features = {key: batch[key] for key in ("input_features", "feature_lengths")}
    for expected in cached[0]:
        with torch.no_grad():
            scores = model(input_ids=ids, **features).logits[0, -1]
        scores[AUDIO] = -torch.inf
        assert scores.argmax() == expected
        ids = torch.cat([ids, expected.reshape(1, 1)], dim=1)


def test_audio_is_heard_once(monkeypatch):
    model = bare_model()
    heard = []
    hear = model.get_audio_features
    monkeypatch.setattr(model, "get_audio_features", lambda *args: heard.append(1) or hear(*args))
    new_tokens(model, make_batch(three_rows()))
    assert len(heard) == 1
    new_tokens(model, make_batch(three_rows()), num_beams=3)
    assert len(heard) == 2


def test_a_placeholder_is_never_generated():
    model = bare_model()
    with torch.no_grad():
        model.get_input_embeddings().weight[AUDIO] *= 100  # tied: it would win often
    for settings in ({}, {"do_sample": True, "top_k": 0}, {"num_beams": 2}):
        assert not (new_tokens(model, make_batch(three_rows()), **settings) == AUDIO).any()


def test_beams_rank_by_the_likelihood_of_the_whole_and_match_rows_alone():
    model = bare_model()
    rows = three_rows()
    together = new_tokens(model, make_batch(rows), num_beams=3)
    for ids, row in zip(together, rows, strict=True):
        alone = new_tokens(model, make_batch([row]), num_beams=3)[0]
        assert torch.equal(ids, alone)


def test_several_sequences_of_each_row_hear_their_own_row():
    model = bare_model()
    rows = three_rows()
    expected = new_tokens(model, make_batch(rows), num_beams=3, num_return_sequences=3)
    assert expected.shape == (9, 8)
    for index, row in enumerate(rows):
        alone = new_tokens(model, make_batch([row]), num_beams=3, num_return_sequences=3)
        assert torch.equal(expected[3 * index : 3 * index + 3], alone)
    torch.manual_seed(0)
    sampled = new_tokens(model, make_batch(rows), do_sample=True, num_return_sequences=2)
    assert sampled.shape == (6, 8)


def test_several_sequences_without_a_cache_are_refused():
    with pytest.raises(ConfigError, match="use_cache=True when several sequences"):
        new_tokens(bare_model(), make_batch(three_rows()), num_beams=2, use_cache=False)


def test_text_alone_generates_also_without_cache_and_with_beams():
    model = bare_model()
    batch = make_batch([make_row(text=(5, 6, 7, 8))])
    greedy = new_tokens(model, batch)
    assert torch.equal(greedy, new_tokens(model, batch, use_cache=False))
    assert new_tokens(model, batch, num_beams=2, use_cache=False).shape == (1, 8)


def test_from_embeddings_placed_by_hand():
    model = bare_model()
    batch = make_batch(three_rows())
    with torch.no_grad():
        audio = model.get_audio_features(batch["input_features"], batch["feature_lengths"])
        embeds = model.embed(batch["input_ids"], audio)
    ids = model.generate(inputs_embeds=embeds, attention_mask=batch["attention_mask"], **LENGTH)
    assert torch.equal(ids, new_tokens(model, batch))


def test_static_cache_gives_the_same():
    model = bare_model()
    batch = make_batch(three_rows())
    static = new_tokens(model, batch, cache_implementation="static", disable_compile=True)
    assert torch.equal(static, new_tokens(model, batch))
