"""The real recordings the project trains and tests on, as `AudioClip` rows.

A pack of recordings is a folder of data sets, each with ``manifest.jsonl`` and ``audio/``. Each
data set says what it knows in its own words; here is said once, per data set, what of it becomes
transcript, speaker, event or emotion:

    speech      transcript and speaker; the events stay unknown, since a clip may hold noises
    one sound   one event per clip: a sound, an instrument, music
    voices      vocal bursts, coughs, cries: one event without words, sometimes an emotion

Labels keep close to what anyone would say on hearing the clip; all instruments of the percussion
family are ``percussion``. A category that has no label of ours stays unknown, and so do the events
of its clips: no task will ask about them.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, cast

from eureka_audio.errors import ManifestError
from eureka_audio.records import AudioClip, AudioEvent, Speaker, Split

EventKind = Literal["speech", "sound", "instrument", "music"]

ESC10_LABELS = {
    "dog": "dog barking",
    "rooster": "rooster crowing",
    "rain": "rain",
    "sea_waves": "sea waves",
    "crackling_fire": "crackling fire",
    "crying_baby": "crying baby",
    "sneezing": "sneezing",
    "clock_tick": "clock ticking",
    "helicopter": "helicopter",
    "chainsaw": "chainsaw",
}

# Parts of music_and_sounds' descriptions that decide the event, first match wins: (found in, kind,
# label).
MUSIC_LABELS: tuple[tuple[str, EventKind, str], ...] = (
    ("folk song", "music", "folk song with vocals"),
    ("orchestra", "music", "orchestral music"),
    ("jazz trumpet", "instrument", "trumpet"),
    ("jazz instrumental", "music", "jazz music"),
    ("humpback", "sound", "whale song"),
    ("robin", "sound", "bird chirping"),
    ("carnatic", "music", "indian classical music"),
    ("bendir", "instrument", "percussion"),
    ("mridangam", "instrument", "percussion"),
    ("singing voice", "music", "singing"),
    ("soprano", "music", "singing"),
    ("female speech", "speech", "speech"),
    ("rain", "sound", "rain"),
)


# Categories of sound_effects and music_loops: (kind, label).
EFFECT_LABELS: Mapping[str, tuple[EventKind, str]] = {
    "airplane": ("sound", "airplane"),
    "bell": ("sound", "bell ringing"),
    "bird": ("sound", "bird chirping"),
    "canary": ("sound", "bird chirping"),
    "car engine": ("sound", "engine"),
    "car horn": ("sound", "car horn"),
    "church bells": ("sound", "bell ringing"),
    "cicada": ("sound", "cicadas"),
    "clock ticking": ("sound", "clock ticking"),
    "compressor": ("sound", "engine"),
    "cow": ("sound", "cow mooing"),
    "cricket": ("sound", "crickets"),
    "dog": ("sound", "dog barking"),
    "door knock": ("sound", "knocking"),
    "doorbell": ("sound", "doorbell"),
    "explosion": ("sound", "explosion"),
    "fire": ("sound", "crackling fire"),
    "fireworks": ("sound", "fireworks"),
    "footsteps": ("sound", "footsteps"),
    "gunshot": ("sound", "gunshot"),
    "helicopter": ("sound", "helicopter"),
    "horse": ("sound", "horse neighing"),
    "jaguar": ("sound", "big cat growling"),
    "leopard": ("sound", "big cat growling"),
    "lion": ("sound", "big cat growling"),
    "motorcycle": ("sound", "engine"),
    "parrot": ("sound", "parrot squawking"),
    "pig": ("sound", "pig grunting"),
    "rain": ("sound", "rain"),
    "rooster": ("sound", "rooster crowing"),
    "sea lion": ("sound", "sea lion barking"),
    "sheep": ("sound", "sheep bleating"),
    "thunder": ("sound", "thunder"),
    "tiger": ("sound", "big cat growling"),
    "whistle": ("sound", "whistle"),
    "wind": ("sound", "wind"),
    "bass drum": ("instrument", "percussion"),
    "cowbell": ("instrument", "percussion"),
    "cymbal": ("instrument", "percussion"),
    "drum loop": ("instrument", "percussion"),
    "drum roll": ("instrument", "percussion"),
    "guitar": ("instrument", "guitar"),
    "guitar music": ("instrument", "guitar"),
    "percussion": ("instrument", "percussion"),
    "piano": ("instrument", "piano"),
    "piano music": ("instrument", "piano"),
    "snare drum": ("instrument", "percussion"),
    "tabla": ("instrument", "percussion"),
    "tom drum": ("instrument", "percussion"),
    "choir": ("music", "singing"),
    "music": ("music", "music"),
    "music loop": ("music", "music"),
}

# The thirty emotions of emogator that one word can stand for; the others are told apart by nobody.
EMOTION_GROUPS = {
    "amusement": "amusement",
    "anger": "anger",
    "disappointment": "sadness",
    "disgust": "disgust",
    "distress": "pain",
    "elation": "joy",
    "ecstasy": "joy",
    "fear": "fear",
    "pain": "pain",
    "relief": "relief",
    "sadness": "sadness",
    "surprise (negative)": "surprise",
    "surprise (positive)": "surprise",
    "triumph": "joy",
}


def recordings(root: str | Path, split: Split | None = None) -> list[AudioClip]:
    """All recordings of a pack (or of one split), with absolute paths; a dataset the pack lacks is
    passed over.

    Raises:
        ManifestError: ``root`` holds none of the datasets, or a line of one is malformed
            (``path:line``).
    """
    root = Path(root).resolve()
    present = [name for name in DATASETS if (root / name / "manifest.jsonl").is_file()]
    known = ", ".join(DATASETS)
    if not present:
        raise ManifestError(
            f"expected a folder with some of {known} (each with manifest.jsonl), "
            f"found none in {root}; point to the pack of recordings"
        )
    clips = [clip for name in present for clip in read_dataset(root / name)]
    return [clip for clip in clips if split is None or clip.split == split]


def read_dataset(folder: Path) -> list[AudioClip]:
    """The clips of one dataset folder, whose name says which it is.

    Raises:
        ManifestError: a line is malformed, or the dataset is not one of `DATASETS`.
    """
    name, manifest = folder.name, folder / "manifest.jsonl"
    if name not in DATASETS:
        raise ManifestError(
            f"expected one of {', '.join(DATASETS)}, got the dataset {name!r} at {folder}"
        )
    clips = []
    for number, line in enumerate(manifest.read_bytes().splitlines(), start=1):
        try:
            clips.append(_clip(folder, cast("dict[str, Any]", json.loads(line))))
        except (ValueError, KeyError, TypeError) as error:  # pydantic's error is a ValueError
            raise ManifestError(
                f"{manifest}:{number}: expected a row of {name}, got one that cannot be "
                f"read ({error!r}); fetch the dataset again"
            ) from error
    return clips


def _clip(folder: Path, row: Mapping[str, Any]) -> AudioClip:
    name = folder.name
    return AudioClip(
        id=row["id"],
        path=str(folder / row["path"]),
        duration_seconds=row["duration_s"],
        split=row["split"],
        source=f"{name}: {row['source']}",
        license=row["license"],
        restricted=row["restricted"],
        **_READERS[name](row),
    )


def _speech(row: Mapping[str, Any]) -> dict[str, Any]:
    labels = row["labels"]
    speaker = Speaker(
        id=row["speaker"], gender=labels.get("gender"), age_group=labels.get("age_group")
    )
    # Written digits where the voice says words: not what is heard, so not a transcript.
    transcript = None if labels.get("spoken_form_differs") else row["text_norm"]
    return {"transcript": transcript, "language": row["language"], "speaker": speaker}


def _one_event(row: Mapping[str, Any], kind: EventKind, label: str) -> dict[str, Any]:
    return {"events": (AudioEvent(kind=kind, label=label, end_seconds=row["duration_s"]),)}


def _esc10(row: Mapping[str, Any]) -> dict[str, Any]:
    return _one_event(row, "sound", ESC10_LABELS[row["label"]])


def _philharmonia(row: Mapping[str, Any]) -> dict[str, Any]:
    return _one_event(row, "instrument", row["label"])


def _music_and_sounds(row: Mapping[str, Any]) -> dict[str, Any]:
    description = row["labels"]["description"].lower()
    for part, kind, label in MUSIC_LABELS:
        if part in description:
            return _one_event(row, kind, label)
    return _one_event(row, "instrument", row["labels"]["instrument"])


def _effect(row: Mapping[str, Any]) -> dict[str, Any]:
    found = EFFECT_LABELS.get(row["label"])
    return {} if found is None else _one_event(row, *found)


def _adult_speech(row: Mapping[str, Any]) -> dict[str, Any]:
    """Speech of data sets whose speakers are all adults, and whose manifests do not say it."""
    known = _speech(row)
    return known | {"speaker": known["speaker"].model_copy(update={"age_group": "adult"})}


def _vocal_burst(row: Mapping[str, Any]) -> dict[str, Any]:
    emotion = EMOTION_GROUPS.get(row["label"])
    return {"emotion": emotion, **_one_event(row, "sound", "vocal sound")}


def _cough(row: Mapping[str, Any]) -> dict[str, Any]:
    return _one_event(row, "sound", "coughing")


def _cry(row: Mapping[str, Any]) -> dict[str, Any]:
    return _one_event(row, "sound", "crying baby")


_READERS: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "fsdd": _speech,
    "speechocean762": _speech,
    "real_sentences": _speech,
    "librispeech_mini": _adult_speech,
    "ljspeech_mini": _adult_speech,
    "speech_commands": _speech,
    "wake_words": _speech,
    "voice_prompts": _adult_speech,
    "esc10": _esc10,
    "philharmonia": _philharmonia,
    "music_and_sounds": _music_and_sounds,
    "sound_effects": _effect,
    "music_loops": _effect,
    "emogator": _vocal_burst,
    "coughs": _cough,
    "infant_cry": _cry,
}

# Data sets that training may use. Emotional speech without a formal licence (emodb) is not among
# them, on purpose.
DATASETS = tuple(_READERS)
