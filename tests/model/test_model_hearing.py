"""Which layers are heard, silence after a window, and features kept while the encoder is frozen."""

import pytest
import torch

from eureka_audio.errors import ConfigError, InvalidFeaturesError
from eureka_audio.model.weights import load_checkpoint, save_checkpoint
from eureka_audio.model.windows import SILENT_LOG_MEL
from tiny import bare_model, make_batch, three_rows


def windows() -> tuple[torch.Tensor, torch.Tensor]:
    batch = make_batch(three_rows())
    return batch["input_features"], batch["feature_lengths"]


@pytest.mark.parametrize(
    "settings",
    [{}, {"feature_layers": [1, 2]}, {"trailing_silence_seconds": 0.3}, {"pad_windows": True}],
)
def test_kept_features_give_what_the_windows_give(settings):
    model = bare_model(**settings)
    batch = make_batch(three_rows())
    with torch.no_grad():
        expected = model(**batch)
        kept = model.encode_audio(batch["input_features"], batch["feature_lengths"])
        del batch["input_features"]
        got = model(**batch, audio_features=kept)
    assert torch.equal(got.logits, expected.logits)
    assert kept.shape[2:] == ((2, 16) if "feature_layers" in settings else (16,))


def test_neither_or_both_is_refused():
    model, (features, lengths) = bare_model(), windows()
    kept = model.encode_audio(features, lengths)
    for arguments in ({}, {"input_features": features, "audio_features": kept}):
        with pytest.raises(InvalidFeaturesError, match="one of the two"):
            model.get_audio_features(feature_lengths=lengths, **arguments)
    with pytest.raises(InvalidFeaturesError, match="feature_lengths"):
        model.get_audio_features(audio_features=kept)


def test_kept_features_that_do_not_fit_are_refused():
    model, (features, lengths) = bare_model(), windows()
    kept = model.encode_audio(features, lengths)
    for wrong, longer, said in (
        (kept[..., :3], lengths, r"expected \(windows, frames, 16\)"),
        (kept[:2], lengths, "a length for each"),
        (kept[:, :10], lengths, "expected at least 100 frames"),
    ):
        with pytest.raises(InvalidFeaturesError, match=said):
            model.get_audio_features(audio_features=wrong, feature_lengths=longer)


def test_a_middle_layer_is_transformers_own_and_the_last_is_normalised():
    model, (features, _) = bare_model(feature_layers=[1, 2]), windows()
    whole = features.clamp(max=1.0)
    seen = []
    model.audio_encoder.layers[0].register_forward_hook(lambda *a: seen.append(a[2]))
    with torch.no_grad():
        heard = model.encode_audio(whole)
        last = bare_model().encode_audio(whole)
    assert torch.equal(heard[:, :, 0], seen[0][0] if isinstance(seen[0], tuple) else seen[0])
    assert torch.equal(heard[:, :, 1], last)


def test_one_middle_layer_alone_costs_no_later_one():
    model, (features, lengths) = bare_model(feature_layers=[1]), windows()
    model.audio_encoder.layers[1].register_forward_hook(lambda *_: pytest.fail("was run"))
    heard = model.encode_audio(features, lengths)
    assert heard.ndim == 3
    mixed = model.feature_mix(heard) / 4  # bare_model has multiplied the gain
    torch.testing.assert_close(mixed, torch.nn.functional.layer_norm(heard, (16,)))


def test_the_mixture_begins_at_its_first_gains_and_is_saved(tmp_path):
    model = bare_model(feature_layers=[1, 2])
    weight = model.feature_mix.weight
    assert torch.equal(weight, torch.tensor([[0.5], [1.0]]).expand(2, 16) * 4)  # bare_model times 4
    with torch.no_grad():
        weight.normal_()
    save_checkpoint(model, tmp_path / "mixed")
    again = load_checkpoint(tmp_path / "mixed")
    assert torch.equal(again.feature_mix.weight, weight)


def test_the_mixture_learns_and_padding_stays_out():
    model = bare_model(feature_layers=[1, 2])
    alone = [
        model.get_audio_features(w[None, :, :n], n[None]) for w, n in zip(*windows(), strict=True)
    ]
    together = model.get_audio_features(*windows())
    joined = torch.cat([one.audio_embeds for one in alone])
    torch.testing.assert_close(together.audio_embeds, joined, rtol=1e-4, atol=1e-4)
    together.audio_embeds.square().sum().backward()
    assert bool(model.feature_mix.weight.grad.abs().sum(dim=1).gt(0).all())


def test_silence_is_heard_and_its_frames_are_dropped():
    model, (features, lengths) = bare_model(trailing_silence_seconds=0.2), windows()
    with torch.no_grad():
        kept = model.encode_audio(features, lengths)
        for window, length, got in zip(features, lengths, kept, strict=True):
            own = window[:, :length]
            floor = max(float(own.max()) - 2.0, SILENT_LOG_MEL)
            room = min(20, 200 - int(length))  # the tiny encoder has 100 positions
            longer = torch.cat([own, torch.full((len(own), room), floor)], dim=1)
            expected = model.audio_encoder(longer[None]).last_hidden_state[0]
            frames = -(-int(length) // 2)
            torch.testing.assert_close(got[:frames], expected[:frames], rtol=1e-4, atol=1e-4)
            assert not got[frames:].any()
        plain = bare_model().encode_audio(features, lengths)
    assert kept.shape == plain.shape
    assert not torch.allclose(kept, plain)


def test_embeddings_by_window_are_padded_with_zeros():
    model, (features, lengths) = bare_model(), windows()
    audio = model.get_audio_features(features, lengths)
    by_window = audio.by_window()
    assert by_window.shape[:2] == (len(lengths), int(audio.token_lengths.max()))
    for row, length in zip(by_window, audio.token_lengths.tolist(), strict=True):
        assert not row[length:].any()
    assert by_window.count_nonzero() == audio.audio_embeds.count_nonzero()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"feature_layers": [0, 2]}, "feature_layers"),
        ({"feature_layers": [2, 1]}, "rising order"),
        ({"feature_layers": [3]}, "from 1 to 2"),
        ({"feature_layers": []}, "feature_layers"),
        ({"trailing_silence_seconds": -1.0}, "trailing_silence_seconds"),
        ({"trailing_silence_seconds": 1.0, "pad_windows": True}, "pad_windows"),
    ],
)
def test_settings_that_cannot_be_heard_are_refused(settings, said):
    with pytest.raises(ConfigError, match=said):
        bare_model(**settings)
