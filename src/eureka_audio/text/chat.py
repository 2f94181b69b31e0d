r"""The chat template: a conversation becomes token ids, segment by segment.

Special tokens come from this module only; whatever a user wrote is encoded as plain text. That is
why ids are assembled here rather than rendered to one string and parsed again.

    one turn             <|im_start|>role\n ... <|im_end|>\n
    one window of U      <|audio_start|><|audio_pad|>*U<|audio_end|>, no newline around it
    the answer's opening <|im_start|>assistant\n<think>\n\n</think>\n\n, an empty think block

The think block is Qwen3's alone: it is left out where the tokenizer has no `<think>`, so for Llama,
SmolLM2 and Qwen2 the template is plain ChatML.

Source: the released model's prompt format (Qwen3's template, section 3.1). Departure: the released
code recognises special tokens in user text; here they stay text.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from eureka_audio.errors import MessageError
from eureka_audio.records import AudioPart, Conversation, Message, TextPart
from eureka_audio.text.tokenizer import (
    AUDIO_END,
    AUDIO_PAD,
    AUDIO_START,
    THINK_END,
    THINK_START,
    TURN_END,
    TURN_START,
    encode_plain,
    token_id,
)

IGNORED_LABEL = -100

TRANSCRIBE_SYSTEM_PROMPT = "You are a speech recogniser. Write down exactly what is said."
LANGUAGE_PROMPT = " The speech is in {language}; answer in {language}."
CAPTION_PROMPT = "Describe everything that can be heard."
CHOICES_PROMPT = "{question}\nAnswer with one of: {choices}."


@dataclass
class EncodedChat:
    """Token ids `(T,)` of a conversation; `labels` hold the id where it is learnt, else -100."""

    input_ids: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)

    def add(self, ids: Sequence[int], *, learnt: bool = False) -> None:
        """Append ids; their labels follow."""
        self.input_ids.extend(ids)
        self.labels.extend(ids if learnt else [IGNORED_LABEL] * len(ids))


def encode_chat(
    conversation: Conversation,
    tokenizer: PreTrainedTokenizerBase,
    audio_token_counts: Sequence[Sequence[int]],
    *,
    add_generation_prompt: bool,
) -> EncodedChat:
    """Encode a conversation.

    Args:
        conversation: turns in order.
        tokenizer: knows the special tokens.
        audio_token_counts: for each audio part in order, the audio tokens of each of its windows.
        add_generation_prompt: end with the opening of an assistant turn; otherwise the last turn
            must be the assistant's, and its text with the closing token is what is learnt.

    Raises:
        MessageError: a turn is missing, or the assistant's turn holds audio.
    """
    if not conversation.messages:
        raise MessageError("expected at least one message, got an empty conversation")
    last = conversation.messages[-1]
    if not add_generation_prompt and last.role != "assistant":
        raise MessageError(f"expected a conversation to end with the assistant, got {last.role}")
    encoded, windows = EncodedChat(), iter(audio_token_counts)
    for message in conversation.messages:
        if message.role == "assistant":
            is_answer = message is last and not add_generation_prompt
            _add_reply(encoded, message, tokenizer, is_answer=is_answer)
            continue
        turn_start = token_id(tokenizer, TURN_START)
        encoded.add([turn_start, *encode_plain(tokenizer, f"{message.role}\n")])
        for part in message.content:
            if isinstance(part, TextPart):
                encoded.add(encode_plain(tokenizer, part.text))
            else:
                encoded.add(audio_ids(tokenizer, next(windows)))
        encoded.add([token_id(tokenizer, TURN_END), *encode_plain(tokenizer, "\n")])
    if add_generation_prompt:
        encoded.add(_answer_opening(tokenizer))
    return encoded


def _add_reply(
    encoded: EncodedChat, message: Message, tokenizer: PreTrainedTokenizerBase, *, is_answer: bool
) -> None:
    """An assistant turn.

    The one to be learnt opens as generation does; earlier ones have no think block, as in Qwen3.
    """
    texts = [part.text for part in message.content if isinstance(part, TextPart)]
    if len(texts) != len(message.content):
        raise MessageError("an assistant message holds text only, got an audio part")
    if is_answer:
        encoded.add(_answer_opening(tokenizer))
    else:
        encoded.add([token_id(tokenizer, TURN_START), *encode_plain(tokenizer, "assistant\n")])
    ids = [*encode_plain(tokenizer, "".join(texts)), token_id(tokenizer, TURN_END)]
    encoded.add(ids, learnt=is_answer)
    encoded.add(encode_plain(tokenizer, "\n"))


def _answer_opening(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    opening = [token_id(tokenizer, TURN_START), *encode_plain(tokenizer, "assistant\n")]
    if THINK_START not in tokenizer.get_added_vocab():
        return opening
    return [
        *opening,
        token_id(tokenizer, THINK_START),
        *encode_plain(tokenizer, "\n\n"),
        token_id(tokenizer, THINK_END),
        *encode_plain(tokenizer, "\n\n"),
    ]


def audio_ids(tokenizer: PreTrainedTokenizerBase, window_token_counts: Sequence[int]) -> list[int]:
    """A recording whose windows have so many audio tokens: each opened, filled, closed."""
    start, pad, end = (token_id(tokenizer, token) for token in (AUDIO_START, AUDIO_PAD, AUDIO_END))
    return [i for count in window_token_counts for i in (start, *[pad] * count, end)]


def transcription_request(audio: object, language: str | None = None) -> Conversation:
    """Ask for a transcript: a system prompt and no user text, as the released model does.

    Unstated: the wording. `language` is an English name ("English"); naming it keeps a multilingual
    model from translating.
    """
    system = TRANSCRIBE_SYSTEM_PROMPT
    if language is not None:
        system += LANGUAGE_PROMPT.format(language=language)
    return Conversation(
        messages=(
            Message(role="system", content=(TextPart(text=system),)),
            Message(role="user", content=(AudioPart(audio=audio),)),
        )
    )


def question_request(
    audio: object, question: str, choices: Sequence[str] | None = None
) -> Conversation:
    """Ask a question about one audio, open or with choices to pick from."""
    if choices is not None:
        question = CHOICES_PROMPT.format(question=question, choices=", ".join(choices))
    return Conversation(
        messages=(Message(role="user", content=(AudioPart(audio=audio), TextPart(text=question))),)
    )


def caption_request(audio: object) -> Conversation:
    """Ask for a dense caption."""
    return question_request(audio, CAPTION_PROMPT)


def answered(request: Conversation, answer: str) -> Conversation:
    """The request with its answer: what training learns from."""
    reply = Message(role="assistant", content=(TextPart(text=answer),))
    return Conversation(messages=(*request.messages, reply))
