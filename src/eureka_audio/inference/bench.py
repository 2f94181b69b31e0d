"""How fast one conversation is decoded on the CPU, against transformers; what hearing costs.

Decoding reads every weight of the language model once for each token, so tokens per second times
bytes of weights is the speed of memory that is reached; the ceiling is what the machine has. Speed
does not depend on what the weights are, so they are random.
"""

import platform
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers.generation.streamers import BaseStreamer
from transformers.initialization import no_init_weights

import eureka_audio
from eureka_audio.audio import clock
from eureka_audio.errors import ConfigError
from eureka_audio.inference.engine import Decoding
from eureka_audio.model import EurekaAudioForConditionalGeneration, preset

NUM_PROMPT_TOKENS = 16
SHORT_SECONDS, LONG_SECONDS = 3, 30
NUM_WARM_UP = 2  # tokens before the clock starts
RANDOM_NUMBERS = 1_000_003  # a prime, so that no two rows of a matrix repeat each other


def measure(name: str, *, num_tokens: int, num_threads: int | None = None) -> dict[str, Any]:
    """Measure a preset on the CPU in bfloat16.

    Args:
        name: of a preset.
        num_tokens: to decode, each way.
        num_threads: of torch, while measuring; `None` leaves it as it is.

    Raises:
        ConfigError: no such preset, or too few tokens to measure.
    """
    if num_tokens < 4 or (num_threads is not None and num_threads < 1):
        raise ConfigError(
            f"bench: expected at least 4 tokens and 1 thread, got {num_tokens} and {num_threads}"
        )
    with _threads(num_threads), torch.inference_mode():
        model = random_model(name)
        weight_bytes = _bytes_read_per_token(model)
        prompt = torch.arange(NUM_PROMPT_TOKENS)[None]
        plain = _seconds_per_token(_transformers_times(model, prompt, num_tokens))
        ours = _seconds_per_token(_our_times(model, prompt, num_tokens))
        short, long = (
            _hearing_seconds(model, seconds) for seconds in (SHORT_SECONDS, LONG_SECONDS)
        )
        num_threads = torch.get_num_threads()
    return {
        "benchmark": "cpu_decode",
        "preset": name,
        "dtype": "bfloat16",
        "num_tokens": num_tokens,
        "weight_gb": round(weight_bytes / 1e9, 3),
        "ours": _speed(ours, weight_bytes),
        "transformers": _speed(plain, weight_bytes),
        "speed_up": round(plain / ours, 2),
        "encoder": {
            f"seconds_of_{SHORT_SECONDS}s_clip": round(short, 4),
            f"seconds_of_{LONG_SECONDS}s_clip": round(long, 4),
            "ratio": round(short / long, 4),
        },
        "hardware": {"cpu": _cpu_name(), "num_threads": num_threads},
        "versions": {
            "eureka_audio": eureka_audio.__version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "python": platform.python_version(),
        },
        "commit": _commit(),
    }


def render(result: dict[str, Any]) -> str:
    """The result as a table."""
    lines = [
        f"{result['preset']}, {result['dtype']}, {result['weight_gb']:g} GB read for each token, "
        f"{result['hardware']['num_threads']} threads of {result['hardware']['cpu']}",
        f"{'decoding':14}{'tokens/s':>10}{'GB/s':>8}",
    ]
    for who in ("transformers", "ours"):
        speed = result[who]
        lines.append(f"{who:14}{speed['tokens_per_second']:10.2f}{speed['gb_per_second']:8.1f}")
    encoder = result["encoder"]
    lines += [
        f"ours is {result['speed_up']:g} times as fast",
        f"hearing {SHORT_SECONDS} s costs {encoder['ratio']:.1%} of hearing {LONG_SECONDS} s",
    ]
    return "\n".join(lines)


def random_model(name: str) -> EurekaAudioForConditionalGeneration:
    """A preset with random weights in bfloat16, its windows not padded; quick, for it copies.

    Matrices are filled from one block of random numbers again and again: drawing billions would
    take minutes and change nothing that is measured.
    """
    config = preset(name, pad_windows=False)
    with no_init_weights():
        model: EurekaAudioForConditionalGeneration = (
            EurekaAudioForConditionalGeneration._from_config(config, dtype=torch.bfloat16)
        )
    generator = torch.Generator().manual_seed(0)
    block = torch.randn(RANDOM_NUMBERS, generator=generator).mul_(0.02).bfloat16()
    for parameter in model.parameters():
        flat = parameter.data.view(-1)
        if parameter.ndim < 2:
            flat.fill_(1.0)  # gains; a bias of 1 hurts nobody here
            continue
        for start in range(0, len(flat), RANDOM_NUMBERS):
            piece = flat[start : start + RANDOM_NUMBERS]
            piece.copy_(block[: len(piece)])
    return model.eval()


def _bytes_read_per_token(model: EurekaAudioForConditionalGeneration) -> int:
    """All weights of the language model, save an embedding of which one row is read."""
    language_model = model.language_model
    embedding, head = language_model.get_input_embeddings(), language_model.lm_head
    looked_up = None if embedding.weight is head.weight else embedding.weight
    return sum(
        parameter.numel() * parameter.element_size()
        for parameter in language_model.parameters()
        if parameter is not looked_up
    )


def _our_times(
    model: EurekaAudioForConditionalGeneration, prompt: Tensor, num_tokens: int
) -> list[float]:
    """When each token was there, decoded by our engine."""
    times = []
    decoding = Decoding.start(model, prompt, torch.ones_like(prompt))
    for _ in range(num_tokens):
        tokens_B1 = decoding.logits_BV.argmax(dim=-1)[:, None]
        times.append(time.perf_counter())
        decoding.extend(tokens_B1)
    return times


def _transformers_times(
    model: EurekaAudioForConditionalGeneration, prompt: Tensor, num_tokens: int
) -> list[float]:
    """When each token was there, decoded by `generate` as a user would call it."""
    streamer = _Times()
    model.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=num_tokens,
        min_new_tokens=num_tokens,
        do_sample=False,
        pad_token_id=0,
        streamer=streamer,
    )
    return streamer.times[1:]  # the first is the prompt


class _Times(BaseStreamer):
    """Notes when `generate` reports a token."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def put(self, value: Tensor) -> None:
        self.times.append(time.perf_counter())

    def end(self) -> None:
        pass


def _seconds_per_token(times: list[float]) -> float:
    """The median time between two tokens, past the first ones."""
    return median(later - earlier for earlier, later in pairwise(times[NUM_WARM_UP:]))


def _hearing_seconds(model: EurekaAudioForConditionalGeneration, seconds: int) -> float:
    """What encoder and adapter take for one clip; a short one is run twice, the better counts."""
    num_frames = clock.num_mel_frames(seconds * clock.SAMPLING_RATE)
    features = torch.zeros(1, model.config.audio_config.num_mel_bins, num_frames)
    runs = []
    for _ in range(2 if seconds == SHORT_SECONDS else 1):
        start = time.perf_counter()
        model.get_audio_features(features.bfloat16())
        runs.append(time.perf_counter() - start)
    return min(runs)


def _speed(seconds_per_token: float, weight_bytes: int) -> dict[str, float]:
    return {
        "tokens_per_second": round(1 / seconds_per_token, 3),
        "gb_per_second": round(weight_bytes / seconds_per_token / 1e9, 2),
    }


@contextmanager
def _threads(num_threads: int | None) -> Iterator[None]:
    """Let torch use so many threads for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _cpu_name() -> str:
    """What the processor calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _commit() -> str | None:
    """The commit of the checkout this runs from; `None` when it is installed otherwise."""
    try:
        found = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"],
            capture_output=True,
            text=True,
            check=True,
            timeout=5,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()
