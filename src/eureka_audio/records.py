"""The nouns that travel between the rooms of this house.

All of them are frozen pydantic models: validated on entry, JSON on the way out, and free of torch,
so that a data machine needs no GPU stack.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Split = Literal["train", "dev", "test"]
Role = Literal["system", "user", "assistant"]


class Record(BaseModel):
    """Base of every record: immutable, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Speaker(Record):
    """Who speaks, as far as it is known."""

    id: str | None = None
    gender: Literal["male", "female"] | None = None
    age_group: Literal["adult", "child"] | None = None


class AudioEvent(Record):
    """One thing that can be heard, at a known place of a clip.

    ``label`` is the plain English name a caption would use ("dog", "violin", "speech").
    ``end_seconds`` may pass the end of what is audible, never the end of the clip.
    """

    kind: Literal["speech", "sound", "instrument", "music"]
    label: str
    start_seconds: Annotated[float, Field(ge=0)] = 0.0
    end_seconds: Annotated[float, Field(ge=0)]
    transcript: str | None = None
    speaker: Speaker | None = None


class OwnQuestion(Record):
    """A question that a clip's owner asks, and the answer: one of ``choices``, if there are any."""

    question: str
    answer: str
    choices: tuple[str, ...] = ()


class AudioClip(Record):
    """One recording on disk and all that is known of it; the row of an audio manifest.

    ``path`` is relative to the folder of the manifest (or absolute). A field that is ``None`` is
    unknown, which is not the same as absent: a task that needs it leaves the clip out. ``events``
    is ``None`` when unknown and a complete, start-ordered list otherwise: every audible event of
    the clip is in it. ``emotion`` is what a voice is meant to convey, in one word. ``questions``
    are its owner's own.
    """

    id: str
    path: str
    duration_seconds: Annotated[float, Field(gt=0)]
    transcript: str | None = None
    language: str | None = None
    speaker: Speaker | None = None
    events: tuple[AudioEvent, ...] | None = None
    background: str | None = None
    emotion: str | None = None
    dense_caption: str | None = None
    questions: tuple[OwnQuestion, ...] = ()
    split: Split = "train"
    source: str = ""
    license: str = ""
    restricted: bool = False

    @property
    def is_speechless(self) -> bool:
        """Whether it is certain that nobody speaks."""
        return self.events is not None and all(event.kind != "speech" for event in self.events)


class TextPart(Record):
    """A stretch of text inside a message. Special tokens spelled in it stay ordinary text."""

    type: Literal["text"] = "text"
    text: str


class AudioPart(Record):
    """One audio input of a message: anything `load_audio` takes, or what it returns."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    type: Literal["audio"] = "audio"
    audio: Any


class Message(Record):
    """One turn of a conversation."""

    role: Role
    content: tuple[TextPart | AudioPart, ...]


class Conversation(Record):
    """Turns in order. A training conversation ends with the assistant's, which is learnt."""

    messages: tuple[Message, ...]


class ConversationRow(Record):
    """A conversation to learn, on a line of a manifest.

    The audio of its parts is a path, relative to the folder of the manifest or absolute. ``meta``
    says where the row comes from; training passes it over.
    """

    id: str
    messages: tuple[Message, ...]
    meta: Mapping[str, Any] = Field(default_factory=dict)

    @property
    def conversation(self) -> Conversation:
        """What is learnt."""
        return Conversation(messages=self.messages)


class Question(Record):
    """A multiple-choice question about a clip.

    ``answer`` is the index of the choice that its writer holds to be right; no model is shown it.
    """

    query: str
    choices: tuple[str, ...]
    answer: int


class Answer(Record):
    """What one model answered: the index of a choice (``None``: none could be read), and why."""

    model: str
    choice: int | None
    reasoning: str = ""


Consistency = Literal["STRONG_MATCH", "WEAK_MATCH", "CONFLICT"]
FinalAction = Literal["KEEP_USING_WINNER", "DISCARD"]


class Verdict(Record):
    """What the judge says of the answers to one question.

    ``winner`` is "TIE", "NONE", or "MODEL_A", "MODEL_B" and so on, by the order in which the judge
    was shown the answers.

    Source: the paper's appendix (prompt of the verification step).
    """

    consensus: bool
    consistency_with_caption: Consistency
    winner: str
    reasoning: str
    final_action: FinalAction
