"""The cache of a batch against transformers' own; one row on a CPU reads weights its own way."""

import gc
import threading
import time
import weakref
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.backends import mkldnn
from transformers import DynamicCache

from eureka_audio.inference import single_row
from eureka_audio.inference.cache import RowCache
from eureka_audio.inference.decoding import Decoding
from eureka_audio.inference.graphed import GraphedDecoding
from eureka_audio.inference.single_row import (
    float32_is_faster,
    kernels_for,
    matrix_vector_is_faster,
    matrix_vector_products,
)
from tiny import tiny_model


def write(cache: RowCache, num_new: list[int], seed: int) -> tuple[torch.Tensor, ...]:
    """Random keys and values `(rows, 2, C, 4)`, padded on the right, through both layers."""
    generator = torch.Generator().manual_seed(seed)
    rows, width = len(num_new), max(num_new)
    keys, values = (torch.randn(rows, 2, width, 4, generator=generator) for _ in range(2))
    cache.begin_step(width, torch.device("cpu"))
    for layer in range(2):
        cache.update(keys, values, layer)
    for row, count in enumerate(num_new):
        cache.lengths[row] += count
    return keys, values


def test_buffers_go_with_their_cache_and_wait_for_no_collector() -> None:
    cache = RowCache(2)
    cache.lengths = [0, 0]
    write(cache, [3, 5], seed=0)
    buffer = weakref.ref(cache.layers[1].buffers[0])
    gc.disable()
    try:
        del cache
        assert buffer() is None
    finally:
        gc.enable()


def row_of(cache: RowCache, row: int) -> torch.Tensor:
    keys, values = cache.layers[1].buffers
    return torch.cat([keys[row, :, : cache.lengths[row]], values[row, :, : cache.lengths[row]]])


def test_rows_hold_what_was_written_whoever_joins_and_leaves() -> None:
    cache, expected = RowCache(2), []
    cache.lengths = [0, 0]
    keys, values = write(cache, [3, 7], 0)
    expected = [torch.cat([keys[row, :, :n], values[row, :, :n]]) for row, n in enumerate((3, 7))]
    for step in range(150):
        keys, values = write(cache, [1] * len(expected), step)
        fresh = torch.cat([keys, values], dim=1)
        expected = [torch.cat([e, fresh[r]], dim=1) for r, e in enumerate(expected)]
        if step % 10 == 3:
            other = RowCache(2)
            other.lengths = [0, 0]
            write(other, [2, 5], 1000 + step)
            cache.join(other, 1)
            expected.append(row_of(other, 1))
        if step % 10 == 7:
            cache.drop(0)
            expected[0] = expected[-1]
            expected.pop()
    assert len(expected) == 2
    for row, held in enumerate(expected):
        assert torch.equal(row_of(cache, row), held)


def test_a_cache_of_equal_rows_holds_what_transformers_own_holds() -> None:
    generator = torch.Generator().manual_seed(0)
    ours, plain = RowCache(1), DynamicCache()
    ours.lengths = [0] * 3
    for step in (5, *[1] * 150, 3):
        keys, values = (torch.randn(3, 2, step, 4, generator=generator) for _ in range(2))
        ours.begin_step(step, keys.device)
        ours_now, plain_now = (c.update(keys, values, 0) for c in (ours, plain))
        ours.lengths = [length + step for length in ours.lengths]
        assert all(map(torch.equal, ours_now, plain_now))
    assert ours.get_seq_length() == 158
    branch = ours.fork([2, 0, 0])
    plain.batch_select_indices(torch.tensor([2, 0, 0]))
    branch.begin_step(3, keys.device)
    ours_now, plain_now = branch.update(keys, values, 0), plain.update(keys, values, 0)
    assert all(map(torch.equal, ours_now, plain_now))
    assert ours.get_seq_length() == 158  # the trunk does not grow with its branch


def test_the_cache_is_not_copied_at_every_token() -> None:
    cache = RowCache(2)
    cache.lengths = [0]
    places = set()
    for step in range(50):
        write(cache, [1], step)
        places.add(cache.layers[0].buffers[0].data_ptr())
    assert len(places) == 1
    branch = cache.fork([0, 0])
    place = branch.layers[0].buffers[0].data_ptr()
    write(branch, [1, 1], 0)
    assert branch.layers[0].buffers[0].data_ptr() == place


def test_what_is_wiped_is_gone_and_an_empty_cache_takes_no_memory() -> None:
    cache = RowCache(2)
    cache.lengths = [0, 0]
    write(cache, [4, 4], 0)
    for layer in cache.layers:
        layer.buffers[0][0] = float("nan")
    kept = row_of(cache, 1)
    cache.drop(0, wipe=True)
    assert torch.equal(row_of(cache, 0), kept)
    assert all(layer.buffers[0].isfinite().all() for layer in cache.layers)
    assert cache.num_bytes > 0
    cache.drop(0)
    assert cache.num_bytes == 0


def test_a_language_model_that_keeps_something_else_is_refused() -> None:
    model = tiny_model()
    model.language_model.config.layer_types = ["full_attention", "linear_attention"]
    with pytest.raises(Exception, match="linear_attention"):
        Decoding(model)


def one_step(model: torch.nn.Module) -> torch.Tensor:
    """The logits after three tokens and one."""
    embed = model.get_input_embeddings()
    with torch.inference_mode():
        decoding = Decoding(model)
        decoding.start(1)
        decoding.extend(embed(torch.tensor([[5, 6, 7]])))
        return decoding.extend(embed(torch.tensor([[8]])))


@pytest.mark.parametrize("is_faster", [True, False])
def test_one_row_is_read_by_the_kernel_that_was_measured_to_be_faster(
    is_faster: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model().bfloat16()
    asked = []
    monkeypatch.setattr(
        single_row, "matrix_vector_is_faster", lambda m: asked.append(m) or is_faster
    )
    seen = []
    model.language_model.lm_head.register_forward_hook(lambda *_: seen.append(mkldnn.enabled))
    logits = one_step(model)
    one_step(model)
    assert seen == [True, not is_faster] * 2
    assert asked == [model.language_model]
    assert mkldnn.enabled
    with torch.inference_mode():
        plain = model(torch.tensor([[5, 6, 7, 8]])).logits[:, -1]
    torch.testing.assert_close(logits, plain, rtol=0.05, atol=0.2)


@pytest.mark.parametrize("slow", ["plain", "vectors"])
def test_the_slower_kernel_is_found_out(slow: str, monkeypatch: pytest.MonkeyPatch) -> None:
    linear = nn.functional.linear

    def slowed(*arguments: torch.Tensor) -> torch.Tensor:
        if bool(mkldnn.enabled) == (slow == "plain"):
            time.sleep(0.02)
        return linear(*arguments)

    monkeypatch.setattr(nn.functional, "linear", slowed)
    model = nn.Sequential(nn.Linear(1024, 1024, bias=False))
    assert matrix_vector_is_faster(model) == (slow == "plain")


@pytest.mark.parametrize(("num_rows", "device"), [(2, "cpu"), (1, "meta")])
def test_other_steps_leave_onednn_alone(num_rows: int, device: str) -> None:
    with kernels_for(nn.Linear(1, 1), num_rows, torch.device(device)):
        assert mkldnn.enabled


def test_a_machine_knows_whether_it_is_faster_in_float32() -> None:
    assert float32_is_faster() in (True, False)


def test_the_last_thread_to_leave_turns_onednn_on() -> None:
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with matrix_vector_products():
            inside.set()
            leave.wait()

    thread = threading.Thread(target=other)
    with matrix_vector_products():
        thread.start()
        inside.wait()
    assert not mkldnn.enabled
    leave.set()
    thread.join()
    assert mkldnn.enabled


def test_onednn_comes_back_after_an_error() -> None:
    with pytest.raises(ValueError, match="inside"), matrix_vector_products():
        raise ValueError("inside")
    assert mkldnn.enabled


def test_steps_of_fixed_size_compute_what_plain_ones_do() -> None:
    """All of decoding by CUDA graphs but the recording: what is replayed runs again."""
    model = tiny_model()
    embed = model.get_input_embeddings()
    recorded = []

    def record(run: Callable[[], None]) -> Callable[[], None]:
        recorded.append(run)
        return run

    plain, fixed = Decoding(model), GraphedDecoding(model, record)
    prompts = [[5, 6, 7], [8, 9, 10, 11, 12], [13]]
    with torch.inference_mode():
        for number in range(30):
            if number in (0, 3, 9):
                prompt = Decoding(model)
                prompt.start(1)
                prompt.extend(embed(torch.tensor([prompts[{0: 0, 3: 1, 9: 2}[number]]])))
                for decoding in (plain, fixed):
                    decoding.join(prompt, 0)
            if number == 20:
                for decoding in (plain, fixed):
                    decoding.cache.drop(0)
            tokens = [20 + number + row for row in range(plain.num_rows)]
            expected = plain.extend(embed(torch.tensor(tokens)[:, None]))
            found = fixed.step(tokens, torch.device("cpu"))
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
            assert fixed.cache.lengths == plain.cache.lengths
    assert 0 < len(recorded) < 8
