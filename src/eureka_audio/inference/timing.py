"""Our own model, timed from inside: opening, prefill and decode apart."""

import time
from collections.abc import Sequence

from eureka_audio.audio.fetch import LOCAL_USER
from eureka_audio.audio.mono import LOCAL_LIMITS
from eureka_audio.errors import EurekaAudioError
from eureka_audio.evaluation.throughput import BatchTiming, ClipTiming
from eureka_audio.inference.assistant import EurekaAudio
from eureka_audio.inference.encoder_cache import EncoderCache
from eureka_audio.inference.requests import MAX_REPEATS, GenerationRequest, RequestHandle
from eureka_audio.inference.responder import Responder
from eureka_audio.inference.sampling import GenerationOptions
from eureka_audio.processor import EncodedConversation
from eureka_audio.records import Conversation


class EngineStopwatch:
    """Answers batches as `EurekaAudio.answer` does, and notes when each thing was done. What was
    heard before is heard anew.

    Every step hands its tokens to Python, so a GPU has finished whatever the clock has seen.
    """

    def __init__(self, model: EurekaAudio) -> None:
        self._engine = model.engine
        self._engine.runner.encoder_cache = EncoderCache(max_bytes=0)
        self._responder = Responder(model.engine, LOCAL_USER, LOCAL_LIMITS)

    def time_batch(self, conversations: Sequence[Conversation], limit: int) -> BatchTiming:
        """Answer a batch, each answer at most ``limit`` tokens long."""
        options = GenerationOptions(max_new_tokens=limit, max_repeats=MAX_REPEATS)
        start = time.perf_counter()
        encoded, failed = self._prepare(conversations)
        prepared = time.perf_counter()
        if not encoded:
            return BatchTiming((), prepared - start, prepared - start, 0.0, failed)
        requests = [
            GenerationRequest(item, self._responder.limit(item, options)) for item in encoded
        ]
        with self._engine.submitted(requests) as handles:
            clips = tuple(_clip_timing(handle, start) for handle in handles)
        first_token = max(handle.timing.first_token or 0.0 for handle in handles)
        last_token = max(clip.last_token_seconds for clip in clips)
        return BatchTiming(clips, last_token, prepared - start, first_token - prepared, failed)

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


def _clip_timing(handle: RequestHandle, start: float) -> ClipTiming:
    """The timing of one answer, waited for."""
    num_tokens = sum(1 for _ in handle)
    assert handle.timing.finished is not None
    inputs = handle.request.inputs
    return ClipTiming(inputs.duration_seconds, num_tokens, handle.timing.finished - start)
