"""The real recordings the project trains and tests on, as `AudioClip` rows.

A pack of recordings is a folder of datasets, each with ``manifest.jsonl`` and ``audio/``. Each
dataset states what it knows in its own words; this module says once, per dataset, what of it
becomes transcript, speaker or event.

    fsdd, speechocean762, real_sentences   speech: transcript, speaker; the events stay unknown (a
    clip may hold noises) esc10                                  one sound event per clip
    philharmonia                           one instrument event per clip music_and_sounds
    one event per clip: music, an instrument, an animal

Labels keep close to what anyone would say on hearing the clip; all instruments of the percussion
family are ``percussion``.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, cast

from eureka_audio.errors import ManifestError
from eureka_audio.records import AudioClip, AudioEvent, Speaker, Split

EventKind = Literal["speech", "sound", "instrument", "music"]

# Datasets that training may use. Emotional speech without a formal licence (emodb) is not among
# them, on purpose.
DATASETS = ("fsdd", "esc10", "speechocean762", "philharmonia", "music_and_sounds", "real_sentences")

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


_READERS: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "fsdd": _speech,
    "speechocean762": _speech,
    "real_sentences": _speech,
    "esc10": _esc10,
    "philharmonia": _philharmonia,
    "music_and_sounds": _music_and_sounds,
}
