"""Any server that speaks OpenAI's chat completions, as a model that hears and answers.

Departure: audio is sent as 16 kHz mono WAV, whatever the file held: every server takes it, and what
is heard is the same for every model compared.
"""

import base64
import io
import random
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import soundfile

from eureka_audio.audio.decode import AudioSource, load_audio
from eureka_audio.clients.wire import Endpoint, RetryLaterError
from eureka_audio.errors import EndpointError, EurekaAudioError
from eureka_audio.protocols import FinishReason, Reply
from eureka_audio.records import AudioPart, Conversation

FIRST_WAIT_SECONDS = 0.5
MAX_WAIT_SECONDS = 60.0


@dataclass(frozen=True)
class OpenAIClient:
    """A model behind an endpoint; meets both `AudioLanguageModel` and `TextLanguageModel`.

    Attributes:
        endpoint: where.
        model: its name there.
        concurrency: requests under way at once.
        max_attempts: of one request, before its error is handed back.
        first_wait_seconds: before the second attempt; doubled for each that follows.
        settings: further fields of the request body, such as ``{"seed": 1}``.
    """

    endpoint: Endpoint
    model: str
    concurrency: int = 8
    max_attempts: int = 4
    first_wait_seconds: float = FIRST_WAIT_SECONDS
    settings: Mapping[str, Any] = field(default_factory=dict)

    def answer(
        self, conversations: Sequence[Conversation], *, max_new_tokens: int | None = None
    ) -> list[Reply | EurekaAudioError]:
        """Answer conversations greedily, in order, an error in the place of one that failed."""

        def one(conversation: Conversation) -> Reply | EurekaAudioError:
            try:
                return self._answer(conversation, max_new_tokens)
            except EurekaAudioError as error:
                return error

        with ThreadPoolExecutor(max_workers=self.concurrency) as pool:
            return list(pool.map(one, conversations))

    def _answer(self, conversation: Conversation, max_new_tokens: int | None) -> Reply:
        messages, seconds = wire_messages(conversation)
        body = {"model": self.model, "messages": messages, "temperature": 0, **self.settings}
        if max_new_tokens is not None:
            body["max_tokens"] = max_new_tokens
        for attempt in range(1, self.max_attempts + 1):
            try:
                return _read(self.endpoint.post("chat/completions", body), seconds)
            except EndpointError as error:
                if not error.retryable or attempt == self.max_attempts:
                    raise
                time.sleep(self._wait(attempt, error))
        raise AssertionError("the loop ends with a reply or an error")

    def _wait(self, attempt: int, error: EndpointError) -> float:
        """Seconds before the next attempt: what the server says, else twice as long each time.

        A share of it is random, so that many clients do not come back at once.
        """
        if isinstance(error, RetryLaterError):
            return min(error.seconds, MAX_WAIT_SECONDS)
        wait = self.first_wait_seconds * 2 ** (attempt - 1)
        return float(min(wait * random.uniform(0.75, 1.25), MAX_WAIT_SECONDS))


def wire_messages(conversation: Conversation) -> tuple[list[dict[str, Any]], float]:
    """The conversation as it goes over the wire, and the seconds of audio in it."""
    messages, seconds = [], 0.0
    for message in conversation.messages:
        parts: list[dict[str, Any]] = []
        for part in message.content:
            if isinstance(part, AudioPart):
                data, length = _wav(part.audio)
                seconds += length
                parts.append(
                    {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}
                )
            else:
                parts.append({"type": "text", "text": part.text})
        only_text = all(part["type"] == "text" for part in parts)
        content: Any = "".join(part["text"] for part in parts) if only_text else parts
        messages.append({"role": message.role, "content": content})
    return messages, seconds


def _wav(source: AudioSource) -> tuple[str, float]:
    """Any audio as base64 of a 16-bit WAV file, and its length in seconds."""
    decoded = load_audio(source)
    file = io.BytesIO()
    soundfile.write(file, decoded.waveform, decoded.sampling_rate, format="WAV", subtype="PCM_16")
    return base64.b64encode(file.getvalue()).decode("ascii"), decoded.duration_seconds


def _read(body: Any, seconds: float) -> Reply:
    """The reply in a response.

    Raises:
        EndpointError: the response has another shape, holds an error, or no words; or the words
            were filtered, which another attempt does not change.
    """
    try:
        choice = body["choices"][0]
        text, reason = choice["message"]["content"], choice.get("finish_reason")
        usage = body.get("usage") or {}
        num_new_tokens = int(usage.get("completion_tokens") or 0)
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise EndpointError(
            f"expected a chat completion with choices[0].message.content, got {str(body)[:160]!r};"
            " is this an OpenAI-compatible server?"
        ) from error
    if reason == "content_filter":
        raise EndpointError(
            "expected a reply, but the server filtered it (content_filter)", retryable=False
        )
    if not isinstance(text, str) or (not text and reason != "stop"):
        raise EndpointError(f"expected words as the reply, got {text!r} ({reason}); asked again")
    finish_reason: FinishReason = "length" if reason == "length" else "stop"
    return Reply(text, num_new_tokens, 0, seconds, finish_reason)
