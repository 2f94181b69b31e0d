"""Answers that grow together: those that take one token after the other, and those searched for."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from eureka_audio.inference.beam_search import BeamSearch, Step
from eureka_audio.inference.decoding import Decoding
from eureka_audio.inference.graphed import GraphedDecoding
from eureka_audio.inference.job import Job
from eureka_audio.inference.requests import SearchRequest
from eureka_audio.inference.runner import ModelRunner


class AnswerBatch:
    """One row for each answer; rows join and leave between steps.

    A row's answer does not depend on the rows beside it: what others left behind in the cache is
    masked, and each row draws from its own source of chance.
    """

    def __init__(self, runner: ModelRunner) -> None:
        self._runner = runner
        self._decoding = _decoding_for(runner)
        self._tokens: list[int] = []  # the last of each row, not read yet
        self.jobs: list[Job] = []

    @property
    def num_rows(self) -> int:
        """Answers that grow."""
        return len(self.jobs)

    def join(self, decoding: Decoding, jobs: Sequence[Job], logits_BV: Tensor) -> int:
        """Take in jobs whose prompts were read as the rows of a batch, and begin their answers;
        returns how many tokens that gave.
        """
        tokens = self._grow(jobs, logits_BV)
        is_graphed = isinstance(self._decoding, GraphedDecoding)
        if not self.jobs and not is_graphed:  # nothing to copy: the others' cache becomes ours
            self._decoding, self.jobs, self._tokens = decoding, list(jobs), tokens
        else:
            for row, (job, token) in enumerate(zip(jobs, tokens, strict=True)):
                if not job.handle.has_ended:
                    self._decoding.join(decoding, row)
                    self.jobs.append(job)
                    self._tokens.append(token)
        self.drop_ended()
        return len(tokens)

    def step(self) -> int:
        """Add a token to every answer; returns how many."""
        if not self.jobs:
            return 0
        if isinstance(self._decoding, GraphedDecoding):
            logits_BV = self._decoding.step(self._tokens, self._runner.device)
        else:
            embeds_B1D = self._runner.embed_tokens([[token] for token in self._tokens])
            logits_BV = self._decoding.extend(embeds_B1D)
        self._tokens = self._grow(self.jobs, logits_BV)
        num_tokens = len(self._tokens)
        self.drop_ended()
        return num_tokens

    def drop_ended(self) -> None:
        """Free the rows of answers that have ended, for whatever reason."""
        for row in reversed(range(len(self.jobs))):
            handle = self.jobs[row].handle
            if handle.has_ended:
                self._decoding.cache.drop(row, wipe=handle.has_failed)
                _replace_by_last(self.jobs, row)
                _replace_by_last(self._tokens, row)

    def _grow(self, jobs: Sequence[Job], logits_BV: Tensor) -> list[int]:
        logits_BV = self._runner.speakable(logits_BV)
        best = logits_BV.max(dim=-1)
        pairs = zip(best.values.tolist(), best.indices.tolist(), strict=True)
        return [
            job.grow(logits_V, pair)
            for job, logits_V, pair in zip(jobs, logits_BV, pairs, strict=True)
        ]

    @property
    def num_bytes(self) -> int:
        """Memory that the cache takes."""
        return self._decoding.cache.num_bytes


class SearchBatch:
    """Beam searches side by side; every beam is a row, those of one search next to each other."""

    def __init__(self, runner: ModelRunner) -> None:
        self._runner = runner
        self._decoding = Decoding(runner.model)
        self._logits_BV: Tensor | None = None  # after each row
        self._searches: list[tuple[Job, BeamSearch]] = []

    @property
    def jobs(self) -> list[Job]:
        """What is searched for."""
        return [job for job, _ in self._searches]

    @property
    def num_rows(self) -> int:
        """Beams that grow."""
        return self._decoding.num_rows

    def join(self, decoding: Decoding, row: int, job: Job, logits_V: Tensor) -> None:
        """Begin to search from a prompt that was read as a row of a batch."""
        request = job.handle.request
        assert isinstance(request, SearchRequest)
        if not logits_V.isfinite().all():
            job.fail_not_finite()
            return
        self._decoding.join(decoding, row)
        logits_1V = logits_V[None]
        self._logits_BV = (
            logits_1V if self._logits_BV is None else torch.cat([self._logits_BV, logits_1V])
        )
        self._searches.append((job, BeamSearch(job.answer, request.num_beams, request.hint)))

    def step(self) -> int:
        """Add a token to every beam; returns how many."""
        if not self._searches:
            return 0
        origins, tokens = self._steps()
        for job, search in self._searches:
            if not search.growing and not job.handle.has_ended:
                job.found(search.found)
        self._searches = [(job, search) for job, search in self._searches if search.growing]
        self._keep(origins)
        if tokens:
            embeds_B1D = self._runner.embed_tokens([[token] for token in tokens])
            self._logits_BV = self._decoding.extend(embeds_B1D)
        return len(tokens)

    def drop_ended(self) -> None:
        """Free the rows of searches whose requests have ended, for whatever reason."""
        going, rows, first = [], list[int](), 0
        for job, search in self._searches:
            num_beams = len(search.growing)
            if not job.handle.has_ended:
                going.append((job, search))
                rows += range(first, first + num_beams)
            first += num_beams
        if len(going) < len(self._searches):
            self._searches = going
            logits_BV = self._logits_BV
            self._keep(rows)
            if rows and logits_BV is not None:
                self._logits_BV = logits_BV[rows]

    def _keep(self, rows: Sequence[int]) -> None:
        """Go on with the given rows; one may be taken several times. Their logits are to come."""
        self._logits_BV = None
        self._decoding = self._decoding.fork(rows) if rows else Decoding(self._runner.model)

    def _steps(self) -> tuple[list[int], list[int]]:
        """The row that each beam grows from, and its new token; searches that ended have none."""
        assert self._logits_BV is not None
        logits_BV = self._runner.speakable(self._logits_BV)
        num_kept = [
            search.num_beams * (1 + len(self._runner.end_ids)) for _, search in self._searches
        ]
        rows = iter(self._best(logits_BV, max(num_kept)))
        origins, tokens, first = list[int](), list[int](), 0
        for (job, search), count in zip(self._searches, num_kept, strict=True):
            continuations = [next(rows)[:count] for _ in search.growing]
            num_beams = len(continuations)
            steps = _grown(job, search, continuations)
            origins += [first + step.beam for step in steps]
            tokens += [step.token for step in steps]
            first += num_beams
        return origins, tokens

    def _best(self, logits_BV: Tensor, count: int) -> list[list[tuple[float, int]]]:
        """The most probable next tokens of each beam, the best first."""
        beams = [(job, beam) for job, search in self._searches for beam in search.growing]
        if any(job.sampling.repetition_penalty != 1 for job, _ in beams):
            logits_BV = torch.stack(
                [
                    job.penalised(logits_V, beam.answer)
                    for (job, beam), logits_V in zip(beams, logits_BV, strict=True)
                ]
            )
        best = logits_BV.log_softmax(dim=-1).topk(min(count, logits_BV.shape[-1]))
        return [
            list(zip(log_probs, tokens, strict=True))
            for log_probs, tokens in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]

    @property
    def num_bytes(self) -> int:
        """Memory that the cache takes."""
        return self._decoding.cache.num_bytes


def _replace_by_last(rows: list[Any], row: int) -> None:
    rows[row] = rows[-1]
    rows.pop()


def _decoding_for(runner: ModelRunner) -> Decoding:
    """Steps are recorded where all of the model lies on one GPU."""
    if runner.device.type == "cuda" and not hasattr(runner.model, "_hf_hook"):
        return GraphedDecoding(runner.model)
    return Decoding(runner.model)


def _grown(
    job: Job, search: BeamSearch, continuations: Sequence[Sequence[tuple[float, int]]]
) -> list[Step]:
    """The steps of a search; none, and an error for whoever asked, where its hint fails."""
    try:
        return search.grow(continuations)
    except Exception as error:  # noqa: BLE001 (a request's edge: raised where it is awaited)
        search.growing = []
        job.handle.fail(error)
        return []
