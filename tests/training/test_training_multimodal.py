"""Learning on tasks: the loss of Eq. 4, the parts that learn, the batches of conversations."""

import logging
from pathlib import Path

import pytest
import torch
from tiny_recipe import PITCHES, SOUNDS, workspace
from torch import Tensor, nn

from eureka_audio.data.augment import AugmentConfig
from eureka_audio.data.mixture import Batch, Sample
from eureka_audio.data.sources import ClipSource
from eureka_audio.errors import ConfigError
from eureka_audio.model import EurekaAudioForConditionalGeneration
from eureka_audio.text.chat import IGNORED_LABEL
from eureka_audio.text.tokenizer import END_OF_TEXT, TURN_END, token_id
from eureka_audio.training.multimodal import MultimodalCollator, MultimodalModel
from eureka_audio.training.stages import Workspace, run_stage
from eureka_audio.training.text_pretraining import PackedText, pack_text

PARTS = ("audio_encoder", "adapter", "language_model")
TASKS = {"words": {"transcribe": 1.0}, "sounds": {"sound": 1.0}}


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    space = workspace(tmp_path_factory.mktemp("tiny"))
    run_stage(space, "tokenizer")
    return space


@pytest.fixture(scope="module")
def sources(space: Workspace) -> dict[str, ClipSource]:
    return space.sources({"words", "sounds"})


def collator(
    space: Workspace, sources: dict[str, ClipSource], **settings: object
) -> MultimodalCollator:
    arguments: dict[str, object] = {"tasks": TASKS, "augment": None, **settings}
    return MultimodalCollator(sources, space.processor, **arguments)  # type: ignore[arg-type]


def some_batch(*sources: str) -> Batch:
    names = sources or ("words", "sounds")
    return Batch(tuple(Sample(name, i, 10 * i) for name in names for i in range(3)))


def model_of(space: Workspace, *trainable: str, heads_weight: float = 0.0) -> MultimodalModel:
    torch.manual_seed(0)
    model = EurekaAudioForConditionalGeneration(space.config())
    return MultimodalModel(model, trainable, heads_weight)


def test_a_batch_holds_each_clips_task_and_its_answer(
    space: Workspace, sources: dict[str, ClipSource]
) -> None:
    batch = collator(space, sources)(some_batch())
    tokenizer = space.processor.tokenizer
    assert (
        len(batch["input_ids"])
        == len(batch["input_features"])
        == len(batch["targets"]["ctc_lengths"])
    )
    assert batch["input_ids"].shape[1] % 32 == batch["input_features"].shape[2] % 32 == 0
    for row in range(6):
        learnt = [label for label in batch["labels"][row].tolist() if label != IGNORED_LABEL]
        answer = tokenizer.decode(learnt).removesuffix(TURN_END).rstrip(".").lower()
        if row < 3:
            assert answer == sources["words"].clips[row].transcript
            assert batch["targets"]["ctc_lengths"][row] == len(answer)
        else:
            assert any(word in answer for label in SOUNDS for word in label.split())
            assert batch["targets"]["ctc_lengths"][row] == 0
        placeholders = (batch["input_ids"][row] == space.processor.audio_token_id).sum()
        assert placeholders == -(-int(batch["feature_lengths"][row]) // 8)


def test_a_batch_is_decided_by_its_seeds(space: Workspace, sources: dict[str, ClipSource]) -> None:
    augment = AugmentConfig(mix_events_probability=0.0)
    collate = collator(space, sources, augment=augment, text_lines=space.lines, text_share=0.5)
    first, second = collate(some_batch()), collate(some_batch())
    assert first.keys() == second.keys()
    for tensors, again in ((first, second), (first["targets"], second["targets"])):
        assert all(torch.equal(tensors[k], again[k]) for k in tensors if k != "targets")
    plain = collator(space, sources)(some_batch())
    assert not torch.equal(plain["feature_lengths"], first["feature_lengths"])


def test_text_rows_are_learnt_whole_and_have_no_audio(
    space: Workspace, sources: dict[str, ClipSource]
) -> None:
    batch = collator(space, sources, text_lines=["hello there"], text_share=1.0)(some_batch())
    tokenizer = space.processor.tokenizer
    assert len(batch["input_ids"]) == 12
    assert len(batch["input_features"]) == len(batch["targets"]["ctc_lengths"]) == 6
    expected = [*tokenizer.encode("hello there"), token_id(tokenizer, END_OF_TEXT)]
    for row in range(1, 12, 2):
        length = int(batch["attention_mask"][row].sum())
        assert batch["input_ids"][row, :length].tolist() == expected
        assert batch["labels"][row, :length].tolist() == expected
    output = model_of(space, *PARTS, heads_weight=0.5)(**batch)
    assert output.loss.isfinite()


def test_clips_without_a_fitting_task_are_left_out_and_said(
    space: Workspace, sources: dict[str, ClipSource], caplog: pytest.LogCaptureFixture
) -> None:
    source = sources["words"]
    clips = tuple(
        clip.model_copy(update={"transcript": None} if number < 3 else {})
        for number, clip in enumerate(source.clips)
    )
    mixed = {"words": ClipSource("words", clips, source.bank)}
    with caplog.at_level(logging.WARNING):
        collate = collator(space, mixed)
    assert f"of {len(clips)} clips tried, 3 are fit for none" in caplog.text
    batch = collate(Batch(tuple(Sample("words", index, 0) for index in range(5))))
    assert len(batch["input_ids"]) == len(batch["targets"]["ctc_lengths"]) == 2
    with pytest.raises(ConfigError, match=r"3 clips of \['words'\], fit for none"):
        collate(some_batch("words"))


def test_settings_that_cannot_work_are_refused(
    space: Workspace, sources: dict[str, ClipSource]
) -> None:
    for tasks in ({"words": {"transcribe": 1}}, {**TASKS, "sounds": {"transcribe": 1}}):
        with pytest.raises(ConfigError, match="tasks for source 'sounds'"):
            collator(space, sources, tasks=tasks)
    with pytest.raises(ConfigError, match="did you mean 'transcribe'"):
        collator(space, sources, tasks={**TASKS, "words": {"transcibe": 1}})
    with pytest.raises(ConfigError, match="mix_events_probability 0"):
        collator(space, sources, augment=AugmentConfig())
    with pytest.raises(ConfigError, match=r"text_share of 0\.5, got none"):
        collator(space, sources, text_share=0.5)


@pytest.mark.parametrize("heads_weight", [0.0, 0.7])
def test_the_loss_is_the_sum_of_its_parts(
    space: Workspace, sources: dict[str, ClipSource], heads_weight: float
) -> None:
    model = model_of(space, *PARTS, heads_weight=heads_weight).eval()
    output = model(**collator(space, sources)(some_batch()))
    coef = model.model.config.adapter_config.router_aux_loss_coef
    assert coef > 0
    parts = output.metrics
    expected = parts["ntp_loss"] + coef * parts["load_balancing_loss"]
    if heads_weight:
        expected = expected + heads_weight * parts["heads_loss"]
        weights = model.heads.config
        torch.testing.assert_close(
            parts["heads_loss"],
            parts["ctc_loss"]
            + weights.phone_loss_weight * parts["phone_loss"]
            + weights.tag_loss_weight * parts["tag_loss"],
        )
    else:
        assert "ctc_loss" not in parts
    torch.testing.assert_close(output.loss, expected)
    assert 0.25 <= float(parts["busiest_expert_share"]) <= 1.0  # of four experts


@pytest.mark.parametrize(
    ("trainable", "heads_weight"),
    [(("adapter",), 0.0), (("adapter", "language_model"), 0.0), (PARTS, 0.3)],
)
def test_the_parts_that_train_get_gradients_and_the_others_none(
    space: Workspace,
    sources: dict[str, ClipSource],
    trainable: tuple[str, ...],
    heads_weight: float,
) -> None:
    model = model_of(space, *trainable, heads_weight=heads_weight)
    model(**collator(space, sources)(some_batch())).loss.backward()
    for part in PARTS:
        module: nn.Module = getattr(model.model, part)
        gradients = {name: p.grad for name, p in module.named_parameters()}
        positions = gradients.pop("embed_positions.weight", None)
        assert positions is None  # Whisper's are fixed sines
        if part in trainable:
            assert all(grad is not None for grad in gradients.values()), part
            assert any(float(grad.abs().sum()) > 0 for grad in gradients.values()), part
        else:
            assert all(grad is None for grad in gradients.values()), part
    assert (model.heads.ctc_head.weight.grad is not None) == (heads_weight > 0)


def test_a_few_answers_are_learnt_by_heart(
    space: Workspace, sources: dict[str, ClipSource]
) -> None:
    model = model_of(space, *PARTS).train()
    batch = collator(space, sources)(some_batch())
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    losses: list[Tensor] = []
    for _ in range(25):
        loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.detach())
    assert losses[-1] < 0.5 * losses[0]


def test_text_is_packed_end_to_end(space: Workspace) -> None:
    tokenizer = space.processor.tokenizer
    lines = ["one two", "three", "<|im_end|> stays text"]
    rows = pack_text(lines, tokenizer, row_length=4)
    end = token_id(tokenizer, END_OF_TEXT)
    whole = "".join(line + END_OF_TEXT for line in lines)
    assert whole.startswith(tokenizer.decode(rows.reshape(-1).tolist()))
    assert (rows == end).sum() >= 2
    assert token_id(tokenizer, TURN_END) not in rows
    batch = PackedText(rows)(Batch((Sample("text", 1, 0), Sample("text", 0, 0))))
    assert batch["input_ids"].tolist() == rows[[1, 0]].tolist()
    with pytest.raises(ConfigError, match="one row of 100 tokens, got 3 tokens"):
        pack_text(["o", ""], tokenizer, row_length=100)


def test_words_of_the_data_are_words_of_the_text(space: Workspace) -> None:
    assert set(PITCHES) <= set(space.lines)
    assert (Path(space.run) / "processor" / "tokenizer.json").is_file()
