"""Rendered sounds and composed scenes: their labels are true by construction."""

import argparse
from pathlib import Path

import numpy as np
import pytest
import soundfile

from eureka_audio.audio.clock import SAMPLING_RATE
from eureka_audio.cli import synthesize
from eureka_audio.errors import AudioFormatError, ManifestError
from eureka_audio.manifest import read_manifest
from eureka_audio.records import AudioClip, AudioEvent, Speaker
from eureka_audio.synthesis.music import INSTRUMENTS, drum_beat, melody, single_note
from eureka_audio.synthesis.parts import Material, clip_part
from eureka_audio.synthesis.scenes import (
    MAX_SECONDS,
    compose_scene,
    place_parts,
    render_sound,
)
from eureka_audio.synthesis.signals import at_level
from eureka_audio.synthesis.sounds import SOUNDS, RenderedSound
from eureka_audio.tasks.captions import TIMES, Heard, caption, clause, speaker_noun


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    folder = tmp_path_factory.mktemp("material")
    rng = np.random.default_rng(0)
    clips = []
    for name, seconds in (("voice", 1.6), ("dog", 2.5), ("oboe", 0.8)):
        soundfile.write(
            folder / f"{name}.flac", 0.3 * rng.standard_normal(int(seconds * 16000)), 16000
        )
        clips.append(
            AudioClip(
                id=name,
                path=str(folder / f"{name}.flac"),
                duration_seconds=seconds,
                split="test",
                restricted=name == "oboe",
            )
        )
    voice, dog, oboe = clips
    woman = Speaker(id="w", gender="female", age_group="adult")
    spoken = {"transcript": "we call it bear", "language": "en", "speaker": woman}
    bark = AudioEvent(kind="sound", label="dog barking", end_seconds=2.5)
    note = AudioEvent(kind="instrument", label="oboe", end_seconds=0.8)
    return Material(
        "test",
        (
            voice.model_copy(update=spoken),
            dog.model_copy(update={"events": (bark,)}),
            oboe.model_copy(update={"events": (note,)}),
        ),
    )


@pytest.mark.parametrize("sound", SOUNDS, ids=lambda sound: sound.label)
def test_every_sound_is_finite_loud_and_follows_its_generator(sound: RenderedSound) -> None:
    first, second = (sound.render(2.0, np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(first, second)
    assert np.isfinite(first).all()
    assert np.abs(first).max() > 1e-2
    if not sound.is_strike:
        assert len(first) == pytest.approx(2.0 * SAMPLING_RATE, abs=2)


@pytest.mark.parametrize("name", INSTRUMENTS)
def test_every_instrument_plays_notes_and_tunes(name: str) -> None:
    for seed in range(4):
        rng = np.random.default_rng(seed)
        for played in (single_note(name, rng), melody(name, 2.0, rng)):
            assert np.isfinite(played).all()
            assert 1e-2 < np.abs(played).max() < 50
    assert np.isfinite(drum_beat(2.0, rng)).all()


def test_a_note_has_its_pitch() -> None:
    for name, (play, _, _) in INSTRUMENTS.items():
        note = play(440.0, 0.8, np.random.default_rng(1))
        spectrum = np.abs(np.fft.rfft(note * np.hanning(len(note))))
        hertz = np.fft.rfftfreq(len(note), 1 / SAMPLING_RATE)
        strongest = float(hertz[spectrum.argmax()])
        ratio = strongest / 440.0
        assert abs(ratio - round(ratio)) < 0.04, (name, strongest)


def test_levels_are_what_was_asked_for() -> None:
    quiet = at_level(np.sin(np.arange(16000.0)), -20.0)
    assert 20 * np.log10(np.sqrt(np.mean(quiet**2))) == pytest.approx(-20, abs=0.5)
    assert np.abs(at_level(np.sin(np.arange(16000.0)), 6.0)).max() <= 0.951


def test_scenes_follow_seed_and_number(material: Material) -> None:
    first, clip = compose_scene(1, 4, material)
    again, same = compose_scene(1, 4, material)
    assert np.array_equal(first, again)
    assert clip == same
    assert not np.array_equal(compose_scene(2, 4, material)[0], first)


def test_a_scene_says_what_is_in_it(material: Material) -> None:
    for index in range(60):
        waveform, clip = compose_scene(0, index, material)
        assert clip.split == "test"
        assert clip.dense_caption is not None
        assert clip.events
        seconds = len(waveform) / SAMPLING_RATE
        assert 1.5 <= seconds <= MAX_SECONDS + 0.5
        assert clip.duration_seconds == pytest.approx(seconds, abs=1e-3)
        assert np.isfinite(waveform).all()
        assert np.abs(waveform).max() <= 1.0
        starts = [event.start_seconds for event in clip.events]
        assert starts == sorted(starts)
        assert all(e.start_seconds < e.end_seconds <= clip.duration_seconds for e in clip.events)
        for event in clip.events:
            assert clause(Heard(event)) in clip.dense_caption
        assert ("in the background" in clip.dense_caption) == (clip.background is not None)
        spoken = [event for event in clip.events if event.kind == "speech"]
        assert (clip.transcript or "").count("we call it bear") == len(spoken)
        assert clip.restricted == any(event.label == "oboe" for event in clip.events)


def test_counts_in_captions_are_counts_of_events() -> None:
    for index in range(60):
        _, clip = render_sound(3, index, "train")
        assert clip.events is not None
        assert clip.dense_caption is not None
        for count, word in TIMES.items():
            if clip.dense_caption.endswith(f" {word}."):
                assert len(clip.events) == count


def test_events_are_where_the_sound_is() -> None:
    for index in range(40):
        waveform, clip = render_sound(0, index, "train")
        assert clip.events is not None
        first, last = clip.events[0], clip.events[-1]
        inside = waveform[int(first.start_seconds * 16000) : int(last.end_seconds * 16000)]
        before = waveform[: int(first.start_seconds * 16000) - 160]  # times are kept to 10 ms
        assert np.abs(inside).max() > 4 * np.abs(before).max()


def test_a_part_that_does_not_fit_is_left_out_everywhere(material: Material) -> None:
    rng = np.random.default_rng(0)
    parts = [clip_part(material.clips[1], rng) for _ in range(9)]
    scene = place_parts([part for part in parts if part], rng)
    assert len(scene.heard) == len(scene.events) == len(scene.parts) == len(scene.overlaps) < 9
    assert len(scene.waveform) <= MAX_SECONDS * SAMPLING_RATE


def test_a_silent_clip_becomes_no_part(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silent.flac", np.zeros(16000), 16000)
    event = AudioEvent(kind="sound", label="rain", end_seconds=1)
    silent = AudioClip(
        id="s", path=str(tmp_path / "silent.flac"), duration_seconds=1, events=(event,)
    )
    assert clip_part(silent, np.random.default_rng(0)) is None


def test_a_clip_at_another_rate_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "fast.flac", np.ones(16000) * 0.1, 44100)
    fast = AudioClip(
        id="f", path=str(tmp_path / "fast.flac"), duration_seconds=1, transcript="hi", language="en"
    )
    with pytest.raises(AudioFormatError, match="got 44100 Hz"):
        clip_part(fast, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("speaker", "noun"),
    [
        (None, "someone"),
        (Speaker(), "someone"),
        (Speaker(gender="female"), "a woman"),
        (Speaker(gender="male", age_group="adult"), "a man"),
        (Speaker(gender="male", age_group="child"), "a boy"),
        (Speaker(age_group="child"), "a child"),
    ],
)
def test_a_speaker_is_named_as_far_as_known(speaker: Speaker | None, noun: str) -> None:
    assert speaker_noun(speaker) == noun


def test_captions_read_well() -> None:
    dog = Heard(AudioEvent(kind="sound", label="dog barking", end_seconds=1))
    oboe = Heard(AudioEvent(kind="instrument", label="oboe", end_seconds=1), count=2)
    voice = Heard(AudioEvent(kind="speech", label="speech", end_seconds=1, transcript="hello bear"))
    text = caption([dog, oboe, voice], [False, False, True], None, np.random.default_rng(0))
    assert text == 'a dog barks, then an oboe plays twice while someone says "hello bear".'
    texts = {caption([dog], [False], "engine", np.random.default_rng(seed)) for seed in range(20)}
    assert texts == {
        "a dog barks, with an engine in the background.",
        "with an engine in the background, a dog barks.",
    }


def command(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    synthesize.add_parser(parser.add_subparsers())
    args = parser.parse_args(["synthesize", *arguments])
    return int(args.run(args))


def test_the_command_makes_sounds_and_scenes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind in ("sounds", "scenes"):
        out = tmp_path / kind
        assert command(kind, "--out", str(out), "--num", "3", "--split", "dev") == 0
        clips = list(read_manifest(out / "manifest.jsonl", AudioClip))
        assert [clip.split for clip in clips] == ["dev"] * 3
        assert all((out / clip.path).is_file() for clip in clips)
        assert f"kept 3 of 3 {kind}" in capsys.readouterr().out


def test_the_command_passes_errors_on(tmp_path: Path) -> None:
    with pytest.raises(ManifestError):
        command("scenes", "--out", str(tmp_path), "--num", "1", "--recordings", str(tmp_path))
    with pytest.raises(SystemExit) as stop:
        command("sounds", "--num", "3")
    assert stop.value.code == 2
