"""The arithmetic of throughput, on timings known beforehand."""

import json
from itertools import count
from pathlib import Path

import pytest

from eureka_audio.clients.scripted import ScriptedModel
from eureka_audio.errors import EndpointError
from eureka_audio.evaluation.throughput import (
    BatchTiming,
    ClipTiming,
    Stopwatch,
    spread,
    summarize,
    table,
)
from eureka_audio.text.chat import caption_request

# Two batches of two: prepared in 1 s, first token 1 s later, last one after 4 s and 3 s.
BATCHES = [
    BatchTiming((ClipTiming(10.0, 5, 4.0), ClipTiming(6.0, 3, 3.0)), 4.0, 1.0, 1.0),
    BatchTiming((ClipTiming(4.0, 1, 2.0),), 3.0, 0.5, 1.5, failed=("not audio",)),
]


def test_each_figure_covers_what_its_name_says() -> None:
    result = summarize(2, BATCHES, peak_memory_bytes=2**20)
    assert (result["clips"], result["failed"], result["tokens"]) == (3, 1, 9)
    assert result["tokens_per_second"] == round(9 / 7, 3)
    assert result["decode_tokens_per_second"] == round((4 + 2 + 0) / (2 + 1), 3)
    # The clip of a single token has no rate: nothing was written after its first.
    assert result["clip_tokens_per_second"] == (4 / 2 + 2 / 1) / 2
    assert result["first_token_seconds"] == {"median": 2.0, "p95": 2.0}
    assert (result["prepare_seconds"], result["prefill_seconds"]) == (1.5, 2.5)
    assert result["decode_seconds"] == 3.0
    assert result["real_time_factor"] == 7 / 20


def test_time_to_the_first_token_is_counted_by_clip_not_by_batch() -> None:
    quick = BatchTiming((ClipTiming(1.0, 2, 2.0),), 2.0, 0.5, 0.5)
    slow = BatchTiming((ClipTiming(1.0, 2, 9.0),) * 3, 9.0, 4.0, 4.0)
    assert summarize(3, [quick, slow], None)["first_token_seconds"] == {"median": 8.0, "p95": 8.0}


def test_what_a_model_does_not_tell_is_none_and_not_zero() -> None:
    outside = BatchTiming((ClipTiming(10.0, 5, 4.0),), 4.0)
    result = summarize(1, [outside], None)
    assert result["tokens_per_second"] == 1.25
    for name in ("decode_tokens_per_second", "clip_tokens_per_second", "prefill_seconds"):
        assert result[name] is None
    assert result["first_token_seconds"] == {"median": None, "p95": None}
    row = table([result]).splitlines()[-1].split()
    assert row == ["1", "1", "5", "1.2", "-", "-", "-", "-", "-", "0.4000", "-"]


def test_no_answer_at_all_gives_no_figure() -> None:
    result = summarize(4, [BatchTiming((), 1.0, failed=("down",) * 4)], None)
    assert (result["clips"], result["failed"]) == (0, 4)
    assert result["tokens_per_second"] is None
    assert result["real_time_factor"] is None
    table([result])


def test_a_model_is_timed_from_outside_and_its_errors_are_named() -> None:
    ticks = count(step=3)
    model = ScriptedModel(lambda words: EndpointError("down"))
    requests = [caption_request(Path("a.wav"))] * 2
    timing = Stopwatch(model, lambda: float(next(ticks))).time_batch(requests, 10)
    assert timing == BatchTiming((), 3.0, failed=("down", "down"))
    timing = Stopwatch(ScriptedModel(lambda words: "hi")).time_batch(requests, 10)
    assert len(timing.clips) == 2
    assert timing.first_token_seconds is None


def test_every_column_has_its_head() -> None:
    lines = table([summarize(2, BATCHES, 2**20)]).splitlines()
    assert len(lines) == 3
    assert len(lines[0]) == len(lines[2])


@pytest.mark.parametrize(("size", "wanted"), [(5, 5), (200, 200), (7, 3), (1, 1)])
def test_clips_are_spread_over_the_whole_list(size: int, wanted: int) -> None:
    taken = spread(list(range(size)), wanted)
    assert len(taken) == wanted
    assert taken == sorted(set(taken))
    assert taken[-1] >= size - -(-size // wanted)
    assert spread([1, 2], 9) == [1, 2]
    json.dumps(summarize(1, BATCHES, 1))
