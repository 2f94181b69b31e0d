"""Many requests that look alike, some cancelled: does anybody get another's answer?

    python benchmarks/engine_requests.py [--requests 10000] [--concurrency 64] [--out FILE]

A tiny model with random weights, whose answers differ from sound to sound, answers every kind of
request alone first, and then thousands of them from many threads, of which a fifth cancel at a
random moment. Requests are made to be mistaken for one another: the same text with other sounds of
the same length, the same sound with other text, prompts that begin alike. Counted are answers that
differ from the one given alone; what is still held once all have ended; and memory over time.
Prints a table, then one line of JSON; the exit code is 1 if anything is not 0 that should be.

Source of the goal: no answer of 10,000 at 64 at once differs, greedily in float32.
"""

import argparse
import ctypes
import json
import random
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import torch

from eureka_audio.audio.decode import DecodedAudio
from eureka_audio.durable import atomic_write
from eureka_audio.errors import RequestCancelledError
from eureka_audio.inference.engine import AudioEngine
from eureka_audio.inference.hardware import fingerprint
from eureka_audio.inference.requests import GenerationRequest
from eureka_audio.processor import EncodedConversation, EurekaAudioProcessor
from eureka_audio.text.chat import question_request

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
from tiny import tiny_model, tiny_processor

CANCELLED_SHARE = 0.2
TEXTS = ("what?", "what? what?", "who?", "what can be heard here, and who says what?")
SECONDS = (0.5, 0.5, 0.5, 1.2, 1.2, 2.0)
NUM_TOKENS = 16


def main(arguments: list[str] | None = None) -> int:
    """Ask, compare, print, write; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--out", type=Path, help="also write the JSON here")
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    engine = make_engine(args.concurrency)
    requests = make_requests(engine.processor)
    alone = [tokens_of(engine, request) for request in requests]
    started = time.perf_counter()
    outcomes, memory = ask(engine, requests, alone, args.requests, args.concurrency)
    engine.close(drain=True, timeout=60)
    stats = engine.stats()
    held = stats.num_running + stats.queue_length + stats.num_cache_bytes
    result = {
        "benchmark": "engine_requests",
        "num_requests": args.requests,
        "concurrency": args.concurrency,
        "kinds": len(requests),
        "different_answers_alone": len({tuple(tokens) for tokens in alone}),
        **{name: outcomes[name] for name in ("equal", "differ", "cancelled", "failed")},
        "held_after": held,
        "memory_kb_per_1000_requests": slope(memory),
        "seconds": round(time.perf_counter() - started, 1),
        **fingerprint(),
    }
    for name, value in result.items():
        print(f"{name:28} {value}")
    if args.out:
        with atomic_write(args.out) as stream:
            stream.write(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))
    return int(bool(outcomes["differ"] or outcomes["failed"] or held))


def make_engine(concurrency: int) -> AudioEngine:
    """Around the tests' model, whose answers differ; some of them end."""
    model, processor = tiny_model(1), tiny_processor()
    return AudioEngine(model, processor, max_batch_size=32, max_queue_length=concurrency)


def make_requests(processor: EurekaAudioProcessor) -> list[GenerationRequest]:
    """Every text with every sound; several sounds have the same length."""
    generator = torch.Generator().manual_seed(0)
    sounds = [
        DecodedAudio((0.1 * torch.randn(int(s * 16_000), generator=generator)).numpy(), "noise")
        for s in SECONDS
    ]
    encoded: list[EncodedConversation] = [
        processor.encode(question_request(sound, text), add_generation_prompt=True)
        for sound in sounds
        for text in TEXTS
    ]
    return [GenerationRequest(item, NUM_TOKENS, max_repeats=None) for item in encoded]


def tokens_of(engine: AudioEngine, request: GenerationRequest) -> list[int]:
    """The answer to one request."""
    return [event.token_id for event in engine.submit(request)]


def ask(
    engine: AudioEngine,
    requests: list[GenerationRequest],
    alone: list[list[int]],
    count: int,
    concurrency: int,
) -> tuple[Counter[str], list[tuple[int, int]]]:
    """Outcomes of so many requests, so many at once; memory in use now and then."""
    memory: list[tuple[int, int]] = []
    lock = threading.Lock()

    def one(number: int) -> str:
        chance = random.Random(number)
        kind = chance.randrange(len(requests))
        will_cancel, patience = chance.random() < CANCELLED_SHARE, chance.randrange(NUM_TOKENS)
        handle = engine.submit(requests[kind])
        tokens = []
        try:
            if will_cancel and patience < 4:
                time.sleep(0.02 * chance.random())
                handle.cancel()
            for event in handle:
                tokens.append(event.token_id)
                if will_cancel and len(tokens) > patience:
                    handle.cancel()
        except RequestCancelledError:
            return "cancelled" if will_cancel else "failed"
        finally:
            if number % 250 == 0:
                with lock:
                    memory.append((number, resident_kb()))
        return "equal" if tokens == alone[kind] else "differ"

    with ThreadPoolExecutor(concurrency) as pool:
        return Counter(pool.map(one, range(count))), sorted(memory)


def resident_kb() -> int:
    """Memory of this process; 0 where the system does not tell.

    What has been freed is handed back before: the C library keeps a store for each thread that ever
    was, which grows for a long time and is nothing that the engine holds.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    status = Path("/proc/self/status")
    lines = status.read_text("ascii", "replace").splitlines() if status.exists() else []
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), 0)


def slope(memory: list[tuple[int, int]]) -> float | None:
    """How memory grows, by a straight line through the second half of what was noted."""
    half = memory[len(memory) // 2 :]
    if len(half) < 3:
        return None
    numbers, sizes = (torch.tensor(each, dtype=torch.float64) for each in zip(*half, strict=True))
    centred = numbers - numbers.mean()
    return round(1000 * float((centred * sizes).sum() / centred.square().sum()), 1)


if __name__ == "__main__":
    sys.exit(main())
