"""The engine: requests from any thread, answered together by one thread that owns the model.

It knows prompts and tokens, and nothing of tasks. The thread works while there is anything to do,
and ends when there is not: an idle engine costs nothing, and one that is forgotten is gone.
"""

import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from eureka_audio.errors import (
    ContextLengthError,
    EngineBusyError,
    EngineClosedError,
    EngineError,
    InvalidFeaturesError,
)
from eureka_audio.inference.requests import GenerationRequest, RequestHandle
from eureka_audio.inference.runner import ModelRunner
from eureka_audio.inference.scheduler import Scheduler
from eureka_audio.model import EurekaAudioForConditionalGeneration
from eureka_audio.processor import EncodedConversation, EurekaAudioProcessor

SPEED_SECONDS = 10.0  # of work that the speed is taken over
NUM_FIRST_TOKENS = 256  # requests whose time to the first token is remembered


@dataclass(frozen=True)
class EngineStats:
    """What the engine is doing.

    Attributes:
        queue_length: requests that wait for a place.
        num_running: requests that have one: being heard, read or answered.
        batch_size: answers and beams that grew in the last step.
        num_cache_bytes: memory that keys and values take.
        num_requests: submitted so far.
        num_new_tokens: generated so far.
        num_ended: requests by how they ended: a finish reason, "cancelled" or "error".
        tokens_per_second: generated in the last ten seconds of work.
        seconds_to_first_token: of the latest requests, the oldest first.
        tokens_per_expert: audio tokens that each expert of the adapter has had; empty for a dense
            one.
        seconds_since_step: since the last step ended while there is work to do, else 0; more than
            a step can take is a hang.
    """

    queue_length: int
    num_running: int
    batch_size: int
    num_cache_bytes: int
    num_requests: int
    num_new_tokens: int
    num_ended: dict[str, int]
    tokens_per_second: float
    seconds_to_first_token: tuple[float, ...]
    tokens_per_expert: tuple[int, ...]
    seconds_since_step: float


class AudioEngine:
    """A model that answers many requests at once.

    Args:
        model: set to evaluation; nobody else may change it.
        processor: the model's own.
        max_batch_size: requests answered at once.
        max_queue_length: requests that may wait beside them; `None` for any number.
        prefill_tokens: of prompts that are read between two steps of decoding: more is faster for
            all together, fewer keep those who are being answered waiting less.
    """

    def __init__(
        self,
        model: EurekaAudioForConditionalGeneration,
        processor: EurekaAudioProcessor,
        *,
        max_batch_size: int = 32,
        max_queue_length: int | None = 1024,
        prefill_tokens: int = 512,
    ) -> None:
        self.model = model.eval()
        self.processor = processor
        self.runner = ModelRunner(model, processor)
        self.max_batch_size = max_batch_size
        self.max_queue_length = max_queue_length
        self._prefill_tokens = prefill_tokens
        self._scheduler = Scheduler(self.runner, prefill_tokens)
        self._lock = threading.Lock()
        self._waiting: deque[RequestHandle] = deque()
        self._running: list[RequestHandle] = []
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self._failure: BaseException | None = None
        self._num_requests = 0
        self._num_new_tokens = 0
        self._num_ended: Counter[str] = Counter()
        self._first_tokens: deque[float] = deque(maxlen=NUM_FIRST_TOKENS)
        self._steps: deque[tuple[float, int]] = deque()  # seconds and tokens of each
        self._seconds_worked = 0.0  # of all of those
        self._stepped_at = 0.0
        self._num_cache_bytes = 0

    @property
    def failure(self) -> BaseException | None:
        """What broke the engine; `None` while it is sound. A broken one takes no requests."""
        return self._failure

    @property
    def max_context_tokens(self) -> int:
        """Tokens of prompt and answer together that the language model has positions for."""
        return self.runner.max_context_tokens

    def submit(self, request: GenerationRequest) -> RequestHandle:
        """Take a request in, from any thread, at any moment.

        Raises:
            EngineBusyError: as many are waiting as may wait.
            EngineClosedError: the engine was closed, or is broken.
            ContextLengthError: the prompt leaves no room for an answer.
            InvalidFeaturesError: its log-mel holds NaN or infinity.
        """
        self._check(request.inputs)
        handle = RequestHandle(request, self._on_cancel)
        with self._lock:
            if self._failure is not None:
                raise EngineClosedError(
                    f"expected a sound engine, this one broke ({self._failure!r:.200}); make "
                    "another"
                ) from self._failure
            if self._is_closed:
                raise EngineClosedError("expected an open engine, this one was closed")
            limit = self.max_queue_length
            if limit is not None and len(self._waiting) >= limit:
                raise EngineBusyError(
                    f"expected fewer than {limit} requests waiting, got {len(self._waiting)}; try "
                    "again later"
                )
            self._waiting.append(handle)
            self._num_requests += 1
            if self._thread is None:
                self._stepped_at = time.monotonic()
                self._thread = threading.Thread(target=self._work, name="eureka-audio-engine")
                self._thread.start()
        return handle

    @contextmanager
    def submitted(self, requests: Sequence[GenerationRequest]) -> Iterator[list[RequestHandle]]:
        """Submit requests, and cancel what has not been answered when the block is left."""
        handles: list[RequestHandle] = []
        try:
            for request in requests:
                handles.append(self.submit(request))
            yield handles
        finally:
            for handle in handles:
                if not handle.has_ended:
                    handle.cancel()

    def close(self, drain: bool = True, timeout: float | None = None) -> None:
        """Take no more requests, and return when the thread has ended.

        Args:
            drain: whether what was taken in is answered; else it is cancelled.
            timeout: seconds to wait; what is not answered then is cancelled.
        """
        with self._lock:
            self._is_closed = True
            thread = self._thread
        if not drain:
            self._cancel_all()
        if thread is not None:
            thread.join(timeout)
            if thread.is_alive():
                self._cancel_all()

    def stats(self) -> EngineStats:
        """What the engine is doing now; from any thread."""
        with self._lock:
            num_tokens = sum(count for _, count in self._steps)
            is_working = self._thread is not None
            return EngineStats(
                queue_length=len(self._waiting),
                num_running=len(self._running),
                batch_size=self._steps[-1][1] if is_working and self._steps else 0,
                num_cache_bytes=self._num_cache_bytes,
                num_requests=self._num_requests,
                num_new_tokens=self._num_new_tokens,
                num_ended=dict(self._num_ended),
                tokens_per_second=num_tokens / max(self._seconds_worked, 1e-9),
                seconds_to_first_token=tuple(self._first_tokens),
                tokens_per_expert=tuple(self.runner.tokens_per_expert),
                seconds_since_step=time.monotonic() - self._stepped_at if is_working else 0.0,
            )

    @torch.inference_mode()
    def _work(self) -> None:
        """Step while there is anything to do; what breaks a step breaks the engine."""
        try:
            while self._take_in():
                started = time.monotonic()
                num_tokens = self._scheduler.step()
                self._note_step(num_tokens, time.monotonic() - started)
        except BaseException as error:  # noqa: BLE001 (the thread's edge: nobody else would know)
            self._break(error)

    def _take_in(self) -> bool:
        """Give free places to those who wait longest; whether there is anything to do."""
        if not threading.main_thread().is_alive():  # the program ends, nobody will read on
            self._cancel_all()
        self._scheduler.drop_ended()
        with self._lock:
            self._count_ended()
            while self._waiting and len(self._running) < self.max_batch_size:
                handle = self._waiting.popleft()
                self._running.append(handle)
                self._scheduler.add(handle)
            if not self._running:
                self._num_cache_bytes = self._scheduler.num_cache_bytes
                self._thread = None
            return bool(self._running)

    def _note_step(self, num_tokens: int, seconds: float) -> None:
        with self._lock:
            self._stepped_at = time.monotonic()
            self._num_new_tokens += num_tokens
            self._num_cache_bytes = self._scheduler.num_cache_bytes
            self._steps.append((seconds, num_tokens))
            self._seconds_worked += seconds
            while self._seconds_worked > SPEED_SECONDS and len(self._steps) > 1:
                self._seconds_worked -= self._steps.popleft()[0]

    def _count_ended(self) -> None:
        """Forget whoever has ended, running or waiting; the lock is held."""
        for handle in (*self._running, *self._waiting):
            if handle.has_ended:
                self._num_ended[handle.outcome] += 1
                if (seconds := handle.timing.seconds_to_first_token) is not None:
                    self._first_tokens.append(seconds)
        self._running = [handle for handle in self._running if not handle.has_ended]
        self._waiting = deque(handle for handle in self._waiting if not handle.has_ended)

    def _on_cancel(self) -> None:
        """Free the place in the queue of whoever was cancelled there."""
        with self._lock:
            if any(handle.has_ended for handle in self._waiting):
                for handle in self._waiting:
                    self._num_ended["cancelled"] += handle.has_ended
                self._waiting = deque(each for each in self._waiting if not each.has_ended)

    def _cancel_all(self) -> None:
        with self._lock:
            handles = [*self._waiting, *self._running]
        for handle in handles:
            handle.cancel()

    def _break(self, error: BaseException) -> None:
        with self._lock:
            self._failure = error
            handles = [*self._waiting, *self._running]
        broken = EngineError(f"the engine broke while it worked on this request: {error!r:.300}")
        broken.__cause__ = error
        for handle in handles:
            handle.fail(broken)
        with self._lock:
            self._count_ended()
            self._scheduler = Scheduler(self.runner, self._prefill_tokens)
            self._num_cache_bytes = 0
            self._thread = None

    def _check(self, inputs: EncodedConversation) -> None:
        longest = self.max_context_tokens - 1  # an answer takes one at least
        if len(inputs.input_ids) > longest:
            raise ContextLengthError(
                f"expected at most {longest:,} tokens in this model's context, got "
                f"{len(inputs.input_ids):,}; shorten the conversation"
            )
        for number, window in enumerate(inputs.features):
            if not bool(window.isfinite().all()):
                raise InvalidFeaturesError(
                    f"window {number}: expected finite log-mel values, got NaN or infinity; check "
                    "the recording"
                )
