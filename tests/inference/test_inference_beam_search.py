"""What others than the decoder think has a say in a search, and what they think in the end wins."""

from eureka_audio.inference.beam_search import BeamSearch, best_of
from eureka_audio.inference.growing_answer import GrowingAnswer
from tiny import tiny_processor


def test_a_hint_decides_which_beams_grow() -> None:
    processor = tiny_processor()
    a, b, c = (processor.tokenizer.encode(letter)[0] for letter in "abc")
    end = 0
    empty = GrowingAnswer(processor.tokenizer, {end}, 8)
    rows = [(-1.0, a), (-2.0, b), (-3.0, c), (-9.0, end)]

    def grown(hint: float) -> list[str]:
        search = BeamSearch(empty, 2, lambda answer: hint * answer.text.count("c"))
        search.grow([rows])
        return [beam.answer.text for beam in search.growing]

    assert grown(0.0) == ["a", "b"]
    assert grown(1.5) == ["a", "c"]
    assert grown(5.0) == ["c", "a"]


def test_an_ended_beam_is_chosen_by_its_bonus_and_not_by_its_hint() -> None:
    processor = tiny_processor()
    a, b = (processor.tokenizer.encode(letter)[0] for letter in "ab")
    end = 0
    empty = GrowingAnswer(processor.tokenizer, {end}, 8)
    search = BeamSearch(empty, 2, lambda answer: 3.0 * answer.text.count("b"))
    search.grow([[(-1.0, a), (-2.0, b), (-30.0, end), (-31.0, end)]])
    assert [beam.answer.text for beam in search.growing] == ["b", "a"]
    search.grow([[(-0.1, end), (-9.0, a), (-9.5, b), (-10.0, a)]] * 2)
    assert [beam.answer.text for beam in search.found] == ["b", "a"]
    assert best_of(search.found, [0.0, 0.0]).text == "a"
    assert best_of(search.found, [2.0, 0.0]).text == "b"
