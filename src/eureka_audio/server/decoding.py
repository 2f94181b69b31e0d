"""Audio from a request -> a waveform, decoded in worker processes that may die without harm."""

import asyncio
import contextlib
import json
import re
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field

import numpy as np

from eureka_audio import errors
from eureka_audio.audio.decode import DecodedAudio
from eureka_audio.audio.mono import AudioLimits
from eureka_audio.errors import AudioError, AudioLimitError, EurekaAudioError

JOBS_PER_WORKER = 500  # then it is replaced, whatever its libraries have leaked by then
CPU_SECONDS_PER_WORKER = 3600
_UNNAMED = re.compile("^(bytes|data URI):")  # what a worker calls its input


@dataclass
class DecodePool:
    """Worker processes, started when first needed, replaced when they die.

    Attributes:
        limits: of one recording.
        num_workers: recordings decoded at once.
        timeout_seconds: for one recording; then its worker is killed.
    """

    limits: AudioLimits
    num_workers: int
    timeout_seconds: float
    _idle: list["_Worker"] = field(default_factory=list)
    _all: set["_Worker"] = field(default_factory=set)
    _slots: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self._slots = asyncio.Semaphore(self.num_workers)

    async def start(self) -> None:
        """Have all workers ready."""
        self._idle.extend([await self._hire() for _ in range(self.num_workers)])

    async def decode(self, content: bytes | str, name: str) -> DecodedAudio:
        """Decode the bytes of a file, or a data URI.

        Raises:
            AudioError: it cannot be used (a subclass says why), or its decoder died of it.
        """
        async with self._slots, self._worker() as worker:
            try:
                async with asyncio.timeout(self.timeout_seconds):
                    error, samples = await worker.ask(self.limits, content)
            except TimeoutError:
                raise AudioLimitError(
                    f"{name}: took longer than the {self.timeout_seconds:g} s that decoding may "
                    "take; send a simpler or shorter file"
                ) from None
            except (asyncio.IncompleteReadError, OSError):
                raise AudioError(
                    f"{name}: the decoder crashed on it; convert the file to WAV or FLAC"
                ) from None
        if error:
            kind = getattr(errors, error["type"], AudioError)
            assert issubclass(kind, EurekaAudioError)
            raise kind(_UNNAMED.sub(f"{name}:", error["message"], count=1))
        return DecodedAudio(np.frombuffer(bytearray(samples), dtype=np.float32), name)

    async def close(self) -> None:
        """End all workers."""
        for worker in list(self._all):
            await self._dismiss(worker)
        self._idle.clear()

    @contextlib.asynccontextmanager
    async def _worker(self) -> AsyncIterator["_Worker"]:
        """A worker of one's own; one that did not come through is not used again."""
        worker = self._idle.pop() if self._idle else await self._hire()
        if worker.process.returncode is not None:  # died while idle
            await self._dismiss(worker)
            worker = await self._hire()
        try:
            yield worker
        except BaseException:
            await asyncio.shield(self._dismiss(worker))
            raise
        if worker.num_jobs >= JOBS_PER_WORKER:
            await self._dismiss(worker)
        else:
            self._idle.append(worker)

    async def _hire(self) -> "_Worker":
        settings = {"limits": asdict(self.limits), "cpu_seconds": CPU_SECONDS_PER_WORKER}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "eureka_audio.server.decode_worker",
            json.dumps(settings),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the server, which then ends its workers
        )
        worker = _Worker(process)
        self._all.add(worker)
        return worker

    async def _dismiss(self, worker: "_Worker") -> None:
        self._all.discard(worker)
        await worker.end()


@dataclass(eq=False)
class _Worker:
    process: asyncio.subprocess.Process
    num_jobs: int = 0

    async def ask(self, limits: AudioLimits, content: bytes | str) -> tuple[dict[str, str], bytes]:
        """One job: an error, empty if all is well, and the samples."""
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None
        assert stdout is not None
        self.num_jobs += 1
        job = {"limits": asdict(limits), "kind": "uri" if isinstance(content, str) else "bytes"}
        content = content.encode() if isinstance(content, str) else content
        for frame in (json.dumps(job).encode(), content):
            stdin.write(len(frame).to_bytes(8, "big"))
            stdin.write(frame)
        await stdin.drain()
        error = json.loads(await _read_frame(stdout))
        return error, await _read_frame(stdout)

    async def end(self) -> None:
        """Kill it, and return once it is gone.

        asyncio tells of the end of a process only once its output has been read: a worker that was
        dropped in the middle of a long recording would be waited for, for ever.
        """
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        assert self.process.stdout is not None
        with contextlib.suppress(RuntimeError):  # another task is reading it, and will be told
            await self.process.stdout.read()
        await self.process.wait()


async def _read_frame(stream: asyncio.StreamReader) -> bytes:
    size = int.from_bytes(await stream.readexactly(8), "big")
    return await stream.readexactly(size)
