"""Kokoro's voices: symbols, times, deliveries, and the corpus that they say."""

import random
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from eureka_audio.audio.clock import SAMPLING_RATE
from eureka_audio.errors import MissingDependencyError
from eureka_audio.synthesis import corpora
from eureka_audio.synthesis import kokoro as kokoro_module
from eureka_audio.synthesis.corpora import SHORT_WORDS, SentenceBook, ShortBook
from eureka_audio.synthesis.engines import require_engines, speak
from eureka_audio.synthesis.grammar import DIGITS
from eureka_audio.synthesis.kokoro import (
    DURATIONS,
    MODEL,
    NUM_FRAMES_LATE,
    NUMBERS,
    SAMPLES_PER_FRAME,
    SYMBOLS,
    VOICES,
    Kokoro,
    symbols_of,
)
from eureka_audio.synthesis.phones import ESPEAK, PHONES
from eureka_audio.synthesis.voices import (
    KOKORO,
    KOKORO_HELD_OUT,
    Delivery,
    draw_delivery,
)

FRAMES_PER_SYMBOL = 3


def put_together(folder: Path) -> Path:
    """A folder like the real one; the model says each symbol for three frames, its voice's first
    number is the loudness, and speed divides that.
    """
    inputs = [
        helper.make_tensor_value_info("tokens", TensorProto.INT64, [1, None]),
        helper.make_tensor_value_info("style", TensorProto.FLOAT, [1, 256]),
        helper.make_tensor_value_info("speed", TensorProto.FLOAT, [1]),
    ]
    outputs = [
        helper.make_tensor_value_info("audio", TensorProto.FLOAT, [None]),
        helper.make_tensor_value_info(DURATIONS, TensorProto.FLOAT, [1, None]),
    ]
    constants = {
        "zero": np.array([0.0], np.float32),
        "frames": np.array([float(FRAMES_PER_SYMBOL)], np.float32),
        "repeats": np.array([1, FRAMES_PER_SYMBOL * SAMPLES_PER_FRAME], np.int64),
        "flat": np.array([-1], np.int64),
        "first": np.array([0], np.int64),
    }
    nodes = [
        helper.make_node("Cast", ["tokens"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["numbers", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "frames"], [DURATIONS]),
        helper.make_node("Gather", ["style", "first"], ["loudness"], axis=1),
        helper.make_node("Div", ["loudness", "speed"], ["level"]),
        helper.make_node("Add", ["nothing", "level"], ["levels"]),
        helper.make_node("Tile", ["levels", "repeats"], ["tiled"]),
        helper.make_node("Reshape", ["tiled", "flat"], ["audio"]),
    ]
    initializers = [onnx.numpy_helper.from_array(a, name) for name, a in constants.items()]
    graph = helper.make_graph(nodes, "kokoro", inputs, outputs, initializers)
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), folder / MODEL)
    styles = {"af_heart": np.full((9, 256), 0.2), "am_adam": np.full((9, 256), 0.6)}
    np.savez(folder / VOICES, **{name: table.astype(np.float32) for name, table in styles.items()})
    return folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(kokoro_module.FOLDER_VARIABLE, str(put_together(tmp_path)))
    kokoro_module.kokoro.cache_clear()
    return tmp_path


def test_every_phone_of_espeak_has_symbols_and_every_symbol_a_number() -> None:
    assert set(SYMBOLS) == set(PHONES) == set(ESPEAK.values())
    assert {symbol for symbols in SYMBOLS.values() for symbol in symbols} <= NUMBERS.keys()
    assert len(set(NUMBERS.values())) == len(NUMBERS)


@pytest.mark.parametrize(
    ("mnemonics", "symbols", "phones"),
    [
        ("s'Ev@n", "sˈɛvən", "s eh v ax n"),
        ("m'A@k", "mˈɑɹk", "m aa r k"),  # eSpeak says the r within the vowel
        ("f'aI3r- ,oUv3", "fˈIɹ ˌOvɜɹ", "f ay r ow v er"),  # and once more before a vowel
        ("tS'E@dZ?", "ʧˈɛəʤ", "ch eh ax jh"),  # the longest name first; a glottal stop is nothing
        ("", "", ""),
    ],
)
def test_phonemes_become_symbols_and_phones(mnemonics: str, symbols: str, phones: str) -> None:
    made = symbols_of(mnemonics)
    assert "".join(symbol for symbol, _ in made) == symbols
    assert [phone for _, phone in made if phone is not None] == phones.split()


def test_a_phone_lasts_as_long_as_its_symbols_and_the_stress_before_it_and_comes_early(
    folder: Path,
) -> None:
    symbols = symbols_of("'3 t")  # stress, two symbols of one phone, space, one symbol
    voiced = Kokoro(folder).say(symbols, "af_heart", 1.0)
    assert voiced is not None
    frame = FRAMES_PER_SYMBOL * SAMPLES_PER_FRAME / kokoro_module.SAMPLING_RATE
    names, ends = zip(*voiced.ends, strict=True)
    assert names == ("", "er", "t", "")
    early = NUM_FRAMES_LATE * SAMPLES_PER_FRAME / kokoro_module.SAMPLING_RATE
    assert ends == pytest.approx([frame - early, 4 * frame - early, 6 * frame - early, 7 * frame])
    assert len(voiced.samples) == round(ends[-1] * kokoro_module.SAMPLING_RATE)


@pytest.mark.parametrize(("heard", "ends_at"), [(19, 19), (40, 28), (3, 14), (0, 14)])
def test_the_last_phone_ends_where_it_dies_away(folder: Path, heard: int, ends_at: int) -> None:
    class Session:
        def run(self, names: list[str], inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
            samples = np.zeros(40 * SAMPLES_PER_FRAME, np.float32)
            samples[: heard * SAMPLES_PER_FRAME] = 0.5
            return [samples[None], np.array([[10.0, 5.0, 15.0, 10.0]])]

    voice = Kokoro(folder)
    voice._session = Session()
    voiced = voice.say(symbols_of("ti:"), "af_heart", 1.0)
    assert voiced is not None
    frame = SAMPLES_PER_FRAME / kokoro_module.SAMPLING_RATE
    assert [end for _, end in voiced.ends] == pytest.approx(
        [8 * frame, 13 * frame, ends_at * frame, 40 * frame]
    )


def test_two_voices_make_one_half_way_and_speed_is_heard(folder: Path) -> None:
    said = {
        (voice, speed): Kokoro(folder).say(symbols_of("t"), voice, speed)
        for voice in ("af_heart", "am_adam", "af_heart+am_adam")
        for speed in (1.0, 2.0)
    }
    level = {key: float(voiced.samples[0]) for key, voiced in said.items() if voiced is not None}
    assert level["af_heart+am_adam", 1.0] == pytest.approx(0.4)
    assert level["am_adam", 2.0] == pytest.approx(0.3)


def test_nothing_is_said_of_nothing_or_of_more_than_the_voice_can(folder: Path) -> None:
    assert Kokoro(folder).say([], "af_heart", 1.0) is None
    assert Kokoro(folder).say(symbols_of("t" * 10), "af_heart", 1.0) is None
    assert Kokoro(folder).say(symbols_of("t" * 9), "af_heart", 1.0) is not None


def test_a_missing_folder_says_how_to_make_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(kokoro_module.FOLDER_VARIABLE, str(tmp_path))
    monkeypatch.setattr(shutil, "which", lambda program: program)
    kokoro_module.kokoro.cache_clear()
    with pytest.raises(MissingDependencyError, match=r"recipes/nano/kokoro\.py"):
        require_engines(["kokoro"])


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
def test_kokoro_says_what_espeak_spells_at_16_khz(folder: Path) -> None:
    delivery = Delivery("kokoro", "af_heart", "female", False, 1.25, 1.0)
    (said,) = speak([("two", delivery)])
    assert said is not None
    assert [phone.label for phone in said.phones] == ["t", "uw"]
    seconds = 5 * FRAMES_PER_SYMBOL * SAMPLES_PER_FRAME / kokoro_module.SAMPLING_RATE / 1.25
    assert len(said.waveform) == pytest.approx(seconds * SAMPLING_RATE, abs=2)
    early = NUM_FRAMES_LATE * SAMPLES_PER_FRAME / kokoro_module.SAMPLING_RATE / 1.25
    assert said.phones[-1].end_seconds == pytest.approx(seconds * 4 / 5 - early, abs=2e-3)


def test_held_out_voices_never_train() -> None:
    trained = {voice for voices in KOKORO.values() for voice in voices}
    held_out = {voice for voices in KOKORO_HELD_OUT.values() for voice in voices}
    assert not trained & held_out
    for is_held_out, allowed in ((False, trained), (True, held_out)):
        drawn = [draw_delivery(random.Random(seed), "kokoro", is_held_out) for seed in range(300)]
        assert {name for d in drawn for name in d.voice.split("+")} == allowed
        assert all(is_held_out or "+" in d.voice or d.voice in trained for d in drawn)
        for delivery in drawn:
            assert {name[1] for name in delivery.voice.split("+")} == {(delivery.gender or "")[0]}
            assert (delivery.speaker.age_group == "child") == (delivery.formant_shift > 1.1)


def test_a_short_book_says_little_at_a_time_and_reserves_a_part(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    texts = [f"{'word ' * length}end" for length in range(2, 13)]
    monkeypatch.setattr(corpora, "TEXTS", {"words": (0.8, lambda: iter(texts), "none")})
    monkeypatch.setattr(corpora, "RESERVED_STEP", 2)
    whole = SentenceBook(0, num_reserved=8)
    book = ShortBook(0, whole)
    assert book.reserved == [whole.reserved[i] for i in (0, 2, 4, 6)]
    said = [book.next_sentence() for _ in range(600)]
    assert max(len(sentence.words.split()) for sentence in said) == SHORT_WORDS
    singles = Counter(s.words for s in said if s.words in DIGITS)
    assert set(singles) == set(DIGITS)
    assert 60 < sum(singles.values()) < 160
    assert not {s.words for s in book.reserved} & {s.words for s in said}
