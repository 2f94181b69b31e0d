"""Composed scenes: known sounds at known places, so that every label is true by construction.

A scene takes one to four things (recorded clips, rendered sounds, speech), puts them in a row or
lets two overlap, repeats what can be counted, and may lay a texture (rain, wind) under all of it.
The same function with test clips makes a test set.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile

from eureka_audio.audio.clock import SAMPLING_RATE
from eureka_audio.manifest import write_manifest
from eureka_audio.records import AudioClip, AudioEvent, Split
from eureka_audio.synthesis.noise import coloured_noise
from eureka_audio.synthesis.parts import Material, Part, draw_part, rendered_part
from eureka_audio.synthesis.signals import Waveform, at_level
from eureka_audio.synthesis.sounds import SOUNDS
from eureka_audio.tasks.captions import Heard, caption

MIN_SECONDS, MAX_SECONDS = 1.5, 12.0
QUIETER = 0.4  # -8 dB: what sounds together with a voice stays below it
OWN_LICENSE = "rendered by this project"


@dataclass
class Scene:
    """A scene in the making: the placed waveform, its events, and what a caption says of them."""

    waveform: Waveform
    parts: list[Part] = field(default_factory=list)
    events: list[AudioEvent] = field(default_factory=list)
    heard: list[Heard] = field(default_factory=list)
    overlaps: list[bool] = field(default_factory=list)
    background: str | None = None


def place_parts(parts: Sequence[Part], rng: np.random.Generator) -> Scene:
    """Put parts in order; now and then two sound at once. A part the scene has no room for is left
    out.
    """
    scene = Scene(np.zeros(int(MAX_SECONDS * SAMPLING_RATE), np.float32))
    cursor = end = int(rng.uniform(0.05, 0.4) * SAMPLING_RATE)
    last_start = 0
    for part in parts:
        last = scene.parts[-1] if scene.parts else None
        overlap = last is not None and not scene.overlaps[-1] and _may_overlap(last, part)
        start = cursor
        if last is not None and (overlap := overlap and rng.random() < 0.5):
            start = last_start + int(rng.uniform(0.15, 0.5) * last.num_samples)
        if start + part.num_samples > len(scene.waveform) - 0.1 * SAMPLING_RATE:
            continue
        if overlap and part.event.kind == "speech":
            scene.waveform[last_start:end] *= QUIETER
        _put(scene, part, start, overlap)
        last_start, end = start, max(end, start + part.num_samples)
        cursor = end + int(rng.uniform(0.15, 0.8) * SAMPLING_RATE)
    tail = int(rng.uniform(0.05, 0.4) * SAMPLING_RATE)
    scene.waveform = scene.waveform[: max(end + tail, int(MIN_SECONDS * SAMPLING_RATE))]
    return scene


def _may_overlap(first: Part, second: Part) -> bool:
    """Overlap only unlike things of one occurrence each, long enough to be told apart; never two
    voices.
    """
    alike = first.event.label == second.event.label
    single = len(first.occurrences) == 1 and len(second.occurrences) == 1
    return not alike and single and first.num_samples > 1.2 * SAMPLING_RATE


def _put(scene: Scene, part: Part, start: int, overlap: bool) -> None:
    """Add a part to a scene: sound, events, and what to say of it."""
    at, gain = start, QUIETER if overlap and part.event.kind != "speech" else 1.0
    for occurrence in part.occurrences:
        scene.waveform[at : at + len(occurrence)] += gain * occurrence
        times = {
            "start_seconds": round(at / SAMPLING_RATE, 2),
            "end_seconds": round((at + len(occurrence)) / SAMPLING_RATE, 2),
        }
        scene.events.append(part.event.model_copy(update=times))
        at += len(occurrence) + part.gap
    scene.parts.append(part)
    scene.heard.append(Heard(scene.events[-1], len(part.occurrences) if part.is_counted else None))
    scene.overlaps.append(overlap)


def add_background(scene: Scene, rng: np.random.Generator) -> None:
    """Lay a texture under the scene, 12-24 dB below it, unless the scene already has a sound of
    that name.
    """
    sounds = [
        s for s in SOUNDS if s.is_background and s.label not in {e.label for e in scene.events}
    ]
    sound = sounds[rng.integers(len(sounds))]
    texture = at_level(
        sound.render(len(scene.waveform) / SAMPLING_RATE, rng), -22 - rng.uniform(10, 22)
    )
    scene.waveform = scene.waveform + _fit(texture, len(scene.waveform))
    scene.background = sound.label


def _fit(waveform: Waveform, num_samples: int) -> Waveform:
    return np.pad(waveform, (0, max(0, num_samples - len(waveform))))[:num_samples]


def compose_scene(seed: int, index: int, material: Material) -> tuple[Waveform, AudioClip]:
    """Scene number ``index`` of a seed: its waveform, and the clip that describes it."""
    rng = np.random.default_rng([seed, index, ("train", "dev", "test").index(material.split)])
    num_parts = int(rng.choice([1, 2, 3, 4], p=[0.25, 0.4, 0.25, 0.1]))
    parts = [draw_part(material, rng) for _ in range(num_parts)]
    scene = place_parts(parts, rng)
    if rng.random() < 0.35:
        add_background(scene, rng)
    name = f"scene-{material.split}-{index:05d}"
    return _mastered(scene.waveform, rng), _describe(scene, name, material.split, rng)


def render_sound(seed: int, index: int, split: Split) -> tuple[Waveform, AudioClip]:
    """One rendered sound or piece of music alone, number ``index`` of a seed."""
    rng = np.random.default_rng([seed, index, 10 + ("train", "dev", "test").index(split)])
    scene = place_parts([rendered_part(rng)], rng)
    name = f"sound-{split}-{index:05d}"
    return _mastered(scene.waveform, rng), _describe(scene, name, split, rng)


def _mastered(waveform: Waveform, rng: np.random.Generator) -> Waveform:
    """A recorder's quiet noise under the scene, and an overall level."""
    noise = coloured_noise(len(waveform), rng.uniform(0, 2), rng) * 10 ** (
        rng.uniform(-75, -50) / 20
    )
    mixed = waveform + noise
    peak = 10 ** (rng.uniform(-12, -1) / 20)
    return np.asarray(mixed * (peak / (np.abs(mixed).max() + 1e-9)), dtype=np.float32)


def _describe(scene: Scene, name: str, split: Split, rng: np.random.Generator) -> AudioClip:
    used = [part.clip for part in scene.parts if part.clip is not None]
    spoken = [event for event in scene.events if event.kind == "speech"]
    return AudioClip(
        id=name,
        path=f"{name}.flac",
        duration_seconds=round(len(scene.waveform) / SAMPLING_RATE, 4),
        transcript=" ".join(event.transcript or "" for event in spoken) or None,
        language="en" if spoken else None,
        speaker=spoken[0].speaker if len(spoken) == 1 else None,
        events=tuple(sorted(scene.events, key=lambda event: event.start_seconds)),
        background=scene.background,
        dense_caption=caption(scene.heard, scene.overlaps, scene.background, rng),
        split=split,
        source="composed of " + (", ".join(clip.id for clip in used) or "rendered sounds"),
        license="; ".join(dict.fromkeys(clip.license for clip in used)) or OWN_LICENSE,
        restricted=any(clip.restricted for clip in used),
    )


def write_clips(out: Path, made: Iterable[tuple[Waveform, AudioClip]]) -> int:
    """Write waveforms, one by one, and then their manifest into a folder; returns how many."""
    out.mkdir(parents=True, exist_ok=True)
    clips = []
    for waveform, clip in made:
        soundfile.write(out / clip.path, waveform, SAMPLING_RATE, format="FLAC", subtype="PCM_16")
        clips.append(clip)
    return write_manifest(out / "manifest.jsonl", clips)
