"""Our encoder against Whisper's, and padded windows against the same windows alone."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from eureka_audio.audio import clock
from eureka_audio.errors import InvalidFeaturesError
from eureka_audio.model.encoder import (
    EurekaAudioEncoder,
    audio_token_lengths,
    encoder_frame_lengths,
)
from tiny import MEL_BINS, bare_config


def make_encoder(attention: str = "sdpa", positions: int = 100, **fields: object):
    torch.manual_seed(0)
    config = bare_config().audio_config
    config.max_source_positions = positions
    for name, value in fields.items():
        setattr(config, name, value)
    config._attn_implementation = attention
    return EurekaAudioEncoder(config).eval()


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_equals_whisper_on_full_windows(attention):
    ours = make_encoder(attention, positions=1500)
    whisper = WhisperEncoder(ours.config).eval()
    whisper.load_state_dict(ours.state_dict())
    features = torch.randn(2, MEL_BINS, clock.WINDOW_MEL_FRAMES)
    with torch.no_grad():
        expected = whisper(features).last_hidden_state
        assert torch.equal(ours(features).last_hidden_state, expected)
        lengths = torch.tensor([3000, 3000])
        assert torch.equal(ours(features, lengths).last_hidden_state, expected)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_padding_does_not_matter(attention):
    encoder = make_encoder(attention)
    lengths = torch.tensor([1, 2, 3, 7, 8, 9, 50, 131, 199, 200])
    windows = [torch.randn(MEL_BINS, length) for length in lengths.tolist()]
    features = torch.full((len(windows), MEL_BINS, 200), 5.0)
    for index, window in enumerate(windows):
        features[index, :, : window.shape[1]] = window
    with torch.no_grad():
        together = encoder(features, lengths).last_hidden_state
        frames = encoder_frame_lengths(lengths)
        for index, window in enumerate(windows):
            alone = encoder(window[None]).last_hidden_state[0]
            real = together[index, : frames[index]]
            torch.testing.assert_close(real, alone, rtol=1e-5, atol=1e-5)
            assert torch.all(together[index, frames[index] :] == 0)


def test_padding_gets_no_gradient_and_no_nan():
    encoder = make_encoder()
    features = torch.randn(2, MEL_BINS, 40, requires_grad=True)
    hidden = encoder(features, torch.tensor([40, 11])).last_hidden_state
    hidden.square().sum().backward()
    assert torch.all(features.grad[1, :, 11:] == 0)
    assert torch.isfinite(features.grad).all()
    assert features.grad[1, :, :11].abs().sum() > 0


@given(st.lists(st.integers(1, 3000), min_size=1, max_size=50))
@settings(max_examples=50, deadline=None)
def test_tensor_lengths_are_the_clocks(lengths):
    tensor = torch.tensor(lengths)
    assert encoder_frame_lengths(tensor).tolist() == [clock.num_encoder_frames(n) for n in lengths]
    assert audio_token_lengths(tensor).tolist() == [clock.num_audio_tokens(n) for n in lengths]


def test_output_length_is_the_clocks_for_every_length():
    encoder = make_encoder()
    with torch.no_grad():
        for length in range(1, 201):
            hidden = encoder(torch.randn(1, MEL_BINS, length)).last_hidden_state
            assert hidden.shape[1] == clock.num_encoder_frames(length)


def test_gradient_checkpointing_changes_nothing():
    encoder = make_encoder().train()
    features, lengths = torch.randn(2, MEL_BINS, 40), torch.tensor([40, 11])
    encoder(features, lengths).last_hidden_state.square().sum().backward()
    plain = [p.grad.clone() for p in encoder.parameters() if p.grad is not None]
    encoder.zero_grad()
    encoder.gradient_checkpointing_enable()
    encoder(features, lengths).last_hidden_state.square().sum().backward()
    again = [p.grad for p in encoder.parameters() if p.grad is not None]
    assert len(plain) > 10
    for first, second in zip(plain, again, strict=True):
        torch.testing.assert_close(first, second)


def test_layerdrop_and_dropout_act_in_training_only():
    encoder = make_encoder(encoder_layerdrop=0.9, dropout=0.5)
    features = torch.randn(1, MEL_BINS, 40)
    assert torch.equal(encoder(features).last_hidden_state, encoder(features).last_hidden_state)
    encoder.train()
    assert not torch.equal(encoder(features).last_hidden_state, encoder(features).last_hidden_state)


def test_compiles_as_one_graph():
    encoder = make_encoder()
    features, lengths = torch.randn(2, MEL_BINS, 40), torch.tensor([40, 11])
    compiled = torch.compile(encoder, backend="eager", fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(
            compiled(features, lengths).last_hidden_state,
            encoder(features, lengths).last_hidden_state,
        )


@pytest.mark.parametrize(
    ("shape", "lengths", "said"),
    [
        ((2, MEL_BINS + 1, 40), None, "expected \\(windows, 8, frames\\)"),
        ((2, MEL_BINS, 201), None, "1 to 200 frames"),
        ((2, MEL_BINS, 0), None, "1 to 200 frames"),
        ((MEL_BINS, 40), None, "expected \\(windows"),
        ((2, MEL_BINS, 40), [40], "each of 2 windows"),
        ((3, MEL_BINS, 40), [40, 0, 3], "got 0 for window 1"),
        ((3, MEL_BINS, 40), [40, 3, 41], "got 41 for window 2"),
    ],
)
def test_unusable_features_are_refused(shape, lengths, said):
    encoder = make_encoder()
    lengths = None if lengths is None else torch.tensor(lengths)
    with pytest.raises(InvalidFeaturesError, match=said):
        encoder(torch.zeros(shape), lengths)
