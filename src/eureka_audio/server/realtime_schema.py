"""What clients send over `/v1/realtime`: OpenAI's events, new and old, and vLLM's."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

ShortText = Annotated[str, Field(max_length=400)]
PCM16 = ("audio/pcm", "pcm16")


class Lenient(BaseModel):
    """Base of events: what is not known here changes nothing here."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class SessionSettings(Lenient):
    """How a session transcribes; None leaves a thing as it is."""

    model: ShortText | None = None
    language: Annotated[str, Field(max_length=60)] | None = None
    prompt: Annotated[str, Field(max_length=20_000)] | None = None
    keywords: Annotated[tuple[ShortText, ...], Field(max_length=200)] = ()
    rate: Annotated[int, Field(ge=8_000, le=48_000)] | None = None
    has_turn_detection: bool = False

    def updated(self, other: "SessionSettings") -> "SessionSettings":
        """These settings, with what the other ones say."""
        return self.model_copy(update=other.model_dump(exclude_none=True, exclude_unset=True))


class Transcription(Lenient):
    """Which model writes, and what it is told."""

    model: ShortText | None = None
    language: Annotated[str, Field(max_length=60)] | None = None
    prompt: Annotated[str, Field(max_length=20_000)] | None = None
    keywords: Annotated[tuple[ShortText, ...], Field(max_length=200)] | None = None


class AudioFormat(Lenient):
    """How samples are written: 16-bit integers, little-endian, mono."""

    type: Literal["audio/pcm"] = "audio/pcm"
    rate: Annotated[int, Field(ge=8_000, le=48_000)] | None = None


class AudioInput(Lenient):
    """What comes in."""

    format: AudioFormat | None = None
    transcription: Transcription | None = None
    turn_detection: dict[str, Any] | None = None


class SessionAudio(Lenient):
    """Audio of a session."""

    input: AudioInput | None = None


class OpenAISession(Lenient):
    """OpenAI's session: today's nesting under `audio.input`, and the flat one before it."""

    type: Literal["transcription"] = "transcription"
    audio: SessionAudio | None = None
    input_audio_format: Literal["pcm16"] | None = None
    input_audio_transcription: Transcription | None = None
    turn_detection: dict[str, Any] | None = None


class Event(Lenient):
    """Base of the events."""

    event_id: ShortText | None = None


class SessionUpdate(Event):
    """Sets how the session transcribes."""

    type: Literal["session.update", "transcription_session.update"]
    session: OpenAISession | None = None
    model: ShortText | None = None
    language: Annotated[str, Field(max_length=60)] | None = None

    @property
    def is_legacy(self) -> bool:
        """Whether the client speaks OpenAI's dialect of before."""
        return self.type == "transcription_session.update"

    @property
    def settings(self) -> SessionSettings:
        """What it says, whatever the dialect."""
        if self.session is None:
            return _settings(model=self.model, language=self.language)
        outer = self.session
        inner = outer.audio.input if outer.audio and outer.audio.input else AudioInput()
        told = inner.transcription or outer.input_audio_transcription or Transcription()
        return _settings(
            model=told.model,
            language=told.language,
            prompt=told.prompt,
            keywords=told.keywords,
            rate=inner.format.rate if inner.format else None,
            has_turn_detection=bool(inner.turn_detection or outer.turn_detection) or None,
        )


def _settings(**said: Any) -> SessionSettings:
    return SessionSettings(**{name: value for name, value in said.items() if value is not None})


class Append(Event):
    """More audio."""

    type: Literal["input_audio_buffer.append"]
    audio: str


class Commit(Event):
    """What was appended is to be transcribed."""

    type: Literal["input_audio_buffer.commit"]
    final: bool = False


class Clear(Event):
    """What was appended is not to be transcribed."""

    type: Literal["input_audio_buffer.clear"]


ClientEvent = Annotated[SessionUpdate | Append | Commit | Clear, Field(discriminator="type")]
