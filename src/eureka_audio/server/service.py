"""The model behind one small asynchronous interface; routes know nothing else of it."""

import asyncio
import gc
import logging
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from eureka_audio.audio.decode import DecodedAudio
from eureka_audio.audio.window import Samples
from eureka_audio.inference.assistant import EurekaAudio
from eureka_audio.server.inspection import HeardWindow, hear_window
from eureka_audio.server.problems import Problem
from eureka_audio.server.transcript import Segment, Transcript

log = logging.getLogger("eureka_audio.server")

ModelState = Literal["ready", "unloaded", "loading", "dead"]


@dataclass(frozen=True)
class TranscriptionOptions:
    """How a recording is written down.

    Attributes:
        language: an English name; None leaves it to the model.
        temperature: 0 takes the most probable words.
        prompt: what was said before, or what it is about.
        hotwords: words that are likely to occur.
        word_times: whether the time of each word is wanted.
    """

    language: str | None = None
    temperature: float = 0.0
    prompt: str | None = None
    hotwords: tuple[str, ...] = ()
    word_times: bool = False


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
    ) -> AsyncIterator[str | Transcript]:
        """Pieces of the text as they are found, then the whole."""
        ...

    async def hear(self, waveform: Samples) -> HeardWindow:
        """Hear one window of at most 30 s and write nothing."""
        ...


class LocalService:
    """A model in this process, one request at a time in a thread of its own.

    Args:
        load: makes the model.
        idle_unload_seconds: the model leaves memory after so long without work.
    """

    def __init__(
        self, load: Callable[[], EurekaAudio], idle_unload_seconds: float | None = None
    ) -> None:
        self._load = load
        self._idle_unload_seconds = idle_unload_seconds
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._model: EurekaAudio | None = None
        self._last_use = time.monotonic()
        self._num_waiting = 0
        self._is_loading = False

    @property
    def state(self) -> ModelState:
        """Whether the model is in memory."""
        if self._is_loading:
            return "loading"
        return "unloaded" if self._model is None else "ready"

    async def start(self) -> None:
        """Load the model, so that the first request need not wait."""
        await self._run(lambda model: None)

    async def transcribe(self, audio: DecodedAudio, options: TranscriptionOptions) -> Transcript:
        """Write down what is said."""
        reply = await self._run(lambda model: model.transcribe(audio, options.language))
        return Transcript(
            text=reply.text,
            duration_seconds=reply.duration_seconds,
            segments=(Segment(reply.text, 0.0, reply.duration_seconds),) if reply.text else (),
            language=options.language,
            num_audio_tokens=reply.num_audio_tokens,
            num_new_tokens=reply.num_new_tokens,
            finish_reason=reply.finish_reason,
        )

    async def stream_transcribe(
        self, audio: DecodedAudio, options: TranscriptionOptions
    ) -> AsyncIterator[str | Transcript]:
        """Pieces of the text as they are found, then the whole."""
        transcript = await self.transcribe(audio, options)
        yield transcript.text
        yield transcript

    async def hear(self, waveform: Samples) -> HeardWindow:
        """Hear one window of at most 30 s and write nothing."""
        heard: HeardWindow = await self._run(lambda model: hear_window(model, waveform))
        return heard

    async def _run(self, work: Callable[[EurekaAudio], Any]) -> Any:
        """Do something with the model, in its thread."""
        self._num_waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._thread, lambda: work(self._loaded()))
        finally:
            self._num_waiting -= 1
            self._last_use = time.monotonic()

    def _loaded(self) -> EurekaAudio:
        if self._model is None:
            self._is_loading = True
            try:
                self._model = self._load()
            finally:
                self._is_loading = False
        return self._model

    async def unload_when_idle(self) -> None:
        """Take the model out of memory whenever it had nothing to do for long enough."""
        if self._idle_unload_seconds is None:
            return
        while True:
            await asyncio.sleep(min(1.0, self._idle_unload_seconds / 4))
            idle = time.monotonic() - self._last_use
            if self._model is not None and not self._num_waiting:
                if idle >= self._idle_unload_seconds:
                    self._model = None
                    gc.collect()
                    log.info("the model was idle for %.0f s and left memory", idle)

    def close(self) -> None:
        """Let the thread end; what it is doing is not waited for."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def check_alive(service: ModelService) -> None:
    """Refuse when no answer can be expected.

    Raises:
        Problem: 503.
    """
    if service.state == "dead":
        raise Problem(
            503, "the model of this server has died; its operator must restart it",
            "model_unavailable", retry_after_seconds=30,
        )  # fmt: skip
