"""Encoder features are computed once, in any order of lengths, and found again."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from eureka_audio.data import feature_bank
from eureka_audio.data.feature_bank import FeatureBank
from eureka_audio.errors import TrainingError
from eureka_audio.records import AudioClip

LENGTHS = (8000, 32000, 16000, 6400, 48000)


class Encoder:
    """Frames of 3200 samples with their mean, and a count of the clips that were heard."""

    def __init__(self, most: int | None = None) -> None:
        self.heard = 0
        self.most = most

    def __call__(self, waveforms: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float16]]:
        self.heard += len(waveforms)
        if self.most is not None and self.heard > self.most:
            raise KeyboardInterrupt
        frames = [np.resize(each, (-(-len(each) // 3200), 3200)) for each in waveforms]
        return [each.mean(axis=1, keepdims=True).astype(np.float16) for each in frames]


@pytest.fixture
def clips(tmp_path: Path) -> list[AudioClip]:
    made = []
    for number, length in enumerate(LENGTHS):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, np.full(length, number / 10), 16000)
        made.append(AudioClip(id=str(number), path=str(path), duration_seconds=length / 16000))
    return made


def test_each_clip_has_its_own_features(clips: list[AudioClip], tmp_path: Path) -> None:
    bank = FeatureBank.open(clips, Encoder(), "encoder", tmp_path / "cache")
    assert len(bank) == len(LENGTHS)
    for number, length in enumerate(LENGTHS):
        assert bank[number].shape == (-(-length // 3200), 1)
        assert np.allclose(bank[number], number / 10, atol=1e-3)
    with pytest.raises(IndexError, match="below 5"):
        bank[5]


def test_a_bank_is_found_again_and_another_encoder_makes_another(
    clips: list[AudioClip], tmp_path: Path
) -> None:
    first, again, other = Encoder(), Encoder(), Encoder()
    FeatureBank.open(clips, first, "encoder", tmp_path / "cache")
    FeatureBank.open(clips, again, "encoder", tmp_path / "cache")
    FeatureBank.open(clips, other, "another", tmp_path / "cache")
    assert (first.heard, again.heard, other.heard) == (5, 0, 5)


def test_a_bank_that_was_cut_off_goes_on(
    clips: list[AudioClip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_bank, "CLIPS_PER_SHARD", 2)
    with pytest.raises(KeyboardInterrupt):
        FeatureBank.open(clips, Encoder(most=3), "encoder", tmp_path / "cache")
    rest = Encoder()
    bank = FeatureBank.open(clips, rest, "encoder", tmp_path / "cache")
    assert rest.heard == 3
    assert [len(bank[number]) for number in range(5)] == [3, 10, 5, 2, 15]


def test_an_encoder_that_loses_a_clip_is_refused(clips: list[AudioClip], tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="features of"):
        FeatureBank.open(clips, lambda waveforms: [], "encoder", tmp_path / "cache")
