"""Our own model, timed from inside: opening, prefill and decode apart."""

import time
from collections.abc import Callable, Sequence

from eureka_audio.audio.fetch import LOCAL_USER
from eureka_audio.audio.mono import LOCAL_LIMITS
from eureka_audio.errors import EurekaAudioError
from eureka_audio.evaluation.throughput import BatchTiming, ClipTiming
from eureka_audio.inference.assistant import MAX_REPEATS, EurekaAudio
from eureka_audio.inference.plain_engine import Engine
from eureka_audio.inference.responder import Responder
from eureka_audio.inference.sampling import GenerationOptions
from eureka_audio.processor import EncodedConversation
from eureka_audio.records import Conversation


class EngineStopwatch:
    """Answers batches as `EurekaAudio.answer` does, and notes when each thing was done.

    Every step hands its tokens to Python, so a GPU has finished whatever the clock has seen.
    """

    def __init__(self, model: EurekaAudio, clock: Callable[[], float] = time.perf_counter) -> None:
        self._engine = Engine(model.model, model.processor)
        self._responder = Responder(self._engine, LOCAL_USER, LOCAL_LIMITS)
        self._clock = clock

    def time_batch(self, conversations: Sequence[Conversation], limit: int) -> BatchTiming:
        """Answer a batch, each answer at most ``limit`` tokens long."""
        options = GenerationOptions(max_new_tokens=limit, max_repeats=MAX_REPEATS)
        start = self._clock()
        encoded, failed = self._prepare(conversations)
        prepared = self._clock()
        if not encoded:
            return BatchTiming((), prepared - start, prepared - start, 0.0, failed)
        limits = [self._responder.limit(item, options) for item in encoded]
        answers = self._engine.begin(limits, options)
        steps = [0] * len(answers)
        ends = [0.0] * len(answers)
        first_token = prepared
        decoding = self._engine.prefill(encoded)
        for number, _ in enumerate(self._engine.run(decoding, encoded, answers, options), start=1):
            now = self._clock()
            first_token = now if number == 1 else first_token
            for row, answer in enumerate(answers):
                if not steps[row] and answer.has_finished:
                    steps[row], ends[row] = number, now - start
        clips = (
            ClipTiming(item.duration_seconds, count, end)
            for item, count, end in zip(encoded, steps, ends, strict=True)
        )
        return BatchTiming(
            tuple(clips), max(ends), prepared - start, first_token - prepared, failed
        )

    def _prepare(
        self, conversations: Sequence[Conversation]
    ) -> tuple[list[EncodedConversation], tuple[str, ...]]:
        """Open recordings and compute features; what cannot be used is named, not dropped."""
        encoded, failed = [], []
        for conversation in conversations:
            try:
                [opened] = self._responder.request(conversation).conversations
                encoded.append(self._responder.encode(opened))
            except EurekaAudioError as error:
                failed.append(str(error))
        return encoded, tuple(failed)
