"""What clients send: forms and JSON bodies, checked field by field before anything is done."""

from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator

ResponseFormat = Literal["json", "text", "verbose_json", "srt", "vtt"]
Granularity = Literal["word", "segment"]
MAX_TEXT_CHARACTERS = 20_000  # of a prompt; a conversation is bounded by the model's context
RESPONSE_FORMATS = get_args(ResponseFormat)


class TranscriptionForm(BaseModel):
    """The text fields of `/v1/audio/transcriptions`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(max_length=400)
    language: str | None = Field(default=None, max_length=60)
    prompt: str | None = Field(default=None, max_length=MAX_TEXT_CHARACTERS)
    hotwords: tuple[str, ...] = Field(default=(), max_length=200)
    response_format: ResponseFormat = "json"
    temperature: float = Field(default=0.0, ge=0, le=1, allow_inf_nan=False)
    timestamp_granularities: frozenset[Granularity] = frozenset()
    stream: bool = False

    @field_validator("language", "prompt", mode="after")
    @classmethod
    def blank_is_none(cls, text: str | None) -> str | None:
        """Forms send empty fields where nothing is meant."""
        return text.strip() or None if text is not None else None


Json = dict[str, Any]
