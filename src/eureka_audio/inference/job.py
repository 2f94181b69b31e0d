"""A request while the engine works on it."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from eureka_audio.errors import EngineError
from eureka_audio.inference.beam_search import Beam
from eureka_audio.inference.encoder_cache import HeardWindow
from eureka_audio.inference.growing_answer import GrowingAnswer
from eureka_audio.inference.requests import RequestHandle, TokenEvent
from eureka_audio.inference.runner import ModelRunner
from eureka_audio.inference.sampling import choose_token, penalise_seen

# Unstated: how long an answer may become. Fast speech takes at most two tokens for each audio
# token, and an answer about a sound a few sentences, however short the sound.
TOKENS_PER_AUDIO_TOKEN = 2
ANSWER_TOKENS = 256


def token_budget(num_audio_tokens: int) -> int:
    """The longest answer to a prompt, unless it says so itself.

    Example: 10 s of audio are 125 audio tokens, and 506 tokens of answer.
    """
    return ANSWER_TOKENS + TOKENS_PER_AUDIO_TOKEN * num_audio_tokens


class Job:
    """What the engine keeps of a request until it has ended.

    Attributes:
        handle: the asker's end.
        answer: so far.
        heard: its windows, `None` where one is yet to be heard.
        prompt: as embeddings `(T, D)`, once all is heard.
    """

    def __init__(self, handle: RequestHandle, runner: ModelRunner) -> None:
        request = handle.request
        room = runner.max_context_tokens - len(request.inputs.input_ids)
        limit = request.max_new_tokens or token_budget(request.inputs.num_audio_tokens)
        self.handle = handle
        self.inputs = request.inputs
        self.sampling = request.sampling
        self.answer = GrowingAnswer(
            runner.tokenizer, runner.end_ids, min(limit, room), request.stop, request.max_repeats
        )
        self.generator = request.sampling.generator(request.seed)
        self.heard: list[HeardWindow | None] = [None] * len(self.inputs.features)
        self.prompt: Tensor | None = None

    @property
    def is_heard(self) -> bool:
        """Whether every window has been."""
        return all(window is not None for window in self.heard)

    def embed(self, runner: ModelRunner) -> None:
        """Make the prompt of what was heard."""
        heard = [window for window in self.heard if window is not None]
        self.prompt = runner.embed(self.inputs, heard)
        letters = [window.ctc_logits for window in heard if window.ctc_logits is not None]
        self.handle.ctc_logits = torch.cat(letters) if letters else None
        self.heard = []

    def penalised(self, logits_V: Tensor, answer: GrowingAnswer) -> Tensor:
        """Logits after an answer, with what was read or said already made less likely."""
        penalty = self.sampling.repetition_penalty
        if penalty == 1:
            return logits_V
        return penalise_seen(logits_V, {*self.inputs.input_ids, *answer.token_ids}, penalty)

    def grow(self, logits_V: Tensor, best: tuple[float, int]) -> int:
        """Choose the next token, tell the asker, and return it.

        Args:
            logits_V: float32, without what may not be generated.
            best: the largest of them, and where it is.
        """
        largest, token = best
        if not math.isfinite(largest):
            self.fail_not_finite()
            return token
        if not self.sampling.is_greedy or self.sampling.repetition_penalty != 1:
            logits_V = self.penalised(logits_V, self.answer)
            token = choose_token(logits_V, self.sampling, self.generator)
        self.answer.add(token)
        logprob, top = self._logprobs(logits_V, token)
        self._tell(
            TokenEvent(
                token,
                self.answer.new_text(),
                len(self.answer.token_ids),
                logprob,
                top,
                self.answer.finish_reason,
            )
        )
        return token

    def fail_not_finite(self) -> None:
        """End the request, since what the model computes for it is no number."""
        self.handle.fail(
            EngineError(
                "expected finite logits, the model computed NaN or infinity for this request; "
                "check its audio, and the weights"
            )
        )

    def found(self, beams: Sequence[Beam]) -> None:
        """Tell the asker what a search has found."""
        best = max(beams, key=lambda beam: beam.worth).answer
        self.answer = best
        last = best.token_ids[-1] if best.token_ids else -1
        self._tell(
            TokenEvent(last, best.text, len(best.token_ids), finish_reason=best.finish_reason),
            tuple(beams),
        )

    def _tell(self, event: TokenEvent, beams: tuple[Beam, ...] = ()) -> None:
        if event.finish_reason is not None:
            self.handle.answer = self.answer
        self.handle.put(event, beams)

    def _logprobs(
        self, logits_V: Tensor, token: int
    ) -> tuple[float | None, tuple[tuple[int, float], ...]]:
        count = self.handle.request.num_logprobs
        if not count:
            return None, ()
        log_probs_V = logits_V.log_softmax(-1)
        top = log_probs_V.topk(min(count, len(log_probs_V)))
        pairs = zip(top.indices.tolist(), top.values.tolist(), strict=True)
        return float(log_probs_V[token]), tuple(pairs)
