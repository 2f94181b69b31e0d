"""`/v1/realtime`: audio comes in piece by piece over a WebSocket, transcripts go out.

Two dialects, told apart by the client's first event that differs:

- OpenAI's transcription sessions: `session.update` with a `session`, 24 kHz, and
  `conversation.item.input_audio_transcription.delta` and `.completed` for each committed stretch;
- vLLM's: `session.update` with a `model` beside its type, 16 kHz, `transcription.delta` and
  `transcription.done`.

Unstated: a committed stretch is transcribed whole. Deltas come chunk by chunk of it; what was said
before the commit is not guessed at.
"""

import asyncio
import base64
import binascii
import logging
import uuid
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from fastapi import APIRouter, WebSocket
from pydantic import TypeAdapter, ValidationError
from starlette.websockets import WebSocketDisconnect, WebSocketState

from eureka_audio.audio.decode import DecodedAudio, load_audio
from eureka_audio.errors import EurekaAudioError
from eureka_audio.protocols import Transcript
from eureka_audio.server import formats
from eureka_audio.server.context import Context, context_of
from eureka_audio.server.problems import Problem, internal_problem, invalid, problem_of
from eureka_audio.server.realtime_schema import (
    Append,
    Clear,
    ClientEvent,
    Commit,
    SessionSettings,
    SessionUpdate,
)
from eureka_audio.server.transcribing import TranscriptionOptions

router = APIRouter()
log = logging.getLogger("eureka_audio.server")

CLIENT_EVENT: TypeAdapter[ClientEvent] = TypeAdapter(ClientEvent)
OPENAI_RATE, VLLM_RATE = 24_000, 16_000
BYTES_PER_SAMPLE = 2
MAX_WAITING_ITEMS = 16  # committed and not yet transcribed


@router.websocket("/v1/realtime")
async def realtime(websocket: WebSocket) -> None:
    """One session."""
    context = context_of(websocket)
    if not _is_same_origin(websocket):
        await websocket.close(1008, "cross-origin")
        return
    is_full = context.sessions.num_inside >= context.sessions.max_inside
    if is_full or context.door.is_draining:
        await websocket.close(1013, "try again later")
        return
    offered = websocket.scope.get("subprotocols", ())
    with context.sessions.enter():
        await websocket.accept(subprotocol="realtime" if "realtime" in offered else None)
        await Session(websocket, context).run()


def _is_same_origin(websocket: WebSocket) -> bool:
    """Whether no page of another site opened this; programs send no Origin."""
    origin = websocket.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == websocket.headers.get("host")


@dataclass
class Item:
    """A stretch of audio that was committed."""

    id: str
    audio: bytes
    rate: int


@dataclass
class Session:
    """One client, from its first event to its last."""

    websocket: WebSocket
    context: Context
    settings: SessionSettings = field(default_factory=SessionSettings)
    is_vllm: bool = False
    _buffer: bytearray = field(default_factory=bytearray)
    _id: str = field(default_factory=lambda: f"sess_{uuid.uuid4().hex}")
    _last_item: str | None = None
    _committed: asyncio.Queue[Item | None] = field(default_factory=asyncio.Queue)

    async def run(self) -> None:
        """Take events until the client leaves, transcribing beside it."""
        await self._send("session.created", session=self._session())
        writer = asyncio.create_task(self._write_items())
        reader = asyncio.create_task(self._read())
        drained = asyncio.create_task(self.context.door.wait_until_closed())
        tasks = {writer, reader, drained}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if drained in done and reader not in done:
                reader.cancel()
                self._committed.put_nowait(None)  # what was committed is still answered
                await asyncio.wait({writer})
                await self._close(1001, "the server is shutting down")
            for task in done - {drained}:
                task.result()
        except (WebSocketDisconnect, RuntimeError):  # RuntimeError: sending after it left
            pass
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self) -> None:
        while True:
            message = await self.websocket.receive()
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message.get("code", 1000))
            event_id = None
            try:
                event = CLIENT_EVENT.validate_json(
                    message.get("text") or message.get("bytes") or ""
                )
                event_id = event.event_id
                await self._take(event)
            except ValidationError as error:
                first = error.errors(include_input=False, include_url=False)[0]
                place = ".".join(str(part) for part in first["loc"][1:]) or None
                await self._refuse(invalid(f"{place or 'event'}: {first['msg']}", place), event_id)
            except Problem as problem:
                await self._refuse(problem, event_id)

    async def _take(self, event: ClientEvent) -> None:
        match event:
            case SessionUpdate():
                await self._update(event)
            case Append():
                self._append(event.audio)
            case Clear():
                self._buffer.clear()
                await self._send("input_audio_buffer.cleared")
            case Commit():
                await self._commit(event)

    async def _update(self, event: SessionUpdate) -> None:
        self.is_vllm = event.session is None
        settings = event.settings
        if settings.model is not None:
            self.context.check_model(settings.model)
        if settings.has_turn_detection:
            raise invalid(
                "session.audio.input.turn_detection: expected null, this server does not find "
                "turns; commit each stretch yourself",
                "session.audio.input.turn_detection", "unsupported_value",
            )  # fmt: skip
        if self._buffer and settings.rate not in (None, self.settings.rate):
            raise invalid("session.audio.input.format: cannot change while audio is buffered")
        self.settings = self.settings.updated(settings)
        kind = "transcription_session.updated" if event.is_legacy else "session.updated"
        await self._send(kind, session=self._session())

    @property
    def _rate(self) -> int:
        return self.settings.rate or (VLLM_RATE if self.is_vllm else OPENAI_RATE)

    def _append(self, audio: str) -> None:
        try:
            samples = base64.b64decode(audio, validate=True)
        except (binascii.Error, ValueError):
            raise invalid(
                "audio: not valid base64; encode the samples as it wants", "audio"
            ) from None
        most = self.context.settings.limits.max_duration_seconds * self._rate * BYTES_PER_SAMPLE
        if len(self._buffer) + len(samples) > most:
            raise invalid(
                f"audio: more than the {self.context.settings.limits.max_duration_seconds:g} s a "
                "stretch may last; commit or clear the buffer first",
                "audio", "audio_too_large",
            )  # fmt: skip
        self._buffer += samples

    async def _commit(self, event: Commit) -> None:
        if self.is_vllm and not event.final and not self._buffer:
            return  # vLLM's clients commit once before they send anything
        shortest = self.context.settings.limits.min_duration_seconds
        seconds = len(self._buffer) / BYTES_PER_SAMPLE / self._rate
        if seconds < shortest:
            raise invalid(
                f"expected at least {shortest:g} s of audio in the buffer, got {seconds:.3f} s; "
                "append more before you commit",
                code="input_audio_buffer_commit_empty",
            )
        if self._committed.qsize() >= MAX_WAITING_ITEMS:
            raise Problem(
                429,
                f"expected at most {MAX_WAITING_ITEMS} stretches to wait for their transcripts; "
                "wait for some",
                "overloaded",
            )
        item = Item(f"item_{uuid.uuid4().hex}", bytes(self._buffer), self._rate)
        self._buffer.clear()
        if not self.is_vllm:
            before, self._last_item = self._last_item, item.id
            await self._send(
                "input_audio_buffer.committed", item_id=item.id, previous_item_id=before
            )
            await self._send(
                "conversation.item.added", item=_as_item(item), previous_item_id=before
            )
        self._committed.put_nowait(item)

    async def _write_items(self) -> None:
        """Transcribe what is committed, one stretch after the other."""
        while (item := await self._committed.get()) is not None:
            try:
                with self.context.door.finish():
                    await self._transcribe(item)
            except EurekaAudioError as error:
                await self._fail(item, problem_of(error))
            except Problem as problem:
                await self._fail(item, problem)
            except (WebSocketDisconnect, asyncio.CancelledError):
                raise
            except Exception:
                if self.websocket.client_state is not WebSocketState.CONNECTED:
                    raise
                log.exception("%s: unforeseen", self._id)
                await self._fail(item, internal_problem())

    async def _transcribe(self, item: Item) -> None:
        samples = np.frombuffer(item.audio[: len(item.audio) // 2 * 2], dtype="<i2")
        audio: DecodedAudio = await asyncio.to_thread(
            load_audio, samples, sampling_rate=item.rate, limits=self.context.settings.limits
        )
        settings = self.settings
        options = TranscriptionOptions(
            language=settings.language, prompt=settings.prompt, hotwords=settings.keywords
        )
        async for piece in self.context.service.stream_transcribe(audio, options):
            if isinstance(piece, Transcript):
                await self._complete(item, piece)
            elif self.is_vllm:
                await self._send("transcription.delta", delta=piece)
            else:
                await self._send(
                    "conversation.item.input_audio_transcription.delta",
                    item_id=item.id, content_index=0, delta=piece,
                )  # fmt: skip

    async def _complete(self, item: Item, transcript: Transcript) -> None:
        warnings = formats.warnings(transcript)
        if self.is_vllm:
            usage = formats.usage(transcript)
            told = {
                "prompt_tokens": usage["input_tokens"],
                "completion_tokens": usage["output_tokens"],
                "total_tokens": usage["total_tokens"],
            }
            await self._send(
                "transcription.done", text=transcript.text, usage=told, warnings=warnings
            )
            return
        await self._send(
            "conversation.item.input_audio_transcription.completed",
            item_id=item.id,
            content_index=0,
            transcript=transcript.text,
            usage=formats.usage(transcript),
            warnings=warnings,
        )
        done = _as_item(item)
        done["content"][0]["transcript"] = transcript.text
        await self._send("conversation.item.done", item=done)

    async def _fail(self, item: Item, problem: Problem) -> None:
        if self.is_vllm:
            await self._refuse(problem, None)
            return
        await self._send(
            "conversation.item.input_audio_transcription.failed",
            item_id=item.id, content_index=0, error=problem.body["error"],
        )  # fmt: skip

    async def _refuse(self, problem: Problem, event_id: str | None) -> None:
        error = {**problem.body["error"], "event_id": event_id}
        if self.is_vllm:
            await self._send("error", error=problem.message, code=problem.code)
        else:
            await self._send("error", error=error)

    async def _send(self, kind: str, **fields: Any) -> None:
        event = {"type": kind, "event_id": f"event_{uuid.uuid4().hex}", **fields}
        await self.websocket.send_json(event)

    async def _close(self, code: int, reason: str) -> None:
        if self.websocket.application_state is WebSocketState.CONNECTED:
            await self.websocket.close(code, reason)

    def _session(self) -> dict[str, Any]:
        name = self.settings.model or self.context.settings.model_names[0]
        transcription = {
            "model": name,
            "language": self.settings.language,
            "prompt": self.settings.prompt,
        }
        return {
            "id": self._id,
            "object": "realtime.transcription_session",
            "type": "transcription",
            "audio": {
                "input": {
                    "format": {"type": "audio/pcm", "rate": self._rate},
                    "transcription": transcription,
                    "turn_detection": None,
                    "noise_reduction": None,
                }
            },
        }


def _as_item(item: Item) -> dict[str, Any]:
    content = {"type": "input_audio", "transcript": None}
    return {
        "id": item.id,
        "object": "realtime.item",
        "type": "message",
        "status": "completed",
        "role": "user",
        "content": [content],
    }
