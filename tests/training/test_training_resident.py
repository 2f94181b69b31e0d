"""Clips on the device: what is heard and learnt there is what is heard and learnt clip by clip."""

import numpy as np
import pytest
import torch

from eureka_audio.audio import clock
from eureka_audio.audio.features import log_mel_spectrogram
from eureka_audio.data.augment import UNMOVED, Timeline
from eureka_audio.data.sources import HeardSample
from eureka_audio.errors import TrainingError
from eureka_audio.processor import pad_features
from eureka_audio.records import AudioClip, AudioEvent, Phone, Speaker
from eureka_audio.synthesis.phones import PHONES
from eureka_audio.training.heads import NUM_EVENT_TAGS, SILENCE, UNKNOWN_FRAME, head_targets
from eureka_audio.training.oracle import SYMBOLS, token_symbols
from eureka_audio.training.resident import (
    MAX_RESPONSE,
    NARROW_FROM,
    NOTHING,
    TELEPHONE,
    Ragged,
    ResidentClips,
    _curves,
    _responses,
    _spoilt,
    clip_targets,
)

CPU = torch.device("cpu")


def made(number: int, seconds: float, **known: object) -> AudioClip:
    return AudioClip(
        id=str(number),
        path=f"{number}.wav",
        duration_seconds=seconds,
        **known,  # type: ignore[arg-type]
    )


CLIPS = [
    made(
        0,
        1.0,
        transcript="see",
        phones=(Phone("s", 0.11, 0.33), Phone("iy", 0.33, 0.7)),
        speaker=Speaker(gender="female", age_group="adult"),
    ),
    made(1, 2.013, events=(AudioEvent(kind="sound", label="rain", end_seconds=1.5),)),
    made(2, 0.4, transcript="five", speaker=Speaker(gender="male")),
    made(3, 1.33, transcript="oh", phones=(Phone("ow", 0.5, 1.0),), background="wind"),
    made(4, 0.9),
]


@pytest.fixture(scope="module")
def waves() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    sizes = [round(clip.duration_seconds * clock.SAMPLING_RATE) for clip in CLIPS]
    return [(3000 * rng.standard_normal(size)).astype(np.int16) for size in sizes]


@pytest.fixture(scope="module")
def resident(waves: list[np.ndarray]) -> ResidentClips:
    targets = [clip_targets(clip, len(wave)) for clip, wave in zip(CLIPS, waves, strict=True)]
    return ResidentClips(["a", "b", "a", "a", "b"], waves, targets, 80, CPU)


@pytest.mark.parametrize("chosen", [[0, 1, 2, 3, 4], [2, 0], [4]])
def test_a_batch_is_what_the_clips_are_one_by_one(
    resident: ResidentClips, waves: list[np.ndarray], chosen: list[int]
) -> None:
    inputs, targets = resident.batch(torch.tensor(chosen), spoil=False)
    samples = [waves[i].astype(np.float32) / 32767 for i in chosen]
    expected = pad_features([log_mel_spectrogram(torch.from_numpy(s), 80) for s in samples], 32)
    assert torch.equal(inputs["feature_lengths"], expected["feature_lengths"])
    torch.testing.assert_close(
        inputs["input_features"], expected["input_features"], rtol=0, atol=2e-3
    )
    heard = [HeardSample(s, [CLIPS[i]], UNMOVED) for s, i in zip(samples, chosen, strict=True)]
    reference = head_targets(heard)
    assert targets.keys() == reference.keys()
    for name in ("ctc_lengths", "phone_targets", "tag_targets", "tag_known"):
        assert torch.equal(targets[name], reference[name]), name
    for row, length in enumerate(reference["ctc_lengths"].clamp(min=0).tolist()):
        assert torch.equal(
            targets["ctc_targets"][row, :length], reference["ctc_targets"][row, :length]
        )


def test_symbols_are_the_oracles(resident: ResidentClips) -> None:
    ids = torch.arange(len(CLIPS))
    num_tokens = resident.num_tokens(resident.log_mels.lengths[ids])
    symbols = resident.symbols(ids, num_tokens, 0.0)
    expected = np.concatenate(
        [
            token_symbols(clip, int(count), None, np.random.default_rng(0))
            for clip, count in zip(CLIPS, num_tokens, strict=True)
        ]
    )
    assert symbols.shape == expected.shape
    # Sounds and voices are kept to whole audio tokens, phones exactly.
    num_phones = len(PHONES)
    np.testing.assert_allclose(symbols[:, :num_phones], expected[:, :num_phones], atol=1e-6)
    assert np.abs(symbols.numpy() - expected).max() <= 0.5


def test_symbols_of_a_faster_clip_move_along(resident: ResidentClips) -> None:
    ids = torch.tensor([0, 1])
    speed = torch.tensor([2.0, 1.0])
    num_tokens = resident.num_tokens((resident.log_mels.lengths[ids] / speed).round().long())
    symbols = resident.symbols(ids, num_tokens, 0.0, speed).numpy()
    faster = token_symbols(
        CLIPS[0], int(num_tokens[0]), None, np.random.default_rng(0), Timeline(2.0, 0.0)
    )
    # To the nearest frame, a quarter of a token.
    assert np.abs(symbols[: len(faster)] - faster).max() <= 0.25
    own = resident.symbols(ids[1:], num_tokens[1:], 0.0).numpy()
    np.testing.assert_array_equal(symbols[len(faster) :], own)


def test_a_wrong_oracle_changes_whole_phones_only(resident: ResidentClips) -> None:
    ids = torch.tensor([0] * 400)
    num_tokens = resident.num_tokens(resident.log_mels.lengths[ids])
    torch.manual_seed(0)
    symbols = resident.symbols(ids, num_tokens, 0.8).unflatten(0, (400, -1))
    vowel = symbols[:, 5:8, : len(PHONES)]  # nothing but "iy"
    assert torch.equal(vowel[:, 0], vowel[:, 1])
    right = vowel[:, 0, SYMBOLS.index("iy")].mean()
    assert 0 < float(right) < 1  # the clips differ in how often they err
    assert (vowel[:, 0].sum(dim=1) == 0).any()  # some go unheard


def test_a_faster_clip_is_shorter_and_its_phones_move_along(resident: ResidentClips) -> None:
    inputs, targets = resident.batch(torch.tensor([0]), spoil=False, speeds=(2.0, 2.0))
    assert inputs["feature_lengths"].tolist() == [50]
    phones = targets["phone_targets"][0]
    spoken = (phones != SILENCE).nonzero().flatten()
    assert len(phones) == 25
    # Said from 0.11 to 0.7 s, heard from 0.055 to 0.35 s, to the nearest frame.
    assert spoken.tolist() == list(range(2, 17))


def test_spoiling_changes_the_sound_and_nothing_else(resident: ResidentClips) -> None:
    ids = torch.tensor([0, 1, 2])
    plain, plain_targets = resident.batch(ids, spoil=False)
    torch.manual_seed(1)
    spoilt, spoilt_targets = resident.batch(ids, spoil=True, same_voice=torch.tensor([True] * 3))
    assert not torch.equal(plain["input_features"], spoilt["input_features"])
    assert spoilt["input_features"].isfinite().all()
    assert torch.equal(plain["feature_lengths"], spoilt["feature_lengths"])
    for name, value in plain_targets.items():
        assert torch.equal(value, spoilt_targets[name])
    for row, length in enumerate(spoilt["feature_lengths"].tolist()):
        assert (spoilt["input_features"][row, :, length:] == 0).all()


def test_of_a_speaker_who_became_another_nothing_is_claimed(resident: ResidentClips) -> None:
    ids = torch.tensor([0] * 60 + [1] * 60)
    _, plain = resident.batch(ids, spoil=False)
    torch.manual_seed(0)
    _, spoilt = resident.batch(ids, spoil=True)
    known = spoilt["tag_known"][:60, NUM_EVENT_TAGS:].all(dim=1)
    assert 15 < int(known.sum()) < 55  # a quarter to a half become others
    assert not spoilt["tag_known"][:60, NUM_EVENT_TAGS:][~known].any()
    assert torch.equal(spoilt["tag_known"][60:], plain["tag_known"][60:])  # nobody speaks
    assert torch.equal(
        spoilt["tag_known"][:, :NUM_EVENT_TAGS], plain["tag_known"][:, :NUM_EVENT_TAGS]
    )


def test_half_of_the_microphones_hear_some_bands_louder_than_others() -> None:
    torch.manual_seed(0)
    response = _responses(torch.zeros(400, 10, 80))
    assert response.shape == (400, 1, 80)
    spread = response.amax(dim=(1, 2)) - response.amin(dim=(1, 2))
    assert 160 < int((spread > 0.2).sum()) < 240
    assert 160 < int((spread == 0).sum()) < 240
    assert 0.7 < float(response.abs().max()) <= MAX_RESPONSE
    assert float(response.diff(dim=2).abs().max()) < 0.15  # straight between knots 13 bins apart


def test_a_curve_is_straight_between_few_frequencies() -> None:
    torch.manual_seed(0)
    curves = _curves(torch.zeros(400, 10, 80), 0.8)
    assert curves.shape == (400, 1, 80)
    assert 0.7 < float(curves.abs().max()) <= 0.8
    assert float(curves.diff(dim=2).abs().max()) < 0.15  # knots are 13 bins apart
    assert float(curves.std(dim=0).min()) > 0.2  # each clip has its own, at every frequency


def test_a_narrow_band_leaves_the_lower_bins(resident: ResidentClips) -> None:
    torch.manual_seed(0)
    inputs, _ = resident.batch(torch.tensor([0] * 200), spoil=True)
    contrast = inputs["input_features"][:, :50].mean((1, 2)) - inputs["input_features"][:, -1].mean(
        1
    )
    assert 20 < int((contrast > 0.6).sum()) < 60


def test_a_narrow_band_holds_of_the_noise_too() -> None:
    torch.manual_seed(0)
    tone = torch.full((2000, 10, 80), -2.0)
    spoilt = _spoilt(tone, torch.ones(2000, 10, dtype=torch.bool), torch.ones(2000))
    is_empty = spoilt < NOTHING / 2
    num_left = (~is_empty).any(1).sum(1)
    narrow = num_left < 80
    assert 500 < int(narrow.sum()) < 700  # three in ten
    assert int(num_left.min()) >= 80 * NARROW_FROM
    assert 200 < int((num_left == int(80 * TELEPHONE) + 1).sum()) < 400  # half of them
    is_noisy = spoilt.std(dim=1).amax(1) > 0.01
    assert 200 < int((narrow & is_noisy).sum()) < 400
    assert is_empty[narrow, :, -1].all()


def test_a_clip_without_sound_is_read_but_not_heard(waves: list[np.ndarray]) -> None:
    targets = [clip_targets(clip, len(wave)) for clip, wave in zip(CLIPS, waves, strict=True)]
    silent = [np.empty(0, np.int16), *waves[1:]]
    clips = ResidentClips(["a", "b", "a", "a", "b"], silent, targets, 80, CPU)
    ids = torch.tensor([0, 3])
    heard = ResidentClips(["a", "b", "a", "a", "b"], waves, targets, 80, CPU)
    num_tokens = clips.num_own_tokens(ids)
    assert torch.equal(num_tokens, heard.num_tokens(heard.log_mels.lengths[ids]))
    assert torch.equal(clips.symbols(ids, num_tokens, 0.0), heard.symbols(ids, num_tokens, 0.0))
    assert torch.equal(
        clips.batch(torch.tensor([3, 1]), spoil=False)[0]["input_features"],
        heard.batch(torch.tensor([3, 1]), spoil=False)[0]["input_features"],
    )
    with pytest.raises(TrainingError, match="only read"):
        clips.batch(ids, spoil=False)


def test_the_oracle_mistakes_phones_as_an_ear_does(resident: ResidentClips) -> None:
    ids = torch.tensor([0] * 300)
    num_tokens = resident.num_own_tokens(ids)
    index = {phone: i for i, phone in enumerate(PHONES)}

    def heard() -> set[int]:
        symbols = resident.symbols(ids, num_tokens, 1.0)[:, : len(PHONES)]
        return set(symbols.sum(0).nonzero().flatten().tolist())

    torch.manual_seed(0)
    assert len(heard()) > 20
    confusions = torch.zeros(len(PHONES), len(PHONES))
    confusions[index["s"], index["z"]] = 3.0
    confusions[index["iy"], index["ih"]] = 1.0
    confusions[index["iy"], index["ey"]] = 9.0
    resident.confusions = confusions
    try:
        assert heard() == {index[phone] for phone in ("s", "z", "iy", "ih", "ey")}
        taken = resident._taken_for(
            torch.full((1, 10_000), index["iy"]), torch.linspace(0, 0.99999, 10_000)[None]
        )
    finally:
        resident.confusions = None
    assert float((taken == index["ey"]).float().mean()) == pytest.approx(0.9, abs=0.01)


def test_a_plan_draws_from_each_source_what_is_short_enough(resident: ResidentClips) -> None:
    plan = resident.plan({"a": 1.0, "b": 1.0, "none": 3.0}, 4.0, 1.0, seed=0)
    seen = {int(i) for step in range(30) for i in resident.ids(plan, step)}
    assert seen == {0, 2, 4}


def test_past_the_end_of_a_row_is_its_last_value() -> None:
    ragged = Ragged([torch.tensor([1, 2, 3]), torch.tensor([7])], [3, 1], CPU)
    taken = ragged.take(torch.tensor([1, 0]), torch.arange(4)[None])
    assert taken.tolist() == [[7, 7, 7, 7], [1, 2, 3, 3]]


def test_unknown_frames_stay_unknown_under_speed(resident: ResidentClips) -> None:
    _, targets = resident.batch(torch.tensor([2, 4]), spoil=True, speeds=(0.8, 1.2))
    assert (targets["phone_targets"] == UNKNOWN_FRAME).all()
