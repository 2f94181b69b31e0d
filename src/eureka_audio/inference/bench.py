"""How fast one conversation is decoded on the CPU, against transformers; what hearing costs.

`measure` is what `eureka-audio bench` runs. Its parts work on any device and for any batch;
`benchmarks/gpu_suite.py` is made of them.

Decoding reads every weight of the language model once for each token, so tokens per second times
bytes of weights is the speed of memory that is reached; the ceiling is what the machine has. Speed
does not depend on what the weights are, so they are random.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from statistics import median
from typing import Any

import torch
from torch import Tensor
from transformers.generation.streamers import BaseStreamer
from transformers.initialization import no_init_weights

from eureka_audio.audio.clock import SAMPLING_RATE, num_mel_frames
from eureka_audio.errors import ConfigError
from eureka_audio.inference.decoding import Decoding
from eureka_audio.inference.hardware import fingerprint
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
        weight_bytes = bytes_read_per_token(model)
        prompt = torch.arange(NUM_PROMPT_TOKENS)[None]
        plain = seconds_per_step(transformers_times(model, prompt, num_tokens))
        ours = seconds_per_step(our_times(model, prompt, num_tokens))
        short, long = (
            _hearing_seconds(model, seconds) for seconds in (SHORT_SECONDS, LONG_SECONDS)
        )
        machine = fingerprint()
    return {
        "benchmark": "cpu_decode",
        "preset": name,
        "dtype": "bfloat16",
        "num_tokens": num_tokens,
        "weight_gb": round(weight_bytes / 1e9, 3),
        "ours": speed(ours, weight_bytes),
        "transformers": speed(plain, weight_bytes),
        "speed_up": round(plain / ours, 2),
        "encoder": {
            f"seconds_of_{SHORT_SECONDS}s_clip": round(short, 4),
            f"seconds_of_{LONG_SECONDS}s_clip": round(long, 4),
            "ratio": round(short / long, 4),
        },
        **machine,
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


def random_model(name: str, **overrides: Any) -> EurekaAudioForConditionalGeneration:
    """A preset with random weights in bfloat16, its windows not padded; quick, for it copies.

    Matrices are filled from one block of random numbers again and again: drawing billions would
    take minutes and change nothing that is measured.
    """
    config = preset(name, **{"pad_windows": False, **overrides})
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


def bytes_read_per_token(model: EurekaAudioForConditionalGeneration) -> int:
    """Bytes of weights that a step of decoding reads.

    All weights of the language model, save an embedding of which one row is read.
    """
    language_model = model.language_model
    embedding, head = language_model.get_input_embeddings(), language_model.lm_head
    looked_up = None if embedding.weight is head.weight else embedding.weight
    return sum(
        parameter.numel() * parameter.element_size()
        for parameter in language_model.parameters()
        if parameter is not looked_up
    )


def our_times(
    model: EurekaAudioForConditionalGeneration,
    prompt: Tensor,
    num_tokens: int,
    clock: Callable[[], float] = time.perf_counter,
) -> list[float]:
    """When each token of a batch `(B, T)` was there, decoded as our engine does it.

    The engine looks at every token, so that a GPU has finished it when the clock is read.
    """
    times = []
    embed = model.get_input_embeddings()
    decoding = Decoding(model)
    decoding.start(len(prompt))
    logits_BV = decoding.extend(embed(prompt))
    for _ in range(num_tokens):
        tokens = logits_BV.argmax(dim=-1).tolist()
        times.append(clock())
        logits_BV = decoding.extend(embed(torch.tensor(tokens, device=prompt.device)[:, None]))
    return times


def transformers_times(
    model: EurekaAudioForConditionalGeneration,
    prompt: Tensor,
    num_tokens: int,
    clock: Callable[[], float] = time.perf_counter,
) -> list[float]:
    """When each token of a batch `(B, T)` was there, decoded by `generate` as a user calls it."""
    streamer = _Times(clock)
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

    def __init__(self, read_clock: Callable[[], float]) -> None:
        self.times: list[float] = []
        self._read_clock = read_clock

    def put(self, value: Tensor) -> None:
        self.times.append(self._read_clock())

    def end(self) -> None:
        pass


def seconds_per_step(times: list[float]) -> float:
    """The median time between two tokens, past the first ones."""
    return median(later - earlier for earlier, later in pairwise(times[NUM_WARM_UP:]))


def _hearing_seconds(model: EurekaAudioForConditionalGeneration, seconds: int) -> float:
    """What encoder and adapter take for one clip; a short one is run twice, the better counts."""
    num_frames = num_mel_frames(seconds * SAMPLING_RATE)
    features = torch.zeros(1, model.config.audio_config.num_mel_bins, num_frames)
    runs = []
    for _ in range(2 if seconds == SHORT_SECONDS else 1):
        start = time.perf_counter()
        model.get_audio_features(features.bfloat16())
        runs.append(time.perf_counter() - start)
    return min(runs)


def speed(seconds: float, weight_bytes: int, batch_size: int = 1) -> dict[str, float]:
    """What a step of so many seconds amounts to, when it adds a token to each row of a batch."""
    return {
        "tokens_per_second": round(batch_size / seconds, 3),
        "gb_per_second": round(weight_bytes / seconds / 1e9, 2),
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
