"""A bank of encoder features: what a frozen encoder hears in every clip, computed once.

A frozen encoder gives the same features at every step, and computing them costs more than all that
learns. So they are kept on disk in half precision, in shards of clips, and read through a memory
map. The bank is keyed by the encoder and by the clips, so that a changed encoder or list makes a
new bank, never a stale one; one that was cut off goes on at its first missing shard.
"""

import hashlib
import json
from bisect import bisect_right
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from eureka_audio.data.waveforms import WaveformBank
from eureka_audio.durable import atomic_folder
from eureka_audio.errors import TrainingError
from eureka_audio.records import AudioClip

CLIPS_PER_SHARD = 256
PADDED_SAMPLES_PER_BATCH = 16_000 * 60

Features = NDArray[np.float16]
Encode = Callable[[Sequence[NDArray[np.float32]]], Sequence[Features]]


class FeatureBank:
    """Random access to the encoder features of a list of clips.

    Example:
        bank = FeatureBank.open(clips, encode, fingerprint, "runs/cache")
        features = bank[0]  # float16 (L, C), or (L, n, C) where the adapter hears n layers
    """

    def __init__(self, folder: Path) -> None:
        """Open a finished bank."""
        self.folder = folder
        shards = sorted(folder.glob("shard-*"))
        self._offsets = [np.load(shard / "offsets.npy") for shard in shards]
        self._features = [np.load(shard / "features.npy", mmap_mode="r") for shard in shards]
        self._starts = np.cumsum([0, *(len(offsets) - 1 for offsets in self._offsets)]).tolist()

    def __len__(self) -> int:
        """Number of clips."""
        return int(self._starts[-1])

    def __getitem__(self, index: int) -> Features:
        """Features of one clip, `(L, C)` or `(L, n, C)`, L encoder frames of the clip itself."""
        if not 0 <= index < len(self):
            raise IndexError(f"expected an index below {len(self)}, got {index}")
        shard = bisect_right(self._starts, index) - 1
        start, end = self._offsets[shard][index - self._starts[shard] :][:2]
        found: Features = self._features[shard][start:end]
        return found

    @classmethod
    def open(
        cls, clips: Sequence[AudioClip], encode: Encode, fingerprint: str, cache: str | Path
    ) -> "FeatureBank":
        """The bank of `clips` under the folder `cache`, computed now where it is missing.

        Args:
            clips: whose features.
            encode: waveforms `(S,)` to float16 features, one for one; called with clips of like
                length.
            fingerprint: names the encoder, the layers it gives and how it is fed.
            cache: a folder for banks of waveforms and features.

        Raises:
            AudioError: a clip cannot be decoded.
            TrainingError: `encode` gave another number of features than it got waveforms.
        """
        key = hashlib.sha256(fingerprint.encode())
        for clip in clips:
            key.update(json.dumps([clip.id, clip.path, clip.duration_seconds]).encode())
        folder = Path(cache) / f"features-{key.hexdigest()[:16]}"
        missing = [
            (start, folder / f"shard-{start // CLIPS_PER_SHARD:05d}")
            for start in range(0, len(clips), CLIPS_PER_SHARD)
            if not (folder / f"shard-{start // CLIPS_PER_SHARD:05d}").exists()
        ]
        if missing:
            waveforms = WaveformBank.open(clips, cache)
            for start, shard in tqdm(missing, desc="hearing", unit="shard"):
                indices = range(start, min(start + CLIPS_PER_SHARD, len(clips)))
                _write_shard(shard, [waveforms[index] for index in indices], encode)
        return cls(folder)


def _write_shard(folder: Path, waveforms: Sequence[NDArray[np.float32]], encode: Encode) -> None:
    found: list[Features | None] = [None] * len(waveforms)
    for batch in _batches([len(waveform) for waveform in waveforms]):
        features = encode([waveforms[index] for index in batch])
        if len(features) != len(batch):
            raise TrainingError(
                f"expected the features of {len(batch)} clips, got {len(features)}; let `encode` "
                "give one array for each waveform, in order"
            )
        for index, each in zip(batch, features, strict=True):
            found[index] = each
    every = [each for each in found if each is not None]
    with atomic_folder(folder) as temporary:
        np.save(temporary / "offsets.npy", np.cumsum([0, *map(len, every)]))
        np.save(temporary / "features.npy", np.concatenate(every).astype(np.float16))


def _batches(lengths: Sequence[int]) -> list[list[int]]:
    """Indices of clips of like length, as many as `PADDED_SAMPLES_PER_BATCH` allows."""
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batches and (len(batches[-1]) + 1) * lengths[index] <= PADDED_SAMPLES_PER_BATCH:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches
