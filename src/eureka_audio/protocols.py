"""What a model must offer to be asked, and what it gives back; free of torch.

DataFlux and evaluation meet every model, ours included, through these names only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from eureka_audio.errors import EurekaAudioError
from eureka_audio.records import Conversation

FinishReason = Literal["stop", "length", "repetition"]


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
        num_prompt_tokens: tokens that were read, the audio's among them.
    """

    text: str
    num_new_tokens: int = 0
    num_audio_tokens: int = 0
    duration_seconds: float = 0.0
    finish_reason: FinishReason = "stop"
    scores: Mapping[str, float] | None = None
    num_prompt_tokens: int = 0

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
class TextLanguageModel(Protocol):
    """A model that reads and answers: conversations it is given hold text only."""

    def answer(
        self, conversations: Sequence[Conversation], *, max_new_tokens: int | None = None
    ) -> list[Reply | EurekaAudioError]:
        """Answer conversations greedily, in order, an error in the place of one that failed."""
        ...
