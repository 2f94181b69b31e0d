"""A server under mixed requests, good, bad and dropped: does it stay what it was?

    python benchmarks/server_soak.py --tiny --out benchmarks/results/server_soak.json

A real process (`eureka-audio serve`) is asked by several clients at once. Every good request has a
known answer: the one it got when it was alone. Counted: answers that differ from it, 5xx, errors
without OpenAI's four keys. Watched: resident memory and open files of the server and its decoders.
"""

import argparse
import base64
import io
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import psutil
import soundfile
from acceptance import record

ROOT = Path(__file__).resolve().parent.parent
MIB = 2**20
NUM_CLIPS = 12
WARM_UP = 0.3  # of the requests: until then caches and pools still fill
ERROR_KEYS = {"message", "type", "param", "code"}

Ask = Callable[[httpx2.Client], str]


def main() -> int:
    """Run; 1 if an answer differed or a bad request gave a 5xx."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="nano")
    parser.add_argument("--tiny", action="store_true", help="random weights, made on the spot")
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so many")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = _tiny_checkpoint(Path(folder) / "tiny") if args.tiny else args.model
        with serving(model, Path(folder) / "log") as served:
            soak = Soak(served.url, served.process, args.requests)
            soak.run(args.clients, args.seconds)
            result = {
                "benchmark": "server_soak",
                "model": "tiny (random weights)" if args.tiny else args.model,
                "clients": args.clients,
                **soak.result(),
            }
    result["seconds_from_sigterm_to_end"] = served.seconds_to_end
    for name, value in result.items():
        print(f"{name:32} {value}")
    print(json.dumps(record(result, args.out)), flush=True)
    is_bad = result["mismatched"] or result["server_errors"] or result["odd_errors"]
    return int(bool(is_bad or served.seconds_to_end is None))


@dataclass
class Served:
    """A server process.

    Attributes:
        url: its address.
        process: watched.
        seconds_to_end: from SIGTERM on; `None` where it had to be killed.
    """

    url: str
    process: psutil.Process
    seconds_to_end: float | None = None


@contextmanager
def serving(model: str, log: Path) -> Iterator[Served]:
    """A server process, told to stop at the end."""
    command = [sys.executable, "-m", "eureka_audio.cli.main", "serve", "--model", model]
    with log.open("w") as file:
        server = subprocess.Popen(
            [*command, "--served-model-name", "m", "--port", "0"], stdout=file, stderr=file
        )
    try:
        while "running on " not in log.read_text():
            if server.poll() is not None:
                raise SystemExit(f"the server did not start:\n{log.read_text()}")
            time.sleep(0.1)
        url = log.read_text().partition("running on ")[2].split()[0]
        served = Served(url, psutil.Process(server.pid))
        yield served
        told = time.monotonic()
        server.terminate()
        with suppress(subprocess.TimeoutExpired):
            server.wait(120)
            served.seconds_to_end = round(time.monotonic() - told, 1)
    finally:
        server.kill()
        server.wait()


@dataclass
class Soak:
    """Requests to one server, and what is seen meanwhile."""

    url: str
    process: psutil.Process
    num_requests: int
    statuses: Counter[str] = field(default_factory=Counter)
    mismatched: list[str] = field(default_factory=list)
    server_errors: list[str] = field(default_factory=list)
    odd_errors: list[str] = field(default_factory=list)
    samples: list[tuple[int, int, int, int]] = field(default_factory=list)
    seconds: float = 0.0
    num_asked: int = 0

    def run(self, num_clients: int, max_seconds: float) -> None:
        """Learn the answers, then ask for all of them again and again, among bad requests."""
        good = good_requests()
        with httpx2.Client(base_url=self.url, timeout=300) as client:
            expected = {name: ask(client) for name, ask in good.items()}
        numbers = iter(range(self.num_requests))
        lock = threading.Lock()
        started = time.monotonic()

        def work(seed: int) -> None:
            rng = random.Random(seed)
            with httpx2.Client(base_url=self.url, timeout=300) as client:
                while True:
                    with lock:
                        number = next(numbers, None)
                        if number is None or time.monotonic() - started > max_seconds:
                            return
                        self.num_asked += 1
                        if number % 20 == 0:
                            self._sample(number)
                    self._one(client, rng, good, expected)

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(num_clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.seconds = time.monotonic() - started
        self._sample(self.num_asked)

    def _one(
        self,
        client: httpx2.Client,
        rng: random.Random,
        good: dict[str, Ask],
        expected: dict[str, str],
    ) -> None:
        kind = rng.choices(["good", "bad", "dropped"], [70, 25, 5])[0]
        if kind == "good":
            name = rng.choice(list(good))
            try:
                answer = good[name](client)
            except httpx2.HTTPStatusError as error:
                self._refused(name, error.response)
                return
            self.statuses["200"] += 1
            if answer != expected[name]:
                self.mismatched.append(f"{name}: {answer!r:.80} for {expected[name]!r:.80}")
        elif kind == "bad":
            name = rng.choice(list(BAD))
            refusal = BAD[name](client, rng)
            self._refused(name, refusal)
            if refusal.status_code < 400:
                self.odd_errors.append(f"{name}: {refusal.status_code}")
        else:
            drop(client, rng)
            self.statuses["dropped"] += 1

    def _refused(self, name: str, answer: httpx2.Response) -> None:
        self.statuses[str(answer.status_code)] += 1
        if answer.status_code >= 500:
            self.server_errors.append(f"{name}: {answer.status_code} {answer.text[:120]}")
        elif answer.status_code >= 400 and answer.json()["error"].keys() != ERROR_KEYS:
            self.odd_errors.append(f"{name}: {answer.text[:120]}")

    def _sample(self, number: int) -> None:
        everybody = [self.process, *self.process.children(recursive=True)]
        own = self.process.memory_info().rss
        total = sum(each.memory_info().rss for each in everybody)
        files = sum(each.num_fds() for each in everybody)
        self.samples.append((number, own, total, files))

    def result(self) -> dict[str, Any]:
        """All figures."""
        kept = [each for each in self.samples if each[0] >= WARM_UP * self.num_asked]
        numbers = np.array([each[0] for each in kept]) / 1_000
        own, total, files = (np.array([each[i] for each in kept]) for i in (1, 2, 3))
        return {
            "requests": self.num_asked,
            "wanted": self.num_requests,
            "seconds": round(self.seconds, 1),
            "statuses": dict(sorted(self.statuses.items())),
            "mismatched": len(self.mismatched),
            "server_errors": len(self.server_errors),
            "odd_errors": len(self.odd_errors),
            "examples": [*self.mismatched, *self.server_errors, *self.odd_errors][:10],
            "server_mib_per_1000_requests": round(float(np.polyfit(numbers, own / MIB, 1)[0]), 3),
            "all_mib_per_1000_requests": round(float(np.polyfit(numbers, total / MIB, 1)[0]), 3),
            "files_per_1000_requests": round(float(np.polyfit(numbers, files, 1)[0]), 3),
            "mib_at_start_and_end": [round(self.samples[i][1] / MIB, 1) for i in (0, -1)],
            "files_at_start_and_end": [self.samples[i][3] for i in (0, -1)],
            "health_at_end": httpx2.get(f"{self.url}/health").json(),
        }


def clip(seed: int) -> bytes:
    """A second or two of noise."""
    rng = np.random.default_rng(seed)
    samples = 0.1 * rng.standard_normal(8_000 + 2_000 * seed)
    file = io.BytesIO()
    soundfile.write(file, samples, 16_000, format="FLAC" if seed % 2 else "WAV")
    return file.getvalue()


def good_requests() -> dict[str, Ask]:
    """Requests whose answers are always the same, by a name."""
    asks: dict[str, Ask] = {}
    for seed in range(NUM_CLIPS):
        content = clip(seed)
        for kind in ("json", "verbose_json", "vtt"):
            asks[f"{kind} {seed}"] = _transcription(content, response_format=kind)
        asks[f"stream {seed}"] = _transcription(content, stream="true")
        asks[f"chat {seed}"] = _chat(content, {})
        sampled = {"temperature": 1.0, "seed": seed, "n": 2}
        asks[f"chat with a seed {seed}"] = _chat(content, sampled)
    return asks


def _transcription(content: bytes, **fields: str) -> Ask:
    def ask(client: httpx2.Client) -> str:
        answer = client.post(
            "/v1/audio/transcriptions",
            data={"model": "m", **fields},
            files={"file": ("clip", content)},
        )
        answer.raise_for_status()
        return answer.text

    return ask


def _chat(content: bytes, settings: dict[str, Any]) -> Ask:
    body = {"model": "m", "messages": _messages(content), "max_tokens": 16, **settings}

    def ask(client: httpx2.Client) -> str:
        answer = client.post("/v1/chat/completions", json=body)
        answer.raise_for_status()
        return str([choice["message"]["content"] for choice in answer.json()["choices"]])

    return ask


def _messages(content: bytes) -> list[dict[str, Any]]:
    data = base64.b64encode(content).decode()
    part = {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}
    return [{"role": "user", "content": [part, {"type": "text", "text": "What is this?"}]}]


def drop(client: httpx2.Client, rng: random.Random) -> None:
    """Ask for a long answer and leave early."""
    body = {"model": "m", "messages": _messages(clip(3)), "max_tokens": 300, "stream": True}
    try:
        with client.stream("POST", "/v1/chat/completions", json=body) as answer:
            for _ in answer.iter_raw():
                if rng.random() < 0.3:
                    return
    except httpx2.HTTPError:
        return


def _mutant(client: httpx2.Client, rng: random.Random) -> httpx2.Response:
    """A file whose header is damaged beyond hope."""
    content = bytearray(clip(rng.randrange(NUM_CLIPS)))
    content[:4] = rng.randbytes(4)
    return client.post(
        "/v1/audio/transcriptions", data={"model": "m"}, files={"file": bytes(content)}
    )


def _url(client: httpx2.Client, rng: random.Random) -> httpx2.Response:
    place = rng.choice(["http://127.0.0.1/a.wav", "file:///etc/passwd", "/etc/passwd"])
    content = [{"type": "audio_url", "audio_url": {"url": place}}]
    body = {"model": "m", "messages": [{"role": "user", "content": content}]}
    return client.post("/v1/chat/completions", json=body)


BAD: dict[str, Callable[[httpx2.Client, random.Random], httpx2.Response]] = {
    "mutant": _mutant,
    "url": _url,
    "no json": lambda c, r: c.post("/v1/chat/completions", content=r.randbytes(200)),
    "no form": lambda c, r: c.post("/v1/audio/transcriptions", content=r.randbytes(200)),
    "no model": lambda c, r: c.post("/v1/chat/completions", json={"model": "x", "messages": []}),
    "too short": lambda c, r: c.post(
        "/v1/audio/transcriptions", data={"model": "m"}, files={"file": clip(0)[:100]}
    ),
    "too large": lambda c, r: (
        c.post("/v1/chat/completions", content=b" " * (26 * MIB))
        if r.random() < 0.05
        else c.get("/v1/nothing")
    ),
}


def _tiny_checkpoint(folder: Path) -> str:
    """The model of the tests, as a checkpoint."""
    sys.path.insert(0, str(ROOT / "tests"))
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    from eureka_audio.model.weights import save_checkpoint
    from tiny import tiny_model, tiny_processor

    save_checkpoint(tiny_model(), folder, tiny_processor())
    return str(folder)


if __name__ == "__main__":
    sys.exit(main())
