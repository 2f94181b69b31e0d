"""Decoding in workers: whatever a file does to its decoder, one request fails and no other."""

import asyncio
import io
import os
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import numpy as np
import psutil
import pytest
import soundfile

from audio.test_audio_hostile import HAND_MADE
from eureka_audio.audio.mono import AudioLimits
from eureka_audio.errors import AudioError, AudioFormatError, AudioLimitError, EmptyAudioError
from eureka_audio.server.decoding import DecodePool
from eureka_audio.server.limits import STRANGERS_LIMITS
from server.running import Running, wav


def with_pool(
    work: Callable[[DecodePool], Awaitable[Any]],
    limits: AudioLimits = STRANGERS_LIMITS,
    timeout_seconds: float = 20.0,
) -> Any:
    async def run() -> Any:
        pool = DecodePool(limits, 1, timeout_seconds)
        await pool.start()
        try:
            return await work(pool)
        finally:
            await pool.close()
            assert not pool._all

    return asyncio.run(run())


def test_what_comes_out_is_what_load_audio_gives() -> None:
    from eureka_audio.audio.decode import load_audio

    async def work(pool: DecodePool) -> Any:
        return await pool.decode(wav(1.0), "a.wav")

    audio = with_pool(work)
    assert np.array_equal(audio.waveform, load_audio(wav(1.0)).waveform)
    assert audio.waveform.flags.writeable
    assert audio.name == "a.wav"


def test_errors_keep_their_class_and_the_client_s_name() -> None:
    async def work(pool: DecodePool) -> None:
        for content, kind in ((b"x" * 100, AudioFormatError), (wav(0.01), EmptyAudioError),
                              (b"", EmptyAudioError)):  # fmt: skip
            with pytest.raises(kind, match=r"^a\.wav: "):
                await pool.decode(content, "a.wav")
        assert (await pool.decode(wav(), "b.wav")).duration_seconds == 1.0

    with_pool(work)


@pytest.mark.parametrize("fault", [signal.SIGSEGV, signal.SIGKILL, signal.SIGSTOP])
def test_a_worker_that_dies_or_hangs_costs_one_request(fault: signal.Signals) -> None:
    async def work(pool: DecodePool) -> None:
        for _ in range(3):
            [worker] = pool._all
            os.kill(worker.process.pid, fault)
            with pytest.raises(AudioError, match=r"crashed|took longer"):
                await pool.decode(wav(), "a.wav")
            started = time.monotonic()
            assert (await pool.decode(wav(), "b.wav")).duration_seconds == 1.0
            assert time.monotonic() - started < 20
            assert not psutil.pid_exists(worker.process.pid)

    with_pool(work, timeout_seconds=3.0)


def test_a_worker_that_is_cancelled_is_not_used_again() -> None:
    async def work(pool: DecodePool) -> None:
        [worker] = pool._all
        os.kill(worker.process.pid, signal.SIGSTOP)
        task = asyncio.create_task(pool.decode(wav(), "a.wav"))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await pool.decode(wav(0.5), "b.wav")).duration_seconds == 0.5

    with_pool(work)


def test_a_worker_that_is_cancelled_while_it_hands_over_samples_ends() -> None:
    """More of them than asyncio keeps unread, of which nobody reads the rest."""

    async def work(pool: DecodePool) -> None:
        for _ in range(pool.num_workers + 1):
            [worker] = pool._all
            stdout = worker.process.stdout
            task = asyncio.create_task(pool.decode(wav(60.0), "a.wav"))
            while len(stdout._buffer) < 2**17:
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task], timeout=20)
            assert task.cancelled()
            assert (await pool.decode(wav(0.5), "b.wav")).duration_seconds == 0.5
            assert not psutil.pid_exists(worker.process.pid)

    with_pool(work)


def test_a_pool_can_be_closed_while_a_worker_is_busy() -> None:
    async def work(pool: DecodePool) -> None:
        task = asyncio.create_task(pool.decode(wav(60.0), "a.wav"))
        await asyncio.sleep(0.05)
        async with asyncio.timeout(20):
            await pool.close()
        with pytest.raises(AudioError, match="crashed"):
            await task

    with_pool(work)


def bombs() -> dict[str, bytes]:
    """Small files that decode to something large."""
    found = {}
    for name, channels, rate, seconds, kind in (
        ("hour", 1, 16_000, 3_600, "FLAC"),
        ("eight channels", 8, 48_000, 400, "FLAC"),
        ("opus", 1, 48_000, 700, "OGG"),
    ):
        file = io.BytesIO()
        subtype = "OPUS" if kind == "OGG" else None
        settings = {"format": kind, "subtype": subtype}
        with soundfile.SoundFile(file, "w", rate, channels, **settings) as writer:
            block = np.zeros((rate * 10, channels), dtype=np.float32)
            for _ in range(seconds // 10):
                writer.write(block)
        found[name] = file.getvalue()
    return found


def test_bombs_are_refused_without_much_memory() -> None:
    async def work(pool: DecodePool) -> None:
        for name, content in bombs().items():
            assert len(content) < 2**20, name
            await pool.decode(wav(), "warm")
            [worker] = pool._all
            process = psutil.Process(worker.process.pid)
            before, peak = process.memory_info().rss, 0

            async def watch() -> None:
                nonlocal peak
                while True:
                    peak = max(peak, process.memory_info().rss)  # noqa: B023
                    await asyncio.sleep(0.005)

            watcher = asyncio.create_task(watch())
            with pytest.raises(AudioLimitError):
                await pool.decode(content, name)
            watcher.cancel()
            assert peak - before < 64 * 2**20, (name, peak - before)

    with_pool(work)


def test_a_worker_may_not_take_all_memory_nor_write_files(tmp_path: Any) -> None:
    import subprocess
    import sys

    code = (
        "from eureka_audio.server.decode_worker import limit_resources\n"
        "from eureka_audio.audio.mono import AudioLimits\n"
        "limit_resources(AudioLimits(max_encoded_bytes=2**20), 60)\n"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "try: bytearray(8 * 2**30)\n"
        "except MemoryError: print('memory')\n"
        "try:\n"
        f"    with open({str(tmp_path / 'x')!r}, 'wb', buffering=0) as file: file.write(b'x')\n"
        "except OSError: print('file')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["memory", "file"], done.stderr


def test_hostile_files_at_both_doors(server: Running, encoded: dict[str, bytes]) -> None:
    """Every hand-made hostile file: a 4xx with the four keys, or a transcript; never a 5xx."""
    import base64

    client = httpx2.Client(timeout=60)
    for case, make in HAND_MADE.items():
        content = make(encoded)
        form = client.post(
            f"{server.url}/v1/audio/transcriptions",
            data={"model": "tiny"},
            files={"file": ("a.wav", content)},
        )
        part = {"type": "input_audio", "input_audio": {"data": base64.b64encode(content).decode()}}
        body = {"model": "tiny", "messages": [{"role": "user", "content": [part]}], "max_tokens": 1}
        chat = client.post(f"{server.url}/v1/chat/completions", json=body)
        for answer in (form, chat):
            assert answer.status_code in (200, 400, 413), (case, answer.text)
            if answer.status_code != 200:
                error = answer.json()["error"]
                assert error.keys() == {"message", "type", "param", "code"}
                assert "0x" not in error["message"]
    good = client.post(
        f"{server.url}/v1/audio/transcriptions", data={"model": "tiny"}, files={"file": wav()}
    )
    assert good.status_code == 200
