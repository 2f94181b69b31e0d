"""What scenes are made of: recorded clips, speech, rendered sounds and music, not yet placed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import soundfile

from eureka_audio.audio.clock import SAMPLING_RATE
from eureka_audio.errors import AudioFormatError
from eureka_audio.records import AudioClip, AudioEvent, Split
from eureka_audio.synthesis.music import INSTRUMENTS, drum_beat, melody, single_note
from eureka_audio.synthesis.recorded import trim
from eureka_audio.synthesis.signals import Waveform, at_level, gate
from eureka_audio.synthesis.sounds import SOUNDS

MAX_PART_SECONDS = 4.5
MAX_REPEATED_SECONDS = 7.0
MAX_NOTE_SECONDS = 2.0  # a clip of an instrument up to this long may be repeated and counted


@dataclass(frozen=True)
class Material:
    """What scenes of one split are made of: clips whose paths are absolute."""

    split: Split
    clips: tuple[AudioClip, ...] = ()

    @cached_property
    def speech(self) -> list[list[AudioClip]]:
        """English clips whose words are known, short enough for a scene, by origin: each is drawn
        as often.
        """
        found: dict[str, list[AudioClip]] = {}
        for clip in self.clips:
            if (
                clip.transcript
                and clip.language == "en"
                and clip.duration_seconds <= MAX_PART_SECONDS
            ):
                origin = (
                    "" if clip.license.startswith("synthetic") else clip.source.partition(":")[0]
                )
                found.setdefault(origin, []).append(clip)
        return [found[origin] for origin in sorted(found)]

    @cached_property
    def by_label(self) -> dict[str, list[AudioClip]]:
        """Clips of exactly one event that is not speech, under its label, so that rare labels are
        drawn as often.
        """
        found: dict[str, list[AudioClip]] = {}
        for clip in self.clips:
            if (
                clip.events is not None
                and len(clip.events) == 1
                and clip.events[0].kind != "speech"
            ):
                found.setdefault(clip.events[0].label, []).append(clip)
        return found


@dataclass(frozen=True)
class Part:
    """One thing in a scene before it is placed: occurrences and the silence after each, in samples.

    ``event`` holds its label and words; the times are those of the first occurrence.
    """

    event: AudioEvent
    occurrences: tuple[Waveform, ...]
    gap: int
    is_counted: bool
    clip: AudioClip | None = None

    @property
    def num_samples(self) -> int:
        """Length with the gaps between occurrences."""
        return sum(map(len, self.occurrences)) + self.gap * (len(self.occurrences) - 1)


def rendered_part(rng: np.random.Generator) -> Part:
    """A sound or some music made by code: strikes one to four times, anything else once."""
    if rng.random() < 0.3:
        return _rendered_music(rng)
    sound = SOUNDS[rng.integers(len(SOUNDS))]
    if not sound.is_strike:
        waveform = sound.render(rng.uniform(1.5, 4.0), rng)
        return _part("sound", sound.label, [waveform * gate(len(waveform), 0.1)], False, rng)
    count = int(rng.choice([1, 2, 3, 4], p=[0.35, 0.25, 0.25, 0.15]))
    strike = sound.render(0.0, rng)
    count = min(count, max(1, int(MAX_REPEATED_SECONDS * SAMPLING_RATE / len(strike))))
    return _part("sound", sound.label, [strike] * count, True, rng)


def _rendered_music(rng: np.random.Generator) -> Part:
    choice, names = rng.random(), list(INSTRUMENTS)
    name = names[rng.integers(len(names))]
    if choice < 0.15:
        return _part(
            "instrument", "percussion", [drum_beat(rng.uniform(2.0, 4.0), rng)], False, rng
        )
    if choice < 0.6:
        return _part("instrument", name, [melody(name, rng.uniform(2.0, 4.0), rng)], False, rng)
    note = single_note(name, rng)
    return _part("instrument", name, [note] * int(rng.integers(1, 5)), True, rng)


def clip_part(clip: AudioClip, rng: np.random.Generator) -> Part | None:
    """A clip as a part: silence cut away, long sounds cropped; ``None`` when it is silent."""
    waveform = trim(_read(clip), floor_db=-40.0)
    limit = int(MAX_PART_SECONDS * SAMPLING_RATE)
    if len(waveform) < 0.1 * SAMPLING_RATE:
        return None
    if clip.transcript is not None:
        event = AudioEvent(
            kind="speech",
            label="speech",
            end_seconds=0,
            transcript=clip.transcript,
            speaker=clip.speaker,
        )
        spoken = at_level(waveform, rng.uniform(-26, -18))
        return Part(event, (spoken,), 0, False, clip)
    (known,) = clip.events or ()
    if len(waveform) > limit:
        waveform = waveform[:limit] * gate(limit, 0.05).astype(np.float32)
    is_note = known.kind == "instrument" and len(waveform) <= MAX_NOTE_SECONDS * SAMPLING_RATE
    count = int(rng.choice([1, 2, 3], p=[0.5, 0.3, 0.2])) if is_note else 1
    part = _part(known.kind, known.label, [waveform] * count, is_note, rng)
    return replace(part, clip=clip)


def _part(
    kind: str,
    label: str,
    waveforms: Sequence[np.ndarray],
    is_counted: bool,
    rng: np.random.Generator,
) -> Part:
    level, gap = rng.uniform(-27, -17), int(rng.uniform(0.2, 0.6) * SAMPLING_RATE)
    event = AudioEvent.model_validate({"kind": kind, "label": label, "end_seconds": 0})
    occurrences = tuple(at_level(waveform, level) for waveform in waveforms)
    return Part(event, occurrences, gap, is_counted)


def _read(clip: AudioClip) -> Waveform:
    waveform, rate = soundfile.read(clip.path, dtype="float32", always_2d=True)
    if rate != SAMPLING_RATE:
        raise AudioFormatError(
            f"expected a clip at {SAMPLING_RATE} Hz, got {rate} Hz in {clip.path}; "
            "resample it before composing scenes"
        )
    mono: Waveform = waveform.mean(axis=1)
    return mono


def draw_part(material: Material, rng: np.random.Generator) -> Part:
    """Speech (40 %), a recorded sound (35 %) or a rendered one; what the material lacks is
    rendered.
    """
    dice, clip = rng.random(), None
    if dice < 0.4 and material.speech:
        origin = material.speech[rng.integers(len(material.speech))]
        clip = origin[rng.integers(len(origin))]
    elif dice < 0.75 and material.by_label:
        labels = sorted(material.by_label)
        pool = material.by_label[labels[rng.integers(len(labels))]]
        clip = pool[rng.integers(len(pool))]
    part = clip_part(clip, rng) if clip else None
    return part or rendered_part(rng)
