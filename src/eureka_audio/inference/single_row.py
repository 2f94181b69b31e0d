"""Linear maps of a single row, read at the speed of memory.

Decoding one conversation multiplies every weight with one vector, so the speed at which the weights
are read is the ceiling. For bfloat16 on a CPU torch calls oneDNN, whose kernels are made for many
rows and reach a third of that ceiling (less when other processes want the cores). torch's own
matrix-vector product comes near it, and is what `linear` becomes for one row while oneDNN is off.
`eureka-audio bench` measures both.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.backends import mkldnn

_lock = threading.Lock()
_num_inside = 0
_was_enabled = True


@contextmanager
def matrix_vector_products() -> Iterator[None]:
    """Turn oneDNN off; the last of several threads to leave turns it on again.

    The switch is torch's and holds for the process: what another thread computes meanwhile is as
    right, only by another kernel.
    """
    global _num_inside, _was_enabled
    with _lock:
        if _num_inside == 0:
            _was_enabled = _switch(False)
        _num_inside += 1
    try:
        yield
    finally:
        with _lock:
            _num_inside -= 1
            if _num_inside == 0:
                _switch(_was_enabled)


def _switch(enabled: bool) -> bool:
    """Set whether torch may use oneDNN; returns what it was."""
    was_enabled = bool(mkldnn.enabled)
    setattr(mkldnn, "enabled", enabled)  # noqa: B010 (a property that its type stub hides)
    return was_enabled


def gains_from_matrix_vector(num_rows: int, device: torch.device, dtype: torch.dtype) -> bool:
    """Whether a step is the case made for: one row, on a CPU, in bfloat16."""
    return num_rows == 1 and device.type == "cpu" and dtype == torch.bfloat16
