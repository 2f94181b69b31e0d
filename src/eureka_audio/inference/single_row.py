"""Linear maps of a single row on a CPU, read at the speed of memory, by the kernel that is fastest.

Decoding one conversation multiplies every weight with one vector, so the speed at which the weights
are read is the ceiling. Which of torch's kernels comes nearest depends on the machine: oneDNN's are
made for many rows, and for bfloat16 reach a third of that ceiling on one kind of processor and beat
torch's own matrix-vector product on another. So both are measured, on the model's own weights, when
it first decodes a row. `linear` becomes the matrix-vector product while oneDNN is off.

Measured, tokens a second of the 1.7B preset by vectors and by `generate`: 6.5 and 1.1 on an AMD
EPYC with AVX-512, 2.8 and 3.6 on an Intel Xeon with AMX.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache, partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.backends import mkldnn

MEASURED_BYTES = 128 * 2**20  # of weights: more than caches hold
NUM_MEASUREMENTS = 5
FEWEST_WEIGHTS = 2**20  # a model of fewer is not slowed down by reading them

_lock = threading.Lock()
_num_inside = 0
_was_enabled = True
_chosen: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()


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


def kernels_for(model: nn.Module, num_rows: int, device: torch.device) -> AbstractContextManager:
    """The kernels to multiply so many rows with the weights of a model by.

    Args:
        model: measured the first time that a single row is asked for.
        num_rows: tokens, of all conversations together.
        device: where they lie.
    """
    if num_rows != 1 or device.type != "cpu":
        return nullcontext()
    if model not in _chosen:
        _chosen[model] = matrix_vector_is_faster(model)
    return matrix_vector_products() if _chosen[model] else nullcontext()


@torch.inference_mode()
def matrix_vector_is_faster(model: nn.Module) -> bool:
    """Measure both kernels on the weights of a model, in turns, so that both meet the same load."""
    weights = _weights_to_measure(model)
    if sum(weight.numel() for weight in weights) < FEWEST_WEIGHTS:
        return False
    rows = [weight.new_zeros(1, weight.shape[1]) for weight in weights]

    def read() -> None:
        for row, weight in zip(rows, weights, strict=True):
            nn.functional.linear(row, weight)

    def read_as_vectors() -> None:
        with matrix_vector_products():
            read()

    plain, vectors = best_times(read, read_as_vectors)
    return vectors < plain


def best_times(
    *works: Callable[[], Any],
    num_runs: int = NUM_MEASUREMENTS,
    clock: Callable[[], float] = time.perf_counter,
) -> list[float]:
    """The least time in seconds that each piece of work takes, tried in turns."""
    best = [float("inf")] * len(works)
    for _ in range(num_runs + 1):
        for place, work in enumerate(works):
            start = clock()
            work()
            best[place] = min(best[place], clock() - start)
    return best


def _weights_to_measure(model: nn.Module) -> list[Tensor]:
    """Weights of linear maps, as many as fill the measure."""
    weights, num_bytes = list[Tensor](), 0
    for module in model.modules():
        if isinstance(module, nn.Linear) and module.weight.device.type == "cpu":
            weights.append(module.weight)
            num_bytes += module.weight.numel() * module.weight.element_size()
            if num_bytes > MEASURED_BYTES:
                break
    return weights


@cache
def float32_is_faster() -> bool:
    """Whether this machine's CPU decodes and reads prompts faster in float32 than in bfloat16.

    Where a CPU has no arithmetic for bfloat16, products of many rows are many times slower in it.
    Measured for a prompt of 64 tokens and an answer as long.
    """
    return _prompt_and_answer_seconds(torch.float32) < _prompt_and_answer_seconds(torch.bfloat16)


@torch.inference_mode()
def _prompt_and_answer_seconds(dtype: torch.dtype) -> float:
    """What 64 tokens to read, 8 at a time, and 64 to answer cost in linear maps of one size."""
    width, num_tokens, num_rows = 1024, 64, 8
    weights = [torch.ones(width, width, dtype=dtype) for _ in range(8)]  # pages that are written

    def read(rows: Tensor) -> None:
        for weight in weights:
            nn.functional.linear(rows, weight)

    def read_as_vector(row: Tensor) -> None:
        with matrix_vector_products():
            read(row)

    many, one = (torch.zeros(count, width, dtype=dtype) for count in (num_rows, 1))
    prompt, plain, vector = best_times(
        partial(read, many), partial(read, one), partial(read_as_vector, one), num_runs=1
    )
    return num_tokens / num_rows * prompt + num_tokens * min(plain, vector)
