"""Our model timed from inside: the same answers, every second in one place."""

import pytest

from eureka_audio.inference.hardware import PeakMemory, fingerprint
from eureka_audio.inference.timing import EngineStopwatch
from eureka_audio.records import Conversation
from eureka_audio.text.chat import caption_request
from tiny import noise, tiny_assistant

LIMIT = 30


def requests(*seconds: float) -> list[Conversation]:
    return [caption_request(noise(length, seed)) for seed, length in enumerate(seconds)]


def test_it_times_the_answers_that_a_user_gets() -> None:
    assistant = tiny_assistant()
    asked = requests(1.0, 2.0, 0.5, 1.5)
    timing = EngineStopwatch(assistant).time_batch(asked, LIMIT)
    replies = assistant.answer(asked, max_new_tokens=LIMIT)
    # The token that ends an answer costs a step and is counted; an answer cut off has none.
    expected = [reply.num_new_tokens + (reply.finish_reason == "stop") for reply in replies]
    assert [clip.num_tokens for clip in timing.clips] == expected
    assert len(set(expected)) > 1  # else the test could not tell rows apart
    assert [clip.audio_seconds for clip in timing.clips] == [1.0, 2.0, 0.5, 1.5]


def test_a_batch_takes_as_long_as_its_parts() -> None:
    timing = EngineStopwatch(tiny_assistant()).time_batch(requests(1.0, 2.0), LIMIT)
    assert timing.prepare_seconds > 0
    assert timing.prefill_seconds > 0
    assert timing.first_token_seconds == timing.prepare_seconds + timing.prefill_seconds
    ends = [clip.last_token_seconds for clip in timing.clips]
    assert timing.seconds == max(ends)
    assert timing.first_token_seconds <= max(ends)


def test_one_bad_recording_is_named_and_the_others_are_timed() -> None:
    asked = [*requests(1.0), caption_request("no such file.wav"), *requests(0.5)]
    timing = EngineStopwatch(tiny_assistant()).time_batch(asked, 4)
    assert len(timing.clips) == 2
    assert len(timing.failed) == 1
    assert "no such file.wav" in timing.failed[0]
    nothing = EngineStopwatch(tiny_assistant()).time_batch(asked[1:2], 4)
    assert nothing.clips == ()
    assert len(nothing.failed) == 1


def test_a_figure_says_where_it_comes_from() -> None:
    found = fingerprint()
    assert found.keys() == {"hardware", "versions", "commit"}
    assert found["hardware"]["memory_gb"] > 0
    assert found["hardware"]["device"] == "cpu"


def test_the_peak_of_memory_grows_with_what_is_held() -> None:
    before = PeakMemory("cpu").num_bytes()
    held = bytearray(64 * 2**20)
    held[::4096] = b"x" * len(held[::4096])
    if PeakMemory("cpu").num_bytes() < before:
        pytest.fail("memory in use cannot shrink while more is held")
    assert PeakMemory("cpu").num_bytes() >= len(held)
