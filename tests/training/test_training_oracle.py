"""The oracle: what it says of a clip, how it errs, and that the decoder learns to read it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_recipe import tiny_recipe, workspace
from transformers import Qwen3ForCausalLM

from eureka_audio.data.augment import Timeline
from eureka_audio.data.mixture import Batch, Sample
from eureka_audio.data.sources import ClipSource
from eureka_audio.errors import ConfigError
from eureka_audio.model.modeling import EurekaAudioForConditionalGeneration
from eureka_audio.records import AudioClip, AudioEvent, Phone, Speaker
from eureka_audio.text.chat import IGNORED_LABEL
from eureka_audio.training.multimodal import MultimodalModel, oracle_loss
from eureka_audio.training.oracle import (
    SYMBOLS,
    OracleCollator,
    OracleModel,
    OracleNoise,
    knows,
    token_symbols,
)
from eureka_audio.training.stages import (
    Workspace,
    load_previous,
    match_loudness,
    run_stage,
    stage_names,
)

TASKS = {"words": {"transcribe": 1.0}, "sounds": {"sound": 1.0}}
RNG = np.random.default_rng(0)


def clip(**known: object) -> AudioClip:
    return AudioClip(id="x", path="x.wav", duration_seconds=2.0, **known)  # type: ignore[arg-type]


def heard(symbols: np.ndarray, token: int) -> dict[str, float]:
    return {SYMBOLS[i]: round(float(symbols[token, i]), 2) for i in np.flatnonzero(symbols[token])}


def test_a_token_holds_the_shares_of_its_four_frames() -> None:
    phones = (Phone("s", 0.08, 0.14), Phone("iy", 0.14, 0.24), Phone("unk", 0.24, 0.3))
    speaker = Speaker(gender="female", age_group="adult")
    symbols = token_symbols(clip(phones=phones, speaker=speaker), 5, None, RNG)
    voice = {"speech": 1.0, "female voice": 1.0, "adult voice": 1.0}
    assert heard(symbols, 0) == {}
    assert heard(symbols, 1) == {"s": 0.75, "iy": 0.25, **voice}
    assert heard(symbols, 2) == {"iy": 1.0, **voice}
    assert heard(symbols, 3)["speech"] == 0.75
    assert not set(heard(symbols, 3)) & {"iy", "unk"}
    assert heard(symbols, 4) == {}


def test_a_scene_is_told_event_by_event() -> None:
    events = (
        AudioEvent(kind="sound", label="dog barking", start_seconds=0.0, end_seconds=0.16),
        AudioEvent(
            kind="speech",
            label="speech",
            start_seconds=0.16,
            end_seconds=0.32,
            speaker=Speaker(gender="male"),
        ),
    )
    symbols = token_symbols(clip(events=events, background="rain"), 4, None, RNG)
    assert heard(symbols, 0) == {"dog barking": 1.0, "rain": 1.0}
    assert heard(symbols, 2) == {"speech": 1.0, "male voice": 1.0, "rain": 1.0}


def test_symbols_move_with_the_clip() -> None:
    known = clip(phones=(Phone("s", 0.16, 0.32),))
    moved = Timeline(speed=2.0, shift_seconds=0.16)  # heard from 0.24 to 0.32
    symbols = token_symbols(known, 5, None, RNG, moved)
    assert [heard(symbols, token).get("s", 0.0) for token in range(5)] == [0, 0, 0, 1, 0]


def test_the_oracle_knows_all_of_synthetic_speech_and_of_sounds() -> None:
    rain = AudioEvent(kind="sound", label="rain", end_seconds=1.0)
    voice = AudioEvent(kind="speech", label="speech", end_seconds=1.0)
    assert knows(clip(transcript="a", phones=(Phone("ax", 0.1, 0.2),)))
    assert knows(clip(events=(rain,)))
    assert not knows(clip(transcript="a"))
    assert not knows(clip(events=(rain, voice)))


def test_the_distance_to_the_oracle_counts_known_tokens_only() -> None:
    torch.manual_seed(0)
    oracle = torch.randn(4, 8)
    known = torch.tensor([True, False, True, False])
    assert oracle_loss(oracle, oracle, known) == 0.0
    spoilt = oracle.clone()
    spoilt[~known] = 100.0
    assert oracle_loss(spoilt, oracle, known) == 0.0
    torch.testing.assert_close(
        oracle_loss(torch.zeros(4, 8), oracle, torch.ones(4)), torch.tensor(1.0)
    )
    assert oracle_loss(spoilt, oracle, torch.zeros(4, dtype=torch.bool)) == 0.0


def test_a_voice_is_heard_where_its_phones_are_unknown() -> None:
    symbols = token_symbols(clip(transcript="hi", speaker=Speaker(age_group="child")), 3, None, RNG)
    assert heard(symbols, 1) == {"speech": 1.0, "child voice": 1.0}


def test_the_oracle_errs_as_often_as_it_is_told_to() -> None:
    phones = tuple(Phone("s", 0.08 * i, 0.08 * (i + 1)) for i in range(2000))
    known = clip(phones=phones)
    noise = OracleNoise(max_phone_error=0.4, false_sound_probability=0.0)
    right, unheard = [], []
    for seed in range(30):
        symbols = token_symbols(known, 2000, noise, np.random.default_rng(seed))
        spelled = symbols[:, : SYMBOLS.index("zh") + 1]
        right.append(spelled[:, SYMBOLS.index("s")].mean())
        unheard.append((spelled.sum(axis=1) == 0).mean())
    assert np.mean(right) == pytest.approx(1 - 0.2 * 1.5, abs=0.06)
    assert np.mean(unheard) == pytest.approx(0.1, abs=0.03)
    calm = OracleNoise(max_phone_error=0.0, min_strength=1.0, false_sound_probability=0.0)
    assert np.array_equal(
        token_symbols(known, 2000, calm, RNG), token_symbols(known, 2000, None, RNG)
    )


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    space = workspace(tmp_path_factory.mktemp("tiny"))
    run_stage(space, "tokenizer")
    return space


@pytest.fixture(scope="module")
def sources(space: Workspace) -> dict[str, ClipSource]:
    return space.sources({"words", "sounds"})


def some_batch() -> Batch:
    return Batch(tuple(Sample(name, i, 10 * i) for name in ("words", "sounds") for i in range(3)))


def model_of(space: Workspace) -> OracleModel:
    torch.manual_seed(0)
    config = space.config()
    return OracleModel(Qwen3ForCausalLM(config.text_config), config.audio_token_id)


def test_a_batch_is_what_the_real_one_is_but_for_the_sound(
    space: Workspace, sources: dict[str, ClipSource]
) -> None:
    batch = OracleCollator(sources, space.processor, TASKS, None)(some_batch())
    placeholders = (batch["input_ids"] == space.processor.audio_token_id).sum(dim=1)
    seconds = [
        float(sources[s.source].bank.durations_seconds[s.index]) for s in some_batch().samples
    ]
    assert placeholders.tolist() == [-(-round(s * 16_000) // 1280) for s in seconds]
    assert batch["symbols"].shape == (int(placeholders.sum()), len(SYMBOLS))
    answers = [
        space.processor.tokenizer.decode(row[row != IGNORED_LABEL]) for row in batch["labels"]
    ]
    for answer, sample in zip(answers[:3], some_batch().samples, strict=False):
        assert answer.startswith(sources["words"].clips[sample.index].transcript or "?")


def test_the_oracle_too_refuses_tasks_that_suit_no_clip(
    space: Workspace, sources: dict[str, ClipSource]
) -> None:
    with pytest.raises(ConfigError, match="tasks for source 'sounds'"):
        OracleCollator(sources, space.processor, {"words": {"transcribe": 1}}, None)
    with pytest.raises(ConfigError, match=r"text_share of 0\.5, got none"):
        OracleCollator(sources, space.processor, TASKS, None, text_share=0.5)


def test_text_rows_have_no_symbols(space: Workspace, sources: dict[str, ClipSource]) -> None:
    collate = OracleCollator(sources, space.processor, TASKS, None, ["hello there"], 1.0)
    batch = collate(some_batch())
    assert len(batch["input_ids"]) == 12
    assert model_of(space)(**batch).loss.isfinite()


def test_what_is_heard_enters_at_the_placeholders_only(
    space: Workspace, sources: dict[str, ClipSource]
) -> None:
    model = model_of(space).eval()
    model.match_loudness()
    batch = OracleCollator(sources, space.processor, TASKS, None)(some_batch())
    symbols = batch["symbols"].clone().requires_grad_()
    seen: list[torch.Tensor] = []
    model.language_model.model.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append(kwargs["inputs_embeds"]), with_kwargs=True
    )
    model(**{**batch, "symbols": symbols})
    is_audio = batch["input_ids"] == space.processor.audio_token_id
    embeddings = model.language_model.get_input_embeddings().weight
    torch.testing.assert_close(seen[0][~is_audio], embeddings[batch["input_ids"][~is_audio]])
    torch.testing.assert_close(seen[0][is_audio], model.oracle(batch["symbols"]))
    loudness = model.oracle(batch["symbols"]).pow(2).mean().sqrt()
    torch.testing.assert_close(loudness, embeddings.pow(2).mean().sqrt(), rtol=0.01, atol=0)


def test_the_decoder_learns_to_name_what_the_oracle_hears(
    space: Workspace, sources: dict[str, ClipSource]
) -> None:
    model = model_of(space).train()
    model.match_loudness()
    batch = OracleCollator(sources, space.processor, TASKS, OracleNoise())(some_batch())
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(25):
        loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]


def test_the_first_stage_takes_the_decoder_that_practised(tmp_path: Path) -> None:
    recipe = tiny_recipe(2)
    settings = recipe.stages["stage1"].model_dump()
    practice = {name: settings[name] for name in ("mixture", "tasks", "trainer")}
    settings["oracle_weight"] = 1.0
    raw = {
        **recipe.model_dump(),
        "oracles": {"oracle_short": practice, "oracle": practice},
        "stages": {"stage1": settings},
    }
    space = workspace(tmp_path, recipe=type(recipe).model_validate(raw))
    for stage in stage_names(space.recipe)[:-1]:
        run_stage(space, stage)
    name = "language_model.model.layers.0.mlp.up_proj.weight"

    def weight(stage: str, prefix: str) -> torch.Tensor:
        newest = sorted((space.run / stage).glob("checkpoint-*"))[-1]
        return load_file(newest / "model.safetensors")[prefix + name]

    assert torch.equal(weight("stage1", "model."), weight("oracle", ""))
    log = (space.run / "stage1" / "log.jsonl").read_text().splitlines()
    # A batch of words alone, whose phones nobody told, has no distance to anything.
    assert any(json.loads(line)["oracle_loss"] > 0.1 for line in log)
    phases = [weight(stage, "") for stage in ("decoder", "oracle_short", "oracle")]
    assert not torch.equal(phases[0], phases[1])
    assert (phases[2] - phases[1]).norm() < 0.5 * phases[1].norm()  # it went on from there
    wrapped = MultimodalModel(EurekaAudioForConditionalGeneration(space.config()), ["adapter"])
    load_previous(space, "stage1", wrapped)
    gain = wrapped.model.adapter.layer_norm.weight.detach()
    assert torch.equal(gain, wrapped.oracle.loudness.expand_as(gain))
    match_loudness(wrapped.model)  # as where there is no oracle
    embeddings = wrapped.model.get_input_embeddings().weight
    torch.testing.assert_close(gain[0], embeddings.detach().pow(2).mean().sqrt())
