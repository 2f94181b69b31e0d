"""Requests to replies: audio is opened, the context is checked, a batch is written or chosen."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from eureka_audio.audio import clock
from eureka_audio.audio.decode import AudioSource, DecodedAudio, load_audio
from eureka_audio.audio.fetch import AudioAccess
from eureka_audio.audio.mono import AudioLimits
from eureka_audio.audio.window import split_windows
from eureka_audio.errors import ContextLengthError
from eureka_audio.inference.choices import (
    check_unicode,
    choice_token_ids,
    relative_probabilities,
    score_choices,
)
from eureka_audio.inference.engine import AudioEngine
from eureka_audio.inference.growing_answer import GrowingAnswer
from eureka_audio.inference.judge import Judge
from eureka_audio.inference.requests import GenerationRequest, RequestHandle, SearchRequest
from eureka_audio.inference.sampling import GenerationOptions
from eureka_audio.inference.workload import Choices, Piece, Request
from eureka_audio.processor import EncodedConversation
from eureka_audio.protocols import Reply, Usage
from eureka_audio.records import AudioPart, Conversation

DEFAULT_MAX_NEW_TOKENS = 512


class Responder:
    """What every task needs done between a request and its reply.

    Args:
        engine: the model.
        access: which paths and URLs may be opened.
        limits: how long and large one recording may be.
    """

    def __init__(self, engine: AudioEngine, access: AudioAccess, limits: AudioLimits) -> None:
        self.engine = engine
        self.access = access
        self.limits = limits

    def load(self, source: AudioSource) -> DecodedAudio:
        """Open one recording."""
        return load_audio(source, access=self.access, limits=self.limits)

    def request(self, conversation: Conversation, choices: Choices | None = None) -> Request:
        """A request of one conversation, its audio opened."""
        opened, seconds = [], 0.0
        for message in conversation.messages:
            parts = []
            for part in message.content:
                if isinstance(part, AudioPart):
                    decoded = self.load(part.audio)
                    seconds += decoded.duration_seconds
                    part = AudioPart(audio=decoded)
                else:
                    check_unicode(part.text, f"text of the {message.role}")
                parts.append(part)
            opened.append(message.model_copy(update={"content": tuple(parts)}))
        return Request([Conversation(messages=tuple(opened))], seconds, choices)

    def encode(
        self, conversation: Conversation, choices: Choices | None = None
    ) -> EncodedConversation:
        """Ids and features of a conversation whose audio is opened.

        Raises:
            ContextLengthError: it leaves no room for an answer, or for one of the choices.
        """
        # Audio alone may be too long; that is known before its features are computed.
        self._check_context(_num_audio_tokens(conversation), "audio")
        encoded = self.engine.processor.encode(conversation, add_generation_prompt=True)
        num_tokens = len(encoded.input_ids)
        self._check_context(num_tokens, "conversation")
        if choices is not None:
            longest = max(len(choice_token_ids(self.engine.runner, choice)) for choice in choices)
            self._check_context(num_tokens + longest - 1, "conversation and longest choice")
        return encoded

    def _check_context(self, num_tokens: int, what: str) -> None:
        longest = self.engine.max_context_tokens - 1  # an answer takes one at least
        if num_tokens > longest:
            raise ContextLengthError(
                f"expected at most {longest:,} tokens in this model's context, got {num_tokens:,} "
                f"of {what} ({clock.AUDIO_TOKENS_PER_SECOND:g} per second of audio); shorten it"
            )

    def limit(self, encoded: EncodedConversation, options: GenerationOptions) -> int:
        """The longest answer to a question: as asked, as far as the context reaches."""
        return self._within_context(encoded, options.max_new_tokens or DEFAULT_MAX_NEW_TOKENS)

    def _within_context(self, encoded: EncodedConversation, limit: int) -> int:
        return min(limit, self.engine.max_context_tokens - len(encoded.input_ids))

    def write(
        self,
        batch: Sequence[Piece],
        options: GenerationOptions,
        cap: Callable[[int], int] | None = None,
    ) -> list[Reply]:
        """Generate the answers to a batch.

        Args:
            batch: what to answer.
            options: how.
            cap: audio tokens heard -> the longest answer, for tasks where the sound bounds it.
        """
        answers = self.answers(batch, options, cap)
        return [
            Reply(
                text=answer.text,
                num_new_tokens=len(answer.token_ids),
                num_audio_tokens=piece.encoded.num_audio_tokens,
                duration_seconds=piece.encoded.duration_seconds,
                finish_reason=answer.finish_reason or "length",
                usage=Usage(piece.num_tokens, len(answer.token_ids)),
            )
            for answer, piece in zip(answers, batch, strict=True)
        ]

    def answers(
        self,
        batch: Sequence[Piece],
        options: GenerationOptions,
        cap: Callable[[int], int] | None = None,
    ) -> list[GrowingAnswer]:
        """What `write` makes replies of."""
        encoded = [piece.encoded for piece in batch]
        limits = [
            self.limit(item, options)
            if cap is None
            else self._within_context(item, cap(item.num_audio_tokens))
            for item in encoded
        ]
        return self.generate(encoded, limits, options)

    def generate(
        self,
        encoded: Sequence[EncodedConversation],
        limits: Sequence[int],
        options: GenerationOptions,
    ) -> list[GrowingAnswer]:
        """Answer prompts, together, and judge the answers.

        Args:
            encoded: prompts that end with the opening of an answer.
            limits: the longest answer of each, in tokens, at least 1.
            options: how to choose tokens, and when to stop.

        Raises:
            ConfigError: a CTC head is to be asked, and there is none.
        """
        judge = Judge(self.engine.model, options)
        requests = [
            generation_request(item, limit, options, judge)
            for item, limit in zip(encoded, limits, strict=True)
        ]
        with self.engine.submitted(requests) as handles:
            return [judged(handle, judge) for handle in handles]

    def stream(self, encoded: EncodedConversation, options: GenerationOptions) -> RequestHandle:
        """Begin to answer a prompt."""
        judge = Judge(self.engine.model, options)
        limit = self.limit(encoded, options)
        return self.engine.submit(generation_request(encoded, limit, options, judge))

    def choose(self, pieces: Sequence[Piece]) -> list[Reply]:
        """Pick the most probable choice of each piece, so many at once as the engine answers."""
        size = self.engine.max_batch_size
        batches = (pieces[start : start + size] for start in range(0, len(pieces), size))
        return [reply for batch in batches for reply in self._choose(batch)]

    def _choose(self, batch: Sequence[Piece]) -> Iterator[Reply]:
        runner = self.engine.runner
        encoded = [piece.encoded for piece in batch]
        offers = [piece.choices or () for piece in batch]
        for item, scores in zip(encoded, score_choices(runner, encoded, offers), strict=True):
            best = max(scores, key=scores.__getitem__)
            num_new_tokens = len(choice_token_ids(runner, best)) - 1
            yield Reply(
                text=best,
                num_new_tokens=num_new_tokens,
                num_audio_tokens=item.num_audio_tokens,
                duration_seconds=item.duration_seconds,
                scores=relative_probabilities(scores),
                usage=Usage(len(item.input_ids), num_new_tokens),
            )


def generation_request(
    encoded: EncodedConversation, limit: int, options: GenerationOptions, judge: Judge
) -> GenerationRequest:
    """What the engine is asked under options of generation."""
    settings: dict[str, Any] = {
        "inputs": encoded,
        "max_new_tokens": limit,
        "sampling": options.sampling,
        "seed": options.seed,
        "stop": options.stop,
        "max_repeats": options.max_repeats,
    }
    if options.num_beams == 1:
        return GenerationRequest(**settings)
    return SearchRequest(**settings, num_beams=options.num_beams, hint=judge.hint)


def judged(handle: RequestHandle, judge: Judge) -> GrowingAnswer:
    """The answer of a handle, waited for."""
    beams = handle.hypotheses()
    answer = judge.best(beams, handle.ctc_logits) if beams else handle.answer
    assert answer is not None
    answer.ctc_logits = handle.ctc_logits
    judge.hush(answer, handle.ctc_logits)
    return answer


def _num_audio_tokens(conversation: Conversation) -> int:
    """Audio tokens of all windows, by the clock."""
    return sum(
        clock.num_audio_tokens(clock.num_mel_frames(span.end - span.start))
        for message in conversation.messages
        for part in message.content
        if isinstance(part, AudioPart)
        for span in split_windows(len(part.audio.waveform))
    )
