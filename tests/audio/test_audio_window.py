"""Windows and pauses: spans tile the waveform exactly, cuts fall where it is quiet."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eureka_audio.audio import clock
from eureka_audio.audio.window import MIN_WINDOW_SAMPLES, Span, split_at_pauses, split_windows


def noise(seconds: float, level: float = 0.1, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return (level * generator.standard_normal(int(seconds * 16_000))).astype(np.float32)


def assert_tiles(spans: tuple[Span, ...], num_samples: int) -> None:
    edges = [0, *(span.end for span in spans)]
    assert [span.start for span in spans] == edges[:-1]
    assert edges[-1] == num_samples
    assert all(span.end > span.start for span in spans)


@given(
    num_samples=st.integers(0, 5 * clock.WINDOW_SAMPLES),
    max_samples=st.integers(2 * MIN_WINDOW_SAMPLES, clock.WINDOW_SAMPLES),
)
def test_windows_tile_and_are_neither_too_long_nor_too_short(
    num_samples: int, max_samples: int
) -> None:
    windows = split_windows(num_samples, max_samples)
    assert_tiles(windows, num_samples)
    lengths = [window.end - window.start for window in windows]
    assert all(length <= max_samples for length in lengths)
    assert all(length >= min(MIN_WINDOW_SAMPLES, num_samples) for length in lengths)


@pytest.mark.parametrize(
    ("num_samples", "lengths"),
    [
        (1, [1]),
        (480_000, [480_000]),
        (480_001, [480_000 - 15_360, 15_361]),
        (480_000 + 15_360, [480_000, 15_360]),
        (960_000, [480_000, 480_000]),
    ],
)
def test_a_rest_too_short_to_hear_borrows(num_samples: int, lengths: list[int]) -> None:
    assert [window.end - window.start for window in split_windows(num_samples)] == lengths


def test_windows_too_small_to_borrow_from_are_refused() -> None:
    with pytest.raises(ValueError, match="max_samples"):
        split_windows(100, max_samples=MIN_WINDOW_SAMPLES)


@settings(max_examples=60, deadline=None)
@given(
    pieces=st.lists(
        st.tuples(st.floats(0.001, 7.0), st.sampled_from([0.0, 1e-5, 0.02, 0.3])), max_size=8
    ),
    max_seconds=st.floats(0.5, 12.0),
)
def test_pauses_tile_and_no_sounding_chunk_is_too_long(
    pieces: list[tuple[float, float]], max_seconds: float
) -> None:
    waveform = np.concatenate([np.zeros(0, np.float32), *(noise(*piece) for piece in pieces)])
    spans = split_at_pauses(waveform, max_seconds=max_seconds)
    assert_tiles(spans, len(waveform))
    for span in spans:
        assert span.is_silent or span.end - span.start <= max_seconds * 16_000 + 160
        if span.is_silent:
            assert np.abs(span.of(waveform)).max() < 1e-3


def test_the_cut_falls_into_the_pause() -> None:
    waveform = noise(20.0)
    waveform[16_000 * 9 : 16_000 * 9 + 4_800] *= 0.01  # 9.0 to 9.3 s
    first, second = split_at_pauses(waveform, max_seconds=12.0)
    assert 9.0 < first.end_seconds < 9.3
    assert second.start == first.end


def test_a_click_is_no_pause_and_a_short_closure_is_none_either() -> None:
    waveform = noise(14.0)
    waveform[16_000 * 6 : 16_000 * 6 + 640] = 0  # 40 ms of closure
    waveform[16_000 * 8 : 16_000 * 8 + 3_200] *= 0.05  # 200 ms of pause
    first, _ = split_at_pauses(waveform, max_seconds=12.0)
    assert 8.0 < first.end_seconds < 8.2
    assert not first.ends_in_speech


@pytest.mark.parametrize("room", [0.0, 0.002, 0.02])
def test_the_longest_pause_parts_first_however_loud_the_room(room: float) -> None:
    speech = [noise(3.0, 0.2), noise(0.3, 0), noise(5.0, 0.2), noise(0.9, 0), noise(4.0, 0.2)]
    waveform = np.concatenate(speech)
    waveform += noise(len(waveform) / 16_000, room, seed=1)
    first, _ = split_at_pauses(waveform, max_seconds=12.0)
    assert 8.3 < first.end_seconds < 9.2
    assert not first.ends_in_speech
    assert [s.ends_in_speech for s in split_at_pauses(waveform, max_seconds=6.0)] == [False] * 3


def test_a_cut_without_a_pause_is_marked() -> None:
    first, second = split_at_pauses(noise(20.0), max_seconds=12.0)
    assert first.ends_in_speech
    assert not second.ends_in_speech  # the recording ends there anyway


def test_two_hours_of_silence_are_one_span() -> None:
    waveform = np.zeros(2 * 3600 * 16_000, dtype=np.float32)
    (span,) = split_at_pauses(waveform, max_seconds=12.0)
    assert span == Span(0, len(waveform), is_silent=True)


def test_long_silence_between_words_is_set_apart_with_a_margin() -> None:
    waveform = np.concatenate([noise(1.0), np.zeros(16_000 * 10, np.float32), noise(1.0)])
    before, silence, after = split_at_pauses(waveform)
    assert not before.is_silent
    assert silence.is_silent
    assert not after.is_silent
    assert before.end_seconds == pytest.approx(1.2)
    assert after.start_seconds == pytest.approx(10.8)


def test_quiet_speech_is_not_silence() -> None:
    assert not any(span.is_silent for span in split_at_pauses(noise(5.0, level=0.002)))


def test_even_loudness_gives_chunks_of_full_length_or_less_never_tiny_ones() -> None:
    waveform = np.full(16_000 * 25, 0.1, dtype=np.float32)
    spans = split_at_pauses(waveform, max_seconds=12.0)
    assert all(4.0 <= span.end_seconds - span.start_seconds <= 12.0 for span in spans)


def test_senseless_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="max_seconds"):
        split_at_pauses(noise(1.0), max_seconds=0.1)
