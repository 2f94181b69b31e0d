"""What was heard lately is not heard again, and is the same."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from eureka_audio.inference.encoder_cache import EncoderCache, HeardWindow


class Encoder:
    """Gives views of one batch, and keeps how many windows it was asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, windows: Sequence[Tensor]) -> list[HeardWindow]:
        self.asked.append(len(windows))
        batch = torch.stack([window.mean() * torch.ones(4, 8) for window in windows])
        return [HeardWindow(each, each[:2]) for each in batch]


def window(value: float) -> Tensor:
    return torch.full((80, 10), float(value))


def test_each_window_is_heard_once_in_whatever_batch() -> None:
    cache, encode = EncoderCache(), Encoder()
    first = cache.hear([window(1), window(2), window(1)], encode)
    again = cache.hear([window(2), window(3)], encode)
    assert encode.asked == [2, 1]
    assert [float(each.audio_embeds[0, 0]) for each in first] == [1, 2, 1]
    assert [float(each.audio_embeds[0, 0]) for each in again] == [2, 3]


def test_what_is_kept_is_no_view_of_its_batch() -> None:
    [heard, _] = EncoderCache().hear([window(1), window(2)], Encoder())
    assert heard.ctc_logits is not None
    for kept in heard:
        assert kept is not None
        assert kept.untyped_storage().nbytes() == kept.nbytes


@pytest.mark.parametrize(("max_bytes", "asked"), [(0, [1] * 4), (200, [1, 1, 1, 1]), (400, [1, 1])])
def test_the_oldest_goes_when_there_is_no_room(max_bytes: int, asked: list[int]) -> None:
    cache, encode = EncoderCache(max_bytes), Encoder()  # a window takes 192 bytes
    for value in (1, 2, 1, 2):
        cache.hear([window(value)], encode)
    assert encode.asked == asked


def test_what_was_asked_for_lately_stays() -> None:
    cache, encode = EncoderCache(max_bytes=400), Encoder()
    for value in (1, 2, 1, 3, 1):
        cache.hear([window(value)], encode)
    assert encode.asked == [1, 1, 1]


def test_an_encoder_that_fails_leaves_nothing() -> None:
    def fail(windows: Sequence[Tensor]) -> list[HeardWindow]:
        raise RuntimeError("no memory")

    cache, encode = EncoderCache(), Encoder()
    with pytest.raises(RuntimeError):
        cache.hear([window(1)], fail)
    cache.hear([window(1)], encode)
    assert encode.asked == [1]
