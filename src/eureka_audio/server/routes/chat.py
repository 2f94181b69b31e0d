"""`POST /v1/chat/completions`: a conversation with recordings in it goes on."""

import time
import uuid
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from eureka_audio.errors import EurekaAudioError
from eureka_audio.inference.requests import TokenEvent
from eureka_audio.inference.sampling import SamplingConfig
from eureka_audio.server.context import Context, context_of
from eureka_audio.server.problems import invalid, problem_of
from eureka_audio.server.routes.hang_up import each_unless_gone, unless_gone
from eureka_audio.server.routes.sse import EventStream
from eureka_audio.server.schema import MIN_TEMPERATURE, ChatRequest
from eureka_audio.server.service import Answers, ChatOptions
from eureka_audio.server.sources import conversation_of
from eureka_audio.text.tokenizer import token_bytes

router = APIRouter()
REPETITION_CUT = "repetition_cut"


@router.post("/v1/chat/completions")
async def chat(request: Request) -> Response:
    """Answer, at once or piece by piece."""
    context = context_of(request)
    body = ChatRequest.model_validate_json(await request.body())
    context.check_model(body.model)
    options = options_of(body, context)
    answers = await unless_gone(request, _begin(body, options, context))
    completion = Completion(body, answers)
    if body.stream:
        chunks = each_unless_gone(request, completion.chunks())
        return await EventStream.begin(chunks, last="[DONE]")
    return JSONResponse(await unless_gone(request, completion.whole()))


async def _begin(body: ChatRequest, options: ChatOptions, context: Context) -> Answers:
    try:
        conversation = await conversation_of(body, context)
        return await context.service.chat(conversation, options)
    except EurekaAudioError as error:
        raise problem_of(error, "messages") from error


def options_of(body: ChatRequest, context: Context) -> ChatOptions:
    """How the request wants to be answered.

    Raises:
        Problem: more answers than this server gives.
    """
    most = context.settings.max_choices
    num_choices = body.n or 1
    if num_choices > most:
        raise invalid(f"n: expected at most {most}, got {num_choices}; ask again instead", "n")
    temperature = body.temperature or 0.0
    sampling = SamplingConfig(
        temperature=float(temperature if temperature >= MIN_TEMPERATURE else 0.0),
        top_p=float(body.top_p or 1.0),
        top_k=body.top_k or 0,
        repetition_penalty=float(body.repetition_penalty or 1.0),
    )
    return ChatOptions(
        max_new_tokens=body.max_completion_tokens or body.max_tokens,
        sampling=sampling,
        seed=body.seed,
        stop=tuple(body.stop or ()),
        num_logprobs=max(1, body.top_logprobs or 0) if body.logprobs else 0,
        num_choices=num_choices,
    )


@dataclass
class Choice:
    """One answer while it grows."""

    text: str = ""
    logprobs: list[dict[str, Any]] = field(default_factory=list)
    num_tokens: int = 0
    finish_reason: str | None = None
    is_repetition: bool = False

    def add(self, event: TokenEvent, logprobs: list[dict[str, Any]]) -> None:
        """Take what happened."""
        self.text += event.text
        self.logprobs += logprobs
        self.num_tokens = event.num_new_tokens
        if event.finish_reason is not None:
            self.is_repetition = event.finish_reason == "repetition"
            # OpenAI knows no word for it; what was cut is no whole answer.
            self.finish_reason = "length" if self.is_repetition else event.finish_reason


class Completion:
    """The answers to one request, in OpenAI's words."""

    def __init__(self, body: ChatRequest, answers: Answers) -> None:
        self.body = body
        self.answers = answers
        self.choices = [Choice() for _ in answers.handles]
        self._head = {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "created": int(time.time()),
            "model": body.model,
        }

    async def whole(self) -> dict[str, Any]:
        """All of it, once it is there."""
        async for _ in self._progress():
            pass
        choices = [
            {
                "index": index,
                "message": {"role": "assistant", "content": choice.text, "refusal": None},
                "logprobs": self._logprobs(choice.logprobs),
                "finish_reason": choice.finish_reason,
            }
            for index, choice in enumerate(self.choices)
        ]
        return {
            **self._head,
            "object": "chat.completion",
            "choices": choices,
            "usage": self._usage(),
            "warnings": self._warnings(),
        }

    async def chunks(self) -> AsyncIterator[dict[str, Any]]:
        """Piece by piece."""
        for index in range(len(self.choices)):
            yield self._chunk(index, {"role": "assistant", "content": ""})
        async for index, event, logprobs in self._progress():
            if event.text or logprobs:
                yield self._chunk(index, {"content": event.text}, logprobs)
            if event.finish_reason is not None:
                choice = self.choices[index]
                extra = {"warnings": [REPETITION_CUT]} if choice.is_repetition else {}
                yield self._chunk(index, {}, finish_reason=choice.finish_reason) | extra
        options = self.body.stream_options
        if options is not None and options.include_usage:
            yield {
                **self._head,
                "object": "chat.completion.chunk",
                "choices": [],
                "usage": self._usage(),
            }

    async def _progress(self) -> AsyncIterator[tuple[int, TokenEvent, list[dict[str, Any]]]]:
        async with aclosing(self.answers.events()) as events:
            async for told in self._noted(events):
                yield told

    async def _noted(
        self, events: AsyncIterator[tuple[int, TokenEvent]]
    ) -> AsyncIterator[tuple[int, TokenEvent, list[dict[str, Any]]]]:
        async for index, event in events:
            choice = self.choices[index]
            # The token that ends an answer is not part of it.
            is_counted = event.num_new_tokens > choice.num_tokens
            logprobs = [self._told(event)] if self.body.logprobs and is_counted else []
            choice.add(event, logprobs)
            yield index, event, logprobs

    def _told(self, event: TokenEvent) -> dict[str, Any]:
        """One place of an answer with the probabilities of what could stand there."""
        most = self.body.top_logprobs or 0
        told = self._token(event.token_id, event.logprob or 0.0)
        told["top_logprobs"] = [self._token(*each) for each in event.top_logprobs[:most]]
        return told

    def _token(self, token_id: int, log_prob: float) -> dict[str, Any]:
        content = token_bytes(self.answers.tokenizer, token_id)
        return {
            "token": content.decode("utf-8", "replace"),
            "logprob": max(log_prob, -9999.0),  # JSON knows no infinity
            "bytes": list(content),
        }

    def _logprobs(self, entries: list[dict[str, Any]]) -> dict[str, Any] | None:
        return {"content": entries, "refusal": None} if self.body.logprobs else None

    def _chunk(
        self,
        index: int,
        delta: dict[str, Any],
        logprobs: list[dict[str, Any]] | None = None,
        finish_reason: str | None = None,
    ) -> dict[str, Any]:
        choice = {
            "index": index,
            "delta": delta,
            "logprobs": self._logprobs(logprobs) if logprobs else None,
            "finish_reason": finish_reason,
        }
        return {**self._head, "object": "chat.completion.chunk", "choices": [choice]}

    def _usage(self) -> dict[str, Any]:
        read = self.answers.num_prompt_tokens
        written = sum(choice.num_tokens for choice in self.choices)
        return {
            "prompt_tokens": read,
            "completion_tokens": written,
            "total_tokens": read + written,
            "prompt_tokens_details": {"audio_tokens": self.answers.num_audio_tokens},
        }

    def _warnings(self) -> list[str]:
        return [REPETITION_CUT] if any(choice.is_repetition for choice in self.choices) else []
