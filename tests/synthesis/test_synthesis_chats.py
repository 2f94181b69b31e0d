"""Chats a language model holds with itself: whole ones are kept, the same by seed."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from eureka_audio.data.held_out import HeldOut
from eureka_audio.synthesis import chats
from eureka_audio.text.tokenizer import TURN_END
from eureka_audio.training.conversations import read_text
from tiny import train_tokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny chat model in a folder."""
    folder = tmp_path_factory.mktemp("model")
    tokenizer = train_tokenizer(list(chats.OPENINGS), 400)
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "head_dim": 8}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2}
    config = Qwen3Config(vocab_size=len(tokenizer), **shape, **heads)
    Qwen3ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_only_whole_chats_are_kept_and_they_can_be_learnt(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scripted(model: object, tokenizer: object, prompts: list[str], most: int, **_: Any) -> Any:
        is_question = most == chats.MAX_QUESTION_TOKENS
        cut = "It flows. See 1. the", "It is a"
        ends = (
            [(" the big river?", True), (" the", False)]
            if is_question
            else [("It is a river.", True), *((text, False) for text in cut), ("Yes.", True)]
        )
        return [ends[index % len(ends)] for index in range(len(prompts))]

    monkeypatch.setattr(chats, "_continue", scripted)
    path = tmp_path / "chats.jsonl"
    kept = chats.write_chats(path, str(folder), num=8, seed=0, device="cpu")
    assert kept == 1  # of eight questions four end; of their answers one is long enough
    (row,) = [json.loads(line) for line in path.open()]
    question, answer = row["messages"]
    assert question["content"].endswith(" the big river?")
    assert question["content"].startswith(chats.OPENINGS)
    assert answer == {"role": "assistant", "content": "It is a river."}
    assert len(read_text(path, HeldOut())) == 1


def test_the_same_seed_writes_the_same(folder: Path, tmp_path: Path) -> None:
    for name in ("first", "second"):
        chats.write_chats(tmp_path / name, str(folder), num=3, seed=5, device="cpu")
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_what_does_not_end_is_told() -> None:
    tokenizer = train_tokenizer(["hello there"], 300)
    tokenizer.padding_side = "left"
    said = [tokenizer.encode(text) for text in (f"hello{TURN_END}", "there there there")]

    def generate(input_ids: torch.Tensor, **_: Any) -> torch.Tensor:
        width = max(map(len, said))
        pad = tokenizer.pad_token_id
        ends = torch.tensor([ids + [pad] * (width - len(ids)) for ids in said])
        return torch.cat([input_ids, ends], dim=1)

    model = SimpleNamespace(generate=generate, device=torch.device("cpu"))
    found = chats._continue(model, tokenizer, ["a", "bc"], 9, temperature=1.0)
    assert found == [("hello", True), ("there there there", False)]


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("It rains. The wind", "It rains."),
        ("Is it? Yes! No", "Is it? Yes!"),
        ("1. Walk", ""),
        ("It rai", ""),
    ],
)
def test_an_answer_that_was_cut_keeps_its_whole_sentences(text: str, whole: str) -> None:
    assert chats.whole_sentences(text) == whole
