"""Our own evaluation set: what clips let a model be asked."""

from collections import Counter
from pathlib import Path

import pytest

from eureka_audio.data.evaluation_set import caption_phrases, evaluation_trials, read_clips
from eureka_audio.errors import ManifestError
from eureka_audio.evaluation.named_events import named_events
from eureka_audio.evaluation.trials import checked_trials
from eureka_audio.manifest import write_manifest
from eureka_audio.records import AudioClip, AudioEvent, Speaker
from eureka_audio.tasks.captions import CLAUSES, named_labels


def scene() -> AudioClip:
    events = (
        AudioEvent(kind="sound", label="dog barking", end_seconds=1),
        AudioEvent(kind="instrument", label="flute", start_seconds=2, end_seconds=3),
    )
    return AudioClip(
        id="s",
        path="s.flac",
        duration_seconds=3,
        events=events,
        dense_caption="a dog barks, then a flute plays.",
        source="composed of a, b",
        split="test",
    )


def speech() -> AudioClip:
    return AudioClip(
        id="z",
        path="z.flac",
        duration_seconds=1,
        transcript="zero",
        language="en",
        speaker=Speaker(gender="female", age_group="adult"),
        source="fsdd: somebody",
    )


def test_a_clip_gives_what_it_is_fit_for(tmp_path: Path) -> None:
    write_manifest(tmp_path / "manifest.jsonl", [scene(), speech()])
    clips = read_clips([tmp_path])
    trials = checked_trials(evaluation_trials(clips))
    counts = Counter(trial.benchmark for trial in trials)
    assert counts["eureka_speech"] == counts["eureka_captions"] == 1
    skills = {trial.fields.get("skill") for trial in trials}
    assert {"digit", "gender", "first", "last"} <= skills
    assert all(trial.audio is not None and trial.audio.is_absolute() for trial in trials)
    (caption,) = [trial for trial in trials if trial.benchmark == "eureka_captions"]
    assert caption.fields["dataset"] == "scenes"
    assert [clip.id for clip in read_clips([tmp_path / "manifest.jsonl"], "test")] == ["s"]


def test_phrases_name_what_the_language_of_captions_names() -> None:
    labels = [*CLAUSES, "flute", "speech"]
    phrases = {label: caption_phrases(label) for label in labels}
    for caption in (
        "a dog barks twice, then a flute plays.",
        'a man says "a bell rings", with rain in the background.',
        "A woman speaks. a clock ticks",
        "nothing at all",
    ):
        assert named_events(caption, phrases) == named_labels(caption, labels)


def test_a_folder_of_neither_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="found none"):
        read_clips([tmp_path])


@pytest.mark.shared_data
def test_the_real_test_splits(recordings_pack: Path) -> None:
    trials = checked_trials(evaluation_trials(read_clips([recordings_pack], "test")))
    skills = Counter(trial.fields.get("skill") for trial in trials)
    assert min(skills[name] for name in ("digit", "sound", "instrument", "gender", "age")) > 20
    assert all(trial.audio is not None and trial.audio.is_file() for trial in trials)
