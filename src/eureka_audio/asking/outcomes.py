"""What a ledger keeps of a reply or of an error, and the books of where every item went."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from eureka_audio.errors import EndpointError, EurekaAudioError
from eureka_audio.protocols import Reply

CHOICE_SCORES = "choice_scores"  # how probable each option was


@dataclass
class RunBooks:
    """Where every item went: ``items = answered + failed``, failures counted by kind of error."""

    items: int = 0
    answered: int = 0
    asked: int = 0
    failed: Counter[str] = field(default_factory=Counter)

    def as_dict(self) -> dict[str, Any]:
        """The counts, failures with their reasons."""
        assert self.items == self.answered + self.failed.total()
        return {
            "items": self.items,
            "answered": self.answered,
            "failed": self.failed.total(),
            "reasons": dict(sorted(self.failed.items())),
        }


def outcome(answer: Reply | EurekaAudioError) -> Mapping[str, Any]:
    """What is kept of an answer."""
    if isinstance(answer, Reply):
        kept: dict[str, Any] = {
            "prediction": answer.text,
            "finish_reason": answer.finish_reason,
            "num_new_tokens": answer.num_new_tokens,
        }
        return kept if answer.scores is None else {**kept, CHOICE_SCORES: dict(answer.scores)}
    kind = type(answer).__name__
    return {"error": {"type": kind, "message": str(answer), "retryable": is_retryable(answer)}}


def is_retryable(error: EurekaAudioError) -> bool:
    """Whether another attempt may help.

    An error is worth one when it says so; one that says nothing is final, since the same audio and
    words will fail the same way again.
    """
    return isinstance(error, EndpointError) and error.retryable
