"""Chats that a language model holds with itself: questions it might be asked, and its answers.

Learnt beside audio, they keep a model able to chat: what it would have said before is what it is to
say after. The first words of a question are drawn, the model goes on.

Source: paper section 4 mixes text into Stage 2, 1 : 1 by samples. Unstated: which text; the
paper's is not published, and this needs no download.
"""

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from eureka_audio.durable import atomic_write
from eureka_audio.parts.names import find_source

OPENINGS = tuple(
    """
    What is|What are|What does|How do I|How can I|How does|Why do|Why is|Can you explain|Explain|
    Write a short|Give me|Tell me about|Describe|List three|Summarize|What is the point of|
    Is it|Who was|When did|Where can I|Which|Help me|Suggest|Compare|Define|Translate|Rewrite|
    I am trying to|My friend|Imagine|Should I|Could you|Please write|Name|Make a plan for
    """.replace("\n    ", "")
    .strip()
    .split("|")
)
BATCH = 16
MAX_QUESTION_TOKENS, MAX_ANSWER_TOKENS = 40, 64
MIN_WORDS = 3  # of a question and of an answer
SENTENCE_END = re.compile(r"(?<=[a-z)\"][.!?])(?=\s)")  # not the dot of "1. "
TURN_START, TURN_END = "<|im_start|>", "<|im_end|>"


def write_chats(path: Path, language_model: str, num: int, seed: int, device: str = "auto") -> int:
    """Write `num` chats as lines of `{"messages": [...]}`; returns how many were kept.

    Of an answer that was cut short by its limit its whole sentences are kept; a question that was
    cut short, or is of too few words, is left out.

    Args:
        path: the file.
        language_model: a part of the catalogue, a folder or a hub id, of a chat model in ChatML.
        num: how many are tried.
        seed: the same seed writes the same chats (on the same kind of device).
        device: "auto" is a CUDA device where there is one.

    Raises:
        CheckpointError: the language model cannot be had.
    """
    folder = find_source(language_model)
    on = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, padding_side="left")
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, dtype="auto").to(on)
    rng, kept = random.Random(f"chats/{seed}"), 0
    torch.manual_seed(seed)
    with atomic_write(path) as file:
        for start in range(0, num, BATCH):
            openings = [rng.choice(OPENINGS) for _ in range(min(BATCH, num - start))]
            for question, answer in _chats(model.eval(), tokenizer, openings):
                messages = [
                    {"role": "user", "content": question},
                    {"role": "assistant", "content": answer},
                ]
                file.write(json.dumps({"messages": messages}, ensure_ascii=False) + "\n")
                kept += 1
    return kept


def _chats(model: Any, tokenizer: Any, openings: list[str]) -> Iterator[tuple[str, str]]:
    """Questions that begin with the openings, and their answers, where both are whole."""
    asked = [f"{TURN_START}user\n{opening}" for opening in openings]
    ends = _continue(model, tokenizer, asked, MAX_QUESTION_TOKENS, temperature=1.0)
    questions = [
        f"{opening}{end}".strip()
        for opening, (end, is_whole) in zip(openings, ends, strict=True)
        if is_whole
    ]
    questions = [question for question in questions if len(question.split()) >= MIN_WORDS]
    if not questions:
        return
    replied = [
        f"{TURN_START}user\n{question}{TURN_END}\n{TURN_START}assistant\n" for question in questions
    ]
    answers = _continue(model, tokenizer, replied, MAX_ANSWER_TOKENS, temperature=0.7)
    for question, (written, is_whole) in zip(questions, answers, strict=True):
        answer = written if is_whole else whole_sentences(written)
        if len(answer.split()) >= MIN_WORDS:
            yield question, answer.strip()


def whole_sentences(text: str) -> str:
    """Text up to the end of its last whole sentence; empty if there is none.

    Example:
        >>> whole_sentences("It rains. The wind is")
        'It rains.'
    """
    return text[: max((match.end() for match in SENTENCE_END.finditer(text)), default=0)]


@torch.inference_mode()
def _continue(
    model: Any, tokenizer: Any, prompts: list[str], most: int, temperature: float
) -> list[tuple[str, bool]]:
    """How each prompt's turn goes on, and whether it ends."""
    inputs = tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=False)
    ids = model.generate(
        **inputs.to(model.device),
        max_new_tokens=most,
        do_sample=True,
        temperature=temperature,
        top_p=0.95,
        repetition_penalty=1.1,
        eos_token_id=tokenizer.convert_tokens_to_ids(TURN_END),
        pad_token_id=tokenizer.pad_token_id,
    )
    texts = tokenizer.batch_decode(ids[:, inputs["input_ids"].shape[1] :])
    return [(text.partition(TURN_END)[0], TURN_END in text) for text in texts]
