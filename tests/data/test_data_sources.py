"""Banks of waveforms, and what is heard of them."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from eureka_audio.data.augment import AugmentConfig
from eureka_audio.data.mixture import Sample
from eureka_audio.data.sources import ClipSource, hear
from eureka_audio.data.waveforms import WaveformBank
from eureka_audio.errors import AudioError, AudioFormatError, AudioNotFoundError, TrainingError
from eureka_audio.records import AudioClip, AudioEvent

LENGTHS = (8_000, 12_345, 16_000)


def make_clips(folder: Path, *, speech: bool = False, pitch: float = 300.0) -> list[AudioClip]:
    folder.mkdir(parents=True, exist_ok=True)
    clips = []
    for number, length in enumerate(LENGTHS):
        path = folder / f"{number}.flac"
        time = np.arange(length) / 16_000
        soundfile.write(path, 0.5 * np.sin(2 * np.pi * pitch * (number + 1) * time), 16_000)
        events = (AudioEvent(kind="sound", label=f"tone {pitch:.0f}", end_seconds=0.4),)
        clips.append(
            AudioClip(
                id=f"{folder.name}-{number}",
                path=str(path),
                duration_seconds=length / 16_000,
                transcript="one two" if speech else None,
                events=None if speech else events,
            )
        )
    return clips


def source(name: str, tmp_path: Path, **settings: object) -> ClipSource:
    clips = make_clips(tmp_path / name, **settings)  # type: ignore[arg-type]
    return ClipSource.open(name, clips, tmp_path / "cache")


def test_a_bank_holds_every_waveform_to_16_bits(tmp_path: Path) -> None:
    clips = make_clips(tmp_path / "audio")
    bank = WaveformBank.open(clips, tmp_path / "cache")
    assert len(bank) == 3
    assert bank.durations_seconds.tolist() == [clip.duration_seconds for clip in clips]
    for index, clip in enumerate(clips):
        truth, _ = soundfile.read(clip.path, dtype="float32")
        assert bank[index].dtype == np.float32
        assert bank[index].shape == truth.shape
        assert np.abs(bank[index] - truth).max() <= 1.0 / 32767


def test_a_source_without_a_bank_is_read_but_not_heard(tmp_path: Path) -> None:
    heard = source("words", tmp_path)
    read = ClipSource("words", heard.clips, None)
    assert read.durations_seconds.tolist() == heard.durations_seconds.tolist()
    assert heard.bank is not None
    assert np.array_equal(heard.waveform(1), heard.bank[1])
    with pytest.raises(TrainingError, match="'words'"):
        read.waveform(1)


def test_a_bank_is_decoded_once_and_keyed_by_its_clips(tmp_path: Path) -> None:
    clips, cache = make_clips(tmp_path / "audio"), tmp_path / "cache"
    first = WaveformBank.open(clips, cache)
    for clip in clips:
        Path(clip.path).unlink()
    again = WaveformBank.open(clips, cache)  # no file is read
    assert again.folder == first.folder
    assert np.array_equal(again[1], first[1])
    others = make_clips(tmp_path / "audio", pitch=500.0)
    changed = [*clips[:2], others[2].model_copy(update={"id": "another"})]
    for other in (clips[::-1], clips[:2], changed):
        assert WaveformBank.open(other, cache).folder != first.folder


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (None, AudioNotFoundError),
        (b"", AudioError),
        (b"this is no audio at all" * 10, AudioFormatError),
        ("cut", AudioError),
    ],
)
def test_a_clip_that_cannot_be_decoded_is_named_and_leaves_no_bank(
    tmp_path: Path, content: bytes | str | None, error: type[AudioError]
) -> None:
    clips = make_clips(tmp_path / "audio")
    bad = Path(clips[1].path)
    if content is None:
        bad.unlink()
    else:
        bad.write_bytes(bad.read_bytes()[:600] if content == "cut" else content)  # type: ignore[arg-type]
    with pytest.raises(error, match=r"1\.flac"):
        WaveformBank.open(clips, tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_a_clip_without_augmentation_is_heard_as_it_is(tmp_path: Path) -> None:
    sources = {"sounds": source("sounds", tmp_path)}
    waveform = hear(sources, Sample("sounds", 1, 0), None, np.random.default_rng(0))
    assert np.array_equal(waveform, sources["sounds"].bank[1])


def calm(**settings: float) -> AugmentConfig:
    probabilities = {
        "sound_as_noise_probability": 0.0,
        "speed_probability": 0.0,
        "noise_probability": 0.0,
        "room_probability": 0.0,
        "band_limit_probability": 0.0,
        "shift_probability": 0.0,
    }
    return AugmentConfig(gain_db=(0.0, 0.0), **{**probabilities, **settings})  # type: ignore[arg-type]


def test_a_sound_may_be_heard_behind_speech_and_never_behind_a_sound(tmp_path: Path) -> None:
    sources = {"low": source("low", tmp_path), "speech": source("speech", tmp_path, speech=True)}
    assert sources["low"].is_pure_sound
    assert not sources["speech"].is_pure_sound
    noisy = calm(noise_probability=1.0, sound_as_noise_probability=1.0)

    def loudest_hz(name: str, seed: int) -> float:
        heard = hear(sources, Sample(name, 2, seed), noisy, np.random.default_rng(seed))
        assert len(heard) == 16_000
        added = heard - sources[name].bank[2]
        return float(np.argmax(np.abs(np.fft.rfft(added))))  # of one second

    # The tones of `low` are at 300, 600 and 900 Hz.
    assert any(loudest_hz("speech", seed) in (300, 600, 900) for seed in range(10))
    spectra = {loudest_hz("low", seed) for seed in range(10)}
    assert not spectra <= {300, 600, 900}


def test_the_same_seed_is_heard_the_same(tmp_path: Path) -> None:
    sources = {"low": source("low", tmp_path), "speech": source("speech", tmp_path, speech=True)}
    for name in sources:
        first, second = (
            hear(sources, Sample(name, 0, 4), AugmentConfig(), np.random.default_rng(4))
            for _ in range(2)
        )
        assert np.array_equal(first, second)
