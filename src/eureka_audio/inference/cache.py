"""A cache that grows without copying itself at every token."""

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

SPARE_TOKENS = 64


class RoomyLayer(DynamicLayer):
    """Keys and values `(B, heads, T, width)` as the front of buffers with room behind.

    transformers' own layer joins old and new anew for every token, which copies the whole cache.
    """

    keys: Tensor
    values: Tensor
    _buffers: tuple[Tensor, Tensor] | None = None

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Append new keys and values; returns all of them."""
        num_old = self.get_seq_length()
        num_all = num_old + key_states.shape[-2]
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        if self._buffers is None or self._buffers[0].shape[-2] < num_all:
            room = num_all + max(SPARE_TOKENS, num_all // 2)
            self._buffers = (
                _with_room(self.keys, key_states, num_old, room),
                _with_room(self.values, value_states, num_old, room),
            )
        keys, values = self._buffers
        keys[..., num_old:num_all, :] = key_states
        values[..., num_old:num_all, :] = value_states
        self.keys, self.values = keys[..., :num_all, :], values[..., :num_all, :]
        return self.keys, self.values

    def fork(self, rows: Tensor) -> "RoomyLayer":
        """A layer of its own with the given rows of this one; a row may be taken several times."""
        branch = RoomyLayer()
        branch.lazy_initialization(self.keys, self.values)
        # With the room behind, which the next token would otherwise copy everything to get.
        keys, values = self._buffers or (self.keys, self.values)
        branch._buffers = keys[rows], values[rows]
        num_tokens = self.get_seq_length()
        branch.keys, branch.values = (each[..., :num_tokens, :] for each in branch._buffers)
        return branch


class RoomyCache(Cache):
    """A `RoomyLayer` for each layer of the model."""

    def __init__(self) -> None:
        super().__init__(layer_class_to_replicate=RoomyLayer)

    def fork(self, rows: Tensor) -> "RoomyCache":
        """A cache of its own with the given rows of this one."""
        branch = RoomyCache()
        branch.layers = [layer.fork(rows) for layer in self.layers]
        return branch


def _with_room(old: Tensor, new: Tensor, num_old: int, room: int) -> Tensor:
    buffer = torch.empty(*new.shape[:-2], room, new.shape[-1], dtype=new.dtype, device=new.device)
    if num_old:
        buffer[..., :num_old, :] = old
    return buffer
