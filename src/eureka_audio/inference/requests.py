"""What the engine is asked, and what it hands back while it answers.

Requests are values; a handle is the asker's end of one: events are put in by the engine's thread
and taken out by any other, from plain code or from an event loop.
"""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from torch import Tensor

from eureka_audio.errors import ConfigError, RequestCancelledError
from eureka_audio.inference.beam_search import Beam
from eureka_audio.inference.growing_answer import GrowingAnswer
from eureka_audio.inference.sampling import GREEDY, SamplingConfig
from eureka_audio.processor import EncodedConversation
from eureka_audio.protocols import FinishReason, Reply, Usage

MAX_REPEATS = 8  # rounds in which an answer may run in circles before it is ended
MAX_LOGPROBS = 20


@dataclass(frozen=True)
class GenerationRequest:
    """One answer that is wanted.

    Attributes:
        inputs: a prompt that ends with the opening of an answer (`processor.encode`).
        max_new_tokens: the longest answer; `None` leaves it to the duration of the audio
            (`token_budget`). The context bounds it too.
        sampling: how tokens are chosen.
        seed: the same seed draws the same answer; `None` draws afresh.
        stop: the answer ends before the first of these strings, however they fall into tokens.
        num_logprobs: above 0, each event tells the log-probability of its token and of so many
            most probable ones.
        max_repeats: an answer whose last tokens repeat themselves this often in a row is ended and
            says so; `None` lets it go on to its limit.

    Raises:
        ConfigError: a value out of range.
    """

    inputs: EncodedConversation
    max_new_tokens: int | None = None
    sampling: SamplingConfig = GREEDY
    seed: int | None = None
    stop: tuple[str, ...] = ()
    num_logprobs: int = 0
    max_repeats: int | None = MAX_REPEATS

    def __post_init__(self) -> None:
        if not 0 <= self.num_logprobs <= MAX_LOGPROBS:
            raise ConfigError(
                f"num_logprobs: expected 0 to {MAX_LOGPROBS}, got {self.num_logprobs!r}; change it"
            )
        if self.max_new_tokens is not None and self.max_new_tokens < 1:
            raise ConfigError(
                f"max_new_tokens: expected at least 1, got {self.max_new_tokens!r}; change it"
            )


@dataclass(frozen=True)
class SearchRequest(GenerationRequest):
    """One answer that is searched for: several grow side by side, and all that end are handed back.

    Attributes:
        num_beams: how many grow.
        hint: what others than the decoder think of an answer while it grows, added to its
            log-probability; called by the engine's thread.
    """

    num_beams: int = 2
    hint: Callable[[GrowingAnswer], float] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_beams < 1 or not self.sampling.is_greedy or self.num_logprobs:
            raise ConfigError(
                "num_beams: expected at least 1, a temperature of 0 and no logprobs beside it, got "
                f"{self.num_beams!r}, {self.sampling.temperature!r} and {self.num_logprobs!r}"
            )


@dataclass(frozen=True, slots=True)
class TokenEvent:
    """One step of an answer.

    Attributes:
        token_id: what the model chose; the token that ends an answer comes with the last event and
            is not part of the answer.
        text: the new text since the last event; the texts of all events together are the answer.
            Never half a character, never what may turn out to begin a stop string.
        num_new_tokens: of the answer so far; the token that ended it is not counted.
        logprob: of the token; only where the request asks for log-probabilities.
        top_logprobs: the most probable tokens with theirs, the best first.
        finish_reason: why the answer ended, with the last event; `None` before.
    """

    token_id: int
    text: str
    num_new_tokens: int
    logprob: float | None = None
    top_logprobs: tuple[tuple[int, float], ...] = ()
    finish_reason: FinishReason | None = None


@dataclass
class Timing:
    """When things happened to a request, in seconds of `time.perf_counter`; `None`: not yet."""

    submitted: float = field(default_factory=time.perf_counter)
    first_token: float | None = None
    finished: float | None = None

    @property
    def seconds_to_first_token(self) -> float | None:
        """From submission to the first token, waiting included."""
        return None if self.first_token is None else self.first_token - self.submitted


class RequestHandle:
    """The asker's end of a request.

    Iterating gives every event from the first on, however often and from however many places; it
    ends with the answer, and raises what ended the request early. `async for` does the same in an
    event loop, without a thread of its own.

    Attributes:
        request: what was asked.
        timing: when things happened.
        answer: all of it, once it has ended; of a search, the best.
        ctc_logits: `(L, letters)` of all that was heard, in a row, where the model has a CTC head;
            there once the answer has ended.
    """

    def __init__(self, request: GenerationRequest, on_cancel: Callable[[], None]) -> None:
        self.request = request
        self.timing = Timing()
        self.answer: GrowingAnswer | None = None
        self.ctc_logits: Tensor | None = None
        self._on_cancel = on_cancel
        self._changed = threading.Condition()
        self._watchers: set[Callable[[], None]] = set()
        self._events: list[TokenEvent] = []
        self._hypotheses: tuple[Beam, ...] = ()
        self._error: BaseException | None = None
        self._has_ended = False

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will come."""
        return self._has_ended

    @property
    def has_failed(self) -> bool:
        """Whether it ended without an answer."""
        return self._error is not None

    @property
    def outcome(self) -> str:
        """How it ended: a finish reason, "cancelled" or "error"; "" while it has not."""
        if not self._has_ended:
            return ""
        if self._error is not None:
            return "cancelled" if isinstance(self._error, RequestCancelledError) else "error"
        return self._events[-1].finish_reason or ""

    def cancel(self) -> None:
        """Ask for no more; what the request holds is free after the engine's next step."""
        if not self._has_ended:
            self.fail(RequestCancelledError("the request was cancelled; submit it again to go on"))
            self._on_cancel()

    def result(self, timeout: float | None = None) -> Reply:
        """Wait for the whole answer.

        Raises:
            TimeoutError: it is not there after so many seconds.
            EurekaAudioError: what ended the request early.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._has_ended, timeout):
                raise TimeoutError(f"expected an answer within {timeout} seconds, got none yet")
        self._raise_error()
        return self._reply()

    def hypotheses(self, timeout: float | None = None) -> tuple[Beam, ...]:
        """Wait for what a search found, the best first; errors as `result`."""
        self.result(timeout)
        return self._hypotheses

    def __iter__(self) -> Iterator[TokenEvent]:
        number = 0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._has_ended or len(self._events) > number)  # noqa: B023
                fresh, has_ended = self._events[number:], self._has_ended
            yield from fresh
            number += len(fresh)
            if has_ended:
                self._raise_error()
                return

    async def __aiter__(self) -> AsyncIterator[TokenEvent]:
        loop, changed, number = asyncio.get_running_loop(), asyncio.Event(), 0

        def watch() -> None:
            with suppress(RuntimeError):  # the loop was closed: nobody listens any more
                loop.call_soon_threadsafe(changed.set)

        with self._changed:
            self._watchers.add(watch)
        try:
            while True:
                with self._changed:
                    fresh, has_ended = self._events[number:], self._has_ended
                for event in fresh:
                    yield event
                number += len(fresh)
                if has_ended:
                    self._raise_error()
                    return
                await changed.wait()
                changed.clear()
        finally:
            with self._changed:
                self._watchers.discard(watch)

    async def aresult(self) -> Reply:
        """`result` for an event loop."""
        async for _ in self:
            pass
        return self._reply()

    def put(self, event: TokenEvent, hypotheses: tuple[Beam, ...] = ()) -> None:
        """Hand out an event; for the engine's thread."""
        now = time.perf_counter()
        with self._changed:
            if self._has_ended:
                return
            self.timing.first_token = self.timing.first_token or now
            self._events.append(event)
            if event.finish_reason is not None:
                self._hypotheses = hypotheses
                self.timing.finished = now
                self._has_ended = True
            self._notify()

    def fail(self, error: BaseException) -> None:
        """End the request with an error; for the engine's thread."""
        with self._changed:
            if not self._has_ended:
                self._error = error
                self.timing.finished = time.perf_counter()
                self._has_ended = True
            self._notify()

    def _notify(self) -> None:
        self._changed.notify_all()
        for watch in self._watchers:
            watch()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _reply(self) -> Reply:
        last, inputs = self._events[-1], self.request.inputs
        return Reply(
            text="".join(event.text for event in self._events),
            num_new_tokens=last.num_new_tokens,
            num_audio_tokens=inputs.num_audio_tokens,
            duration_seconds=inputs.duration_seconds,
            finish_reason=last.finish_reason or "stop",
            usage=Usage(len(inputs.input_ids), last.num_new_tokens),
        )
