"""One question to one model once: from the books where it was answered before, else asked and kept.

The key of a call covers everything that shapes the answer: the words, the audio's bytes, the
schema, the parameters, and who is asked. So a new model, prompt or recording recomputes what
depends on it, and nothing else.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from eureka_audio.asking.keys import content_key, file_fingerprint
from eureka_audio.dataflux.items import CallRecord
from eureka_audio.dataflux.refusals import RefusalError
from eureka_audio.dataflux.store import Store
from eureka_audio.errors import EurekaAudioError, ModelDownError, RunError
from eureka_audio.protocols import AsyncModel, Reply, Request, Usage
from eureka_audio.records import AudioPart, Record

KEY_VERSION = 1
DRAIN_SECONDS = 120.0  # what one request to an endpoint may take
Result = TypeVar("Result")


@dataclass(frozen=True)
class NamedModel:
    """A model, and what tells its replies from those of another.

    Attributes:
        name: in the configuration.
        identity: where it is, which it is, its fixed settings: all that shapes its replies.
        model: whom to ask.
        reads_inputs: it works by rules on the inputs of a request, so they are part of the key.
    """

    name: str
    identity: Mapping[str, Any]
    model: AsyncModel
    reads_inputs: bool = False


class StepError(EurekaAudioError):
    """A step failed for good; the item is counted as failed, with the step and the reason."""

    def __init__(self, step: str, why: str) -> None:
        super().__init__(f"{step}: {why}")
        self.step = step
        self.why = why


class UnreadableError(StepError):
    """There were replies, and none of them was what the step asked for."""


class StoppedError(EurekaAudioError):
    """The run is being stopped: nothing new is asked."""


@dataclass
class Caller:
    """Asks, keeps, reads; the same call under way twice is asked once.

    Attributes:
        store: the books.
        stopping: once set, calls under way are finished and no others begun.
        asked: calls put to models by this process.
        slowest: seconds that an answer took, at most.
    """

    store: Store
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    asked: int = 0
    slowest: float = 0.0
    _under_way: dict[str, "asyncio.Task[CallRecord]"] = field(default_factory=dict)

    async def call(
        self,
        step: str,
        prompt: str,
        model: NamedModel,
        make: Callable[[int], Request],
        read: Callable[[Reply, Request], Result],
        attempts: int,
    ) -> tuple[Result, list[str]]:
        """Ask until a reply can be read.

        Args:
            step: what for.
            prompt: the template and its version.
            model: whom to ask.
            make: the request of an attempt, counted from 0.
            read: what the reply means.
            attempts: readings that may be refused.

        Returns:
            What was read, and the keys of the calls it took.

        Raises:
            StepError: no reply could be had or read.
            ModelDownError: the model is down.
            StoppedError: the run is being stopped.
        """
        keys, why = [], ""
        for attempt in range(attempts):
            request = make(attempt)
            key = call_key(step, prompt, model, request)
            record = await self._record(key, step, prompt, model, request, attempt, read)
            keys.append(key)
            try:
                return read(_reply(record), request), keys
            except RefusalError as refusal:
                why = str(refusal)
        raise UnreadableError(step, f"no usable reply in {attempts} attempts, at last: {why}")

    @property
    def patience(self) -> float:
        """Seconds without any answer after which those under way are given up, when stopping.

        A model that runs here may take minutes for a batch: twice its longest is waited for.
        """
        return max(DRAIN_SECONDS, 2 * self.slowest)

    async def drained(self) -> None:
        """Wait for the calls under way, so that what they bring is kept; not for ever."""
        finished: set[asyncio.Task[CallRecord]] | None = None
        while self._under_way and finished != set():
            finished, _ = await asyncio.wait(
                set(self._under_way.values()),
                timeout=self.patience,
                return_when=asyncio.FIRST_COMPLETED,
            )
        for task in self._under_way.values():
            task.cancel()

    async def _record(
        self,
        key: str,
        step: str,
        prompt: str,
        model: NamedModel,
        request: Request,
        attempt: int,
        read: Callable[[Reply, Request], object],
    ) -> CallRecord:
        """The call from the books, from whoever is asking it already, or from the model."""
        if (known := self.store.call(key)) is not None:
            return known
        if (task := self._under_way.get(key)) is None:
            if self.stopping.is_set():
                raise StoppedError("the run is being stopped")
            told = {"key": key, "step": step, "prompt": prompt, "attempt": attempt}
            task = asyncio.create_task(self._ask(told, model, request, read))
            self._under_way[key] = task
            task.add_done_callback(lambda _: self._under_way.pop(key, None))
        try:
            return await asyncio.shield(task)
        except (ModelDownError, RunError, StoppedError):
            raise
        except EurekaAudioError as error:
            raise StepError(step, f"{type(error).__name__}: {error}") from error

    async def _ask(
        self,
        told: Mapping[str, Any],
        model: NamedModel,
        request: Request,
        read: Callable[[Reply, Request], object],
    ) -> CallRecord:
        self.asked += 1
        began = time.monotonic()
        try:
            reply = await model.model.reply(request)
        except asyncio.CancelledError:
            if self.stopping.is_set():  # it was waiting for its turn
                raise StoppedError("the run is being stopped") from None
            raise
        seconds = time.monotonic() - began
        self.slowest = max(self.slowest, seconds)
        if isinstance(reply, EurekaAudioError):
            raise reply
        refusal = ""
        try:
            read(reply, request)
        except RefusalError as error:
            refusal = str(error)
        record = CallRecord(
            **told,
            model=model.name,
            settings={**model.identity, **_parameters(request)},
            reply=reply.text,
            reasoning=reply.reasoning,
            finish_reason=reply.finish_reason,
            scores=reply.scores,
            prompt_tokens=reply.usage.prompt_tokens,
            new_tokens=reply.usage.new_tokens,
            reasoning_tokens=reply.usage.reasoning_tokens,
            cost=reply.usage.cost,
            seconds=round(seconds, 4),
            refusal=refusal,
        )
        await self.store.put_call(record)
        return record


def call_key(step: str, prompt: str, model: NamedModel, request: Request) -> str:
    """SHA-256 over all that shapes the answer."""
    messages = [
        [
            message.role,
            [
                {"audio": file_fingerprint(str(part.audio))}
                if isinstance(part, AudioPart)
                else part.text
                for part in message.content
            ],
        ]
        for message in request.conversation.messages
    ]
    content = {
        "version": KEY_VERSION,
        "step": step,
        "prompt": prompt,
        "model": dict(model.identity),
        "messages": messages,
        "choices": request.choices,
        "schema": request.schema,
        "parameters": _parameters(request),
    }
    if model.reads_inputs:
        content["inputs"] = {name: _plain(value) for name, value in request.inputs.items()}
    return content_key(content)


def _parameters(request: Request) -> dict[str, Any]:
    return {
        "max_new_tokens": request.max_new_tokens,
        "temperature": request.temperature,
        "seed": request.seed,
    }


def _plain(value: Any) -> Any:
    """A value of a request's inputs as JSON can hold it; where a file lies does not matter."""
    if isinstance(value, Record):
        return value.model_dump(mode="json", exclude={"path"})
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return value if isinstance(value, str | int | float | None) else str(value)


def _reply(record: CallRecord) -> Reply:
    """The reply that was kept."""
    return Reply(
        record.reply,
        finish_reason=record.finish_reason,  # type: ignore[arg-type]
        scores=record.scores,
        reasoning=record.reasoning,
        usage=Usage(record.prompt_tokens, record.new_tokens, record.reasoning_tokens, record.cost),
    )
