"""Synthetic speech: engines, deliveries, shards."""

import random
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from eureka_audio.audio.clock import SAMPLING_RATE
from eureka_audio.errors import MissingDependencyError
from eureka_audio.manifest import read_manifest
from eureka_audio.records import AudioClip
from eureka_audio.synthesis import engines, speech
from eureka_audio.synthesis.corpora import DigitBook, Sentence
from eureka_audio.synthesis.engines import require_engines, speak
from eureka_audio.synthesis.grammar import DIGITS
from eureka_audio.synthesis.recorded import (
    as_recorded,
    draw_silence,
    trim,
)
from eureka_audio.synthesis.speech import plan, synthesize_speech
from eureka_audio.synthesis.voices import (
    ESPEAK_FEMALE,
    ESPEAK_MALE,
    ESPEAK_UNCLEAR,
    FESTIVAL,
    FLITE,
    Delivery,
    as_learner,
    draw_delivery,
)
from eureka_audio.tasks import draw_task

needs_engines = pytest.mark.skipif(
    any(shutil.which(program) is None for program, _ in engines.PROGRAMS.values()),
    reason="a speech synthesiser is not installed",
)


class TinyBook:
    """Stands in for a sentence book: few sentences, no texts."""

    def __init__(self, words: str = "we call it bear") -> None:
        self.reserved = [Sentence(f"{words} {n}", "test", "none") for n in ("one", "two")]
        self.words = words

    def next_sentence(self) -> Sentence:
        return Sentence(self.words, "test", "none")


def tone(seconds: float) -> np.ndarray:
    time = np.arange(int(seconds * SAMPLING_RATE)) / SAMPLING_RATE
    return np.sin(2 * np.pi * 300 * time).astype(np.float32)


def test_deliveries_follow_the_seed_and_never_guess_a_gender() -> None:
    drawn = [draw_delivery(random.Random(seed)) for seed in range(800)]
    assert drawn == [draw_delivery(random.Random(seed)) for seed in range(800)]
    assert {d.engine for d in drawn} == {"espeak-ng", "flite", "festival"}
    for delivery in drawn:
        speaker = delivery.speaker
        assert (speaker.age_group == "child") == (delivery.formant_shift > 1.1)
        if speaker.age_group == "child":
            assert speaker.gender is None
        if delivery.engine != "espeak-ng":
            assert (delivery.voice, delivery.gender) in FLITE + FESTIVAL
            assert not delivery.learner


def test_a_learner_changes_sounds_but_not_diphthongs() -> None:
    habits = ("short i becomes long", "th becomes s", "last z becomes s")
    assert as_learner("T'IN wVz l'aIk", habits) == "s'i:N wVs l'aIk"
    assert as_learner("T'IN", ()) == "T'IN"


def test_missing_engine_names_its_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingDependencyError, match="apt-get install espeak-ng"):
        require_engines()


def test_the_plan_is_stable_when_more_is_asked_for() -> None:
    short, long = (list(plan(TinyBook(), 3, num)) for num in (5, 9))
    assert long[: len(short)] == short
    assert [u.split for u in short] == ["dev", "test"] + ["train"] * 5
    assert len({u.id for u in long}) == len(long)


def test_shards_appear_with_their_manifests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speech, "CLIPS_PER_SHARD", 3)
    monkeypatch.setattr(speech, "require_engines", lambda: None)
    monkeypatch.setattr(speech, "ProcessPoolExecutor", Here)
    monkeypatch.setattr(speech, "speak", lambda requests: [tone(1.0)] * len(requests))
    fates = synthesize_speech(tmp_path, TinyBook(), 0, 5)
    assert fates == {"kept": 7}
    folders = ["dev", "test", "train/shard-000", "train/shard-001"]
    counts = [len(list(read_manifest(tmp_path / f / "manifest.jsonl", AudioClip))) for f in folders]
    assert counts == [1, 1, 3, 2]
    everything = list(read_manifest(tmp_path / "manifest.jsonl", AudioClip))
    assert len(everything) == 7
    for clip in everything:
        info = soundfile.info(tmp_path / clip.path)
        assert (info.samplerate, info.channels) == (SAMPLING_RATE, 1)
        assert clip.duration_seconds == pytest.approx(info.duration, abs=1e-3)


def test_what_an_interrupted_run_completed_is_not_said_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def speak(requests: list[tuple[str, Delivery]]) -> list[np.ndarray]:
        asked.extend(words for words, _ in requests)
        return [tone(1.0)] * len(requests)

    monkeypatch.setattr(speech, "CLIPS_PER_SHARD", 3)
    monkeypatch.setattr(speech, "require_engines", lambda: None)
    monkeypatch.setattr(speech, "ProcessPoolExecutor", Here)
    monkeypatch.setattr(speech, "speak", speak)
    synthesize_speech(tmp_path, TinyBook(), 0, 5)
    first = list(read_manifest(tmp_path / "manifest.jsonl", AudioClip))
    (tmp_path / "manifest.jsonl").unlink()
    for num, said_again in ((5, 0), (6, 3), (6, 0)):  # the last shard grows by one
        asked.clear()
        assert synthesize_speech(tmp_path, TinyBook(), 0, num) == {"kept": num + 2}
        assert len(asked) == said_again
    everything = list(read_manifest(tmp_path / "manifest.jsonl", AudioClip))
    assert everything[: len(first)] == first
    asked.clear()
    synthesize_speech(tmp_path, TinyBook("another book"), 0, 6)  # not what is there
    assert len(asked) == 8


def test_digits_are_a_corpus_of_their_own_whose_questions_are_about_digits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speech, "require_engines", lambda: None)
    monkeypatch.setattr(speech, "ProcessPoolExecutor", Here)
    monkeypatch.setattr(speech, "speak", lambda requests: [tone(0.5)] * len(requests))
    assert synthesize_speech(tmp_path, DigitBook(0), 0, 60, name="digit") == {"kept": 60}
    clips = list(read_manifest(tmp_path / "manifest.jsonl", AudioClip))
    assert {clip.transcript for clip in clips} == set(DIGITS)
    assert {clip.split for clip in clips} == {"train"}
    assert all(clip.id.startswith("digit-train-") for clip in clips)
    drawn = [draw_task(clip, None, {"digit": 1.0}, np.random.default_rng(0)) for clip in clips]
    assert None not in drawn
    assert [DigitBook(0).next_sentence() for _ in range(3)] == [
        DigitBook(0).next_sentence() for _ in range(3)
    ]
    assert len({DigitBook(seed).next_sentence().words for seed in range(40)}) > 5


class Here:
    """A process pool of this very process, so that replaced functions are seen."""

    def __init__(self, *_: object, **settings: int) -> None:
        pass

    def __enter__(self) -> "Here":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    map = staticmethod(map)


def test_what_cannot_be_used_is_dropped_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = [None, np.zeros(16000, np.float32), tone(20.0), tone(1.0)]
    monkeypatch.setattr(speech, "speak", lambda requests: bad)
    clips, dropped = speech.render(tmp_path, list(plan(TinyBook(), 0, 2)))
    assert len(clips) == 1
    assert sum(dropped.values()) == 3
    assert sum(n for reason, n in dropped.items() if "no audio" in reason) == 2
    assert sum(n for reason, n in dropped.items() if "s long" in reason) == 1


@needs_engines
def test_every_engine_speaks_at_16_khz() -> None:
    manners = [
        Delivery("espeak-ng", "en-us+f2", "female", False, 1.0, 1.0),
        Delivery("espeak-ng", "en-us+f2", "female", True, 1.25, 1.2, learner=("th becomes s",)),
        Delivery("flite", "slt", "female", False, 1.0, 1.0),
        Delivery("festival", "kal_diphone", "male", False, 1.0, 1.0),
        Delivery("festival", "ked_diphone", "male", True, 1.4, 1.0),
    ]
    for said in speak([("we call it bear", manner) for manner in manners]):
        assert said is not None
        assert said.dtype == np.float32
        assert 0.7 < len(trim(said)) / SAMPLING_RATE < 3.0


@needs_engines
def test_every_sample_follows_from_the_seed_however_many_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_espeak = Delivery("espeak-ng", "en-us+f2", "female", False, 1.0, 1.0)
    monkeypatch.setattr(speech, "draw_delivery", lambda rng: by_espeak)
    monkeypatch.setattr(speech, "CLIPS_PER_TASK", 1)
    book, said = TinyBook(), []
    book.reserved = []
    for num_workers in (1, 2):
        out = tmp_path / str(num_workers)
        synthesize_speech(out, book, 0, 2, num_workers)
        said.append([path.read_bytes() for path in sorted(out.rglob("*.flac"))])
    assert len(said[0]) == 2
    assert said[0] == said[1]


class SilentEspeak:
    """An eSpeak that knows no voice."""

    def say(self, *_: object) -> None:
        return None


def test_an_engine_that_fails_gives_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_run", lambda command: b"")
    monkeypatch.setattr(engines, "espeak", SilentEspeak)
    manners = [
        Delivery("espeak-ng", "en-us+f2", "female", False, 1.0, 1.0),
        Delivery("flite", "slt", "female", False, 1.0, 1.0),
        Delivery("festival", "kal_diphone", "male", False, 1.0, 1.0),
    ]
    assert speak([("hello there", manner) for manner in manners]) == [None, None, None]


@needs_engines
def test_every_variant_is_one_espeak_has() -> None:
    """An unknown variant would be spoken by the default voice, under a wrong label."""
    listing = subprocess.run(
        ["espeak-ng", "--voices=variant"], capture_output=True, text=True, check=True
    )
    known = set(re.findall(r"!v/(\S+)", listing.stdout))
    assert set(ESPEAK_FEMALE + ESPEAK_MALE + ESPEAK_UNCLEAR) <= known


def test_trimming_keeps_what_is_loud() -> None:
    padded = np.pad(tone(0.5), (4000, 8000))
    assert len(trim(padded)) == pytest.approx(8000, abs=10)
    assert len(trim(np.zeros(100, np.float32))) == 0


def test_recording_conditions_follow_the_generator_and_stay_in_range() -> None:
    for seed in range(20):
        first, second = (as_recorded(tone(0.5), np.random.default_rng(seed)) for _ in range(2))
        assert np.array_equal(first, second)
        assert first.dtype == np.float32
        assert np.abs(first).max() <= 1.0
        assert len(first) == 0.5 * SAMPLING_RATE
        assert sum(draw_silence(np.random.default_rng(seed))) >= 0.1 * SAMPLING_RATE
