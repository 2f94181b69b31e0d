"""The whole forward: against plain Qwen3, rows alone, and losses written out by hand."""

import pytest
import torch
from torch import nn
from transformers import Qwen3ForCausalLM

from eureka_audio.audio.clock import num_audio_tokens
from eureka_audio.errors import ConfigError, InvalidFeaturesError, PlaceholderMismatchError
from eureka_audio.model import EurekaAudioConfig, EurekaAudioForConditionalGeneration
from tiny import AUDIO, bare_config, bare_model, make_batch, make_row, three_rows


def learnt_labels(batch):
    """Learn the text after the audio: everything from the last three tokens of each row."""
    labels = batch["input_ids"].clone()
    labels[:, :-3] = -100
    return labels


def test_text_alone_is_plain_qwen3():
    model = bare_model()
    plain = Qwen3ForCausalLM(model.config.text_config).eval()
    plain.load_state_dict(model.language_model.state_dict())
    ids = torch.randint(5, 48, (3, 11))
    labels = ids.clone()
    labels[0, :5] = -100
    with torch.no_grad():
        ours, theirs = model(input_ids=ids, labels=labels), plain(input_ids=ids, labels=labels)
    assert torch.equal(ours.logits, theirs.logits)
    torch.testing.assert_close(ours.loss, theirs.loss)
    assert ours.loss == ours.ntp_loss
    assert ours.load_balancing_loss is None
    assert ours.router_statistics is None


@pytest.mark.parametrize("pad_windows", [False, True])
def test_features_of_a_batch_are_those_of_its_windows(pad_windows):
    model = bare_model(pad_windows=pad_windows)
    rows = three_rows()
    batch = make_batch(rows)
    with torch.no_grad():
        together = model.get_audio_features(batch["input_features"], batch["feature_lengths"])
        start = 0
        for index, window in enumerate(window for row in rows for window in row.windows):
            alone = model.get_audio_features(window[None])
            num_tokens = num_audio_tokens(window.shape[1])
            assert together.token_lengths[index] == num_tokens == len(alone.audio_embeds)
            torch.testing.assert_close(
                together.audio_embeds[start : start + num_tokens],
                alone.audio_embeds,
                rtol=1e-4,
                atol=1e-4,
            )
            start += num_tokens
    assert start == len(together.audio_embeds)


@pytest.mark.parametrize("length", [*range(1, 34), 99, 100, 192, 199, 200])
@pytest.mark.parametrize("pad_windows", [False, True])
def test_as_many_embeddings_as_the_clock_says(length, pad_windows):
    model = bare_model(pad_windows=pad_windows)
    features = torch.randn(1, 8, length)
    with torch.no_grad():
        found = model.get_audio_features(features, torch.tensor([length]))
    assert len(found.audio_embeds) == num_audio_tokens(length) == found.token_lengths.item()


def test_padded_windows_hear_silence_after_the_end():
    model = bare_model(pad_windows=True)
    window = torch.randn(1, 8, 60)
    full = torch.full((1, 8, 200), -1.5)
    full[:, :, :60] = window
    with torch.no_grad():
        short = model.get_audio_features(window).audio_embeds
        encoded = model.audio_encoder(full).last_hidden_state
        expected = model.adapter(encoded, torch.tensor([8])).audio_embeds
    torch.testing.assert_close(short, expected)


@pytest.mark.parametrize("left", [True, False])
@pytest.mark.parametrize("pad_windows", [False, True])
def test_a_batch_gives_what_its_rows_give_alone(left, pad_windows):
    model = bare_model(pad_windows=pad_windows)
    rows = [*three_rows(), make_row(text=(5, 6, 7))]
    batch = make_batch(rows, left=left)
    with torch.no_grad():
        together = model(**batch).logits
        for index, row in enumerate(rows):
            alone = model(**make_batch([row])).logits[0]
            real = together[index][batch["attention_mask"][index].bool()]
            torch.testing.assert_close(real, alone, rtol=1e-4, atol=1e-4)


def test_audio_changes_what_comes_after_it_and_nothing_before():
    model = bare_model()
    row = make_row(40)
    batch = make_batch([row])
    changed = dict(batch, input_features=batch["input_features"] + 1.0)
    with torch.no_grad():
        first, second = model(**batch).logits[0], model(**changed).logits[0]
    start = row.ids.index(AUDIO)
    assert torch.equal(first[:start], second[:start])
    assert not torch.allclose(first[start:], second[start:])


def test_losses_are_equations_2_to_4():
    model = bare_model(adapter_config={"router_aux_loss_coef": 0.5})
    batch = make_batch(three_rows())
    labels = learnt_labels(batch)
    with torch.no_grad():
        output = model(**batch, labels=labels)
    log_probs = output.logits.log_softmax(-1)
    losses = [
        -log_probs[row, position - 1, labels[row, position]]
        for row in range(3)
        for position in range(1, labels.shape[1])
        if labels[row, position] != -100
    ]
    torch.testing.assert_close(output.ntp_loss, torch.stack(losses).mean())
    balance = output.router_statistics.load_balancing_loss
    assert output.load_balancing_loss is balance
    torch.testing.assert_close(output.loss, output.ntp_loss + 0.5 * balance)


def test_training_leaves_logits_out_and_gradients_alike():
    model = bare_model().train()
    batch = make_batch(three_rows())
    labels = learnt_labels(batch)
    without = model(**batch, labels=labels)
    assert without.logits is None
    without.loss.backward()
    grads = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    full = model(**batch, labels=labels, return_logits=True)
    shifted = full.logits[:, :-1].flatten(0, 1)
    ntp_loss = nn.functional.cross_entropy(shifted, labels[:, 1:].flatten(), ignore_index=-100)
    (ntp_loss + 0.01 * full.load_balancing_loss).backward()
    assert {"adapter.router.weight", "audio_encoder.conv1.weight"} < set(grads)
    for name, parameter in model.named_parameters():
        if name in grads:
            torch.testing.assert_close(grads[name], parameter.grad, rtol=1e-4, atol=1e-5)


def test_nothing_to_learn_is_a_zero_loss_with_a_gradient():
    model = bare_model(adapter_config={"router_aux_loss_coef": 0.0}).train()
    batch = make_batch(three_rows())
    output = model(**batch, labels=torch.full_like(batch["input_ids"], -100))
    assert output.loss == 0
    output.loss.backward()
    assert torch.isfinite(model.adapter.proj.weight.grad).all()


def test_parts_of_a_batch_add_up_to_the_batch():
    model = bare_model()
    rows = [make_row(40, text=(10, 11, 12)), make_row(40, text=(13, 14, 15), seed=5)]
    parts = [make_batch([row]) for row in rows]
    labels = [learnt_labels(part) for part in parts]
    num_items = sum(int((label[:, 1:] != -100).sum()) for label in labels)
    with torch.no_grad():
        losses = [
            model(**part, labels=label, num_items_in_batch=torch.tensor(num_items))
            for part, label in zip(parts, labels, strict=True)
        ]
        whole = model(**make_batch(rows), labels=torch.cat(labels))
    balance = torch.stack([part.load_balancing_loss for part in losses]).mean()
    torch.testing.assert_close(sum(part.loss for part in losses), whole.ntp_loss + 0.01 * balance)


def test_logits_to_keep_and_cache():
    model = bare_model()
    batch = make_batch(three_rows())
    with torch.no_grad():
        full = model(**batch)
        last = model(**batch, logits_to_keep=1, use_cache=True)
        torch.testing.assert_close(last.logits, full.logits[:, -1:])
        step = model(
            input_ids=torch.tensor([[30], [AUDIO], [32]]),  # a placeholder after the prefill
            attention_mask=nn.functional.pad(batch["attention_mask"], (0, 1), value=1),
            past_key_values=last.past_key_values,
        )
    assert step.logits.shape == (3, 1, 48)


def test_audio_in_a_later_turn():
    model = bare_model()
    whole = make_batch([make_row(40, 17)])
    with torch.no_grad():
        expected = model(**whole).logits
        first = model(
            input_ids=whole["input_ids"][:, :9],
            input_features=whole["input_features"][:1],
            feature_lengths=whole["feature_lengths"][:1],
            use_cache=True,
        )
        second = model(
            input_ids=whole["input_ids"][:, 9:],
            input_features=whole["input_features"][1:],
            feature_lengths=whole["feature_lengths"][1:],
            past_key_values=first.past_key_values,
        )
    found = torch.cat([first.logits, second.logits], dim=1)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_dense_adapter_trains_without_router():
    model = bare_model(adapter_config={"adapter_type": "dense"}).train()
    batch = make_batch(three_rows())
    output = model(**batch, labels=learnt_labels(batch))
    assert output.router_statistics is None
    assert output.loss == output.ntp_loss
    output.loss.backward()
    assert model.adapter.feed_forward.up_proj.weight.grad.abs().sum() > 0


def test_tuples_and_hidden_states_on_request():
    model = bare_model()
    batch = make_batch(three_rows())
    with torch.no_grad():
        output = model(**batch, output_hidden_states=True)
        assert len(output.hidden_states) == 3
        values = model(**batch, return_dict=False, use_cache=False)
    assert torch.equal(values[0], output.logits)


def test_fresh_weights_follow_the_configuration():
    config = bare_config(
        adapter_config={"layer_norm_init": 0.25, "expert_intermediate_size": 512},
        initializer_range=0.3,
    )
    model = EurekaAudioForConditionalGeneration(config)
    assert model.adapter.experts.up_proj.std().item() == pytest.approx(0.3, rel=0.05)
    assert model.adapter.experts.down_proj.std().item() == pytest.approx(0.3, rel=0.05)
    assert model.adapter.router.weight.std().item() == pytest.approx(0.3, rel=0.2)
    assert torch.all(model.adapter.layer_norm.weight == 0.25)


def test_widths_that_contradict_each_other_are_refused():
    with pytest.raises(ConfigError, match="input_size: expected 64"):
        bare_config(adapter_config={"input_size": 65})
    assert isinstance(bare_config(adapter_config={"input_size": 64}), EurekaAudioConfig)


class TestOneBadRow:
    """A batch with one bad row among good ones, in every way a row can be bad."""

    def refuse(self, batch, said):
        with pytest.raises(PlaceholderMismatchError, match=said):
            bare_model()(**batch)

    def test_one_placeholder_too_few(self):
        batch = make_batch(three_rows())
        batch["input_ids"][1, batch["input_ids"][1].tolist().index(AUDIO)] = 30
        self.refuse(batch, "row 1: expected 2 audio tokens .* got a run of 1")

    def test_one_too_few_and_one_too_many_with_the_total_right(self):
        batch = make_batch([make_row(40), make_row(40, seed=1), make_row(40, seed=2)])
        ids = batch["input_ids"]
        position = ids[1].tolist().index(AUDIO)
        ids[1, position] = 30
        ids[2, position - 1] = AUDIO
        assert int((ids == AUDIO).sum()) == 15
        self.refuse(batch, "row 1: expected 5 audio tokens .* got a run of 4")

    def test_a_window_cut_in_two(self):
        batch = make_batch([make_row(40), make_row(80), make_row(40)])
        batch["input_ids"][1, -8] = 30
        self.refuse(batch, "row 1: expected 10 audio tokens")

    def test_two_windows_run_together(self):
        batch = make_batch([make_row(40), make_row(40, 40)])
        ids = batch["input_ids"]
        ids[1, 7:9] = AUDIO
        self.refuse(batch, "row 1: expected 5 audio tokens .* got a run of 12")

    def test_a_row_without_its_placeholders(self):
        batch = make_batch(three_rows())
        ids = batch["input_ids"]
        ids[2][ids[2] == AUDIO] = 30
        self.refuse(batch, r"by row \[2, 1, 0\] \(row 2 has the fewest\)")

    def test_placeholders_without_any_audio(self):
        batch = make_batch(three_rows())
        ids = {key: batch[key] for key in ("input_ids", "attention_mask")}
        self.refuse(ids, "row 0: expected no audio")

    def test_audio_without_any_placeholder(self):
        batch = make_batch(three_rows())
        batch["input_ids"][batch["input_ids"] == AUDIO] = 30
        self.refuse(batch, r"expected 4 windows, got 0 runs")

    def test_audio_beside_embeddings(self):
        batch = make_batch(three_rows())
        ids = batch.pop("input_ids")
        batch["inputs_embeds"] = bare_model().get_input_embeddings()(ids)
        self.refuse(batch, "got inputs_embeds")

    def test_a_window_of_no_length(self):
        batch = make_batch(three_rows())
        batch["feature_lengths"][2] = 0
        for pad_windows in (False, True):
            with pytest.raises(InvalidFeaturesError, match="got 0 for window 2"):
                bare_model(pad_windows=pad_windows)(**batch)
