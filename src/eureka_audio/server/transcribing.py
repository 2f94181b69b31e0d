"""A recording through the engine: cut, several chunks at once, given out in order as they end.

Whoever loses interest cancels all chunks, those under way too.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

from transformers import GenerationConfig

from eureka_audio.audio.decode import DecodedAudio
from eureka_audio.audio.window import Span
from eureka_audio.errors import ConfigError
from eureka_audio.inference.assistant import GUARDED
from eureka_audio.inference.judge import Judge
from eureka_audio.inference.requests import RequestHandle
from eureka_audio.inference.responder import Responder, generation_request, judged
from eureka_audio.inference.transcription.hotwords import MIN_BEAMS, Hotwords
from eureka_audio.inference.transcription.settings import (
    max_transcript_tokens,
    transcription_beams,
)
from eureka_audio.inference.transcription.transcriber import Transcriber
from eureka_audio.inference.transcription.transcripts import TimedChunk
from eureka_audio.protocols import Transcript

T = TypeVar("T")
CHUNKS_AT_ONCE = 4  # of one recording, so that a long one leaves room for others


@dataclass(frozen=True)
class TranscriptionOptions:
    """How a recording is written down.

    Attributes:
        language: an English name or ISO 639-1 code; None leaves it to the model.
        temperature: 0 takes the most probable words.
        prompt: what it is about; its longer words count as hotwords.
        hotwords: words that are likely to occur.
        word_times: whether the time of each word is wanted; None wants it where it can be told.
    """

    language: str | None = None
    temperature: float = 0.0
    prompt: str | None = None
    hotwords: tuple[str, ...] = ()
    word_times: bool | None = False


@dataclass
class Transcription:
    """One recording being written down.

    Attributes:
        responder: of the model.
        transcriber: cuts and reads.
        judge: weighs what a search finds.
        threads: where prompts are prepared and answers judged.
    """

    responder: Responder
    transcriber: Transcriber
    judge: Judge
    threads: ThreadPoolExecutor

    @classmethod
    def of(
        cls, responder: Responder, options: TranscriptionOptions, threads: ThreadPoolExecutor
    ) -> "Transcription":
        """What options ask of a model.

        Raises:
            ConfigError: no such language, or options that this model cannot fulfil.
        """
        model = responder.engine.model
        hotwords = Hotwords.of(options.hotwords, options.prompt)
        transcriber = Transcriber.of(
            model,
            replace(GUARDED, temperature=options.temperature),
            language=options.language,
            num_beams=_num_beams(model.generation_config, options, bool(hotwords)),
            word_times=options.word_times,
        )
        judge = Judge(model, transcriber.options, hotwords.bonus if hotwords else None)
        return cls(responder, transcriber, judge, threads)

    async def pieces(self, audio: DecodedAudio) -> AsyncGenerator[str | Transcript, None]:
        """The text chunk by chunk, which together is that of the transcript that comes last."""
        plan = await self._apart(self.transcriber.plan, audio)
        waiting = deque(plan.chunks)
        spans = iter(plan.sounding)
        under_way: deque[RequestHandle] = deque()
        chunks: list[TimedChunk] = []
        num_words = 0
        try:
            while waiting or under_way:
                while waiting and len(under_way) < CHUNKS_AT_ONCE:
                    under_way.append(await self._apart(self._begin, waiting.popleft()))
                handle = under_way[0]
                await handle.aresult()
                under_way.popleft()
                chunk = await self._apart(self._read, next(spans), handle)
                chunks.append(chunk)
                if chunk.words:
                    text = " ".join(word.word for word in chunk.words)
                    yield text if num_words == 0 else f" {text}"
                    num_words += len(chunk.words)
        finally:
            for handle in under_way:
                handle.cancel()
        yield await self._apart(self.transcriber.transcript, plan, chunks)

    def _begin(self, chunk: DecodedAudio) -> RequestHandle:
        encoded = self.responder.encode(self.transcriber.request(chunk))
        longest = self.responder.engine.max_context_tokens - len(encoded.input_ids)
        limit = min(max_transcript_tokens(encoded.num_audio_tokens), longest)
        request = generation_request(encoded, limit, self.transcriber.options, self.judge)
        return self.responder.engine.submit(request)

    def _read(self, span: Span, handle: RequestHandle) -> TimedChunk:
        answer = judged(handle, self.judge)
        return self.transcriber.read(span, answer, handle.request.inputs.num_audio_tokens)

    async def _apart(self, work: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self.threads, work, *args)


def _num_beams(
    settings: GenerationConfig, options: TranscriptionOptions, has_hotwords: bool
) -> int | None:
    if options.temperature > 0:
        if has_hotwords:
            raise ConfigError(
                "temperature: expected 0 beside hotwords or a prompt, which help a search to "
                f"choose, got {options.temperature:g}; leave one of them out"
            )
        return 1
    return max(MIN_BEAMS, transcription_beams(settings)) if has_hotwords else None
