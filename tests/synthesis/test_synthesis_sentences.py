"""What synthetic voices say."""

import random
from collections.abc import Iterator

import pytest

from eureka_audio.errors import MissingDependencyError
from eureka_audio.synthesis import corpora
from eureka_audio.synthesis.corpora import SentenceBook, spoken_words
from eureka_audio.synthesis.grammar import DIGITS, digit_string, everyday_sentence


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It's a well-known fact.", "it's a well known fact"),
        ("'Tis the dogs' house", "tis the dogs house"),
        ("costs $5", None),
        ("at 5 o'clock", None),
        ("e.g. this one", None),
        ("Mr Smith left", None),
        ("the BBC said so", None),
        ("naïve as ever", None),
        ("word", None),
        (" ".join(["very"] * 15), None),
        ("what the fuck", None),
    ],
)
def test_only_plainly_speakable_sentences_pass(text: str, words: str | None) -> None:
    assert spoken_words(text) == words


def test_the_grammar_speaks_plain_words_and_repeats_itself_with_the_seed() -> None:
    said = [everyday_sentence(random.Random(seed)) for seed in range(500)]
    assert said == [everyday_sentence(random.Random(seed)) for seed in range(500)]
    assert all(spoken_words(sentence) == sentence for sentence in said)
    assert len(set(said)) > 450
    assert not any(" a apple" in s or " a elephant" in s or " an hungry" in s for s in said)


def test_digit_strings_are_words_of_digits() -> None:
    said = " ".join(digit_string(random.Random(seed)) for seed in range(100))
    assert set(said.split()) == set(DIGITS)


@pytest.fixture
def small_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    def numbered(name: str) -> Iterator[str]:
        for index in range(40):
            yield f"The {name} says {everyday_sentence(random.Random(index))[:20].strip()}"
        yield "Chapter 7"

    texts = {name: (share, numbered, "free") for name, (share, _, _) in corpora.TEXTS.items()}
    texts = {
        name: (share, lambda name=name: numbered(name.replace("-", " ")), licence)  # type: ignore[misc]
        for name, (share, _, licence) in texts.items()
    }
    monkeypatch.setattr(corpora, "TEXTS", texts)


@pytest.mark.usefixtures("small_texts")
def test_reserved_and_held_out_sentences_never_train() -> None:
    held_out = {"we call it bear", "two two two"}
    book = SentenceBook(7, ["we call it bear", "they all ran home"], held_out, num_reserved=20)
    assert book.dropped["speechocean762-train: held out for testing"] == 1
    assert any("not plainly speakable" in reason for reason in book.dropped)
    training = {book.next_sentence().words for _ in range(3000)}
    reserved = {sentence.words for sentence in book.reserved}
    assert len(reserved) == 20
    assert not training & (reserved | held_out)
    assert "they all ran home" in training
    assert set(DIGITS) <= training


@pytest.mark.usefixtures("small_texts")
def test_the_seed_decides_the_order() -> None:
    def order(seed: int) -> list[str]:
        book = SentenceBook(seed, num_reserved=4)
        return [s.words for s in book.reserved] + [book.next_sentence().words for _ in range(50)]

    assert order(1) == order(1)
    assert order(1) != order(2)


def test_a_missing_text_names_its_package(tmp_path: "corpora.Path") -> None:
    with pytest.raises(MissingDependencyError, match="wordnet-base"):
        list(corpora.wordnet_examples(tmp_path))
    with pytest.raises(MissingDependencyError, match="dict-devil"):
        list(corpora.devil_sentences(tmp_path / "devil.dict.dz"))


def test_a_missing_bible_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingDependencyError, match="bible-kjv"):
        list(corpora.bible_clauses())


def write_wordnet(folder: "corpora.Path") -> None:
    for part in ("noun", "verb", "adj", "adv"):
        (folder / f"data.{part}").write_text("  1 This software is licensed | so to say\n"[:25])
    (folder / "data.verb").write_text(
        "  1 This software is licensed\n"
        '001 30 v 03 run 0 dash 0 on_foot 0 000 | move fast; "don\'t run so fast"; "she ran home"\n'
    )
    (folder / "data.noun").write_text(
        "001 05 n 02 pug 0 Mops 1 001 @ 002 n 0000 | (Europe) a small dog\n"
    )


@pytest.mark.usefixtures("small_texts")
def test_what_another_book_has_reserved_never_trains() -> None:
    first = {sentence.words for sentence in SentenceBook(0, num_reserved=20).reserved}
    careless, careful = (
        SentenceBook(1, num_reserved=20, reserved_before=before) for before in ((), first)
    )
    assert first & {careless.next_sentence().words for _ in range(3000)}
    assert not first & {careful.next_sentence().words for _ in range(3000)}
    assert careless.reserved == careful.reserved  # what a seed reserves, it always does


def test_texts_are_read_from_their_formats(tmp_path: "corpora.Path") -> None:
    import gzip

    write_wordnet(tmp_path)
    assert list(corpora.wordnet_examples(tmp_path)) == ["don't run so fast", "she ran home"]
    path = tmp_path / "devil.dict.dz"
    path.write_bytes(gzip.compress(b"YEAR, n.  A period of three\nhundred disappointments.\n\n"))
    assert "A period of three hundred disappointments" in list(corpora.devil_sentences(path))
