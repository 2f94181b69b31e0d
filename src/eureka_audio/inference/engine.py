"""The engine: requests from any thread, answered together by one thread that owns the model."""

import threading
from collections import deque
from dataclasses import dataclass

import torch

from eureka_audio.errors import ContextLengthError, EngineBusyError, EngineClosedError
from eureka_audio.inference.growing_answer import GrowingAnswer
from eureka_audio.inference.plain_engine import Engine
from eureka_audio.inference.requests import GenerationRequest, RequestHandle, TokenEvent
from eureka_audio.inference.sampling import GenerationOptions
from eureka_audio.model import EurekaAudioForConditionalGeneration
from eureka_audio.processor import EncodedConversation, EurekaAudioProcessor

# Unstated: how long an answer may become. Fast speech takes at most two tokens for each audio
# token, and an answer about a sound a few sentences, however short the sound.
TOKENS_PER_AUDIO_TOKEN = 2
ANSWER_TOKENS = 256


def token_budget(inputs: EncodedConversation) -> int:
    """The longest answer to a prompt, by the duration of its audio.

    Example: 10 s of audio are 125 audio tokens, and 506 tokens of answer.
    """
    return ANSWER_TOKENS + TOKENS_PER_AUDIO_TOKEN * inputs.num_audio_tokens


@dataclass(frozen=True)
class EngineStats:
    """What the engine is doing.

    Attributes:
        queue_length: requests that wait for a place.
        num_running: requests that have one: being heard, read or answered.
        batch_size: answers that grew in the last step.
        num_requests: submitted so far.
        num_new_tokens: generated so far.
        num_finished: requests by how they ended: a finish reason, "cancelled" or "error".
        tokens_per_second: generated in the last ten seconds of work.
        seconds_to_first_token: of the latest requests, oldest first.
        tokens_per_expert: audio tokens that each expert of the adapter has had; empty for a dense
            one.
        seconds_since_step: since the last step ended while there is work to do, else 0: more than
            a few is a hang.
    """

    queue_length: int
    num_running: int
    batch_size: int
    num_requests: int
    num_new_tokens: int
    num_finished: dict[str, int]
    tokens_per_second: float
    seconds_to_first_token: tuple[float, ...]
    tokens_per_expert: tuple[int, ...]
    seconds_since_step: float


class AudioEngine:
    """A model that answers many requests at once.

    A thread of its own works while there is anything to do, and ends when there is not.

    Args:
        model: set to evaluation; nobody else may change it.
        processor: the model's own.
        max_batch_size: requests answered at once.
        max_queue_length: requests that may wait beside them.
        prefill_tokens: of prompts that are read between two steps of decoding.
    """

    def __init__(
        self,
        model: EurekaAudioForConditionalGeneration,
        processor: EurekaAudioProcessor,
        *,
        max_batch_size: int = 32,
        max_queue_length: int = 1024,
        prefill_tokens: int = 512,
    ) -> None:
        self.model = model.eval()
        self.processor = processor
        self.max_queue_length = max_queue_length
        self._plain = Engine(model, processor)
        self._lock = threading.Lock()
        self._waiting: deque[RequestHandle] = deque()
        self._running: RequestHandle | None = None
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self._failure: BaseException | None = None

    @property
    def failure(self) -> BaseException | None:
        """What broke the engine; `None` while it is sound."""
        return self._failure

    @property
    def max_context_tokens(self) -> int:
        """Tokens of prompt and answer together that the language model has positions for."""
        return self._plain.max_context_tokens

    def submit(self, request: GenerationRequest) -> RequestHandle:
        """Take a request in, from any thread, at any moment.

        Raises:
            EngineBusyError: as many are waiting as may wait.
            EngineClosedError: the engine was closed, or is broken.
            ContextLengthError: the prompt leaves no room for an answer.
            ConfigError: a search with a hint that this engine cannot give.
        """
        if len(request.inputs.input_ids) >= self.max_context_tokens:
            raise ContextLengthError("too long")
        handle = RequestHandle(request, lambda: None)
        with self._lock:
            if self._is_closed:
                raise EngineClosedError("closed")
            if len(self._waiting) >= self.max_queue_length:
                raise EngineBusyError("busy")
            self._waiting.append(handle)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="eureka-audio engine")
                self._thread.start()
        return handle

    def close(self, drain: bool = True, timeout: float | None = None) -> None:
        """Take no more requests, and return when the thread has ended.

        Args:
            drain: whether what was taken in is answered; else it is cancelled.
            timeout: seconds to wait for that; what is not answered then is cancelled.
        """
        with self._lock:
            self._is_closed = True
            thread = self._thread
            if not drain:
                for handle in self._waiting:
                    handle.cancel()
        if thread is not None:
            thread.join(timeout)

    def stats(self) -> EngineStats:
        """What the engine is doing now; from any thread."""
        with self._lock:
            return EngineStats(len(self._waiting), 0, 0, 0, 0, {}, 0.0, (), (), 0.0)

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._thread = None
                    return
                handle = self._waiting.popleft()
            self._answer(handle)

    @torch.inference_mode()
    def _answer(self, handle: RequestHandle) -> None:
        request = handle.request
        limit = request.max_new_tokens or token_budget(request.inputs)
        options = GenerationOptions(
            temperature=request.sampling.temperature,
            seed=request.seed,
            stop=request.stop,
            max_repeats=request.max_repeats,
        )
        answer = GrowingAnswer(
            self._plain.tokenizer,
            self._plain.end_ids,
            min(limit, self.max_context_tokens - len(request.inputs.input_ids)),
            options,
        )
        decoding = self._plain.prefill([request.inputs])
        for _ in self._plain.run(decoding, [request.inputs], [answer], options):
            if handle.has_ended:
                return
            token = answer.token_ids[-1] if answer.token_ids else -1
            handle.put(
                TokenEvent(
                    token,
                    answer.new_text(),
                    len(answer.token_ids),
                    finish_reason=answer.finish_reason,
                )
            )
