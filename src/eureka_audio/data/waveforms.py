"""A bank of decoded waveforms: every clip of a manifest as 16-bit samples in one memory-mapped
file.

Decoding costs more than everything else a small model's loader does, so it is done once. The bank
is keyed by what it holds: a changed list of clips makes a new bank, never a stale one.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from eureka_audio.audio.clock import SAMPLING_RATE
from eureka_audio.audio.decode import load_audio
from eureka_audio.durable import atomic_folder
from eureka_audio.records import AudioClip

FULL_SCALE = 32767.0


class WaveformBank:
    """Random access to the waveforms of a list of clips.

    Example:
        bank = WaveformBank.open(clips, "runs/cache")
        waveform = bank[0]  # float32 (S,), 16 kHz mono
    """

    def __init__(self, folder: Path) -> None:
        """Open a finished bank."""
        self.folder = folder
        self.offsets: NDArray[np.int64] = np.load(folder / "offsets.npy")
        self._samples: NDArray[np.int16] = np.load(folder / "samples.npy", mmap_mode="r")

    def __len__(self) -> int:
        """Number of clips."""
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> NDArray[np.float32]:
        """Waveform `(S,)` of one clip, float32 in [-1, 1]."""
        start, end = self.offsets[index], self.offsets[index + 1]
        return self._samples[start:end].astype(np.float32) / np.float32(FULL_SCALE)

    @property
    def durations_seconds(self) -> NDArray[np.float64]:
        """Duration of each clip."""
        return np.diff(self.offsets) / SAMPLING_RATE

    @classmethod
    def open(cls, clips: Sequence[AudioClip], cache: str | Path) -> "WaveformBank":
        """The bank of `clips` under the folder `cache`, decoded now if it is not there yet.

        Raises:
            AudioError: a clip of the manifest cannot be decoded; the message names it.
        """
        key = hashlib.sha256()
        for clip in clips:
            key.update(json.dumps([clip.id, clip.path, clip.duration_seconds]).encode())
        folder = Path(cache) / f"waveforms-{key.hexdigest()[:16]}"
        if not folder.exists():
            cls._build(clips, folder)
        return cls(folder)

    @staticmethod
    def _build(clips: Sequence[AudioClip], folder: Path) -> None:
        offsets = np.zeros(len(clips) + 1, dtype=np.int64)
        with atomic_folder(folder) as temporary:
            raw = temporary / "samples.raw"
            with raw.open("wb") as file:
                for index, clip in enumerate(tqdm(clips, desc="decoding", unit="clip")):
                    samples = np.clip(load_audio(clip.path).waveform, -1.0, 1.0) * FULL_SCALE
                    file.write(np.round(samples).astype(np.int16).tobytes())
                    offsets[index + 1] = offsets[index] + len(samples)
            np.save(temporary / "offsets.npy", offsets)
            samples_out = np.lib.format.open_memmap(
                temporary / "samples.npy", mode="w+", dtype=np.int16, shape=(int(offsets[-1]),)
            )
            if offsets[-1]:
                samples_out[:] = np.memmap(raw, dtype=np.int16, mode="r")
            samples_out.flush()
            raw.unlink()
