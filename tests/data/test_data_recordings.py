"""Recorded datasets become audio clips, saying only what is known."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from eureka_audio.data.recordings import recordings
from eureka_audio.errors import ManifestError


def row(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "id": "x1", "path": "audio/x1.flac", "duration_s": 2.0, "text_norm": None, "language": None,
        "label": "", "labels": {}, "speaker": None, "split": "train", "license": "CC0",
        "restricted": False, "source": "somewhere@1",
    }  # fmt: skip
    return base | changes


ROWS: dict[str, dict[str, Any]] = {
    "fsdd": row(text_norm="zero", language="en", speaker="ann", labels={"gender": "male"}),
    "speechocean762": row(
        text_norm="we call it bear",
        language="en",
        speaker="s1",
        split="test",
        labels={"gender": "female", "age_group": "child", "age": 6},
    ),
    "real_sentences": row(
        text_norm="que tal 607",
        language="pt",
        split="test",
        labels={"spoken_form_differs": True},
    ),
    "esc10": row(label="dog"),
    "philharmonia": row(label="oboe", restricted=True),
    "music_and_sounds": row(
        label="music", labels={"description": "Vibe Ace: jazz instrumental", "category": "music"}
    ),
    "librispeech_mini": row(
        text_norm="he hoped", language="en", speaker="r1", labels={"gender": "male"}
    ),
    "emogator": row(label="triumph", speaker="b1"),
    "coughs": row(label="cough"),
    "infant_cry": row(label="baby cry"),
    "sound_effects": row(label="leopard"),
    "music_loops": row(label="vinyl noise"),
    "emodb": row(text_norm="das will sie", language="de", restricted=True),
}


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    for name, content in ROWS.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.jsonl").write_text(json.dumps(content) + "\n")
    return tmp_path


def test_speech_has_words_and_speaker(pack: Path) -> None:
    (clip,) = (c for c in recordings(pack) if c.source.startswith("speechocean762"))
    assert clip.transcript == "we call it bear"
    assert clip.language == "en"
    assert clip.speaker is not None
    assert (clip.speaker.gender, clip.speaker.age_group) == ("female", "child")
    assert clip.events is None
    assert clip.path == str(pack / "speechocean762/audio/x1.flac")


def test_sounds_have_one_event_with_a_plain_label(pack: Path) -> None:
    found = {c.source.split(":")[0]: c.events[0] for c in recordings(pack) if c.events}
    assert {name: (e.kind, e.label) for name, e in found.items()} == {
        "esc10": ("sound", "dog barking"),
        "philharmonia": ("instrument", "oboe"),
        "music_and_sounds": ("music", "jazz music"),
        "emogator": ("sound", "vocal sound"),
        "coughs": ("sound", "coughing"),
        "infant_cry": ("sound", "crying baby"),
        "sound_effects": ("sound", "big cat growling"),
    }
    assert all(event.end_seconds == 2.0 for event in found.values())


def test_readers_are_adults_and_bursts_have_an_emotion(pack: Path) -> None:
    (reader,) = (c for c in recordings(pack) if c.source.startswith("librispeech_mini"))
    assert reader.speaker is not None
    assert (reader.speaker.gender, reader.speaker.age_group) == ("male", "adult")
    (burst,) = (c for c in recordings(pack) if c.source.startswith("emogator"))
    assert burst.emotion == "joy"
    assert burst.is_speechless


def test_a_category_without_a_label_of_ours_stays_unknown(pack: Path) -> None:
    (clip,) = (c for c in recordings(pack) if c.source.startswith("music_loops"))
    assert clip.events is None


def test_text_that_is_not_what_is_said_is_no_transcript(pack: Path) -> None:
    (clip,) = (c for c in recordings(pack) if c.source.startswith("real_sentences"))
    assert clip.transcript is None


def test_restrictions_and_splits_are_kept(pack: Path) -> None:
    assert {c.source.split(":")[0] for c in recordings(pack) if c.restricted} == {"philharmonia"}
    assert {c.split for c in recordings(pack, "test")} == {"test"}
    assert len(recordings(pack, "train")) + len(recordings(pack, "test")) == len(recordings(pack))


def test_unlicensed_emotional_speech_never_enters(pack: Path) -> None:
    assert not any("emodb" in clip.source for clip in recordings(pack))


def test_a_bad_row_is_named(pack: Path) -> None:
    manifest = pack / "esc10" / "manifest.jsonl"
    manifest.write_text(manifest.read_text() + json.dumps(row(label="yeti")) + "\n")
    with pytest.raises(ManifestError, match=r"esc10/manifest\.jsonl:2.*yeti"):
        recordings(pack)


def test_a_folder_without_datasets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="found none in"):
        recordings(tmp_path)


@pytest.mark.shared_data
@pytest.mark.skipif("EUREKA_AUDIO_DATA" not in os.environ, reason="EUREKA_AUDIO_DATA is not set")
def test_the_real_pack_reads_whole() -> None:
    clips = recordings(os.environ["EUREKA_AUDIO_DATA"])
    assert len(clips) > 8000
    assert all(Path(clip.path).is_file() for clip in clips[::50])
    speakers = {
        split: {c.speaker.id for c in clips if c.speaker and c.speaker.id and c.split == split}
        for split in ("train", "test")
    }
    # Three prompt voices are split by prompt, and a reader of ljspeech reads a fixture.
    shared = {"pbx_en_US_f_Allison", "pbx_fr_CA_f_June", "pbx_it_IT_m_Carlo", "ljspeech"}
    assert speakers["train"] & speakers["test"] == shared
