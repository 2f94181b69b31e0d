"""Learning on tasks: the losses, the parts that learn, the batches of conversations."""

import logging
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from eureka_audio.data.mixture import Batch, Sample
from eureka_audio.data.sources import ClipSource
from eureka_audio.errors import ConfigError
from eureka_audio.model import EurekaAudioForConditionalGeneration
from eureka_audio.processor import EurekaAudioProcessor
from eureka_audio.text.chat import IGNORED_LABEL
from eureka_audio.text.tokenizer import END_OF_TEXT, TURN_END, token_id
from eureka_audio.training.collator import MultimodalCollator
from eureka_audio.training.ctc import blank_token
from eureka_audio.training.lora import LoraConfig, add_lora
from eureka_audio.training.multimodal import (
    GROUP_COST,
    TOKEN_WEIGHT,
    MultimodalModel,
    choose_trainable,
    rows_by_length,
)
from eureka_audio.training.recipe import LossWeights, StageConfig
from eureka_audio.training.workspace import Workspace, clip_encoder
from tiny import SOUNDS, TASKS, tiny_recipe, tiny_start, workspace

ALL = LossWeights(next_token=1.0, ctc=0.5, letters=0.3)


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return workspace(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def sources(space: Workspace) -> dict[str, ClipSource]:
    return space.sources(["words", "sounds"], heard=True)


@pytest.fixture(scope="module")
def start() -> tuple[EurekaAudioForConditionalGeneration, EurekaAudioProcessor]:
    torch.manual_seed(0)
    return tiny_start(tiny_recipe())


@pytest.fixture(scope="module")
def processor(start: Any) -> EurekaAudioProcessor:
    return start[1]


def stage(**changes: Any) -> StageConfig:
    plain = {
        "trainable": ["audio_encoder", "adapter", "ctc_head", "language_model"],
        "losses": ALL.model_dump(),
        "mixture": {"weights": {"words": 1, "sounds": 1}},
        "tasks": TASKS,
    }
    return StageConfig.model_validate({**plain, **changes})


def some_batch(*names: str) -> Batch:
    return Batch(
        tuple(Sample(name, i, 10 * i) for name in names or ("words", "sounds") for i in range(3))
    )


def learner(losses: LossWeights = ALL) -> MultimodalModel:
    torch.manual_seed(0)
    model, processor = tiny_start(tiny_recipe())
    return MultimodalModel(model, losses, blank_token(processor.tokenizer))


def forward(model: MultimodalModel, batch: dict[str, Any], **totals: float) -> Any:
    tensors = {name: value for name, value in batch.items() if name != "counts"}
    return model(**tensors, totals=batch["counts"] | totals)


def test_a_batch_holds_each_clips_task_and_its_answer(
    processor: EurekaAudioProcessor, sources: dict[str, ClipSource]
) -> None:
    batch = MultimodalCollator(sources, processor, stage())(some_batch())
    assert len(batch["input_ids"]) == len(batch["input_features"]) == 6
    assert batch["input_ids"].shape[1] % 16 == batch["input_features"].shape[2] % 16 == 0
    learnt = 0
    for row in range(6):
        labels = [label for label in batch["labels"][row].tolist() if label != IGNORED_LABEL]
        learnt += len(labels)
        answer = processor.tokenizer.decode(labels).removesuffix(TURN_END).rstrip(".").lower()
        if row < 3:
            assert answer == sources["words"].clips[row].transcript
            assert batch["targets"]["letter_lengths"][row] == len(answer)
            spelt = batch["targets"]["tokens"][row, : batch["targets"]["token_lengths"][row]]
            assert processor.tokenizer.decode(spelt) == f"{answer} female"  # who speaks, too
        else:
            assert any(word in answer for label in SOUNDS for word in label.split())
            assert batch["targets"]["letter_lengths"][row] == 0  # certainly nobody speaks
            spelt = batch["targets"]["tokens"][row, : batch["targets"]["token_lengths"][row]]
            assert (
                processor.tokenizer.decode(spelt)
                == sources["sounds"].clips[row - 3].events[0].label
            )
        placeholders = (batch["input_ids"][row] == processor.audio_token_id).sum()
        assert placeholders == -(-int(batch["feature_lengths"][row]) // 8)
    assert batch["counts"]["next_token"] == learnt


def test_a_batch_is_decided_by_its_seeds(
    space: Workspace, processor: EurekaAudioProcessor, sources: dict[str, ClipSource]
) -> None:
    drawn = stage(augment={}, text_share=0.5)
    collate = MultimodalCollator(sources, processor, drawn, texts=space.texts(drawn))
    first, second = collate(some_batch()), collate(some_batch())
    for tensors, again in ((first, second), (first["targets"], second["targets"])):
        assert tensors.keys() == again.keys()
        same = [torch.equal(tensors[k], again[k]) for k in tensors if hasattr(tensors[k], "shape")]
        assert all(same)
    plain = MultimodalCollator(sources, processor, stage())(some_batch())
    assert not torch.equal(plain["feature_lengths"], first["feature_lengths"])


def test_features_kept_on_disk_are_those_of_the_waveforms(
    space: Workspace, sources: dict[str, ClipSource]
) -> None:
    model = learner().eval()
    _, processor = tiny_start(tiny_recipe())
    encode = clip_encoder(model.model, processor)
    banks = {
        name: encode([source.waveform(i) for i in range(3)]) for name, source in sources.items()
    }
    batches = [
        MultimodalCollator(sources, processor, stage(), banks=kept)(some_batch())  # type: ignore[arg-type]
        for kept in (None, banks)
    ]
    assert torch.equal(batches[0]["input_ids"], batches[1]["input_ids"])
    assert batches[0]["counts"] == batches[1]["counts"]
    assert "audio_features" in batches[1]
    with torch.no_grad():
        heard, kept = (forward(model, batch) for batch in batches)
    for name, value in heard.metrics.items():
        torch.testing.assert_close(kept.metrics[name], value, atol=2e-3, rtol=2e-3)


def test_what_is_masked_of_features_is_drawn_by_the_seed(
    processor: EurekaAudioProcessor, sources: dict[str, ClipSource]
) -> None:
    rng = np.random.default_rng(0)
    banks = {
        name: [rng.standard_normal((40, 2, 32)).astype(np.float16) for _ in range(3)]
        for name in sources
    }
    masked = stage(
        trainable=["adapter", "ctc_head"],
        feature_augment={"max_time_mask_fraction": 0.3, "channel_dropout": 0.2},
    )
    collate = MultimodalCollator(sources, processor, masked, banks=banks)  # type: ignore[arg-type]
    first, again = collate(some_batch()), collate(some_batch())
    assert torch.equal(first["audio_features"], again["audio_features"])
    still = MultimodalCollator(sources, processor, masked, banks=banks, augmented=False)  # type: ignore[arg-type]
    original = torch.from_numpy(banks["words"][0]).float()
    assert torch.equal(still(some_batch())["audio_features"][0, :40], original)
    changed = first["audio_features"][0, :40] != original
    assert 0.1 < changed.float().mean() < 0.6


def test_text_is_learnt_beside_audio(
    processor: EurekaAudioProcessor, sources: dict[str, ClipSource]
) -> None:
    collate = MultimodalCollator(
        sources, processor, stage(text_share=1.0), texts=["hello <|im_end|> there"]
    )
    batch = collate(some_batch())
    assert len(batch["input_ids"]) == 12
    assert len(batch["input_features"]) == len(batch["targets"]["letters"]) == 6
    end = token_id(processor.tokenizer, END_OF_TEXT)
    for row in range(1, 12, 2):
        ids = batch["input_ids"][row, : int(batch["attention_mask"][row].sum())].tolist()
        assert ids[-1] == end
        assert processor.tokenizer.decode(ids[:-1]) == "hello <|im_end|> there"
        assert token_id(processor.tokenizer, TURN_END) not in ids
    assert forward(learner(), batch).loss.isfinite()


def test_clips_without_a_fitting_task_are_left_out_and_said(
    processor: EurekaAudioProcessor,
    sources: dict[str, ClipSource],
    caplog: pytest.LogCaptureFixture,
) -> None:
    source = sources["words"]
    clips = tuple(
        clip.model_copy(update={"transcript": None} if number < 3 else {})
        for number, clip in enumerate(source.clips)
    )
    mixed = {"words": ClipSource("words", clips, source.bank)}
    with caplog.at_level(logging.WARNING):
        collate = MultimodalCollator(mixed, processor, stage())
    assert f"of {len(clips)} clips tried, 3 are fit for none" in caplog.text
    batch = collate(Batch(tuple(Sample("words", index, 0) for index in range(5))))
    assert len(batch["input_ids"]) == len(batch["targets"]["letters"]) == 2
    with pytest.raises(ConfigError, match=r"3 clips of \['words'\], fit for none"):
        collate(some_batch("words"))


def test_the_loss_is_the_sum_of_its_parts(
    processor: EurekaAudioProcessor, sources: dict[str, ClipSource]
) -> None:
    model = learner().eval()
    batch = MultimodalCollator(sources, processor, stage())(some_batch())
    output = forward(model, batch)
    parts = output.metrics
    coef = model.model.config.adapter_config.router_aux_loss_coef
    expected = (
        parts["next_token_loss"]
        + 0.5 * parts["ctc_loss"]
        + 0.3 * parts["letters_loss"]
        + coef * parts["load_balancing_loss"]
    )
    torch.testing.assert_close(output.loss, expected)
    heard = {
        name: value
        for name, value in batch.items()
        if name in ("input_ids", "attention_mask", "labels", "input_features", "feature_lengths")
    }
    own = model.model(**heard)
    torch.testing.assert_close(parts["next_token_loss"], own.ntp_loss)
    torch.testing.assert_close(parts["load_balancing_loss"], own.load_balancing_loss)
    half = forward(model, batch, **{name: 2 * count for name, count in batch["counts"].items()})
    torch.testing.assert_close(half.loss, output.loss / 2)


def test_spelling_alone_does_not_run_the_language_model(
    processor: EurekaAudioProcessor,
    sources: dict[str, ClipSource],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spelling = LossWeights(next_token=0, ctc=1)
    settings = stage(losses=spelling, tasks={}, trainable=["adapter"])
    batch = MultimodalCollator(sources, processor, settings)(some_batch())
    assert "input_ids" not in batch
    model = learner(spelling)

    def never(*_: object, **__: object) -> None:
        raise AssertionError("the language model was run")

    monkeypatch.setattr(model.model.language_model, "forward", never)
    monkeypatch.setattr(model.model.language_model.model, "forward", never)
    forward(model, batch).loss.backward()
    assert model.model.adapter.proj.weight.grad is not None
    assert model.model.get_input_embeddings().weight.grad is None


@pytest.mark.parametrize(
    ("trainable", "learning"),
    [
        (("adapter",), {"adapter", "feature_mix"}),
        (("adapter", "language_model"), {"adapter", "feature_mix", "language_model"}),
        ((r"audio_encoder\.layers\.1\..*", "ctc_head"), {"audio_encoder", "ctc_head"}),
    ],
)
def test_what_is_chosen_gets_gradients_and_the_rest_none(
    processor: EurekaAudioProcessor,
    sources: dict[str, ClipSource],
    trainable: tuple[str, ...],
    learning: set[str],
) -> None:
    model = learner()
    choose_trainable(model.model, trainable)
    forward(model, MultimodalCollator(sources, processor, stage())(some_batch())).loss.backward()
    with_gradient = {n for n, p in model.model.named_parameters() if p.grad is not None}
    assert {name.split(".")[0] for name in with_gradient} == learning
    assert not any("embed_positions" in name for name in with_gradient)  # Whisper's fixed sines
    if "audio_encoder" in learning:
        assert {n.split(".")[2] for n in with_gradient if n.startswith("audio_enc")} == {"1"}


def test_a_pattern_that_matches_nothing_is_refused() -> None:
    model = nn.ModuleDict({"adapter": nn.Linear(2, 2)})
    with pytest.raises(ConfigError, match=r"'adaptr', which matches none of 2, such as adapter"):
        choose_trainable(model, ["adaptr"])
    with pytest.raises(ConfigError, match="'ctc_head', which matches none"):
        choose_trainable(model, ["ctc_head"])


def test_with_low_rank_updates_the_language_model_itself_stays() -> None:
    model = learner().model
    add_lora(model.language_model, LoraConfig(rank=2))
    choose_trainable(model, ["adapter", "language_model"], LoraConfig(rank=2))
    learning = [n for n, p in model.named_parameters() if p.requires_grad]
    inside = [name for name in learning if name.startswith("language_model.")]
    assert len(inside) == 2 * 4 * 2  # layers, projections, matrices
    assert all(name.endswith(("lora_up", "lora_down")) for name in inside)


def test_a_few_answers_are_learnt_by_heart(
    processor: EurekaAudioProcessor, sources: dict[str, ClipSource]
) -> None:
    model = learner().train()
    batch = MultimodalCollator(sources, processor, stage())(some_batch())
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses: list[float] = []
    for _ in range(25):
        loss = forward(model, batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]


def test_rows_of_like_length_are_read_together() -> None:
    lengths = [90, 3, 17, 33, 16, 5, 90, 31]
    mask = torch.tensor([[1] * n + [0] * (96 - n) for n in lengths])
    groups = rows_by_length(mask)
    assert [(rows.tolist(), length) for rows, length in groups] == [
        ([1, 5, 4], 16),
        ([2, 7, 3], 48),
        ([0, 6], 96),
    ]
    alone = min(
        sum((end - start) * max(padded[start:end]) + GROUP_COST for start, end in pairwise(cuts))
        for padded in [sorted(-(-n // 16) * 16 for n in lengths)]
        for inner in range(len(lengths))
        for middle in combinations(range(1, len(lengths)), inner)
        for cuts in [(0, *middle, len(lengths))]
    )
    assert sum(len(rows) * length + GROUP_COST for rows, length in groups) == alone
    assert [len(rows) for rows, _ in rows_by_length(mask[[0, 6]])] == [2]
    assert [len(rows) for rows, _ in rows_by_length(mask[:2])] == [1, 1]


def test_spelling_does_not_teach_the_adapter_to_speak_louder(
    space: Workspace, processor: EurekaAudioProcessor, sources: dict[str, ClipSource]
) -> None:
    spelling = stage(losses={"next_token": 0, "ctc": 1}, trainable=["adapter"], tasks={})
    batch = MultimodalCollator(sources, processor, spelling)(some_batch())
    model = learner(LossWeights(next_token=0, ctc=1)).eval()
    before = forward(model, batch).loss
    with torch.no_grad():
        for parameter in model.model.adapter.layer_norm.parameters():
            parameter.mul_(3.0)
    balance = forward(model, batch).loss - before
    assert float(balance.detach()) == pytest.approx(0, abs=1e-4)


def test_spelling_in_the_tokens_own_directions(
    space: Workspace, processor: EurekaAudioProcessor, sources: dict[str, ClipSource]
) -> None:
    spelling = LossWeights(next_token=0, ctc=1, cosine=2)
    settings = stage(losses=spelling.model_dump(), trainable=["adapter"], tasks={})
    batch = MultimodalCollator(sources, processor, settings)(some_batch())
    model = learner(spelling).eval()
    plain = learner(LossWeights(next_token=0, ctc=1)).eval()
    output = forward(model, batch)
    far = output.metrics["cosine_loss"]
    torch.testing.assert_close(output.loss, forward(plain, batch).loss + 2 * far)
    heard = model.model.get_audio_features(batch["input_features"], batch["feature_lengths"])
    embeddings = model.model.get_input_embeddings().weight
    near = nn.functional.cosine_similarity(heard.audio_embeds[:, None], embeddings, dim=-1)
    logits = model.token_logits(heard, torch.arange(len(embeddings)))
    is_real = torch.arange(logits.shape[1]) < heard.token_lengths[:, None]
    spelt = logits[is_real].argmax(dim=-1)
    apart = 1 - near.gather(1, spelt[:, None])[:, 0]
    weights = torch.where(spelt == model.blank_id, 1.0, TOKEN_WEIGHT)
    torch.testing.assert_close(far, (weights * apart).mean())
    choose_trainable(model.model, ["adapter"])
    optimizer = torch.optim.AdamW(model.model.adapter.parameters(), 1e-2)
    for _ in range(20):
        optimizer.zero_grad()
        forward(model, batch).loss.backward()
        optimizer.step()
    assert float(forward(model, batch).metrics["cosine_loss"]) < 0.7 * float(far)


def test_nothing_said_is_spelt_as_a_space(processor: EurekaAudioProcessor) -> None:
    tokenizer = processor.tokenizer
    assert tokenizer.decode([blank_token(tokenizer)]) == " "
    words = tokenizer.encode("one two", add_special_tokens=False)
    assert blank_token(tokenizer) not in words
