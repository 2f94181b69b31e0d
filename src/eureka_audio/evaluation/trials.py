"""A trial: one item put to one model, and the key under which its reply is kept.

A benchmark's items become trials here. The key covers everything the reply depends on, so that a
reply is used again exactly when the same question would be asked.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eureka_audio.asking.keys import content_key, file_fingerprint
from eureka_audio.errors import EvaluationError
from eureka_audio.evaluation.benchmarks import benchmark_named
from eureka_audio.records import AudioPart, Conversation, Message, TextPart

KEY_VERSION = 1


@dataclass(frozen=True)
class Trial:
    """One question to a model.

    Attributes:
        benchmark: name of the benchmark whose rules judge the reply; ``@`` and the name of a
            control may follow.
        uid: the item's name, unique within its benchmark.
        prompt: the text after the audio; empty when the audio says it all.
        system: the system prompt; empty for none.
        audio: the recording, or None for a question in text.
        fields: what the scorer and the report need; never shown to the model.
    """

    benchmark: str
    uid: str
    prompt: str = ""
    system: str = ""
    audio: Path | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)

    @property
    def options(self) -> tuple[str, ...]:
        """What the answer may be, when that is given and there are several; else nothing."""
        choices = self.fields.get("choices")
        listed = choices if isinstance(choices, list | tuple) else ()
        options = tuple(dict.fromkeys(choice for choice in listed if isinstance(choice, str)))
        return options if len(options) > 1 else ()

    @property
    def is_transcription(self) -> bool:
        """Whether the model is asked to write down the recording and nothing else."""
        benchmark = benchmark_named(self.benchmark.partition("@")[0])
        return (
            benchmark.kind in ("transcript", "no_words")
            and self.audio is not None
            and not self.prompt
        )

    def conversation(self) -> Conversation:
        """What the model is asked: an optional system turn, then audio and text."""
        content: list[AudioPart | TextPart] = []
        if self.audio is not None:
            content.append(AudioPart(audio=self.audio))
        if self.prompt:
            content.append(TextPart(text=self.prompt))
        user = Message(role="user", content=tuple(content))
        if not self.system:
            return Conversation(messages=(user,))
        system = Message(role="system", content=(TextPart(text=self.system),))
        return Conversation(messages=(system, user))

    def key(self, settings: Mapping[str, Any]) -> str:
        """SHA-256 over the item, its prompt, its audio's bytes, and what else shapes a reply.

        Args:
            settings: the model's fingerprint and the settings of generation.
        """
        content = {
            "version": KEY_VERSION,
            "benchmark": self.benchmark,
            "uid": self.uid,
            "prompt": self.prompt,
            "system": self.system,
            "audio": None if self.audio is None else file_fingerprint(self.audio),
            "fields": self.fields,
            "settings": settings,
        }
        return content_key(content)


def checked_trials(trials: Iterable[Trial]) -> list[Trial]:
    """The trials as a list, each with something to ask and a name of its own.

    Raises:
        EvaluationError: there is none, two share a name, or one asks nothing.
    """
    listed = list(trials)
    if not listed:
        raise EvaluationError(
            "expected at least one item to ask about, found none; check the data and its split"
        )
    seen: set[tuple[str, str]] = set()
    for trial in listed:
        name = (trial.benchmark, trial.uid)
        if name in seen:
            raise EvaluationError(
                f"expected every item to have a name of its own, got {trial.uid!r} twice in"
                f" {trial.benchmark}; rename one, or give the sets one at a time"
            )
        if trial.audio is None and not trial.prompt:
            raise EvaluationError(
                f"expected audio or a prompt for {trial.uid!r} of {trial.benchmark}, got neither;"
                " correct the item"
            )
        seen.add(name)
    return listed
