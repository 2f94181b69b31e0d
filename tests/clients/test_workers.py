"""Workers: the one with the least to do is asked, a lost one never again, files travel as bytes."""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from eureka_audio.clients.workers import Workers
from eureka_audio.errors import EurekaAudioError, MissingDependencyError, ModelDownError
from eureka_audio.protocols import Reply, Request
from eureka_audio.records import AudioPart, Conversation, Message, TextPart


class LostError(Exception):
    """Stands for RayActorError."""


class Method:
    """What stands before `.remote` of an actor's method."""

    def __init__(self, remote: Callable[..., Any]) -> None:
        self.remote = remote


class Actor:
    """A worker in this process; it counts what it is asked, and may be lost."""

    def __init__(self, it: Any, lost_after: int) -> None:
        self.it, self.lost_after, self.asked = it, lost_after, list[Request]()

    @property
    def reply(self) -> Method:
        return Method(self._reply)

    async def _reply(self, name: str, request: Request) -> Any:
        self.asked.append(request)
        place = len(self.asked)
        await asyncio.sleep(0.01)
        if place > self.lost_after:
            raise LostError("The actor died.")
        return await self.it.reply(name, request)


@pytest.fixture
def actors(monkeypatch: pytest.MonkeyPatch) -> list[Actor]:
    """Ray, as far as it is used; the first worker is lost at its third request."""
    made: list[Actor] = []

    def remote(**settings: Any) -> Callable[[type], Any]:
        def actor(kind: type) -> Any:
            def start(make: Any) -> Actor:
                made.append(Actor(kind(make), 10_000 if made else 2))
                return made[-1]

            return SimpleNamespace(remote=start)

        return actor

    ray = ModuleType("ray")
    ray.__dict__.update(
        remote=remote,
        is_initialized=lambda: True,
        exceptions=SimpleNamespace(RayActorError=LostError),
    )
    monkeypatch.setitem(sys.modules, "ray", ray)
    return made


class Echo:
    async def reply(self, request: Request) -> Reply | EurekaAudioError:
        (message,) = request.conversation.messages
        return Reply("".join(part.text for part in message.content if isinstance(part, TextPart)))


def make() -> Mapping[str, Echo]:
    return {"echo": Echo()}


def request(text: str, *parts: AudioPart) -> Request:
    user = Message(role="user", content=(*parts, TextPart(text=text)))
    return Request(Conversation(messages=(user,)), inputs={"clip": object()})


def ask(workers: Workers, *requests: Request) -> list[Reply | EurekaAudioError]:
    async def go() -> list[Reply | EurekaAudioError]:
        model = workers.model("echo")
        return list(await asyncio.gather(*(model.reply(one) for one in requests)))

    return asyncio.run(go())


def test_what_a_lost_worker_had_under_way_is_asked_of_another(actors: list[Actor]) -> None:
    workers = Workers(make, 2)
    texts = [str(number) for number in range(10)]
    assert [str(reply) for reply in ask(workers, *map(request, texts))] == texts
    assert workers.number == 1
    asked = [len(actor.asked) for actor in actors]
    assert asked[0] == 5  # half of them at first
    assert asked[1] == 5 + 3  # and the three that were lost
    (after,) = ask(workers, request("later"))
    assert str(after) == "later"
    assert len(actors[0].asked) == 5


def test_a_run_ends_when_all_workers_are_lost(actors: list[Actor]) -> None:
    replies = ask(Workers(make, 1), *(request("x") for _ in range(4)))
    kinds = Counter(type(reply) for reply in replies)
    assert kinds == {Reply: 2, ModelDownError: 2}
    assert "run again" in str(replies[-1])


def test_files_travel_as_bytes_and_inputs_stay(actors: list[Actor], tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"sound")
    there, gone = (AudioPart(audio=str(tmp_path / name)) for name in ("a.wav", "gone.wav"))
    ask(Workers(make, 1), request("x", there, gone))
    (asked,) = actors[0].asked
    first, second, _ = asked.conversation.messages[0].content
    assert isinstance(first, AudioPart)
    assert first.audio == b"sound"
    assert second == gone
    assert not asked.inputs


def test_ray_is_asked_for_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependencyError, match=r"eureka-audio\[cluster\]"):
        Workers(make, 1)


@pytest.mark.slow
def test_two_nodes_of_a_real_cluster_and_one_that_dies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray")
    from dataflux_cluster import measure

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # what workers import
    found = measure(60, 2, tmp_path, kill=True)
    assert found["nodes_with_a_worker"] == 2
    assert found["workers_left"] == 1
    assert found["items"] == found["ids"] == 60
    assert 300 <= found["calls_billed"] <= 305  # five an item; five models with one place each
