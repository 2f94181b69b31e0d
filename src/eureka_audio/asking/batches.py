"""A model that answers lists, as one that many ask at once: what comes together is one batch.

Batches run in a thread, one after another, so that whoever asks elsewhere goes on meanwhile. It is
always the same thread: what a batch needs in passing stays with the thread that took it, some
hundred megabytes for each that ever ran one.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from eureka_audio.errors import EurekaAudioError
from eureka_audio.protocols import AudioLanguageModel, ChoosingModel, Reply, Request

GATHER_SECONDS = 0.005  # a batch waits so long for company
Outcome = Reply | EurekaAudioError
Waiting = tuple[Request, "asyncio.Future[Outcome]"]


@dataclass
class BatchedModel:
    """A local model behind a queue; it is greedy, whatever the temperature of a request.

    Attributes:
        model: answers lists.
        batch_size: requests in a batch, at most.
        choose: requests with choices go to the method ``choose``.
    """

    model: AudioLanguageModel
    batch_size: int = 16
    choose: bool = False
    _waiting: list[Waiting] = field(default_factory=list)
    _server: "asyncio.Task[None] | None" = None
    _thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))

    async def reply(self, request: Request) -> Outcome:
        """Answer one request together with others."""
        done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, done))
        if self._server is None or self._server.done():
            self._server = asyncio.create_task(self._serve())
        return await done

    def drop_waiting(self) -> None:
        """Begin no more batches; whoever waits for one is cancelled."""
        waiting, self._waiting = self._waiting, []
        for _, done in waiting:
            done.cancel()

    async def _serve(self) -> None:
        """Answer whatever waits, batch by batch."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(GATHER_SECONDS)
        while self._waiting:
            kind = self._kind(self._waiting[0][0])
            alike = [one for one in self._waiting if self._kind(one[0]) == kind][: self.batch_size]
            self._waiting = [one for one in self._waiting if one not in alike]
            requests = [request for request, _ in alike]
            found = await loop.run_in_executor(self._thread, self._answer, requests)
            for (_, done), answer in zip(alike, found, strict=True):
                if not done.done():
                    done.set_result(answer)

    def _kind(self, request: Request) -> tuple[bool, int | None]:
        """What the requests of a batch have in common."""
        return self.choose and request.choices is not None, request.max_new_tokens

    def _answer(self, requests: Sequence[Request]) -> Sequence[Outcome]:
        chosen, limit = self._kind(requests[0])
        conversations = [request.conversation for request in requests]
        try:
            if chosen and isinstance(self.model, ChoosingModel):
                offers = [request.choices or () for request in requests]
                return self.model.choose(conversations, offers)
            return self.model.answer(conversations, max_new_tokens=limit)
        except EurekaAudioError as error:  # of the whole batch
            return [error] * len(requests)
