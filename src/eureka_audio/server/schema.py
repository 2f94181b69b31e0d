"""What clients send: forms and JSON bodies, checked field by field before anything is done.

An unknown field is an error, and so is one whose wish this model cannot fulfil: a setting without
effect would mislead. What only labels a request (user, metadata, ...) is taken and ignored.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

MAX_TEXT_CHARACTERS = 20_000  # of a prompt; a conversation is bounded by the model's context
MAX_MESSAGES = 1_000
MAX_PARTS = 1_000
MAX_STOPS = 16
MAX_TOP_LOGPROBS = 20
MAX_NEW_TOKENS = 2**20
# Below it, dividing by the temperature overflows long before it changes a choice.
MIN_TEMPERATURE = 0.01

Granularity = Literal["word", "segment"]
ModelName = Annotated[str, Field(max_length=400)]
Seed = Annotated[int, Field(ge=-(2**63), lt=2**63)]


class Body(BaseModel):
    """Base of what clients send."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class JsonBody(Body):
    """Base of what comes as JSON: a number is a number, and a text no number."""

    model_config = ConfigDict(strict=True)


class TranscriptionForm(Body):
    """The text fields of `/v1/audio/transcriptions`."""

    model: ModelName
    language: str | None = Field(default=None, max_length=60)
    prompt: str | None = Field(default=None, max_length=MAX_TEXT_CHARACTERS)
    hotwords: tuple[Annotated[str, Field(max_length=200)], ...] = Field(default=(), max_length=200)
    response_format: Literal["json", "text", "verbose_json", "srt", "vtt"] = "json"
    temperature: float = Field(default=0.0, ge=0, le=1, allow_inf_nan=False)
    timestamp_granularities: frozenset[Granularity] = frozenset()
    stream: bool = False

    @field_validator("language", "prompt")
    @classmethod
    def blank_is_none(cls, text: str | None) -> str | None:
        """Forms send empty fields where nothing is meant."""
        return text.strip() or None if text is not None else None

    @model_validator(mode="after")
    def times_need_verbose_json(self) -> "TranscriptionForm":
        """No other format has room for times beside those of its own."""
        if self.timestamp_granularities and self.response_format != "verbose_json":
            raise ValueError("timestamp_granularities needs response_format=verbose_json")
        if self.stream and self.response_format in ("srt", "vtt"):
            raise ValueError("stream needs response_format=json, text or verbose_json")
        return self


class InspectionForm(Body):
    """The text fields of `/v1/inspect`."""

    model: ModelName


class TextContent(JsonBody):
    """Words."""

    type: Literal["text"]
    text: str


class InputAudio(JsonBody):
    """A file in base64."""

    data: str = Field(min_length=1)
    format: str = Field(default="wav", max_length=20)


class InputAudioContent(JsonBody):
    """Audio as OpenAI's clients send it."""

    type: Literal["input_audio"]
    input_audio: InputAudio


class AudioUrl(JsonBody):
    """Where a file lies: a data: URI, or a URL or path that the server's policy allows."""

    url: str = Field(min_length=1)


class AudioUrlContent(JsonBody):
    """Audio as vLLM's clients name it."""

    type: Literal["audio_url"]
    audio_url: AudioUrl


Content = Annotated[TextContent | InputAudioContent | AudioUrlContent, Field(discriminator="type")]


class ChatMessage(JsonBody):
    """One turn."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[tuple[Content, ...], Field(max_length=MAX_PARTS)]
    name: str | None = Field(default=None, max_length=200)


class StreamOptions(JsonBody):
    """What a stream tells beside the text."""

    include_usage: bool = False
    include_obfuscation: bool = False


class PlainFormat(JsonBody):
    """The only format an answer can have."""

    type: Literal["text"]


class ChatRequest(JsonBody):
    """The body of `/v1/chat/completions`.

    Departure: the default temperature is 0, not OpenAI's 1: a small model is at its best when
    greedy.
    """

    model: ModelName
    messages: Annotated[tuple[ChatMessage, ...], Field(min_length=1, max_length=MAX_MESSAGES)]
    n: int | None = Field(default=1, ge=1)
    max_tokens: int | None = Field(default=None, ge=1, le=MAX_NEW_TOKENS)
    max_completion_tokens: int | None = Field(default=None, ge=1, le=MAX_NEW_TOKENS)
    temperature: float | None = Field(default=0.0, ge=0, le=2, allow_inf_nan=False)
    top_p: float | None = Field(default=1.0, gt=0, le=1, allow_inf_nan=False)
    top_k: int | None = Field(default=0, ge=0, le=2**31)
    repetition_penalty: float | None = Field(default=1.0, gt=0, le=10, allow_inf_nan=False)
    seed: Seed | None = None
    stop: str | tuple[str, ...] | None = None
    logprobs: bool | None = False
    top_logprobs: int | None = Field(default=None, ge=0, le=MAX_TOP_LOGPROBS)
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    # Only the value that changes nothing is taken of these.
    frequency_penalty: Literal[0] | None = None
    presence_penalty: Literal[0] | None = None
    response_format: PlainFormat | None = None
    modalities: tuple[Literal["text"], ...] | None = None
    tools: Annotated[tuple[Any, ...], Field(max_length=0)] | None = None
    tool_choice: Literal["none", "auto"] | None = None
    logit_bias: Annotated[dict[str, Any], Field(max_length=0)] | None = None
    # These label a request; taken and ignored.
    user: str | None = None
    metadata: dict[str, Any] | None = None
    store: bool | None = None
    service_tier: str | None = None
    parallel_tool_calls: bool | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None

    @field_validator("frequency_penalty", "presence_penalty", mode="before")
    @classmethod
    def zero_is_zero(cls, value: Any) -> Any:
        """0.0 is as neutral as 0."""
        return 0 if isinstance(value, float) and value == 0 else value

    @field_validator("stop")
    @classmethod
    def stops_are_texts(cls, stop: Any) -> tuple[str, ...]:
        """One stop string or a few, none of them empty."""
        stops = (stop,) if isinstance(stop, str) else tuple(stop or ())
        if len(stops) > MAX_STOPS or not all(0 < len(text) <= 200 for text in stops):
            raise ValueError(
                f"expected at most {MAX_STOPS} strings of 1 to 200 characters; shorten it"
            )
        return stops

    @model_validator(mode="after")
    def settings_have_effect(self) -> "ChatRequest":
        """A setting without effect is an error."""
        if self.top_logprobs and not self.logprobs:
            raise ValueError("top_logprobs needs logprobs=true")
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options needs stream=true")
        return self
