"""A source of training material: clips of one kind, ready to be heard."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eureka_audio.data.augment import AugmentConfig, augment_waveform
from eureka_audio.data.mixture import Sample
from eureka_audio.data.waveforms import WaveformBank
from eureka_audio.errors import TrainingError
from eureka_audio.records import AudioClip, Conversation
from eureka_audio.synthesis.noise import some_noise


@dataclass(frozen=True)
class ClipSource:
    """Clips and their waveforms, index by index.

    Attributes:
        name: of the source.
        clips: their records.
        bank: their waveforms; `None` where nobody listens, and the records alone are read.
        conversations: what is said about each, where it is told and not drawn.
    """

    name: str
    clips: tuple[AudioClip, ...]
    bank: WaveformBank | None
    conversations: tuple[Conversation, ...] | None = None

    @classmethod
    def open(cls, name: str, clips: Sequence[AudioClip], cache: Path) -> "ClipSource":
        """Decode the clips into a bank under `cache`, or find them there."""
        return cls(name, tuple(clips), None).heard(cache)

    def heard(self, cache: Path) -> "ClipSource":
        """The same source with its waveforms, kept under `cache`."""
        return replace(self, bank=WaveformBank.open(self.clips, cache))

    def waveform(self, index: int) -> NDArray[np.float32]:
        """Waveform `(S,)` of one clip."""
        if self.bank is None:
            raise TrainingError(f"source {self.name!r}: its clips are read, and cannot be heard")
        return self.bank[index]

    @cached_property
    def durations_seconds(self) -> NDArray[np.float64]:
        """Duration of each clip: as decoded, or as its record says."""
        if self.bank is None:
            return np.array([clip.duration_seconds for clip in self.clips])
        return self.bank.durations_seconds

    @cached_property
    def is_pure_sound(self) -> bool:
        """Whether every clip has a complete list of events, none of which is speech."""
        return all(
            clip.events is not None and all(event.kind != "speech" for event in clip.events)
            for clip in self.clips
        )


def hear(
    sources: Mapping[str, ClipSource],
    sample: Sample,
    augment: AugmentConfig | None,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """The waveform `(S,)` of one sample.

    With augmentation, speech sometimes has a sound behind it as noise, of which nothing is claimed.
    """
    source = sources[sample.source]
    clip, waveform = source.clips[sample.index], source.waveform(sample.index)
    if augment is None:
        return waveform
    sound_sources = [other for other in sources.values() if other.is_pure_sound]

    def noise(noise_rng: np.random.Generator, num_samples: int) -> NDArray[np.float32]:
        speech = clip.transcript is not None
        with_sound = noise_rng.random() < augment.sound_as_noise_probability
        if speech and sound_sources and with_sound:
            chosen = sound_sources[int(noise_rng.integers(len(sound_sources)))]
            picked = int(noise_rng.integers(len(chosen.clips)))
            return _fit(chosen.waveform(picked), num_samples, noise_rng)
        return some_noise(noise_rng, num_samples)

    return augment_waveform(waveform, augment, rng, noise)


def _fit(
    samples: NDArray[np.float32], length: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """A stretch of `length` samples: cut from, or placed somewhere in silence."""
    if len(samples) >= length:
        start = int(rng.integers(len(samples) - length + 1))
        return samples[start : start + length]
    before = int(rng.integers(length - len(samples) + 1))
    return np.pad(samples, (before, length - len(samples) - before))
