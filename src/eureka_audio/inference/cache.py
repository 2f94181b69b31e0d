"""Keys and values of rows of different length, which join and leave while the others stay in place.

Every row begins at place 0, so a row that ends is replaced by the last one, a new one is written
behind, and nobody else is copied. What lies past the end of a row is left over from others: finite
numbers, which attention gives no weight.
"""

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

SPARE_TOKENS = 64


class RowLayer(CacheLayerMixin):
    """Keys and values `(rows, heads, places, width)` of one layer, as the front of larger buffers.

    transformers' own layer joins old and new anew for every token, which copies the whole cache.
    """

    keys: Tensor | None
    values: Tensor | None

    def __init__(self, cache: "RowCache") -> None:
        super().__init__()
        # No cycle: a batch's buffers must go when its cache does, not when cycles are looked for.
        self._cache = cast(RowCache, weakref.proxy(cache))

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing: buffers are made when there is something to write."""

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Write `(B, heads, C, width)` where the cache says; returns all that rows may look at."""
        step = self._cache.step
        num_rows, width = len(key_states), step.width
        buffers = self.make_room(key_states, value_states, num_rows, width)
        for buffer, states in zip(buffers, (key_states, value_states), strict=True):
            if step.start is None:
                buffer[step.rows, :, step.places] = states.transpose(1, 2)
            else:
                buffer[:num_rows, :, step.start : width] = states
        keys, values = buffers
        return keys[:num_rows, :, :width], values[:num_rows, :, :width]

    def make_room(
        self, key_states: Tensor, value_states: Tensor, num_rows: int, num_places: int
    ) -> tuple[Tensor, Tensor]:
        """The buffers, for at least so many rows and places."""
        have = (0, 0) if self.keys is None else (self.keys.shape[0], self.keys.shape[2])
        if have[0] < num_rows or have[1] < num_places:
            rows = num_rows if have[0] == 0 else max(have[0], _roomier(num_rows, 4))
            places = max(have[1], _roomier(num_places, SPARE_TOKENS))
            self.keys = _enlarged(self.keys, key_states, rows, places)
            self.values = _enlarged(self.values, value_states, rows, places)
            self.is_initialized = True
        return self.buffers

    @property
    def buffers(self) -> tuple[Tensor, Tensor]:
        """Keys and values, once there are any."""
        assert self.keys is not None
        assert self.values is not None
        return self.keys, self.values

    def get_seq_length(self) -> int:
        """The longest row."""
        return self._cache.longest

    def get_max_length(self) -> int:
        """None."""
        return -1

    def get_max_cache_shape(self) -> int:
        """None; an older name."""
        return -1

    def get_mask_sizes(self, *args: Any, **kwargs: Any) -> tuple[int, int]:
        """Places that attention looks at, and the first of them."""
        return self._cache.step.width, 0


@dataclass(frozen=True)
class CacheStep:
    """Where the tokens of one step go.

    Attributes:
        width: places that attention looks at.
        start: the first place written to, where it is the same in all rows; else `None`.
        rows: `(B, 1)` row numbers, for writing to places of each row's own.
        places: `(B, C)` where each token goes, which is its position, too.
    """

    width: int
    start: int | None
    rows: Tensor
    places: Tensor

    @classmethod
    def of(cls, lengths: Sequence[int], num_tokens: int, device: torch.device) -> "CacheStep":
        """The step that adds so many tokens to rows of given lengths."""
        starts_B1 = torch.tensor(lengths, device=device)[:, None]
        return cls(
            max(lengths) + num_tokens,
            lengths[0] if min(lengths) == max(lengths) else None,
            torch.arange(len(lengths), device=device)[:, None],
            starts_B1 + torch.arange(num_tokens, device=device),
        )


class RowCache(Cache):
    """The cache of a batch.

    Args:
        num_layers: of the language model.
        keeps_memory: whether buffers stay where they are when the last row has left.

    Attributes:
        lengths: tokens that each row holds.
        step: where the tokens that are being read go.
    """

    layers: list[RowLayer]
    step: CacheStep

    def __init__(self, num_layers: int, *, keeps_memory: bool = False) -> None:
        super().__init__(layers=[RowLayer(self) for _ in range(num_layers)])
        self._keeps_memory = keeps_memory
        self.lengths: list[int] = []

    @property
    def longest(self) -> int:
        """Tokens of the longest row."""
        return max(self.lengths, default=0)

    def begin_step(self, num_tokens: int, device: torch.device) -> None:
        """Make ready to read so many tokens in every row."""
        self.step = CacheStep.of(self.lengths, num_tokens, device)

    def join(self, other: "RowCache", row: int) -> None:
        """Copy a row of another cache behind the last row."""
        length, place = other.lengths[row], len(self.lengths)
        for mine, theirs in zip(self.layers, other.layers, strict=True):
            copies = mine.make_room(*theirs.buffers, place + 1, length)
            for copy, original in zip(copies, theirs.buffers, strict=True):
                copy[place, :, :length] = original[row, :, :length]
        self.lengths.append(length)

    def drop(self, row: int, *, wipe: bool = False) -> None:
        """Take a row out; the last one takes its place.

        Args:
            row: which.
            wipe: overwrite it, since it may hold something else than finite numbers.
        """
        last = len(self.lengths) - 1
        length = self.lengths[last]
        for layer in self.layers:
            for buffer in layer.buffers:
                if wipe:
                    buffer[row] = 0
                if row != last:
                    buffer[row, :, :length] = buffer[last, :, :length]
        self.lengths[row] = length
        self.lengths.pop()
        if not self.lengths and not self._keeps_memory:
            for layer in self.layers:
                layer.keys = layer.values = None

    def reserve(self, num_rows: int, num_places: int) -> int:
        """Make room, once something was written; returns where the first buffer lies in memory."""
        for layer in self.layers:
            layer.make_room(*layer.buffers, num_rows, num_places)
        return self.layers[0].buffers[0].data_ptr()

    def fork(self, rows: Sequence[int]) -> "RowCache":
        """A cache of its own with the given rows of this one; a row may be taken several times."""
        branch = RowCache(len(self.layers))
        branch.lengths = [self.lengths[row] for row in rows]
        for mine, theirs in zip(branch.layers, self.layers, strict=True):
            # With the room behind, which the next token would otherwise copy everything to get.
            keys, values = theirs.buffers
            index = torch.tensor(rows, device=keys.device)
            mine.keys, mine.values = keys[index], values[index]
            mine.is_initialized = True
        return branch

    @property
    def num_bytes(self) -> int:
        """Memory in use."""
        buffers = [each for layer in self.layers for each in (layer.keys, layer.values)]
        return sum(each.numel() * each.element_size() for each in buffers if each is not None)


def _roomier(number: int, spare: int) -> int:
    return number + max(spare, number // 2)


def _enlarged(old: Tensor | None, like: Tensor, rows: int, places: int) -> Tensor:
    new = like.new_zeros(rows, like.shape[1], places, like.shape[3])
    if old is not None:
        new[: old.shape[0], :, : old.shape[2]] = old
    return new
