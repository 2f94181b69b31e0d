"""The model behind one small asynchronous interface; routes know nothing else of it."""

import asyncio
import ctypes
import gc
import logging
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, aclosing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar

from eureka_audio.audio.decode import DecodedAudio
from eureka_audio.audio.fetch import AudioAccess
from eureka_audio.audio.mono import LOCAL_LIMITS
from eureka_audio.audio.window import Samples
from eureka_audio.errors import EngineBusyError, EngineError, EurekaAudioError
from eureka_audio.inference.assistant import EurekaAudio
from eureka_audio.inference.engine import EngineStats
from eureka_audio.inference.requests import GenerationRequest, RequestHandle, TokenEvent
from eureka_audio.inference.responder import Responder
from eureka_audio.inference.sampling import GREEDY, SamplingConfig
from eureka_audio.protocols import Transcript
from eureka_audio.records import Conversation
from eureka_audio.server.inspection import HeardWindow, hear_window
from eureka_audio.server.problems import Problem
from eureka_audio.server.transcribing import Transcription, TranscriptionOptions

log = logging.getLogger("eureka_audio.server")

ModelState = Literal["ready", "unloaded", "loading", "failing", "stalled", "dead"]
FAILURES_IN_A_ROW = 3  # that make health bad, until a request succeeds
NUM_THREADS = 4  # prepare prompts and judge answers; the engine has its own
T = TypeVar("T")


@dataclass(frozen=True)
class ChatOptions:
    """How a conversation is answered.

    Attributes:
        num_choices: answers, each on its own.
        num_logprobs: most probable tokens told of each place; 0 tells nothing.
        max_new_tokens: None leaves it to the duration of the audio.
    """

    max_new_tokens: int | None = None
    sampling: SamplingConfig = GREEDY
    seed: int | None = None
    stop: tuple[str, ...] = ()
    num_logprobs: int = 0
    num_choices: int = 1


class ModelService(Protocol):
    """What routes ask of a model."""

    @property
    def state(self) -> ModelState:
        """Whether it can answer."""
        ...

    async def transcribe(self, audio: DecodedAudio, options: TranscriptionOptions) -> Transcript:
        """Write down what is said."""
        ...

    def stream_transcribe(
        self, audio: DecodedAudio, options: TranscriptionOptions
    ) -> AsyncGenerator[str | Transcript, None]:
        """Pieces of the text as they are found, then the whole."""
        ...

    async def chat(self, conversation: Conversation, options: ChatOptions) -> "Answers":
        """Begin to answer; what is wrong with the conversation is raised now."""
        ...

    async def hear(self, waveform: Samples) -> HeardWindow:
        """Hear one window of at most 30 s and write nothing."""
        ...


@dataclass
class Answers:
    """Answers to one conversation, on their way.

    Attributes:
        handles: one for each choice.
        tokenizer: of the model.
        use: marks the model as at work.
    """

    handles: Sequence[RequestHandle]
    tokenizer: Any
    use: Callable[[], AbstractContextManager[None]]

    @property
    def num_prompt_tokens(self) -> int:
        """Tokens read, the audio's among them."""
        return len(self.handles[0].request.inputs.input_ids)

    @property
    def num_audio_tokens(self) -> int:
        """Tokens heard."""
        return self.handles[0].request.inputs.num_audio_tokens

    async def events(self) -> AsyncGenerator[tuple[int, TokenEvent], None]:
        """What happens, with the number of the choice it happens to; leaving early cancels all."""
        with self.use():
            async with aclosing(self._events()) as events:
                async for item in events:
                    yield item

    async def _events(self) -> AsyncGenerator[tuple[int, TokenEvent], None]:
        arrived: asyncio.Queue[tuple[int, TokenEvent | BaseException | None]] = asyncio.Queue()

        async def follow(index: int, handle: RequestHandle) -> None:
            try:
                async for event in handle:
                    arrived.put_nowait((index, event))
                arrived.put_nowait((index, None))
            except Exception as error:  # noqa: BLE001 (handed over, and raised where events are awaited)
                arrived.put_nowait((index, error))

        tasks = [asyncio.create_task(follow(*item)) for item in enumerate(self.handles)]
        try:
            num_open = len(tasks)
            while num_open:
                index, event = await arrived.get()
                if isinstance(event, EngineError):
                    raise engine_problem(event) from event
                if isinstance(event, BaseException):
                    raise event
                if event is None:
                    num_open -= 1
                else:
                    yield index, event
        finally:
            self.cancel()
            for task in tasks:
                task.cancel()

    def cancel(self) -> None:
        """Ask for no more."""
        for handle in self.handles:
            handle.cancel()


class Loaded:
    """A model in memory: the engine that runs it, and what prepares its prompts.

    Args:
        assistant: the model with its processor; its audio is opened by others.
    """

    def __init__(self, assistant: EurekaAudio) -> None:
        self.assistant = assistant
        self.engine = assistant.engine
        nothing = AudioAccess(allowed_folders=())
        self.responder = Responder(self.engine, nothing, LOCAL_LIMITS)


@dataclass
class LocalService:
    """A model in this process.

    Attributes:
        load: makes the model.
        idle_unload_seconds: the model leaves memory after so long without work.
        stall_timeout_seconds: work without a step for so long counts as a hang.
    """

    load: Callable[[], EurekaAudio]
    idle_unload_seconds: float | None = None
    stall_timeout_seconds: float = 60.0
    _loaded: Loaded | None = None
    _num_using: int = 0
    _num_failures: int = 0  # unforeseen, one after the other
    _last_use: float = field(default_factory=time.monotonic)
    _loading: asyncio.Lock = field(default_factory=asyncio.Lock)
    _threads: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(NUM_THREADS, "prepare")
    )

    @property
    def state(self) -> ModelState:
        """Whether the model can answer."""
        if self._loading.locked():
            return "loading"
        if self._loaded is None:
            return "unloaded"
        if self._loaded.engine.failure is not None:
            return "dead"
        if self._loaded.engine.stats().seconds_since_step > self.stall_timeout_seconds:
            return "stalled"
        return "failing" if self._num_failures >= FAILURES_IN_A_ROW else "ready"

    @property
    def stats(self) -> EngineStats | None:
        """What the engine is doing; None while there is none."""
        return None if self._loaded is None else self._loaded.engine.stats()

    async def start(self) -> None:
        """Load the model, so that the first request need not wait."""
        await self._ready()

    async def transcribe(self, audio: DecodedAudio, options: TranscriptionOptions) -> Transcript:
        """Write down what is said.

        Raises:
            ConfigError: options that this model cannot fulfil.
            Problem: 429, 503.
        """
        async with aclosing(self.stream_transcribe(audio, options)) as pieces:
            found = [piece async for piece in pieces]
        transcript = found[-1]
        assert isinstance(transcript, Transcript)
        return transcript

    async def stream_transcribe(
        self, audio: DecodedAudio, options: TranscriptionOptions
    ) -> AsyncGenerator[str | Transcript, None]:
        """Pieces of the text as they are found, then the whole; errors as `transcribe`."""
        with self._use():
            loaded = await self._ready()
            work = Transcription.of(loaded.responder, options, self._threads)
            try:
                async with aclosing(work.pieces(audio)) as pieces:
                    async for piece in pieces:
                        yield piece
            except EngineError as error:
                raise engine_problem(error) from error

    async def chat(self, conversation: Conversation, options: ChatOptions) -> Answers:
        """Begin to answer a conversation whose audio is decoded.

        Raises:
            ContextLengthError: it leaves no room for an answer.
            MessageError: a turn that cannot be encoded.
            Problem: 429, 503.
        """
        with self._use():
            loaded = await self._ready()
            inputs = await _in(self._threads, lambda: loaded.responder.encode(conversation))
        handles: list[RequestHandle] = []
        try:
            for index in range(options.num_choices):
                seed = None if options.seed is None else (options.seed + index) % 2**63
                handles.append(
                    loaded.engine.submit(
                        GenerationRequest(
                            inputs,
                            max_new_tokens=options.max_new_tokens,
                            sampling=options.sampling,
                            seed=seed,
                            stop=options.stop,
                            num_logprobs=options.num_logprobs,
                        )
                    )
                )
        except EngineError as error:
            for handle in handles:
                handle.cancel()
            raise engine_problem(error) from error
        return Answers(handles, loaded.assistant.processor.tokenizer, self._use)

    async def hear(self, waveform: Samples) -> HeardWindow:
        """Hear one window of at most 30 s and write nothing."""
        with self._use():
            loaded = await self._ready()
            return await _in(self._threads, lambda: hear_window(loaded.assistant, waveform))

    @contextmanager
    def _use(self) -> Iterator[None]:
        """Mark the model as at work, and note how that ends."""
        self._num_using += 1
        try:
            yield
            self._num_failures = 0
        except (EurekaAudioError, Problem):
            raise
        except Exception:
            self._num_failures += 1
            raise
        finally:
            self._num_using -= 1
            self._last_use = time.monotonic()

    async def _ready(self) -> Loaded:
        async with self._loading:
            if self._loaded is None:
                assistant = await asyncio.to_thread(self.load)
                self._loaded = Loaded(assistant)
            return self._loaded

    async def unload_when_idle(self) -> None:
        """Take the model out of memory whenever it had nothing to do for long enough."""
        if self.idle_unload_seconds is None:
            return
        while True:
            await asyncio.sleep(min(1.0, self.idle_unload_seconds / 4))
            stats = self.stats
            if stats is None or self._num_using or stats.num_running or stats.queue_length:
                self._last_use = time.monotonic() if stats else self._last_use
            elif time.monotonic() - self._last_use >= self.idle_unload_seconds:
                await self._unload()

    async def _unload(self) -> None:
        loaded, self._loaded = self._loaded, None
        if loaded is not None:
            await asyncio.to_thread(loaded.engine.close, False, 5.0)
        del loaded
        gc.collect()
        _give_memory_back()
        log.info("the model was idle and left memory; the next request loads it again")

    async def close(self) -> None:
        """End; what is being done is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._loaded is not None:
            await asyncio.to_thread(self._loaded.engine.close, False, 5.0)


def _give_memory_back() -> None:
    """Let the C library hand freed memory to the system, where it has a call for that (glibc)."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


async def _in(pool: ThreadPoolExecutor, work: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(pool, work)


def engine_problem(error: EngineError) -> Problem:
    """How a client is told that the engine cannot answer."""
    if isinstance(error, EngineBusyError):
        return Problem(
            429, "too many requests are waiting; come back in a second", "overloaded",
            retry_after_seconds=1,
        )  # fmt: skip
    return Problem(
        503, "the model of this server is not available; its operator must see to it",
        "model_unavailable", retry_after_seconds=30,
    )  # fmt: skip


def check_alive(service: ModelService) -> None:
    """Refuse when no answer can be expected.

    Raises:
        Problem: 503.
    """
    if service.state in ("dead", "stalled"):
        raise engine_problem(EngineError())
