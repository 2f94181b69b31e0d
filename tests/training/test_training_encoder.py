"""Pretraining of the encoder and its heads: what is learnt from what is known, and nothing from
padding.
"""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_recipe import tiny_recipe, workspace
from torch import Tensor

from eureka_audio.audio.clock import SAMPLING_RATE
from eureka_audio.data.augment import AugmentConfig, Timeline
from eureka_audio.data.mixture import Batch, Sample
from eureka_audio.data.sources import ClipSource, HeardSample
from eureka_audio.errors import ConfigError
from eureka_audio.records import AudioClip, AudioEvent, Phone, Speaker
from eureka_audio.synthesis.phones import PHONES
from eureka_audio.training.encoder_pretraining import EncoderWithHeads, PretrainingCollator
from eureka_audio.training.encoder_stage import build_encoder, judge_encoder
from eureka_audio.training.heads import (
    CHARACTERS,
    NUM_EVENT_TAGS,
    SILENCE,
    TAGS,
    TRAIT_TAGS,
    UNKNOWN_FRAME,
    ctc_loss,
    decode_characters,
    encode_characters,
    pad_transcripts,
    phone_loss,
    phone_targets,
    spoken_words,
    tag_targets,
)
from eureka_audio.training.recipe import open_sources


def clip(**known: object) -> AudioClip:
    return AudioClip(id="x", path="x.wav", duration_seconds=2.0, **known)  # type: ignore[arg-type]


def sound(label: str) -> AudioEvent:
    return AudioEvent(kind="sound", label=label, end_seconds=1.0)


def speech() -> AudioEvent:
    return AudioEvent(kind="speech", label="a man", end_seconds=1.0, transcript="hi")


def spelled(text: str, num_frames: int) -> Tensor:
    """Logits `(L, characters)` that spell a text, each letter twice with a blank after it."""
    ids = [i for c in encode_characters(text) for i in (c, c, 0)]
    path = torch.tensor(ids + [0] * (num_frames - len(ids)))
    return 20.0 * torch.nn.functional.one_hot(path, len(CHARACTERS) + 1).float()


def test_letters_decode_to_what_was_encoded() -> None:
    text = "the bee's knees"
    logits = torch.stack([spelled(text, 64), spelled("aah", 64)])
    assert decode_characters(logits, torch.tensor([64, 64])) == [text, "aah"]
    assert decode_characters(logits, torch.tensor([9, 6])) == ["the", "aa"]  # padding is not read
    assert encode_characters("Tea, 5!") == encode_characters("tea ")


def loss_of(logits: Tensor, frames: list[int], transcripts: list[str | None]) -> float:
    padded = pad_transcripts(transcripts)
    lengths = torch.tensor(frames)
    return float(ctc_loss(logits, lengths, padded["ctc_targets"], padded["ctc_lengths"]))


def test_the_right_spelling_costs_nothing_and_a_wrong_one_much() -> None:
    logits = spelled("dog", 20)[None]
    assert loss_of(logits, [20], ["dog"]) < 1e-3
    assert loss_of(logits, [20], ["cat"]) > 5.0


def test_ctc_is_per_character_and_equal_to_torchs() -> None:
    torch.manual_seed(0)
    logits = torch.randn(3, 30, len(CHARACTERS) + 1)
    frames, texts = [30, 21, 25], ["dog", "a cat", "rain"]
    total = sum(
        torch.nn.functional.ctc_loss(
            logits[row : row + 1, :length].log_softmax(-1).transpose(0, 1),
            torch.tensor([encode_characters(text)]),
            torch.tensor([length]),
            torch.tensor([len(text)]),
            reduction="sum",
        )
        for row, (length, text) in enumerate(zip(frames, texts, strict=True))
    )
    assert loss_of(logits, frames, list(texts)) == pytest.approx(float(total) / 12, rel=1e-5)


def test_unknown_and_too_long_transcripts_are_left_out() -> None:
    torch.manual_seed(0)
    logits = torch.randn(3, 20, len(CHARACTERS) + 1)
    alone = loss_of(logits[:1], [20], ["dog"])
    assert loss_of(logits, [20, 20, 4], ["dog", None, "far too long"]) == pytest.approx(alone)
    assert loss_of(logits, [20, 20, 20], [None, None, None]) == 0.0
    doubled = loss_of(torch.randn(1, 3, len(CHARACTERS) + 1), [3], ["aaa"])  # needs 5 frames
    assert doubled == 0.0


def test_a_loss_of_nothing_still_has_a_gradient() -> None:
    logits = torch.randn(1, 4, len(CHARACTERS) + 1, requires_grad=True)
    padded = pad_transcripts([None])
    ctc_loss(logits, torch.tensor([4]), padded["ctc_targets"], padded["ctc_lengths"]).backward()
    assert logits.grad is not None
    assert logits.grad.abs().sum() == 0


def test_a_clip_without_words_teaches_blanks() -> None:
    blank = torch.zeros(1, 10, len(CHARACTERS) + 1)
    blank[..., 0] = 20.0
    assert loss_of(blank, [10], [""]) < 1e-3
    assert loss_of(spelled("dog", 10)[None], [10], [""]) > 1.0


def test_transcripts_are_padded_and_the_unknown_marked() -> None:
    padded = pad_transcripts(["ab", None, ""])
    assert padded["ctc_lengths"].tolist() == [2, -1, 0]
    assert padded["ctc_targets"].shape == (3, 2)
    assert pad_transcripts([None])["ctc_targets"].shape == (1, 1)


@pytest.mark.parametrize(
    ("clips", "words"),
    [
        ([clip(transcript="hello")], "hello"),
        ([clip()], None),
        ([clip(events=(sound("rain"),))], ""),
        ([clip(events=())], ""),
        ([clip(events=(speech(),))], None),
        ([clip(events=(sound("rain"),)), clip(events=(sound("dog barking"),))], ""),
        ([clip(events=(sound("rain"),)), clip()], None),
        ([clip(transcript="hello"), clip(events=())], None),
    ],
)
def test_what_is_said_is_known_or_not(clips: list[AudioClip], words: str | None) -> None:
    assert spoken_words(clips) == words


def named(vector: Tensor) -> set[str]:
    return {tag for tag, value in zip(TAGS, vector.tolist(), strict=True) if value}


EVENTS = set(TAGS[:NUM_EVENT_TAGS])


@pytest.mark.parametrize(
    ("clips", "true", "known"),
    [
        ([clip()], set(), set()),
        ([clip(events=(sound("rain"),))], {"rain"}, EVENTS),
        ([clip(events=(sound("rain"),), background="wind")], {"rain", "wind"}, EVENTS),
        ([clip(events=(sound("yodelling"),))], set(), EVENTS),  # a label that is no tag
        ([clip(events=(speech(), sound("rain")))], {"speech", "rain"}, EVENTS),
        ([clip(transcript="hi")], {"speech"}, {"speech"}),
        (
            [clip(transcript="hi", speaker=Speaker(gender="female"))],
            {"speech", "female voice"},
            {"speech", "female voice", "male voice"},
        ),
        (
            [clip(speaker=Speaker(gender="male", age_group="child"))],
            {"male voice", "child voice"},
            set(TRAIT_TAGS),
        ),
        (
            [clip(events=(sound("rain"),)), clip(events=(sound("dog barking"),))],
            {"rain", "dog barking"},
            EVENTS,
        ),
        ([clip(events=(sound("rain"),)), clip()], {"rain"}, set()),
    ],
)
def test_tags_say_what_holds_and_what_is_known(
    clips: list[AudioClip], true: set[str], known: set[str]
) -> None:
    target, mask = tag_targets(clips)
    assert named(target) == true
    assert named(mask) == known


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ClipSource]:
    space = workspace(tmp_path_factory.mktemp("tiny"))
    return open_sources(space.recipe, {"words", "sounds"}, space.data, Path(), space.run)


def tiny_encoder(sources: dict[str, ClipSource]) -> EncoderWithHeads:
    recipe = tiny_recipe()
    return build_encoder(recipe, recipe.encoders["short"])


def batch_of(
    sources: dict[str, ClipSource], *wanted: tuple[str, int], augment: AugmentConfig | None = None
) -> dict[str, Tensor]:
    collate = PretrainingCollator(sources, 80, augment)
    return collate(Batch(tuple(Sample(name, index, index) for name, index in wanted)))


def said(*phones: tuple[str, float, float], seconds: float = 0.2) -> HeardSample:
    """A sample of speech whose phones are known, heard as it is."""
    samples = np.zeros(int(seconds * SAMPLING_RATE), np.float32)
    known = clip(transcript="a", phones=tuple(Phone(*phone) for phone in phones))
    return HeardSample(samples, [known], Timeline())


def names_of(classes: Tensor) -> str:
    """One word per encoder frame: a phone, `-` for silence, `?` for unknown."""
    return " ".join(
        {SILENCE: "-", UNKNOWN_FRAME: "?"}.get(c) or PHONES[c - 1] for c in classes.tolist()
    )


def test_each_frame_is_the_phone_in_its_middle() -> None:
    sample = said(("s", 0.02, 0.069), ("iy", 0.069, 0.12), ("unk", 0.12, 0.16))
    assert names_of(phone_targets(sample)) == "- s s iy iy iy ? ? - -"


def test_phones_move_with_the_clip() -> None:
    sample = said(("s", 0.02, 0.06), ("iy", 0.06, 0.12), seconds=0.3)
    faster = sample._replace(timeline=Timeline(speed=2.0, shift_seconds=0.1))
    # The edges 0.02, 0.06 and 0.12 s are heard at 0.11, 0.13 and 0.16 s.
    assert names_of(phone_targets(faster)) == "- - - - - s iy iy - - - - - - -"


def test_frames_of_which_nothing_is_known_are_not_learnt() -> None:
    speechless = HeardSample(np.zeros(3200, np.float32), [clip(events=())], Timeline())
    assert names_of(phone_targets(speechless)) == " ".join("-" * 10)
    unlabelled = HeardSample(np.zeros(3200, np.float32), [clip(transcript="hi")], Timeline())
    assert names_of(phone_targets(unlabelled)) == " ".join("?" * 10)


def test_the_phone_loss_is_the_mean_over_known_frames() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 6, len(PHONES) + 1)
    targets = torch.tensor([[1, 2, UNKNOWN_FRAME, 0], [UNKNOWN_FRAME] * 4])
    known = torch.stack([logits[0, 0], logits[0, 1], logits[0, 3]])
    expected = torch.nn.functional.cross_entropy(known, torch.tensor([1, 2, 0]))
    torch.testing.assert_close(phone_loss(logits, targets), expected)
    assert phone_loss(logits, torch.full((2, 4), UNKNOWN_FRAME)) == 0.0


def test_padding_changes_no_output(sources: dict[str, ClipSource]) -> None:
    model = tiny_encoder(sources).eval()
    order = np.argsort(sources["words"].bank.durations_seconds)
    short, long = int(order[0]), int(order[-1])
    alone = model(**batch_of(sources, ("words", short)))
    together = batch_of(sources, ("words", short), ("words", long))
    padded = torch.nn.functional.pad(together["input_features"], (0, 64), value=5.0)
    beside = model(**{**together, "input_features": padded})
    torch.testing.assert_close(
        beside.heads.tag_logits[:1], alone.heads.tag_logits, rtol=1e-4, atol=1e-5
    )
    length = int(alone.frame_lengths[0])
    for name in ("ctc_logits", "phone_logits"):
        torch.testing.assert_close(
            getattr(beside.heads, name)[0, :length],
            getattr(alone.heads, name)[0, :length],
            rtol=1e-4,
            atol=1e-5,
        )


def test_an_unknown_tag_is_not_learnt(sources: dict[str, ClipSource]) -> None:
    model = tiny_encoder(sources).eval()
    batch = batch_of(sources, ("words", 0), ("sounds", 0))
    loss = model(**batch).loss
    flipped = copy.deepcopy(batch)
    unknown = ~flipped["tag_known"]
    assert unknown.any()
    flipped["tag_targets"][unknown] = 1.0
    assert torch.equal(model(**flipped).loss, loss)


def test_batches_are_augmented_by_seed(sources: dict[str, ClipSource]) -> None:
    wanted = [("words", 1), ("sounds", 2), ("words", 3)]
    first, second = (batch_of(sources, *wanted, augment=AugmentConfig()) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    plain = batch_of(sources, *wanted)
    assert not torch.equal(plain["feature_lengths"], first["feature_lengths"])


def test_a_few_clips_are_learnt_by_heart(sources: dict[str, ClipSource]) -> None:
    torch.manual_seed(0)
    model = tiny_encoder(sources).train()
    wanted = [("words", i) for i in range(3)] + [("sounds", i) for i in range(2)]
    batch = batch_of(sources, *wanted)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.4 * losses[0]


def test_an_encoder_is_judged_by_word_and_tag(sources: dict[str, ClipSource]) -> None:
    model = tiny_encoder(sources).eval()
    collate = PretrainingCollator(sources, 80, None)
    with torch.inference_mode():
        words = judge_encoder(model, "words", sources["words"], collate)
        sounds = judge_encoder(model, "sounds", sources["sounds"], collate)
    assert words["words/wer"] > 0
    assert 0 <= words["words/gender"] <= 1
    assert set(sounds) == {"sounds/event"}


def test_a_source_the_recipe_lacks_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"does not have: \['nothing'\]"):
        open_sources(tiny_recipe(), {"nothing"}, Path(), Path(), Path())
