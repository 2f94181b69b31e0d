"""Any OpenAI-compatible endpoint as a model that many questions are put to at once.

The official client carries the requests; whether and when to ask again is decided here, since a
request that is billed should not be repeated by a library behind our back.
"""

import asyncio
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from eureka_audio.clients.gate import Gate
from eureka_audio.clients.openai import wire_messages
from eureka_audio.clients.wire import RETRYABLE_STATUSES, Endpoint, seconds_to_wait
from eureka_audio.errors import (
    EndpointError,
    EurekaAudioError,
    MissingDependencyError,
    ModelDownError,
)
from eureka_audio.protocols import FinishReason, Reply, Request, Usage

FIRST_WAIT_SECONDS, MAX_WAIT_SECONDS = 0.5, 60.0
REFUSED_KEY = frozenset({401, 403})
Structured = Literal["json_schema", "json_object", "json_object_schema", "none"]


@dataclass(frozen=True)
class Price:
    """Money for a million tokens, read and written."""

    prompt: float
    new: float


@dataclass
class ChatModel:
    """A model behind an endpoint.

    Attributes:
        endpoint: where, with which key and how patiently.
        model: its name there.
        gate: the way to it, shared by all models of one server.
        max_attempts: of one request that fails in passing.
        structured: how a schema is sent: in OpenAI's words, as JSON of any shape, as JSON mode with
            the schema beside it (llama-cpp-python), or not at all.
        price: of its tokens, where known.
        settings: further fields of the body.
        first_wait_seconds: before the second attempt; doubled for each that follows.
    """

    endpoint: Endpoint
    model: str
    gate: Gate
    max_attempts: int = 6
    structured: Structured = "json_schema"
    price: Price | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    first_wait_seconds: float = FIRST_WAIT_SECONDS
    _client: Any = None

    async def reply(self, request: Request) -> Reply | EurekaAudioError:
        """Answer one request; an error in the place of an answer when all attempts failed."""
        try:
            has_audio = any(
                part.type == "audio" for m in request.conversation.messages for part in m.content
            )
            convert = wire_messages
            messages, seconds = (
                await asyncio.to_thread(convert, request.conversation)
                if has_audio
                else convert(request.conversation)
            )
            body = self._body(request, messages)
            for attempt in range(1, self.max_attempts + 1):
                try:
                    return await self._once(body, seconds)
                except ModelDownError:
                    raise
                except EndpointError as error:
                    if not error.retryable or attempt == self.max_attempts:
                        raise
                await asyncio.sleep(self._wait(attempt))
        except EurekaAudioError as error:
            return error
        raise AssertionError("the loop ends with a reply or an error")

    def _wait(self, attempt: int) -> float:
        """Twice as long each time; a share is random, so that not all come back at once."""
        wait = self.first_wait_seconds * 2 ** (attempt - 1) * random.uniform(0.75, 1.25)
        return float(min(wait, MAX_WAIT_SECONDS))

    def _body(self, request: Request, messages: list[dict[str, Any]]) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.model,
            "messages": messages,
            "temperature": request.temperature,
            "seed": request.seed,
            **self.settings,
        }
        if request.max_new_tokens is not None:
            body["max_tokens"] = request.max_new_tokens
        if request.schema is not None and self.structured == "json_schema":
            named = {"name": "reply", "strict": True, "schema": request.schema}
            body["response_format"] = {"type": "json_schema", "json_schema": named}
        elif request.schema is not None and self.structured == "json_object":
            body["response_format"] = {"type": "json_object"}
        elif request.schema is not None and self.structured == "json_object_schema":
            body["response_format"] = {"type": "json_object", "schema": request.schema}
        return body

    async def _once(self, body: Mapping[str, Any], seconds: float) -> Reply:
        """One request when the gate lets it pass; what comes of it is told to the gate.

        Raises:
            EndpointError: no usable answer.
        """
        import openai

        client = self._connected()
        async with self.gate.passage():
            try:
                raw = await client.post("/chat/completions", body=body, cast_to=object)
            except openai.APIStatusError as error:
                raise self._refused(error) from error
            except (openai.APIConnectionError, openai.APIResponseValidationError) as error:
                why = f"{type(error).__name__} ({str(error.__cause__ or error)[:120]})"
                self.gate.failed(why)
                raise EndpointError(
                    f"expected an answer from {self.endpoint.base_url}, got {why}; check that the "
                    "server runs"
                ) from error
            try:
                reply = self._read(raw, seconds)
            except EndpointError as error:
                if error.retryable:
                    self.gate.failed(str(error))
                raise
            self.gate.succeeded()
            return reply

    def _connected(self) -> Any:
        if self._client is None:
            try:
                import openai
            except ImportError as error:
                raise MissingDependencyError(
                    "expected the package openai for models behind an endpoint, found none; "
                    "install eureka-audio[dataflux]"
                ) from error
            self._client = openai.AsyncOpenAI(
                base_url=self.endpoint.base_url,
                api_key=self.endpoint.api_key or "none",
                timeout=self.endpoint.timeout_seconds,
                max_retries=0,
                http_client=openai.DefaultAsyncHttpxClient(follow_redirects=False, trust_env=False),
            )
        return self._client

    def _refused(self, error: Any) -> EndpointError:
        """What a status other than 200 means."""
        said = str(error.response.text)[:200].strip()
        if self.endpoint.api_key:
            said = said.replace(self.endpoint.api_key, "[key]")
        where, status = self.endpoint.base_url, error.status_code
        message = f"expected status 200 from {where}, got {status}: {said!r}"
        if status in REFUSED_KEY:
            return ModelDownError(f"{message}; check the key in its environment variable")
        if status not in RETRYABLE_STATUSES:
            self.gate.succeeded()  # it is up, and has decided
            return EndpointError(f"{message}; correct the request", retryable=False)
        self.gate.failed(message)
        if (wait := seconds_to_wait(error.response.headers)) is not None:
            self.gate.told_to_wait(wait)
        return EndpointError(message)

    def _read(self, body: Any, seconds: float) -> Reply:
        """The reply in a response.

        Raises:
            EndpointError: it has another shape, holds an error, or no words.
        """
        try:
            if isinstance(body, str):  # JSON under another name
                body = json.loads(body)
            choice = body["choices"][0]
            message, reason = choice["message"], choice.get("finish_reason")
            text = message.get("content")
            reasoning = message.get("reasoning_content") or message.get("reasoning") or ""
            usage = body.get("usage") or {}
        except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
            raise EndpointError(
                f"expected a chat completion from {self.endpoint.base_url}, got "
                f"{str(body)[:160]!r}; is this an OpenAI-compatible server?"
            ) from error
        if reason == "content_filter" or message.get("refusal"):
            raise EndpointError("expected a reply, but the server filtered it", retryable=False)
        if not isinstance(text, str) or not text:
            raise EndpointError(f"expected words as the reply, got {text!r} ({reason})")
        finish: FinishReason = "length" if reason == "length" else "stop"
        counted = self._usage(usage)
        return Reply(
            text,
            counted.new_tokens or 0,
            duration_seconds=seconds,
            finish_reason=finish,
            reasoning=str(reasoning),
            usage=counted,
        )

    def _usage(self, usage: Mapping[str, Any]) -> Usage:
        """Tokens as the server counts them, and their price where it is known."""
        details = usage.get("completion_tokens_details") or {}
        prompt, new = usage.get("prompt_tokens"), usage.get("completion_tokens")
        cost = usage.get("cost")
        if cost is None and self.price is not None and prompt is not None and new is not None:
            cost = (prompt * self.price.prompt + new * self.price.new) / 1_000_000
        return Usage(prompt, new, details.get("reasoning_tokens"), cost)
