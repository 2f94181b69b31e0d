"""What went wrong, in the words of HTTP: a status and OpenAI's error object.

The object has four keys, always: message, type, param, code. Messages come from errors raised on
purpose and from here, never from an exception that nobody foresaw.
"""

import re
from collections.abc import Mapping
from typing import Any

from eureka_audio.errors import (
    AudioAccessError,
    AudioError,
    AudioFormatError,
    AudioLimitError,
    AudioNotFoundError,
    ConfigError,
    ContextLengthError,
    EmptyAudioError,
    EurekaAudioError,
    InvalidSamplesError,
    MessageError,
    MissingDependencyError,
)

# The nearest class wins; what is not listed is our fault, not the client's.
CODES: Mapping[type[EurekaAudioError], str] = {
    AudioNotFoundError: "audio_not_found",
    AudioAccessError: "audio_forbidden",
    AudioFormatError: "audio_unreadable",
    MissingDependencyError: "audio_unreadable",
    EmptyAudioError: "audio_too_short",
    InvalidSamplesError: "audio_invalid",
    AudioLimitError: "audio_too_large",
    AudioError: "audio_invalid",
    ContextLengthError: "context_length_exceeded",
    MessageError: "invalid_value",
    ConfigError: "invalid_value",
}


_SETTING = re.compile(r"(\w+): ")


class Problem(Exception):  # noqa: N818 (it is a refusal, and mostly no error of ours)
    """A refusal that a client reads.

    Attributes:
        status: of HTTP.
        message: what was expected, what came, what to do.
        code: one word for programs.
        param: the field of the request that is at fault, if one is.
        retry_after_seconds: when to come back, for 429 and 503.
    """

    def __init__(
        self,
        status: int,
        message: str,
        code: str,
        *,
        param: str | None = None,
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        # Half a character that a client sent cannot be sent back.
        self.message = message.encode("utf-8", "backslashreplace").decode()
        self.code = code
        self.param = param
        self.retry_after_seconds = retry_after_seconds

    @property
    def type(self) -> str:
        """OpenAI's family of errors."""
        if self.status >= 500:
            return "server_error"
        return "rate_limit_error" if self.status == 429 else "invalid_request_error"

    @property
    def body(self) -> dict[str, Any]:
        """OpenAI's error object."""
        error = {
            "message": self.message,
            "type": self.type,
            "param": self.param,
            "code": self.code,
        }
        return {"error": error}

    @property
    def headers(self) -> dict[str, str]:
        """What a client needs to know beside the body."""
        headers = {}
        if self.status in (401, 408, 413, 429, 503):  # what is left of the body is not read
            headers["connection"] = "close"
        if self.retry_after_seconds is not None:
            headers["retry-after"] = str(self.retry_after_seconds)
        if self.status == 401:
            headers["www-authenticate"] = "Bearer"
        return headers


def invalid(message: str, param: str | None = None, code: str = "invalid_value") -> Problem:
    """A request that cannot be answered as it is: 400."""
    return Problem(400, message, code, param=param)


def problem_of(error: EurekaAudioError, param: str | None = None) -> Problem:
    """How a typed error is told to a client.

    Example:
        >>> problem_of(EmptyAudioError("0 samples"), "file").code
        'audio_too_short'
    """
    if param is None and isinstance(error, ConfigError):
        named = _SETTING.match(str(error))  # our own messages begin with the setting at fault
        param = named[1] if named else None
    for kind in type(error).__mro__:
        if kind in CODES:
            return invalid(str(error), param, CODES[kind])
    return internal_problem()


def internal_problem() -> Problem:
    """Something that nobody foresaw; the log knows more."""
    return Problem(
        500,
        "the server failed at this request; its log says why under the request id",
        "internal_error",
    )
