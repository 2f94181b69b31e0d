"""Held-out sentences: written by whoever makes data, obeyed by whoever reads text."""

import json
from argparse import Namespace
from pathlib import Path

import pytest

from eureka_audio.cli import synthesize
from eureka_audio.data.held_out import HeldOut, add_held_out, read_held_out
from eureka_audio.errors import ConfigError, ManifestError
from eureka_audio.synthesis import corpora
from eureka_audio.training.conversations import read_text

HELD = "she sells sea shells"


def test_a_sentence_is_found_by_its_words_wherever_it_is_said() -> None:
    held_out = HeldOut([HELD, "good morning", "..."])
    assert held_out.is_in("She sells sea-shells!")
    assert held_out.is_in("Write down: 'She sells sea shells.' Thank you.")
    assert held_out.is_in("Good morning.")
    assert not held_out.is_in("Good morning to you all.")  # two words may be said anywhere
    assert not held_out.is_in("she sells shells")
    assert not held_out.is_in("...")


def test_a_file_keeps_each_sentence_once_and_loses_none(tmp_path: Path) -> None:
    path = tmp_path / "held_out.txt"
    add_held_out(path, ["b", "a"])
    add_held_out(path, ["c", "a"])
    assert read_held_out(path) == ["a", "b", "c"]
    with pytest.raises(ConfigError, match="synthesize speech"):
        read_held_out(tmp_path / "none.txt")


def test_text_that_says_one_is_not_learnt(tmp_path: Path) -> None:
    def chat(answer: str) -> str:
        turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": answer}]
        return json.dumps({"messages": turns})

    path = tmp_path / "chats.jsonl"
    lines = [chat(f"He said: {HELD}."), chat("Hello."), json.dumps({"text": HELD.upper()})]
    path.write_text("\n".join(lines) + "\n")
    assert len(read_text(path, HeldOut())) == 3
    (kept,) = read_text(path, HeldOut([HELD]))
    assert kept.messages[-1].content[0].text == "Hello."  # type: ignore[union-attr]
    with pytest.raises(ManifestError, match="none that may be learnt"):
        read_text(path, HeldOut([HELD, "hello", "hi"]))


def test_whatever_the_seed_what_one_book_reserves_the_next_leaves_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = {"small": (0.9, lambda: (f"this is sentence {w}" for w in "abcdefghij"), "free")}
    monkeypatch.setattr(corpora, "TEXTS", texts)

    def book(seed: int) -> corpora.SentenceBook:
        args = Namespace(
            out=tmp_path / f"speech-{seed}", seed=seed, num_reserved=4, recordings=None
        )
        return synthesize._sentence_book(Namespace(**vars(args), held_out=None))

    reserved = {sentence.words for sentence in book(0).reserved}
    assert set(read_held_out(tmp_path / "held_out.txt")) == reserved
    later = book(1)
    assert not reserved & {later.next_sentence().words for _ in range(300)}
    assert reserved < set(read_held_out(tmp_path / "held_out.txt"))
