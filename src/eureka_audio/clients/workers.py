"""Models that run in several places at once: workers on a Ray cluster, each with models of its own.

A run stays one process, which asks, keeps the books and decides; a worker only answers. So nothing
has to be merged, and what a lost worker had under way is asked of another. Recordings travel as
bytes: a worker needs this package and no shared disk.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from eureka_audio.errors import (
    ConfigError,
    EurekaAudioError,
    MissingDependencyError,
    ModelDownError,
)
from eureka_audio.protocols import AsyncModel, Reply, Request
from eureka_audio.records import AudioPart, Conversation

MAX_UNDER_WAY = 10_000  # requests at a worker at once; its models have limits of their own
Make = Callable[[], Mapping[str, AsyncModel]]


class Workers:
    """Workers that all hold the same models; a request goes where its model has the least to do.

    Args:
        make: makes the models, in the worker; what it needs must be importable there.
        number: of workers, spread over the nodes.
        address: of a cluster that runs; None for one on this machine.
        gpus: that each worker has for itself, or a share of one.

    Raises:
        MissingDependencyError: Ray is not installed.
        ConfigError: there is no cluster at the address.
    """

    def __init__(
        self, make: Make, number: int, address: str | None = None, gpus: float = 0.0
    ) -> None:
        self._ray = _connected(address)
        settings = {"num_gpus": gpus, "max_concurrency": MAX_UNDER_WAY, "max_restarts": 0}
        actor = self._ray.remote(scheduling_strategy="SPREAD", **settings)(_Worker)
        self._under_way = {actor.remote(make): Counter[str]() for _ in range(number)}

    def model(self, name: str) -> "RemoteModel":
        """One of the models, whichever worker answers."""
        return RemoteModel(self, name)

    @property
    def number(self) -> int:
        """Workers that are not lost."""
        return len(self._under_way)

    def places(self) -> list[str]:
        """The nodes on which workers are, once their models are made."""
        return [str(place) for place in self._ray.get([w.place.remote() for w in self._under_way])]

    async def reply(self, name: str, request: Request) -> Reply | EurekaAudioError:
        """The answer of some worker; a worker that is lost is not asked again."""
        portable, lost = _portable(request), ""
        while self._under_way:
            worker = min(self._under_way, key=lambda one: self._load(one, name))
            self._under_way[worker][name] += 1
            try:
                answer: Reply | EurekaAudioError = await worker.reply.remote(name, portable)
                return answer
            except self._ray.exceptions.RayActorError as error:
                self._under_way.pop(worker, None)
                lost = str(error).strip().splitlines()[-1]
            finally:
                if worker in self._under_way:
                    self._under_way[worker][name] -= 1
        return ModelDownError(
            f"expected an answer from a worker, but all are lost ({lost[:200]}); what was answered "
            "is kept: see to the cluster and run again to go on"
        )

    def _load(self, worker: Any, name: str) -> tuple[int, int]:
        """Requests under way at a worker: to the model of this name, and to all."""
        return self._under_way[worker][name], self._under_way[worker].total()


@dataclass(frozen=True)
class RemoteModel:
    """A model that the workers hold; meets `protocols.AsyncModel`."""

    workers: Workers
    name: str

    async def reply(self, request: Request) -> Reply | EurekaAudioError:
        """Answer one request."""
        return await self.workers.reply(self.name, request)


class _Worker:
    """What runs in a worker's process."""

    def __init__(self, make: Make) -> None:
        self._models = make()

    def place(self) -> str:
        import ray

        return str(ray.get_runtime_context().get_node_id())

    async def reply(self, name: str, request: Request) -> Reply | EurekaAudioError:
        return await self._models[name].reply(request)


def _connected(address: str | None) -> Any:
    try:
        import ray
    except ImportError as error:
        raise MissingDependencyError(
            "expected the package ray for workers, found none; install eureka-audio[cluster]"
        ) from error
    if not ray.is_initialized():
        try:
            ray.init(address, log_to_driver=False)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ConfigError(
                f"expected a Ray cluster at {address}, got {type(error).__name__}: {error}; start "
                "it, or drop the address for one on this machine"
            ) from error
    return ray


def _portable(request: Request) -> Request:
    """The request with its recordings as bytes, and without what only rules read."""
    messages = tuple(
        message.model_copy(update={"content": tuple(map(_carried, message.content))})
        for message in request.conversation.messages
    )
    return replace(request, conversation=Conversation(messages=messages), inputs={})


def _carried(part: Any) -> Any:
    """A part with its file's bytes; a file that cannot be read is left to the worker to refuse."""
    if not isinstance(part, AudioPart) or not isinstance(part.audio, str | Path):
        return part
    try:
        return AudioPart(audio=Path(part.audio).read_bytes())
    except OSError:
        return part
