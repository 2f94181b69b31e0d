"""A whole run: rounds of candidates until every leaf has what it needs, or its budget is spent.

Which candidates a round takes follows from what the rounds before it kept, and an item's fate from
its place in the order alone. So a run that was killed and resumed, at whatever speed and
concurrency, ends with the set of an undisturbed one.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from eureka_audio.asking.keys import content_key
from eureka_audio.dataflux import answer, caption, question, verdict
from eureka_audio.dataflux.caller import Caller, NamedModel, StoppedError
from eureka_audio.dataflux.config import FluxConfig
from eureka_audio.dataflux.exclusions import read_exclusions
from eureka_audio.dataflux.items import FATES, REJECTED, Item
from eureka_audio.dataflux.pipeline import Pipeline
from eureka_audio.dataflux.prompts import read_template
from eureka_audio.dataflux.selection import Decision, selected
from eureka_audio.dataflux.store import Store
from eureka_audio.dataflux.taxonomy import Exemplar, Leaf, Taxonomy
from eureka_audio.errors import ConfigError
from eureka_audio.protocols import QueueingModel
from eureka_audio.records import AudioClip

# Candidates tried for each item that a leaf still lacks: fewer rounds, a little more work.
TRIES_PER_ITEM = 2
SECONDS, SHORTFALL = "seconds", "shortfall"
Candidate = tuple[Leaf, int]


@dataclass
class FluxBooks:
    """Where every item went: ``items = kept + discarded + hard + failed``.

    Attributes:
        fates: items by fate.
        reasons: items by fate and reason.
        shortfall: for each leaf that has not got all it needs, how many it lacks.
        asked: calls put to models by this process.
        stopped: the run was interrupted; run again to go on.
    """

    fates: Counter[str] = field(default_factory=Counter)
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    shortfall: dict[str, int] = field(default_factory=dict)
    asked: int = 0
    stopped: bool = False

    @property
    def items(self) -> int:
        """All of them."""
        return self.fates.total()


def books_of(store: Store, leaves: Sequence[str], per_leaf: int) -> FluxBooks:
    """The books as they stand."""
    books = FluxBooks(Counter(dict.fromkeys(FATES, 0)))
    kept: Counter[str] = Counter()
    for (leaf, fate, reason), number in store.books().items():
        books.fates[fate] += number
        if fate == "kept":
            kept[leaf] += number
        else:
            books.reasons[fate, reason] += number
    books.shortfall = {leaf: per_leaf - kept[leaf] for leaf in leaves if kept[leaf] < per_leaf}
    return books


def check_prompts(config: FluxConfig) -> dict[str, str]:
    """See that every template exists and fits its step; returns a fingerprint of each.

    Raises:
        ConfigError: one does not.
    """
    steps = [
        (config.caption.prompt or caption.DEFAULT_PROMPT, caption.VALUES, caption.DATA),
        (config.question.prompt, question.VALUES, question.DATA),
        (config.verdict.prompt, verdict.VALUES, verdict.DATA),
        *((step.prompt, answer.VALUES, answer.DATA) for step in config.answers.values()),
    ]
    for name, values, data in steps:
        read_template(name).check(values, data)
    return {name: read_template(name).fingerprint for name, _, _ in steps}


def identity_of(
    config: FluxConfig, taxonomy: Taxonomy, models: Mapping[str, NamedModel]
) -> dict[str, Any]:
    """What tells this run from another, for its folder."""
    return {
        **{f"config.{name}": value for name, value in config.identity().items()},
        "taxonomy": taxonomy.fingerprint,
        "prompts": check_prompts(config),
        "models": {name: dict(model.identity) for name, model in models.items()},
    }


def load_clips(store: Store, clips: Iterable[AudioClip], seed: int) -> None:
    """Put clips into the order in which they are tried, which the seed and their names decide.

    Raises:
        ConfigError: there is none, or two have one name.
    """
    store.put_clips((content_key({"seed": seed, "clip": clip.id}), clip) for clip in clips)
    if not store.num_clips():
        raise ConfigError("audio: expected at least one clip, found none; check the paths")


@dataclass
class Run:
    """A run under way.

    Attributes:
        config: of the run.
        leaves: that are to be filled.
        models: by their names in the configuration.
        store: the books, which hold the clips (`load_clips`).
        hard: exemplars of earlier runs that models failed on, by leaf.
        on_progress: called with the number of candidates that were just finished.
        rejected: ids of items that a person rejected; others take their places.
    """

    config: FluxConfig
    leaves: Sequence[Leaf]
    models: Mapping[str, NamedModel]
    store: Store
    hard: Mapping[str, Sequence[Exemplar]] = field(default_factory=dict)
    on_progress: Callable[[int], None] = lambda count: None
    rejected: Collection[str] = ()

    def __post_init__(self) -> None:
        self.caller = Caller(self.store)
        exclusions = read_exclusions(self.config.selection.evaluation_sets)
        self.pipeline = Pipeline(
            self.config, self.models, self.caller, self.store, exclusions, self.hard
        )

    def stop(self) -> None:
        """Begin no more calls, let those under way end, and keep what they bring."""
        self.caller.stopping.set()
        for model in self.models.values():
            if isinstance(model.model, QueueingModel):  # its queue may take many minutes
                model.model.drop_waiting()

    async def run(self) -> FluxBooks:
        """Go on until every leaf is full or its budget is spent.

        Raises:
            ModelDownError: a model is down.
            RunError: the books cannot be written. What was answered is kept: run again to go on.
        """
        began = time.monotonic()
        self.store.forget_failed()
        done = dict.fromkeys((leaf.id for leaf in self.leaves), 0)
        try:
            while round_of := self._next_round(done):
                await self._work(round_of)
                if self.caller.stopping.is_set():
                    break
                for leaf, rank in round_of:
                    done[leaf.id] = max(done[leaf.id], rank + 1)
        finally:
            before = float(self.store.fact(SECONDS) or 0.0)
            self.store.set_fact(SECONDS, before + time.monotonic() - began)
        # Candidates beyond those that were needed, from an earlier and longer run, count as well.
        if not self.caller.stopping.is_set() and any(n < self._budget for n in done.values()):
            self._decide(dict.fromkeys(done, self._budget))
        per_leaf = self.config.selection.per_leaf
        books = books_of(self.store, list(done), per_leaf)
        books.asked, books.stopped = self.caller.asked, self.caller.stopping.is_set()
        return books

    @property
    def _budget(self) -> int:
        return min(self.config.selection.budget, self.store.num_clips())

    def _next_round(self, done: Mapping[str, int]) -> list[Candidate]:
        """The next candidates of every leaf that lacks some, by rank, so that leaves advance
        together.
        """
        self._decide(done)
        chosen: list[Candidate] = []
        for leaf in self.leaves:
            lacking = self.config.selection.per_leaf - self.store.num_kept(leaf.id)
            tries = min(max(lacking, 0) * TRIES_PER_ITEM, self._budget - done[leaf.id])
            chosen += [(leaf, done[leaf.id] + step) for step in range(tries)]
        return sorted(chosen, key=lambda candidate: candidate[1])

    def _decide(self, before_rank: Mapping[str, int]) -> None:
        settings = self.config.selection

        def choose(item: Item, kept: Iterable[Item], num_kept: int) -> Decision:
            if item.id in self.rejected:
                return "discarded", REJECTED, ""
            return selected(item, kept, num_kept, settings.per_leaf, settings.similarity)

        self.store.decide([leaf.id for leaf in self.leaves], choose, before_rank)

    async def _work(self, candidates: Iterable[Candidate]) -> None:
        """Work through candidates, so many at once."""
        queue = self._open(candidates)
        number = min(self.config.in_flight, 100_000)
        workers = [asyncio.create_task(self._worker(queue)) for _ in range(number)]
        stopping = asyncio.create_task(self.caller.stopping.wait())
        pending: set[asyncio.Task[Any]] = {*workers, stopping}
        try:
            while pending - {stopping}:
                limit = self.caller.patience if self.caller.stopping.is_set() else None
                finished, pending = await asyncio.wait(
                    pending, timeout=limit, return_when=asyncio.FIRST_COMPLETED
                )
                for task in finished - {stopping}:
                    task.result()  # raises what ended the worker
                if limit is not None and not finished:
                    break
        finally:
            for task in (*workers, stopping):
                task.cancel()
            await asyncio.gather(*workers, stopping, return_exceptions=True)
            await self.caller.drained()

    def _open(self, candidates: Iterable[Candidate]) -> Iterator[Candidate]:
        for leaf, rank in candidates:
            if self.store.is_done(leaf.id, rank):
                self.on_progress(1)
            else:
                yield leaf, rank

    async def _worker(self, queue: Iterator[Candidate]) -> None:
        for leaf, rank in queue:
            if self.caller.stopping.is_set():
                return
            clip = self.store.clip(self._first(leaf) + rank)
            try:
                items = await self.pipeline.work(leaf, rank, clip)
            except StoppedError:
                return
            await self.store.put_items(items)
            self.on_progress(1)

    def _first(self, leaf: Leaf) -> int:
        """Where a leaf begins in the round of clips, so that leaves do not all try the same."""
        return random.Random(f"{self.config.seed}/{leaf.id}").randrange(self.store.num_clips())
