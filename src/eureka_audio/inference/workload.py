"""Many sources through one engine: results in order, one bad input alone.

    sources -> prepare (open, cut) -> pieces -> encode -> pool -> replies

Only a pool of pieces is held at a time, so that a folder of recordings needs no more memory than a
few batches of them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from tqdm import tqdm

from eureka_audio.errors import EurekaAudioError
from eureka_audio.processor import EncodedConversation
from eureka_audio.protocols import FinishReason, Reply, Usage
from eureka_audio.records import Conversation

Choices = tuple[str, ...]
ErrorHandling = Literal["raise", "return"]
Source = TypeVar("Source")

POOL_BATCHES = 8  # pieces held, in batches: few wait while the last of a pool are answered
SHOWN_AFTER_SECONDS = 2.0  # a bar


@dataclass(frozen=True)
class Request:
    """What one source asks of the model.

    Attributes:
        conversations: usually one; a long recording gives one for each chunk, silence gives none.
        duration_seconds: of all its audio.
        choices: what the answer must be one of, if there are any.
    """

    conversations: Sequence[Conversation]
    duration_seconds: float
    choices: Choices | None = None


@dataclass(frozen=True)
class Piece:
    """One conversation on its way to the engine: number `position` of source `index`."""

    index: int
    position: int
    encoded: EncodedConversation
    choices: Choices | None

    @property
    def num_tokens(self) -> int:
        """Length of the prompt."""
        return len(self.encoded.input_ids)


@dataclass
class Workload(Generic[Source]):
    """How a list of sources is answered.

    Attributes:
        prepare: opens one source; what it raises belongs to that source alone.
        encode: turns a conversation into ids and features, or refuses it.
        answer: answers a pool of pieces, the longest first.
        batch_size: pieces that are answered at once.
        errors: "raise" gives up at the first bad source; "return" puts its error in its place.
        progress: whether to show a bar; `None` shows one on a terminal. Work of less than two
            seconds shows none.
        unit: what the bar counts.
    """

    prepare: Callable[[Source], Request]
    encode: Callable[[Conversation, Choices | None], EncodedConversation]
    answer: Callable[[Sequence[Piece]], Sequence[Reply]]
    batch_size: int
    errors: ErrorHandling = "raise"
    progress: bool | None = None
    unit: str = "clip"
    _replies: dict[int, dict[int, Reply]] = field(default_factory=dict)

    def run(self, sources: Sequence[Source]) -> list[Reply | EurekaAudioError]:
        """Answer every source, in order."""
        self._replies = {index: {} for index in range(len(sources))}
        durations: dict[int, float] = {}
        failed: dict[int, EurekaAudioError] = {}
        pool: list[Piece] = []
        is_hidden = None if self.progress is None else not self.progress  # None: as on a terminal
        bar = tqdm(total=len(sources), unit=self.unit, disable=is_hidden, delay=SHOWN_AFTER_SECONDS)
        with bar:
            for index, source in enumerate(sources):
                try:
                    request = self.prepare(source)
                    durations[index] = request.duration_seconds
                    bar.total = (bar.total or 0) + len(request.conversations) - 1
                    for piece in self._pieces(index, request):
                        pool.append(piece)
                        if len(pool) >= POOL_BATCHES * self.batch_size:
                            self._drain(pool, bar)
                except EurekaAudioError as error:
                    if self.errors == "raise":
                        raise
                    failed[index] = error
                    bar.update(1)
            if pool:
                self._drain(pool, bar)
        return [
            failed[index] if index in failed else joined(self._replies[index], durations[index])
            for index in range(len(sources))
        ]

    def _pieces(self, index: int, request: Request) -> Iterator[Piece]:
        for position, conversation in enumerate(request.conversations):
            encoded = self.encode(conversation, request.choices)
            yield Piece(index, position, encoded, request.choices)

    def _drain(self, pool: list[Piece], bar: "tqdm[Any]") -> None:
        """Answer what is in the pool, the longest first, so that a lack of memory shows early."""
        pool.sort(key=lambda piece: -piece.num_tokens)
        for piece, reply in zip(pool, self.answer(pool), strict=True):
            self._replies[piece.index][piece.position] = reply
        bar.update(len(pool))
        pool.clear()


def joined(replies: dict[int, Reply], duration_seconds: float) -> Reply:
    """One reply from those to the pieces of a source; nothing to hear gives an empty one."""
    ordered = [replies[position] for position in sorted(replies)]
    if len(ordered) == 1:
        text, scores = ordered[0].text, ordered[0].scores
    else:
        text, scores = join_transcripts([reply.text for reply in ordered]), None
    num_new_tokens = sum(reply.num_new_tokens for reply in ordered)
    return Reply(
        text=text,
        num_new_tokens=num_new_tokens,
        num_audio_tokens=sum(reply.num_audio_tokens for reply in ordered),
        duration_seconds=duration_seconds,
        finish_reason=_worst([reply.finish_reason for reply in ordered]),
        scores=scores,
        usage=Usage(sum(reply.usage.prompt_tokens or 0 for reply in ordered), num_new_tokens),
    )


def join_transcripts(texts: Sequence[str]) -> str:
    """One text of several, parted by single spaces."""
    return " ".join(text for text in map(str.strip, texts) if text)


def _worst(reasons: Sequence[FinishReason]) -> FinishReason:
    """What a reader should be warned of, if any piece gives cause."""
    by_gravity: tuple[FinishReason, ...] = ("repetition", "length")
    return next((reason for reason in by_gravity if reason in reasons), "stop")
