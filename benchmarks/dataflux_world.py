"""Scripted models for DataFlux: they hear what a made-up clip holds, bill each call, and may fail.

A clip is a file whose first word names what is heard. Each call leaves a line in a file when it is
received, as a bill would: what is in it twice was paid twice.
"""

import asyncio
import hashlib
import heapq
import json
import os
import platform
import random
import re
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import eureka_audio
from eureka_audio.dataflux.caller import NamedModel
from eureka_audio.dataflux.config import FluxConfig
from eureka_audio.errors import EndpointError, EurekaAudioError
from eureka_audio.protocols import Reply, Request, Usage
from eureka_audio.records import AudioClip, AudioPart, TextPart

SOUNDS = ("bark", "bell", "horn", "rain", "siren", "wind", "clap", "beep")
LEAF = "sound/events/identity/which"
_DATA = re.compile(r"<<DATA (\w+) ([0-9a-f]{16})>>\n(.*?)\n<<END \2>>", re.DOTALL)


def make_clips(folder: Path, number: int) -> list[AudioClip]:
    """Clips of one sound each; no two files alike."""
    folder.mkdir(parents=True, exist_ok=True)
    clips = []
    for index in range(number):
        path = folder / f"{index:06d}.wav"
        if not path.exists():
            path.write_text(f"{SOUNDS[index % len(SOUNDS)]} {index}")
        clips.append(AudioClip(id=path.stem, path=str(path), duration_seconds=1.0))
    return clips


def world_config(number: int, **sections: Any) -> FluxConfig:
    """A configuration that keeps `number` items of one leaf, all models being scripted."""
    names = ("captioner", "writer", "first", "second", "judge")
    tree: dict[str, Any] = {
        "audio": ["unused"],
        "leaves": [LEAF],
        "models": {name: {"kind": "rules", "name": name} for name in names},
        "caption": {"model": "captioner"},
        "question": {"model": "writer", "number": 1},
        "answers": {"first": {"model": "first"}, "second": {"model": "second"}},
        "verdict": {"model": "judge"},
        "selection": {"per_leaf": number, "budget": number},
        **sections,
    }
    return FluxConfig.model_validate(tree)


def words_of(request: Request) -> str:
    """All text of a request."""
    return "\n".join(
        part.text
        for message in request.conversation.messages
        for part in message.content
        if isinstance(part, TextPart)
    )


def data_of(request: Request) -> dict[str, str]:
    """What stands between fences, by name; a fence counts with the nonce that opens it."""
    return {name: text for name, _, text in _DATA.findall(words_of(request))}


def heard_words(request: Request) -> list[str]:
    """What is in the clip of a request, which is a path or its bytes; empty without one."""
    for message in request.conversation.messages:
        for part in message.content:
            if isinstance(part, AudioPart):
                found = (
                    part.audio if isinstance(part.audio, bytes) else Path(part.audio).read_bytes()
                )
                return found.decode().split()
    return []


def heard(request: Request) -> str | None:
    """The sound that is in the clip of a request; None without one."""
    return next(iter(heard_words(request)), None)


class Server:
    """Places of a server elsewhere: free again in time, however busy this process is."""

    def __init__(self, places: int) -> None:
        self._free_at = [0.0] * places

    def book(self, seconds: float) -> tuple[float, float]:
        """When a request that comes now is taken up, and when it is answered; monotonic seconds."""
        begins = max(time.monotonic(), self._free_at[0])
        heapq.heapreplace(self._free_at, begins + seconds)
        return begins, begins + seconds


@dataclass
class Scripted:
    """One endpoint.

    Attributes:
        step: what it does: caption, question, answer or verdict.
        bill: a file that gets a line for each call received.
        seconds: an answer takes.
        faults: the share of calls that fail, one way or another.
        concurrency: calls served at once; others wait, as at a real server.
        retries: of a call that failed in passing.
        server: shared with other endpoints.
    """

    step: str
    bill: Path | None = None
    seconds: float = 0.0
    faults: float = 0.0
    concurrency: int = 64
    retries: int = 4
    server: "Server | None" = None
    calls: int = 0
    under_way: int = 0
    dice: random.Random = field(default_factory=lambda: random.Random(0))

    def __post_init__(self) -> None:
        self._server = self.server or Server(self.concurrency)
        self._bill = (
            None
            if self.bill is None
            else os.open(self.bill, os.O_APPEND | os.O_CREAT | os.O_WRONLY)
        )

    async def reply(self, request: Request) -> Reply | EurekaAudioError:
        """Answer, or fail after some attempts."""
        error: EurekaAudioError | None = None
        for _ in range(self.retries):
            found = await self._once(request)
            if isinstance(found, Reply):
                return found
            error = found
            if not found.retryable:
                break
        assert error is not None, "at least one attempt is made"
        return error

    async def _once(self, request: Request) -> Reply | EndpointError:
        self.calls += 1
        self.under_way += 1
        begins, ready = self._server.book(self.seconds)
        try:
            await asyncio.sleep(begins - time.monotonic())
            if self._bill is not None:
                os.write(self._bill, f"{self.step} {mark_of(request)}\n".encode())
            await asyncio.sleep(ready - time.monotonic())
            if self.dice.random() < self.faults:
                return self._fault(request)
            text = self._said(request)
            return Reply(
                text, usage=Usage(len(words_of(request)) // 4, len(text) // 4, None, 0.001)
            )
        finally:
            self.under_way -= 1

    def _fault(self, request: Request) -> Reply | EndpointError:
        """Overload, refusal, half an answer, an answer to something else, or none at all."""
        kind = self.dice.randrange(6)
        if kind == 0:
            return EndpointError("429: slow down")
        if kind == 1:
            return EndpointError("500: broken")
        if kind == 2:
            return EndpointError("400: no", retryable=False)
        if kind == 3:
            text = self._said(request)
            return Reply(text[: len(text) // 2], finish_reason="length")
        return Reply("I cannot help with that.") if kind == 4 else Reply('{"something": "else"}')

    def _said(self, request: Request) -> str:
        if self.step == "caption":
            sound, number = heard_words(request)
            return f"a {sound} is heard, take {int(number):06d}"
        if self.step == "question":
            sound = data_of(request)["caption"].split()[1]
            others = [other for other in SOUNDS if other != sound][:3]
            row = {"question": "Which sound is it?", "options": [sound, *others], "answer": 0}
            return json.dumps({"is_success": True, "questions": [row]})
        if self.step == "answer":
            there, choices = heard(request), list(request.choices or ())
            place = choices.index(there) if there in choices else guess(request, len(choices))
            return json.dumps({"reasoning": f"I hear {there}", "answer": "ABCDEFGH"[place]})
        return self._verdict(request)

    def _verdict(self, request: Request) -> str:
        data = data_of(request)
        letters = re.findall(r"^answer: (?:([A-H])\.|\(none\))", data["answers"], re.MULTILINE)
        options = dict(re.findall(r"^([A-H])\. (.*)$", data["question"], re.MULTILINE))
        right = [options.get(letter, "?") in data["caption"].split() for letter in letters]
        winner = (
            "TIE"
            if all(right)
            else "NONE"
            if not any(right)
            else f"MODEL_{'AB'[right.index(True)]}"
        )
        return verdict_text(nonce_of(request), letters, winner)


def verdict_text(nonce: str, letters: Sequence[str], winner: str) -> str:
    """A well-formed verdict."""
    keep = winner != "NONE"
    return json.dumps(
        {
            "nonce": nonce,
            "consensus": len(set(letters)) == 1 and letters[0] != "",
            "consistency_with_caption": "STRONG_MATCH" if keep else "CONFLICT",
            "winner": winner,
            "reasoning": "by the caption",
            "final_action": "KEEP_USING_WINNER" if keep else "DISCARD",
        }
    )


def nonce_of(request: Request) -> str:
    """The nonce of a prompt, as a model finds it in our own words."""
    outside = _DATA.sub("", words_of(request))
    return str(re.findall(r'"nonce": "([0-9a-f]{16})"', outside)[0])


def mark_of(request: Request) -> str:
    """What tells one call from another."""
    return hashlib.sha256(
        f"{words_of(request)}/{heard(request)}/{request.seed}".encode()
    ).hexdigest()[:24]


def guess(request: Request, number: int) -> int:
    """A guess that depends on the words alone."""
    return int(hashlib.sha256(words_of(request).encode()).hexdigest()[:8], 16) % number


def world_models(**settings: Any) -> dict[str, NamedModel]:
    """All five endpoints."""
    steps = {
        "captioner": "caption",
        "writer": "question",
        "first": "answer",
        "second": "answer",
        "judge": "verdict",
    }
    return {
        name: NamedModel(name, {"kind": "scripted", "name": name}, Scripted(step, **settings))
        for name, step in steps.items()
    }


def write_result(path: Path, figures: dict[str, Any]) -> None:
    """Write figures with what they were measured on."""
    told = {
        **figures,
        "commit": subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
        ).stdout.strip(),
        "version": eureka_audio.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "load_average": round(os.getloadavg()[0], 1),
    }
    path.write_text(json.dumps(told, indent=1) + "\n", "utf-8")
