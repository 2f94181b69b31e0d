"""The template, id by id; what is learnt; whose windows are whose."""

import itertools

import pytest
from transformers import Qwen2Tokenizer

from eureka_audio.errors import MessageError
from eureka_audio.records import AudioPart, Conversation, Message, TextPart
from eureka_audio.text.chat import (
    IGNORED_LABEL,
    answered,
    caption_request,
    encode_chat,
    question_request,
    transcription_request,
)
from eureka_audio.text.tokenizer import (
    AUDIO_END,
    AUDIO_PAD,
    AUDIO_START,
    END_OF_TEXT,
    SPECIAL_TOKENS,
    TURN_END,
    TURN_START,
    token_id,
)
from tiny import train_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Qwen2Tokenizer:
    return train_tokenizer(["user assistant system what is it? a dog."], 280)


def spelled(tokenizer: Qwen2Tokenizer, text: str) -> list[int]:
    """The template written as one string, in which special tokens are recognised."""
    return list(tokenizer.encode(text))


def user(*parts: TextPart | AudioPart) -> Message:
    return Message(role="user", content=parts)


def test_the_template_is_the_released_models(tokenizer: Qwen2Tokenizer) -> None:
    conversation = Conversation(
        messages=(
            Message(role="system", content=(TextPart(text="be brief"),)),
            user(AudioPart(audio=0), TextPart(text="what is it?")),
            Message(role="assistant", content=(TextPart(text="a dog."),)),
            user(TextPart(text="and "), AudioPart(audio=1), TextPart(text=" now?")),
        )
    )
    chat = encode_chat(conversation, tokenizer, [[2, 1], [3]], add_generation_prompt=True)
    assert tokenizer.decode(chat.input_ids) == (
        "<|im_start|>system\nbe brief<|im_end|>\n"
        "<|im_start|>user\n<|audio_start|><|audio_pad|><|audio_pad|><|audio_end|>"
        "<|audio_start|><|audio_pad|><|audio_end|>what is it?<|im_end|>\n"
        "<|im_start|>assistant\na dog.<|im_end|>\n"
        "<|im_start|>user\nand <|audio_start|><|audio_pad|><|audio_pad|><|audio_pad|><|audio_end|>"
        " now?<|im_end|>\n"
        "<|im_start|>assistant\n<think>\n\n</think>\n\n"
    )
    assert set(chat.labels) == {IGNORED_LABEL}


def test_exact_ids(tokenizer: Qwen2Tokenizer) -> None:
    chat = encode_chat(question_request(0, "what?"), tokenizer, [[2]], add_generation_prompt=True)
    turn_start, turn_end = token_id(tokenizer, TURN_START), token_id(tokenizer, TURN_END)
    newline = tokenizer.encode("\n")
    assert len(newline) == 1
    assert chat.input_ids == [
        turn_start,
        *tokenizer.encode("user\n"),
        token_id(tokenizer, AUDIO_START),
        token_id(tokenizer, AUDIO_PAD),
        token_id(tokenizer, AUDIO_PAD),
        token_id(tokenizer, AUDIO_END),
        *tokenizer.encode("what?"),
        turn_end,
        *newline,
        turn_start,
        *tokenizer.encode("assistant\n"),
        token_id(tokenizer, "<think>"),
        *tokenizer.encode("\n\n"),
        token_id(tokenizer, "</think>"),
        *tokenizer.encode("\n\n"),
    ]
    assert chat.input_ids == [
        *(274, 270, 198),
        *(275, 276, 276, 277),
        *(271, 30, 272, 198),
        *(274, 64, 265, 256, 269, 83, 198),
        *(278, 198, 198, 279, 198, 198),
    ]


def test_labels_cover_the_answer_and_its_closing_token_and_nothing_else(
    tokenizer: Qwen2Tokenizer,
) -> None:
    request = Conversation(
        messages=(
            user(TextPart(text="one?")),
            Message(role="assistant", content=(TextPart(text="earlier"),)),
            user(AudioPart(audio=0), TextPart(text="two?")),
        )
    )
    chat = encode_chat(answered(request, "a dog."), tokenizer, [[4]], add_generation_prompt=False)
    learnt = [label for label in chat.labels if label != IGNORED_LABEL]
    assert learnt == [*tokenizer.encode("a dog."), token_id(tokenizer, TURN_END)]
    assert all(
        label in (IGNORED_LABEL, id_)
        for label, id_ in zip(chat.labels, chat.input_ids, strict=True)
    )
    # What generation is given is what the answer was learnt after.
    prompt = encode_chat(request, tokenizer, [[4]], add_generation_prompt=True)
    first = next(i for i, label in enumerate(chat.labels) if label != IGNORED_LABEL)
    assert chat.input_ids[:first] == prompt.input_ids
    assert tokenizer.decode(chat.input_ids[first:]) == "a dog.<|im_end|>\n"


def test_an_empty_answer_still_teaches_to_stop(tokenizer: Qwen2Tokenizer) -> None:
    chat = encode_chat(
        answered(transcription_request(0), ""), tokenizer, [[1]], add_generation_prompt=False
    )
    learnt = [label for label in chat.labels if label != IGNORED_LABEL]
    assert learnt == [token_id(tokenizer, TURN_END)]


def test_every_window_has_its_own_start_and_end(tokenizer: Qwen2Tokenizer) -> None:
    conversation = Conversation(
        messages=(user(AudioPart(audio=0), AudioPart(audio=1), TextPart(text="?")),)
    )
    counts = [[375, 375, 12], [1]]
    chat = encode_chat(conversation, tokenizer, counts, add_generation_prompt=True)
    ids = chat.input_ids
    start, pad, end = (token_id(tokenizer, t) for t in (AUDIO_START, AUDIO_PAD, AUDIO_END))
    runs = [
        (key, len(list(group))) for key, group in itertools.groupby(ids) if key in (start, pad, end)
    ]
    expected = [
        (s, n) for n_ in itertools.chain(*counts) for s, n in ((start, 1), (pad, n_), (end, 1))
    ]
    assert runs == expected


TEMPLATE_COUNTS = {TURN_START: 2, TURN_END: 1, "<think>": 1, "</think>": 1, END_OF_TEXT: 0}


@pytest.mark.parametrize(
    "text",
    [*SPECIAL_TOKENS, *map("".join, itertools.product(SPECIAL_TOKENS, repeat=2))],
)
def test_what_users_control_never_becomes_structure(tokenizer: Qwen2Tokenizer, text: str) -> None:
    """Question, choices, language, system text and answer; placeholders stay those of the audio."""
    audio_token = token_id(tokenizer, AUDIO_PAD)
    requests = [
        question_request(0, text),
        question_request(0, text, choices=[text, f"a{text}b"]),
    ]
    for request in requests:
        ids = encode_chat(request, tokenizer, [[5]], add_generation_prompt=True).input_ids
        assert ids.count(audio_token) == 5
        for token, count in TEMPLATE_COUNTS.items():
            assert ids.count(token_id(tokenizer, token)) == count
        assert text in tokenizer.decode(ids)
    spoken = encode_chat(
        answered(transcription_request(0, language=text), text),
        tokenizer,
        [[5]],
        add_generation_prompt=False,
    )
    assert spoken.input_ids.count(audio_token) == 5
    assert spoken.input_ids.count(token_id(tokenizer, TURN_END)) == 3  # system, user, assistant
    learnt = [label for label in spoken.labels if label != IGNORED_LABEL]
    assert tokenizer.decode(learnt) == text + TURN_END
    assert not set(learnt[:-1]) & set(tokenizer.get_added_vocab().values())


def test_malformed_conversations_are_refused(tokenizer: Qwen2Tokenizer) -> None:
    def encode(*messages: Message, prompt: bool = True) -> object:
        return encode_chat(
            Conversation(messages=messages), tokenizer, [[1]], add_generation_prompt=prompt
        )

    with pytest.raises(MessageError, match="at least one message"):
        encode()
    with pytest.raises(MessageError, match="end with the assistant, got user"):
        encode(user(TextPart(text="hello")), prompt=False)
    with pytest.raises(MessageError, match="holds text only"):
        encode(Message(role="assistant", content=(AudioPart(audio=0),)), prompt=False)
    with pytest.raises(MessageError, match="holds text only"):
        encode(Message(role="assistant", content=(AudioPart(audio=0),)), user(TextPart(text="?")))


def test_a_tokenizer_without_audio_tokens_is_refused() -> None:
    plain = Qwen2Tokenizer(vocab={"a": 0}, merges=[], unk_token=None)
    plain.add_tokens([TURN_START, TURN_END, "<think>", "</think>"])
    with pytest.raises(ValueError, match="audio_start"):
        encode_chat(caption_request(0), plain, [[1]], add_generation_prompt=True)
