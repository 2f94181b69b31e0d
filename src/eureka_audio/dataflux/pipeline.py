"""What happens to one candidate, a clip for a leaf: caption, questions, answers, control, verdict.

This is the whole pipeline, whoever runs it: it asks through a `Caller` and returns items.
"""

import asyncio
import random
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from eureka_audio.asking.keys import MISSING_AUDIO, file_fingerprint
from eureka_audio.dataflux import answer, caption, control, question, verdict
from eureka_audio.dataflux.caller import Caller, NamedModel, StepError, UnreadableError
from eureka_audio.dataflux.config import FluxConfig, StepConfig
from eureka_audio.dataflux.exclusions import Exclusions
from eureka_audio.dataflux.items import AUDIO, Control, ControlKind, Item
from eureka_audio.dataflux.selection import judged
from eureka_audio.dataflux.store import Store
from eureka_audio.dataflux.taxonomy import Exemplar, Leaf
from eureka_audio.protocols import Request
from eureka_audio.records import Answer, AudioClip, Question, Verdict

RETRY_TEMPERATURE = 0.3  # a greedy model would say the same again
SEEDS_APART = 1_000  # between models that answer the same question
Result = TypeVar("Result")
Worked = tuple[Item, bool]  # whether it passed all steps


@dataclass(frozen=True)
class Pipeline:
    """All that the work on a candidate needs.

    Attributes:
        config: the run's.
        models: by their names in the configuration.
        caller: asks and keeps.
        store: where other clips are found.
        exclusions: what must not be used.
        hard: exemplars of earlier runs that models failed on, by leaf.
    """

    config: FluxConfig
    models: Mapping[str, NamedModel]
    caller: Caller
    store: Store
    exclusions: Exclusions = field(default_factory=Exclusions)
    hard: Mapping[str, Sequence[Exemplar]] = field(default_factory=dict)

    async def work(self, leaf: Leaf, rank: int, clip: AudioClip) -> list[Worked]:
        """All items of a candidate: one for each question, or one that says why there is none."""
        fingerprint = file_fingerprint(clip.path)
        blank = Item(
            id=question.item_id(fingerprint, leaf.id, None),
            leaf=leaf.id,
            rank=rank,
            number=0,
            clip_id=clip.id,
            audio=clip.path,
            audio_sha256=fingerprint,
            duration_seconds=clip.duration_seconds,
            fate="failed",
        )
        if fingerprint == MISSING_AUDIO:
            return [(_with(blank, reason=AUDIO, detail=f"no file at {clip.path}"), False)]
        if fault := self.exclusions.fault_of_clip(clip, fingerprint):
            return [(_discarded(blank, "evaluation_overlap", fault), False)]
        try:
            heard, keys = await self._caption(clip)
            blank = _with(blank, caption=heard, calls=tuple(keys))
            written, keys = await self._questions(clip, heard, leaf)
        except StepError as error:
            return [(_with(blank, reason=error.step, detail=error.why), False)]
        blank = _with(blank, calls=(*blank.calls, *keys))
        if not written:
            return [(_discarded(blank, "category_mismatch", ""), False)]
        work = (
            self._one(blank, leaf, clip, number, one, fault)
            for number, (one, fault) in enumerate(written)
        )
        return await _all(work)

    async def _one(
        self, blank: Item, leaf: Leaf, clip: AudioClip, number: int, written: Question, fault: str
    ) -> Worked:
        """One question from its writing to its verdict."""
        item = _with(blank, number=number)
        item = _with(
            item, question=written, id=question.item_id(item.audio_sha256, leaf.id, written)
        )
        if fault:
            return _discarded(item, "malformed_question", fault), False
        if fault := self.exclusions.fault_of_question(written):
            return _discarded(item, "evaluation_overlap", fault), False
        seed = f"{self.config.seed}/{item.id}"
        place = item.rank * self.config.question.number + number
        asked = question.arranged(written, place, seed)
        item = _with(item, question=asked)
        try:
            answers, keys = await self._answers(asked, clip, seed)
            item = _with(item, answers=answers, calls=(*item.calls, *keys))
            controls, keys = await self._controls(asked, clip, item)
            item = _with(item, controls=controls, calls=(*item.calls, *keys))
            reason, detail = control.finding(asked, controls, self.config.control.level)
            if reason:
                return _discarded(item, reason, detail), False
            judgement, keys = await self._verdict(asked, answers, clip, item, leaf)
        except StepError as error:
            return _with(item, reason=error.step, detail=error.why), False
        item = _with(item, verdict=judgement, calls=(*item.calls, *keys))
        decision = judged(asked, answers, judgement)
        if decision is None:
            return _discarded(item, "surplus", ""), True
        fate, reason, detail = decision
        return _with(item, fate=fate, reason=reason, detail=detail), False

    # --- the steps -----------------------------------------------------------------------------

    def _attempt(self, step: StepConfig, attempt: int, apart: int = 0) -> tuple[StepConfig, int]:
        """The settings and the seed of an attempt."""
        seed = self.config.seed + apart * SEEDS_APART + attempt
        if attempt == 0 or step.temperature >= RETRY_TEMPERATURE:
            return step, seed
        return step.model_copy(update={"temperature": RETRY_TEMPERATURE}), seed

    async def _caption(self, clip: AudioClip) -> tuple[str, list[str]]:
        step = self.config.caption
        return await self.caller.call(
            "caption",
            step.prompt or caption.DEFAULT_PROMPT,
            self.models[step.model],
            lambda attempt: caption.ask(clip, *self._attempt(step, attempt)),
            lambda reply, _: caption.read(reply),
            step.attempts,
        )

    async def _questions(
        self, clip: AudioClip, heard: str, leaf: Leaf
    ) -> tuple[list[question.Written], list[str]]:
        step = self.config.question
        hard = self.hard.get(leaf.id, ())

        def make(attempt: int) -> Request:
            settings, seed = self._attempt(step, attempt)
            assert isinstance(settings, type(step))
            return question.ask(clip, heard, leaf, settings, seed, hard)

        return await self.caller.call(
            "question",
            step.prompt,
            self.models[step.model],
            make,
            lambda reply, _: question.read(reply, step.number),
            step.attempts,
        )

    async def _answer(
        self,
        kind: str,
        name: str,
        asked: Question,
        order: Sequence[int],
        audio: str | None,
    ) -> tuple[Answer, list[str]]:
        """One model's answer, whatever it hears."""
        step = self.config.answers[name]
        apart = list(self.config.answers).index(name) + 1

        def make(attempt: int) -> Request:
            settings, seed = self._attempt(step, attempt, apart)
            assert isinstance(settings, type(step))
            return answer.ask(asked, order, audio, settings, seed)

        return await self.caller.call(
            kind,
            step.prompt,
            self.models[step.model],
            make,
            lambda reply, _: answer.read(reply, asked, order, name),
            step.attempts if kind == "answer" else 1,
        )

    async def _answers(
        self, asked: Question, clip: AudioClip, seed: str
    ) -> tuple[tuple[Answer, ...], list[str]]:
        """All models' answers, in the order in which the judge will see them."""
        order = range(len(asked.choices))
        names = random.Random(f"{seed}/answers").sample(
            list(self.config.answers), len(self.config.answers)
        )
        found = await _all(self._answer("answer", name, asked, order, clip.path) for name in names)
        return tuple(one for one, _ in found), [key for _, keys in found for key in keys]

    async def _controls(
        self, asked: Question, clip: AudioClip, item: Item
    ) -> tuple[tuple[Control, ...], list[str]]:
        """The same question to the same models without its audio."""
        config = self.config.control
        if not config.enabled:
            return (), []
        found = await _all(
            self._control(asked, kind, name, order, other)
            for name in (config.models or tuple(self.config.answers))
            for kind in config.kinds
            for order, other in self._tries(asked, clip, item, kind)
        )
        return tuple(one for one, _ in found), [key for _, keys in found for key in keys]

    def _tries(
        self, asked: Question, clip: AudioClip, item: Item, kind: ControlKind
    ) -> list[tuple[tuple[int, ...], AudioClip | None]]:
        """The orders of the choices, each with what is heard instead."""
        size, seed = len(asked.choices), f"{self.config.seed}/{item.id}/{kind}"
        number = control.num_tries(size, self.config.control, kind)
        others: Sequence[AudioClip | None] = [None] * number
        if kind == "other_audio":
            others = self._others(clip, number, seed)
        return list(zip(control.orders(size, number, seed), others, strict=True))

    async def _control(
        self,
        asked: Question,
        kind: ControlKind,
        name: str,
        order: tuple[int, ...],
        other: AudioClip | None,
    ) -> tuple[Control, list[str]]:
        blank = Control(kind=kind, model=name, order=order, other_clip=other and other.id)
        audio = None if other is None else other.path
        try:
            found, keys = await self._answer("control", name, asked, order, audio)
        except UnreadableError:  # a model that says nothing usable does not know the answer
            return blank, []
        return blank.model_copy(update={"choice": found.choice}), keys

    def _others(self, clip: AudioClip, number: int, seed: str) -> list[AudioClip]:
        """Other clips, different ones as long as there are any."""
        dice, size = random.Random(seed), self.store.num_clips()
        drawn = map(self.store.clip, dice.sample(range(size), min(size, 2 * number + 1)))
        usable = [
            other
            for other in drawn
            if other.id != clip.id and file_fingerprint(other.path) != MISSING_AUDIO
        ][:number]
        if not usable:
            raise StepError("control", "expected other clips to be heard instead, found none")
        return [usable[index % len(usable)] for index in range(number)]

    async def _verdict(
        self,
        asked: Question,
        answers: tuple[Answer, ...],
        clip: AudioClip,
        item: Item,
        leaf: Leaf,
    ) -> tuple[Verdict, list[str]]:
        step = self.config.verdict

        def make(attempt: int) -> Request:
            settings, seed = self._attempt(step, attempt)
            assert isinstance(settings, type(step))
            return verdict.ask(clip, item.caption or "", leaf, asked, answers, settings, seed)[0]

        return await self.caller.call(
            "verdict",
            step.prompt,
            self.models[step.model],
            make,
            lambda reply, request: verdict.read(reply, answers, str(request.inputs["nonce"])),
            step.attempts,
        )


async def _all(work: Iterable[Coroutine[Any, Any, Result]]) -> list[Result]:
    """All results in order; the first error, once nothing is under way any more."""
    found = await asyncio.gather(*work, return_exceptions=True)
    for one in found:
        if isinstance(one, BaseException):
            raise one
    return [one for one in found if not isinstance(one, BaseException)]


def _with(item: Item, **changes: object) -> Item:
    return item.model_copy(update=changes)


def _discarded(item: Item, reason: str, detail: str) -> Item:
    return _with(item, fate="discarded", reason=reason, detail=detail)
