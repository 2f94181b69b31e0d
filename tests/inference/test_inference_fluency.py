"""A model of words has a say in transcripts: while they grow, and when one is chosen."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from test_inference_rescoring import BEAMS, encode, searched, searches_of_six, texts_of
from tiny_assistant import noise, tiny_model, tiny_processor, tiny_responder

from eureka_audio import EurekaAudio
from eureka_audio.errors import CheckpointError
from eureka_audio.inference.beam_search import BeamSearch, best_of
from eureka_audio.inference.fluency import PER_WORD, WHILE_GROWING, WORD_SHARE, Fluency
from eureka_audio.inference.growing_answer import GrowingAnswer
from eureka_audio.inference.judge import Judge
from eureka_audio.inference.sampling import GenerationOptions
from eureka_audio.model.weights import save_checkpoint
from eureka_audio.processor import NGRAMS_FILE
from eureka_audio.text.ngrams import END, START, Ngrams
from eureka_audio.text.words import words_of


def ngrams_of(texts: Sequence[str], log_prob: float = -1.0) -> Ngrams:
    """A model in which the words of some texts are likely to follow one another, and no others."""
    words = sorted({START, END, *(word for text in texts for word in words_of(text))})
    said = [[START, *words_of(text), END] for text in texts]
    pairs = sorted({pair for each in said for pair in itertools.pairwise(each)})
    return Ngrams.build(
        words,
        (np.full(len(words), -8.0), np.full(len(words), -4.0)),
        (
            np.array([[words.index(word) for word in pair] for pair in pairs]),
            np.full(len(pairs), log_prob),
            np.zeros(len(pairs)),
        ),
        (np.zeros((0, 3), int), np.zeros(0)),
    )


def test_words_that_follow_one_another_fit() -> None:
    fluency = Fluency(ngrams_of(["a dog barks"]))
    likely, rare = -1.0 + 8 * WORD_SHARE, -4.0 - 8 * (1 - WORD_SHARE)
    assert fluency.of("a dog barks") == pytest.approx(4 * likely)
    assert fluency.of("A dog, barks!") == pytest.approx(4 * likely)
    assert fluency.of("barks dog a") == pytest.approx(4 * rare)
    assert fluency.of("") == pytest.approx(rare)


def test_half_a_word_does_not_count_yet() -> None:
    fluency = Fluency(ngrams_of(["a dog barks"]))
    likely = -1.0 + 8 * WORD_SHARE
    for text in ("a", "a ", "a d", "a dog", "a dog ", "a dog b", "a dog, b"):
        words = len(words_of(text)) - text[-1].isalpha()
        told = fluency.of_growing(text, is_complete=False)
        assert told == pytest.approx(words * (likely + PER_WORD))
    whole = fluency.of_growing("a dog barks", is_complete=True)
    assert whole == pytest.approx(fluency.of("a dog barks") + 3 * PER_WORD)
    assert fluency.of_growing("", is_complete=False) == 0


def test_what_fits_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = 0
    for responder, encoded, search in searches_of_six():
        for wanted in search:
            if not words_of(wanted):
                continue
            monkeypatch.setattr(responder.engine.processor, "ngrams", ngrams_of([wanted]))
            assert texts_of(responder, encoded, num_beams=BEAMS, ngram_weight=1e-9) == [search[0]]
            [text] = texts_of(responder, encoded, num_beams=BEAMS, ngram_weight=1e6)
            [found] = searched(responder, encoded, ngram_weight=1e6)
            assert text in found
            changed += found != search
    assert changed


def test_what_fits_best_per_token_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    processor = tiny_processor()
    answers = [GrowingAnswer(processor.tokenizer, (), 12) for _ in range(3)]
    for answer, text in zip(answers, ("the fox", "lazy the dog", "fox the fox the"), strict=True):
        for token in processor.tokenizer.encode(text):
            answer.add(token)
    ngrams = ngrams_of(["the fox", "lazy dog"])
    monkeypatch.setattr(processor, "ngrams", ngrams)
    options = GenerationOptions(num_beams=BEAMS, ngram_weight=0.5)
    given = Judge(tiny_model(), processor, options)._bonuses(answers, None)
    fluency = Fluency(ngrams)
    assert given == pytest.approx(
        [0.5 * fluency.of(answer.text) / (len(answer.token_ids) + 1) for answer in answers]
    )
    assert given[0] == max(given)


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


def test_rows_of_a_batch_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    processor = tiny_processor()
    responder = tiny_responder(tiny_model(3), processor)
    encoded = encode((0.4,), (1.5, 0.7), (2.0,))
    said = [text for search in searched(responder, encoded) for text in search[1:]]
    monkeypatch.setattr(processor, "ngrams", ngrams_of(said))
    settings = {"num_beams": BEAMS, "ngram_weight": 0.5 / WHILE_GROWING}
    together = texts_of(responder, encoded, **settings)
    assert together == [texts_of(responder, [item], **settings)[0] for item in encoded]


def test_the_model_of_words_travels_with_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    processor, model = tiny_processor(), tiny_model()
    monkeypatch.setattr(processor, "ngrams", ngrams_of(["a dog barks"]))
    model.generation_config.transcription_beams = BEAMS
    model.generation_config.transcription_ngram_weight = 0.5
    save_checkpoint(model, tmp_path / "tiny", processor)
    assert "ngrams" not in (tmp_path / "tiny" / "processor_config.json").read_text()
    assistant = EurekaAudio.from_pretrained(tmp_path / "tiny")
    loaded = assistant.processor.ngrams
    assert loaded is not None
    assert loaded.log_prob("barks", ["dog"]) == -1.0
    assistant.transcribe(noise(0.8, 0))
    (tmp_path / "tiny" / NGRAMS_FILE).write_bytes(b"another")
    with pytest.raises(CheckpointError, match=NGRAMS_FILE):
        EurekaAudio.from_pretrained(tmp_path / "tiny")
