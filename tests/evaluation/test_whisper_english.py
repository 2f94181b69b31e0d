"""Our Whisper normalisers give the same strings as transformers' copy of openai/whisper."""

import random
from importlib.util import find_spec

import pytest

from eureka_audio.errors import MissingDependencyError
from eureka_audio.evaluation import spelling
from eureka_audio.evaluation.english_numbers import NUMBER_WORDS, standardize_numbers
from eureka_audio.evaluation.spelling import american_spellings
from eureka_audio.evaluation.whisper_english import normalize_basic, normalize_english

# fmt: off
SPOKEN = [
    "won't", "can't", "let's", "ain't", "y'all", "wanna", "i'ma", "imma", "ma'am", "i'm", "don't",
    "n't", "it's", "he'd", "been", "gone", "done", "got", "mr", "mrs.", "dr", "st.", "col.", "lt",
    "the", "dog", "colour", "centre", "theatre", "hello_world", "-", "--", "1", "2", "3", "10",
    "007", "1,000", "3.50", "$3.50", "£2", "€5", "5%", "%", "$", "¢7", ".", ",", "!", "?", ";",
    ":", "'", '"', "’", "don’t", "[noise]", "<unk>", "(aside)", "[", "]", "(", ")", "<", ">",
    "1960s", "2nd", "21st", "b2b", "3d", "a", "half", "café", "naïve", "Œuvre", "Straße", "½",
    "²", "٣", "٠", "１２", "你好", "한국", "ł",
    "0", "00", "1s", "1.", ".5", "5.", "1.2.3", "-5", "+3",
    "-$5", "x's", "'s", "'d", "'ll", "'ve", "'t's", "y'all've", "mr's", "uh", "um", "hmm",
    "mm",
    "😀", "℃", "№", "100th", "1,2,3",
]
# fmt: on
CHARACTERS = "abcnost 'd'.,$%¢€£19-+()[]<>ı İéßﬁ\t\n"


def random_text(draw: random.Random, vocabulary: list[str]) -> str:
    if draw.random() < 0.25:
        return "".join(draw.choices(CHARACTERS, k=draw.randint(0, 25)))
    words = draw.choices(vocabulary, k=draw.randint(1, 12))
    text = "".join(word + draw.choice([" ", " ", "  ", "", ",", ". "]) for word in words)
    return text.title() if draw.random() < 0.3 else text


def test_equals_transformers_on_thousands_of_texts() -> None:
    if find_spec("transformers") is None:
        pytest.skip("transformers is not installed")
    from transformers.models.whisper.english_normalizer import (
        BasicTextNormalizer,
        EnglishTextNormalizer,
    )

    english, basic = EnglishTextNormalizer(american_spellings()), BasicTextNormalizer()
    draw = random.Random(0)
    vocabulary = [*sorted(NUMBER_WORDS), *SPOKEN]
    for _ in range(6_000):
        text = random_text(draw, vocabulary)
        assert normalize_english(text) == english(text), text
        assert normalize_basic(text) == basic(text), text


@pytest.mark.parametrize(
    ("spoken", "written"),
    [
        ("two hundred and fifty thousand three hundred and one", "250301"),
        ("one oh one", "101"),
        ("nineteen ninety nine", "1999"),
        ("twenty twenty first", "2021st"),
        ("double o seven", "007"),
        ("minus two point five percent", "-2.5%"),
        ("two dollars and seven cents", "$2.07"),
        ("three and a half million", "3500000"),
        ("one of the ones", "one of the ones"),
        ("nine per person", "9 per person"),
        ("2.5 millions", "2500000s"),
        ("1.3 thousandth", "1300th"),
        ("point hundred", "100"),
    ],
)
def test_numbers(spoken: str, written: str) -> None:
    assert standardize_numbers(spoken) == written


def test_a_numeral_too_long_for_python_stays_as_it_is() -> None:
    digits = "7" * 5_000
    assert standardize_numbers(f"{digits} apples") == f"{digits} apples"


def test_missing_spelling_table_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spelling, "find_spec", lambda name: None)
    american_spellings.cache_clear()
    with pytest.raises(MissingDependencyError, match=r"pip install 'eureka-audio\[evaluation\]'"):
        normalize_english("colour")
    american_spellings.cache_clear()


def test_another_spelling_table_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spelling, "SPELLINGS_SHA256", "0" * 64)
    american_spellings.cache_clear()
    with pytest.raises(MissingDependencyError, match="not be comparable"):
        normalize_english("colour")
    american_spellings.cache_clear()
