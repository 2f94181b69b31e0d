"""What a model must offer to be asked, and what it gives back; free of torch.

DataFlux and evaluation meet every model, ours included, through these names only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from eureka_audio.errors import EurekaAudioError
from eureka_audio.records import Conversation

FinishReason = Literal["stop", "length", "repetition"]
WarningKind = Literal[
    "silence_skipped",
    "no_speech",
    "repetition_cut",
    "length_limit",
    "cut_in_speech",
    "times_estimated",
    "language_forced",
]


@dataclass(frozen=True, slots=True)
class Usage:
    """What one answer took, as who gave it says; ``None`` is unknown and never stands for zero.

    Attributes:
        prompt_tokens: read, audio included.
        new_tokens: written, reasoning included.
        reasoning_tokens: of those, the ones that are no part of the answer.
        cost: in the currency of the prices that were given.
    """

    prompt_tokens: int | None = None
    new_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost: float | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of a model; `str(reply)` is its text.

    Attributes:
        text: what was answered; for a question with choices, one of them.
        num_new_tokens: tokens generated, the one that ends an answer not counted.
        num_audio_tokens: audio tokens the model heard.
        duration_seconds: length of all audio of the request, silence that was skipped included.
        finish_reason: "stop" when the model ended its answer, "length" when a limit did,
            "repetition" when it went round in circles and was stopped: read such a text with care.
        scores: for a question with choices, the probability of each among them; else `None`.
        reasoning: what a model thought before it answered, where the server gives it apart.
        usage: tokens and money, where they are known.
    """

    text: str
    num_new_tokens: int = 0
    num_audio_tokens: int = 0
    duration_seconds: float = 0.0
    finish_reason: FinishReason = "stop"
    scores: Mapping[str, float] | None = None
    reasoning: str = ""
    usage: Usage = Usage()

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class TranscriptWord:
    """One word and when it is said.

    Attributes:
        word: as it stands in the text, with its punctuation.
        start: in seconds of the recording.
        end: likewise, never before `start`.
        probability: how sure its letters are, between 0 and 1; `None` where its place was only
            estimated from its neighbours'.
    """

    word: str
    start: float
    end: float
    probability: float | None = None


@dataclass(frozen=True, slots=True)
class TranscriptSegment:
    """A stretch of a transcript, such as a subtitle shows at once; times in seconds."""

    start: float
    end: float
    text: str


@dataclass(frozen=True, slots=True)
class TranscriptWarning:
    """What a reader of a transcript should know.

    Attributes:
        kind: `silence_skipped`: nothing can be heard there; `no_speech`: there is sound and no
            word was written; `repetition_cut`: the model went round in circles, and the rounds
            were taken out; `length_limit`: its text was longer than the sound allows and was cut;
            `cut_in_speech`: there was no pause to cut a long stretch at, a word there may be
            wrong; `times_estimated`: the words of a stretch fit its sound badly, their times are
            spread evenly; `language_forced`: the language was given, not heard.
        message: the same for people.
        start: in seconds of the recording.
        end: likewise.
    """

    kind: WarningKind
    message: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Transcript:
    """What is said in a recording, and when; `str(transcript)` is its text.

    The words of `text`, of `segments` and of `words` are the same, in the same order.

    Attributes:
        text: words with single spaces between them.
        language: ISO 639-1 code; `None` where nobody said and the model did not tell.
        duration_seconds: of the recording, silence included.
        segments: in order; they do not overlap.
        words: in order, likewise; `None` where the times of words were not asked for or cannot be
            told.
        warnings: in order of their place.
        num_new_tokens: as in `Reply`.
        num_audio_tokens: as in `Reply`.
        finish_reason: as in `Reply`.
    """

    text: str
    language: str | None = None
    duration_seconds: float = 0.0
    segments: tuple[TranscriptSegment, ...] = ()
    words: tuple[TranscriptWord, ...] | None = None
    warnings: tuple[TranscriptWarning, ...] = ()
    num_new_tokens: int = 0
    num_audio_tokens: int = 0
    finish_reason: FinishReason = "stop"

    def __str__(self) -> str:
        return self.text


@runtime_checkable
class AudioLanguageModel(Protocol):
    """A model that hears and answers."""

    def answer(
        self, conversations: Sequence[Conversation], *, max_new_tokens: int | None = None
    ) -> list[Reply | EurekaAudioError]:
        """Answer conversations greedily, in order, an error in the place of one that failed."""
        ...


@runtime_checkable
class ChoosingModel(Protocol):
    """A model that can say how probable each given answer is, beside answering freely."""

    def choose(
        self, conversations: Sequence[Conversation], choices: Sequence[Sequence[str]]
    ) -> list[Reply | EurekaAudioError]:
        """Pick the most probable of the choices of each conversation, in order.

        The text of a reply is one of them and its `scores` hold the probability of each; an error
        stands in the place of one that failed.
        """
        ...


@runtime_checkable
class TranscribingModel(Protocol):
    """A model that writes down recordings its own way, beside answering what it is asked."""

    def transcribe(
        self, audio: list[Any], language: str | None = None, *, errors: Literal["return"]
    ) -> list[Reply | EurekaAudioError]:
        """Write down what is said in each recording, in order, an error in the place of one that
        failed.
        """
        ...


@runtime_checkable
class TextLanguageModel(Protocol):
    """A model that reads and answers: conversations it is given hold text only."""

    def answer(
        self, conversations: Sequence[Conversation], *, max_new_tokens: int | None = None
    ) -> list[Reply | EurekaAudioError]:
        """Answer conversations greedily, in order, an error in the place of one that failed."""
        ...


@dataclass(frozen=True, slots=True)
class Request:
    """One question to one model, with all that shapes the answer.

    Attributes:
        conversation: what is asked.
        choices: what the answer may be, where that is a closed set.
        schema: the JSON schema of the answer, where it is JSON.
        max_new_tokens: the longest answer; None leaves it to the model.
        temperature: 0 is greedy.
        seed: of the sampling, and of whatever else a model draws.
        inputs: the values the words were made of, for a model that works by rules.
    """

    conversation: Conversation
    choices: tuple[str, ...] | None = None
    schema: Mapping[str, Any] | None = None
    max_new_tokens: int | None = None
    temperature: float = 0.0
    seed: int = 0
    inputs: Mapping[str, Any] = field(default_factory=dict)


class AsyncModel(Protocol):
    """A model that many questions may be put to at once."""

    async def reply(self, request: Request) -> Reply | EurekaAudioError:
        """Answer one request, an error in the place of an answer; waits its turn by itself."""
        ...


@runtime_checkable
class QueueingModel(Protocol):
    """A model before which requests wait in this process."""

    def drop_waiting(self) -> None:
        """Cancel the requests that have not begun."""
        ...
