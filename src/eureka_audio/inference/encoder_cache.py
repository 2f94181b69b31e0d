"""Windows of audio that were heard lately, so that none is heard twice in a row of questions.

The same recording comes again: with every turn of a chat, with every step of DataFlux. The encoder
costs more than a short answer does.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor

MAX_BYTES = 64 * 2**20


class HeardWindow(NamedTuple):
    """One window of audio: its embeddings `(U, D)`, and what a CTC head hears `(L, letters)`."""

    audio_embeds: Tensor
    ctc_logits: Tensor | None

    def copied(self) -> "HeardWindow":
        """The same in memory of its own, without the rest of its batch."""
        letters = self.ctc_logits
        return HeardWindow(self.audio_embeds.clone(), None if letters is None else letters.clone())

    @property
    def num_bytes(self) -> int:
        """Memory taken."""
        return sum(each.nbytes for each in self if each is not None)


class EncoderCache:
    """What was made of the windows heard last, found by their log-mel; safe to share by threads.

    It knows nothing of the model: weights that are changed in place need a new one.

    Args:
        max_bytes: of what is kept; the window that was not heard for longest goes first.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._num_bytes = 0
        self._kept: OrderedDict[bytes, HeardWindow] = OrderedDict()
        self._lock = threading.Lock()

    def hear(
        self,
        windows: Sequence[Tensor],
        encode: Callable[[Sequence[Tensor]], Sequence[HeardWindow]],
    ) -> list[HeardWindow]:
        """What is heard in each window `(M, F)`; `encode` is asked once for each that is new."""
        keys = [_key(window) for window in windows]
        found = {key: heard for key in keys if (heard := self._find(key)) is not None}
        new = {key: window for key, window in zip(keys, windows, strict=True) if key not in found}
        if new:
            for key, heard in zip(new, encode(list(new.values())), strict=True):
                found[key] = self._keep(key, heard.copied())
        return [found[key] for key in keys]

    def _find(self, key: bytes) -> HeardWindow | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def _keep(self, key: bytes, heard: HeardWindow) -> HeardWindow:
        with self._lock:
            if key not in self._kept:  # another thread may have been faster
                self._kept[key] = heard
                self._num_bytes += heard.num_bytes
            while self._num_bytes > self._max_bytes:
                self._num_bytes -= self._kept.popitem(last=False)[1].num_bytes
        return heard


def _key(window: Tensor) -> bytes:
    return hashlib.blake2b(window.detach().cpu().contiguous().numpy().tobytes()).digest()
