"""What is done next: hear, read, answer, so that nobody waits long for anybody else.

    submitted -> windows heard, those of several requests in one batch
              -> prompt read: several short ones at once, a long one in chunks
              -> a row of the answers that grow, or of the searches, until it ends

A step does at most one batch of windows, one chunk of prompts, and adds a token to every answer.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

from torch import Tensor

from eureka_audio.audio import clock
from eureka_audio.inference.batches import AnswerBatch, SearchBatch
from eureka_audio.inference.decoding import Decoding
from eureka_audio.inference.job import Job
from eureka_audio.inference.requests import RequestHandle, SearchRequest
from eureka_audio.inference.runner import ModelRunner

Item = TypeVar("Item")

# Whole windows, or as much of shorter ones, that are heard in one step. A CPU hears several no
# faster than one after the other, and whoever is being answered waits meanwhile.
HEARD_WINDOWS = {"cpu": 1, "cuda": 16}
WINDOW_FRAMES = clock.num_mel_frames(clock.WINDOW_SECONDS * clock.SAMPLING_RATE)
# Prompts are read together if none is more than so many times as long as another.
LENGTH_RATIO = 2


@dataclass
class _LongPrompt:
    """A prompt that is read in chunks."""

    job: Job
    decoding: Decoding
    num_read: int = 0


class Scheduler:
    """Continuous batching, one step at a time; one thread only.

    Args:
        runner: of the model.
        prefill_tokens: of prompts that are read in a step.
    """

    def __init__(self, runner: ModelRunner, prefill_tokens: int) -> None:
        self._runner = runner
        self._prefill_tokens = prefill_tokens
        self._unheard: deque[Job] = deque()
        self._unread: deque[Job] = deque()
        self._long: _LongPrompt | None = None
        self._answers = AnswerBatch(runner)
        self._searches = SearchBatch(runner)
        self._num_begun = 0  # first tokens in this step

    def add(self, handle: RequestHandle) -> None:
        """Take in a request."""
        self._unheard.append(Job(handle, self._runner))

    @property
    def jobs(self) -> Iterator[Job]:
        """Everything that has been taken in and has not left."""
        reading = [] if self._long is None else [self._long.job]
        return chain(self._unheard, self._unread, reading, self._answers.jobs, self._searches.jobs)

    @property
    def num_jobs(self) -> int:
        """How many those are."""
        return sum(1 for _ in self.jobs)

    @property
    def num_rows(self) -> int:
        """Answers and beams that grow."""
        return self._answers.num_rows + self._searches.num_rows

    @property
    def num_cache_bytes(self) -> int:
        """Memory that keys and values take; 0 with nothing to do."""
        long = 0 if self._long is None else self._long.decoding.cache.num_bytes
        return long + self._answers.num_bytes + self._searches.num_bytes

    def step(self) -> int:
        """Do a little for everybody; returns how many tokens were added."""
        self._num_begun = 0
        self._hear()
        self._read()
        return self._num_begun + self._answers.step() + self._searches.step()

    def drop_ended(self) -> None:
        """Free what requests hold that have ended, for whatever reason."""
        for queue in (self._unheard, self._unread):
            going = [job for job in queue if not job.handle.has_ended]
            if len(going) < len(queue):
                queue.clear()
                queue.extend(going)
        if self._long is not None and self._long.job.handle.has_ended:
            self._long = None
        self._answers.drop_ended()
        self._searches.drop_ended()

    def _hear(self) -> None:
        """Hear a batch of windows, and pass on whoever has been heard."""
        batch: list[tuple[Job, int]] = []
        width, most = 0, WINDOW_FRAMES * HEARD_WINDOWS.get(self._runner.device.type, 1)
        for job, index in self._unheard_windows():
            width = max(width, job.inputs.features[index].shape[1])
            if batch and width * (len(batch) + 1) > most:
                break
            batch.append((job, index))
        if batch:
            _one_by_one_if_it_fails(batch, self._hear_windows, lambda item: item[0])
        while self._unheard and self._unheard[0].is_heard:
            job = self._unheard.popleft()
            _one_by_one_if_it_fails([job], self._embed, lambda job: job)

    def _unheard_windows(self) -> Iterator[tuple[Job, int]]:
        for job in self._unheard:
            if not job.handle.has_ended:
                for index, window in enumerate(job.heard):
                    if window is None:
                        yield job, index

    def _hear_windows(self, batch: Sequence[tuple[Job, int]]) -> None:
        heard = self._runner.hear([job.inputs.features[index] for job, index in batch])
        for (job, index), window in zip(batch, heard, strict=True):
            job.heard[index] = window

    def _embed(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            job.embed(self._runner)
            self._unread.append(job)

    def _read(self) -> None:
        """Read the next prompts, or the next chunk of a long one."""
        if self._long is not None:
            _one_by_one_if_it_fails([self._long], self._read_chunk, lambda long: long.job)
            return
        group: list[Job] = []
        while self._unread and self._fits(group, self._unread[0]):
            group.append(self._unread.popleft())
        if len(group) == 1 and _length(group[0]) > self._prefill_tokens:
            decoding = Decoding(self._runner.model)
            decoding.start(1)
            self._long = _LongPrompt(group[0], decoding)
            self._read()
        elif group:
            _one_by_one_if_it_fails(group, self._read_group, lambda job: job)

    def _fits(self, group: Sequence[Job], job: Job) -> bool:
        if not group:
            return True
        lengths = [_length(each) for each in (*group, job)]
        return (
            max(lengths) * len(lengths) <= self._prefill_tokens
            and max(lengths) <= LENGTH_RATIO * min(lengths)
            and _is_search(job) == _is_search(group[0])
        )

    def _read_group(self, jobs: Sequence[Job]) -> None:
        decoding, logits_BV = self._runner.read(
            [job.prompt for job in jobs if job.prompt is not None]
        )
        for job in jobs:
            job.prompt = None
        self._begin(jobs, decoding, logits_BV)

    def _read_chunk(self, longs: Sequence[_LongPrompt]) -> None:
        [long] = longs
        assert long.job.prompt is not None
        end = long.num_read + self._prefill_tokens
        logits_BV = long.decoding.extend(long.job.prompt[None, long.num_read : end])
        long.num_read = end
        if end >= len(long.job.prompt):
            self._long = None
            long.job.prompt = None
            self._begin([long.job], long.decoding, logits_BV)

    def _begin(self, jobs: Sequence[Job], decoding: Decoding, logits_BV: Tensor) -> None:
        if not _is_search(jobs[0]):
            self._num_begun += self._answers.join(decoding, jobs, logits_BV)
            return
        for row, (job, logits_V) in enumerate(zip(jobs, logits_BV, strict=True)):
            self._searches.join(decoding, row, job, logits_V)


def _length(job: Job) -> int:
    return len(job.inputs.input_ids)


def _is_search(job: Job) -> bool:
    return isinstance(job.handle.request, SearchRequest)


def _one_by_one_if_it_fails(
    items: Sequence[Item], work: Callable[[Sequence[Item]], None], job_of: Callable[[Item], Job]
) -> None:
    """Do some work for all at once; where that fails, for each alone; end those it fails for."""
    try:
        work(items)
    except Exception as error:  # noqa: BLE001 (a request's edge: raised where it is awaited)
        if len(items) == 1:
            job_of(items[0]).handle.fail(error)
            return
        for item in items:
            if not job_of(item).handle.has_ended:
                _one_by_one_if_it_fails([item], work, job_of)
