"""Everything that wants a GPU, measured in one call: a table, then one line of JSON.

    python benchmarks/gpu_suite.py [--device cuda] [--preset eureka-audio-1.7b] [--out FILE]

    decode     tokens a second and the speed of memory reached, ours beside transformers' generate
    prefill    from log-mel to the first token, for one clip, a long recording, a batch
    training   forward, backward and optimiser step: tokens a second, peak memory
    adapter    sparse experts as grouped products, as a plain loop, and the dense baseline
    parity     the packaged nano in float32: logits and greedy tokens of the device against the CPU

Shapes are those of a preset, weights random (speed does not depend on them), bfloat16 unless a row
says otherwise. A part that fails is reported in its place (EUREKA_AUDIO_DEBUG=1 shows where) and
the others are still measured; the exit code is then 1, as it is when nano computes something else
on the device than on the CPU. On a CPU everything is done in small, to show that it works.
"""

import argparse
import gc
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from transformers.utils.logging import disable_progress_bar

from eureka_audio.audio import clock
from eureka_audio.durable import atomic_write
from eureka_audio.inference.assistant import EurekaAudio
from eureka_audio.inference.bench import (
    bytes_read_per_token,
    our_times,
    random_model,
    seconds_per_step,
    speed,
    transformers_times,
)
from eureka_audio.inference.decoding import Decoding
from eureka_audio.inference.engine import AudioEngine
from eureka_audio.inference.hardware import PeakMemory, fingerprint
from eureka_audio.inference.requests import GenerationRequest
from eureka_audio.model import (
    EurekaAudioAdapterConfig,
    EurekaAudioForConditionalGeneration,
    preset,
)
from eureka_audio.model.adapter import DenseAdapter, EurekaAudioAdapter, RouterStatistics
from eureka_audio.processor import EncodedConversation
from eureka_audio.text.chat import caption_request
from eureka_audio.training.optimizer import OptimizerConfig, build_optimizers
from eureka_audio.training.trainer import TrainerConfig, train_step

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
AUDIO_TOKEN_ID, TEXT_TOKEN_ID = 5, 6  # any two: the weights mean nothing
NUM_TEXT_TOKENS = 32  # before the audio, and after it
TOLERANCE = 1e-3  # of the largest logit; float32 in another order of summing stays far below

Row = dict[str, Any]


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    batch_sizes: tuple[int, ...]  # of decoding
    num_prompt_tokens: int
    num_tokens: int
    clips: tuple[tuple[int, int], ...]  # of prefill: how many, how many seconds each
    training_batch: tuple[int, int]  # the same, of one step
    num_training_steps: int
    num_audio_tokens: tuple[int, ...]  # through the adapter
    num_runs: int
    num_parity_clips: int
    num_parity_tokens: int


FULL = Sizes(
    batch_sizes=(1, 8, 32),
    num_prompt_tokens=400,  # about a clip of 30 s and a question
    num_tokens=64,
    clips=((1, 30), (1, 600), (16, 30)),
    training_batch=(8, 30),
    num_training_steps=3,
    num_audio_tokens=(375, 6000),
    num_runs=5,
    num_parity_clips=10,
    num_parity_tokens=48,
)
SMALL = Sizes(
    batch_sizes=(1, 2),
    num_prompt_tokens=16,
    num_tokens=5,
    clips=((1, 2), (2, 1)),
    training_batch=(2, 1),
    num_training_steps=1,
    num_audio_tokens=(25,),
    num_runs=1,
    num_parity_clips=2,
    num_parity_tokens=6,
)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--preset", default="eureka-audio-1.7b")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--out", type=Path, help="also write the JSON here, after each part")
    args = parser.parse_args(arguments)
    device = torch.device(args.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.error("--device: expected a GPU, torch finds none; try --device cpu --preset nano")
    started = time.perf_counter()
    disable_progress_bar()
    sizes = SMALL if device.type == "cpu" else FULL
    result: Row = {
        "benchmark": "gpu_suite",
        "preset": args.preset,
        "precision": "bfloat16; training: float32 weights, bfloat16 autocast; parity: float32",
        **fingerprint(device),
        "parts": {},
    }
    hardware = result["hardware"]
    print(f"{args.preset} on {hardware.get('gpu', hardware['cpu'])}, commit {result['commit']}")
    has_failed = False
    for name in args.parts:
        since = time.perf_counter()
        try:
            rows = PARTS[name](args.preset, device, sizes)
        except Exception as error:  # the edge of the process: the other parts are still wanted
            if os.environ.get("EUREKA_AUDIO_DEBUG"):
                raise
            rows = [{"error": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}]
        free_memory(device)
        has_failed |= any("error" in row or row.get("agrees") is False for row in rows)
        seconds = round(time.perf_counter() - since, 1)
        result["parts"][name] = {"seconds": seconds, "rows": rows}
        result["seconds"] = round(time.perf_counter() - started, 1)
        print(table(name, seconds, rows), flush=True)
        if args.out:
            with atomic_write(args.out) as stream:
                stream.write(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))
    return int(has_failed)


def table(name: str, seconds: float, rows: list[Row]) -> str:
    """Rows under the names of their columns."""
    lines = [f"\n{name} ({seconds:g} s)"]
    header: list[str] = []
    for row in rows:
        if list(row) != header:
            header = list(row)
            lines.append("  " + "  ".join(f"{column:>16}" for column in header))
        lines.append("  " + "  ".join(f"{value!s:>16}" for value in row.values()))
    return "\n".join(lines)


def measure_decode(name: str, device: torch.device, sizes: Sizes) -> list[Row]:
    """Decoding of batches after a prompt; weights read a second, whatever the batch."""
    model = random_model(name).to(device)
    weight_bytes = bytes_read_per_token(model)
    vocab_size = model.config.text_config.vocab_size
    rows = []
    for batch_size in sizes.batch_sizes:
        ids = torch.arange(batch_size * sizes.num_prompt_tokens, device=device) % vocab_size
        prompt = ids.view(batch_size, -1)
        with torch.inference_mode():
            ours = seconds_per_step(our_times(model, prompt, sizes.num_tokens))
            theirs = seconds_per_step(transformers_times(model, prompt, sizes.num_tokens))
        for who, seconds in (("ours", ours), ("transformers", theirs)):
            row: Row = {"batch_size": batch_size, "decoded_by": who}
            rows.append(
                row
                | speed(seconds, weight_bytes, batch_size)
                | {"ms_per_step": round(1000 * seconds, 3)}
            )
    return rows


def measure_prefill(name: str, device: torch.device, sizes: Sizes) -> list[Row]:
    """From log-mel on the device to the first logits; hearing alone, and all of it."""
    model = random_model(name).to(device)
    rows = []
    for num_clips, num_seconds in sizes.clips:
        batch = make_batch(model, num_clips, num_seconds, device)
        audio = {name: batch[name] for name in ("input_features", "feature_lengths")}
        with torch.inference_mode():
            hearing = timed(partial(model.get_audio_features, **audio), device, sizes.num_runs)
            whole = timed(partial(prefill, model, batch), device, sizes.num_runs)
        rows.append(
            {
                "clips": num_clips,
                "clip_seconds": num_seconds,
                "tokens": batch["input_ids"].numel(),
                "hearing_ms": round(1000 * hearing, 2),
                "prefill_ms": round(1000 * whole, 2),
                "tokens_per_second": round(batch["input_ids"].numel() / whole),
                "times_real_time": round(num_clips * num_seconds / whole, 1),
            }
        )
    return rows


def measure_training(name: str, device: torch.device, sizes: Sizes) -> list[Row]:
    """Steps of the project's own trainer; what does not fit is tried with checkpointing."""
    rows = []
    for optimizer in ("adamw", "muon"):
        for checkpointing in (False, True):
            row: Row = {"optimizer": optimizer, "gradient_checkpointing": checkpointing}
            try:
                rows.append(row | training_row(name, device, sizes, optimizer, checkpointing))
                break
            except torch.OutOfMemoryError:
                rows.append(row | {"fits": False})
                if checkpointing:
                    raise
            free_memory(device)  # outside of the clause, whose traceback holds on to tensors
    return rows


def training_row(
    name: str, device: torch.device, sizes: Sizes, optimizer: str, checkpointing: bool
) -> Row:
    """Seconds and memory of one step, everything trainable."""
    model = random_model(name).to(device).float().train()
    batch = make_batch(model, *sizes.training_batch, device)
    batch["labels"] = batch["input_ids"].masked_fill(batch["input_ids"] == AUDIO_TOKEN_ID, -100)
    if checkpointing:
        model.gradient_checkpointing_enable()
    part = {**batch, "counts": {"batches": 1}}
    learner = Learner(model)
    settings = OptimizerConfig(name=optimizer, learning_rate=1e-5)
    optimizers = build_optimizers(learner, settings)
    config = TrainerConfig(optimizer=settings)
    memory = PeakMemory(device)
    losses: list[float] = []

    def step() -> None:
        losses.append(train_step(learner, [part], optimizers, 1.0, config)["loss"])

    seconds = timed(step, device, sizes.num_training_steps)
    num_clips, num_seconds = sizes.training_batch
    return {
        "clips": num_clips,
        "clip_seconds": num_seconds,
        "tokens": batch["input_ids"].numel(),
        "seconds_per_step": round(seconds, 4),
        "tokens_per_second": round(batch["input_ids"].numel() / seconds),
        "times_real_time": round(num_clips * num_seconds / seconds, 1),
        "peak_gb": round(memory.num_bytes() / 1e9, 2),
        "first_loss": round(losses[0], 4),
        "last_loss": round(losses[-1], 4),
    }


class Learner(nn.Module):
    """A model as the trainer calls it."""

    def __init__(self, model: EurekaAudioForConditionalGeneration) -> None:
        super().__init__()
        self.model = model

    def forward(self, totals: dict[str, float], **batch: Tensor) -> SimpleNamespace:
        return SimpleNamespace(loss=self.model(**batch, use_cache=False).loss, metrics={})


def measure_adapter(name: str, device: torch.device, sizes: Sizes) -> list[Row]:
    """The same tokens through sparse experts in two ways, and through the dense baseline.

    The baseline has as many parameters as act on one token, so it is what the sparse experts should
    cost. Backward goes to the weights.
    """
    config: EurekaAudioAdapterConfig = preset(name).adapter_config
    torch.manual_seed(0)
    sparse = with_random_weights(EurekaAudioAdapter(config), device)
    dense = with_random_weights(DenseAdapter(config), device)
    rows = []
    for num_tokens in sizes.num_audio_tokens:
        tokens = torch.randn(num_tokens, config.input_size, device=device).bfloat16()

        def grouped(tokens: Tensor = tokens) -> Tensor:
            return sparse.experts(tokens, sparse.router(tokens))

        def looped(tokens: Tensor = tokens) -> Tensor:
            return looped_experts(sparse, tokens, sparse.router(tokens))

        def whole(tokens: Tensor = tokens) -> Tensor:
            return sparse.mix(tokens)[0]

        def plain(tokens: Tensor = tokens) -> Tensor:
            return dense.mix(tokens)[0]

        with torch.inference_mode():
            difference = (grouped() - looped()).abs().max() / looped().abs().max()
        for name, compute in (
            ("routed, grouped", grouped),
            ("routed, looped", looped),
            ("all of sparse", whole),
            ("dense baseline", plain),
        ):
            with torch.inference_mode():
                forward = timed(compute, device, sizes.num_runs)
            both = timed(partial(_there_and_back, compute), device, sizes.num_runs)
            row: Row = {
                "audio_tokens": num_tokens,
                "experts": name,
                "forward_ms": round(1000 * forward, 3),
                "with_backward_ms": round(1000 * both, 3),
            }
            rows.append(row)
        rows.append({"audio_tokens": num_tokens, "grouped_to_looped": float(f"{difference:.3g}")})
    return rows


def with_random_weights(adapter: nn.Module, device: torch.device) -> Any:
    """An adapter with random weights in bfloat16, on the device."""
    for parameter in adapter.parameters():
        nn.init.normal_(parameter, std=0.02)
    return adapter.to(device, torch.bfloat16)


def looped_experts(
    adapter: EurekaAudioAdapter, tokens: Tensor, routing: RouterStatistics
) -> Tensor:
    """What `Experts` gives, expert by expert."""
    experts = adapter.experts
    output = tokens.new_zeros(len(tokens), experts.down_proj.shape[1])
    for expert in range(len(experts.up_proj)):
        token_ids, choices = (routing.topk_expert_ids == expert).nonzero(as_tuple=True)
        hidden = nn.functional.silu(tokens[token_ids] @ experts.up_proj[expert].T)
        weights = routing.topk_weights[token_ids, choices, None].to(hidden.dtype)
        output = output.index_add(0, token_ids, weights * (hidden @ experts.down_proj[expert].T))
    return output


def measure_parity(name: str, device: torch.device, sizes: Sizes) -> list[Row]:
    """The packaged nano, whatever the preset: what the device computes is what the CPU does."""
    clips = sorted(EXAMPLES.glob("*.flac"))[: sizes.num_parity_clips]
    seen: list[tuple[Tensor, list[list[int]]]] = []
    with exact_products():
        for place in (torch.device("cpu"), device):
            model = EurekaAudio.from_pretrained("nano", device=place, dtype="float32")
            encoded = [
                model.processor.encode(caption_request(clip), add_generation_prompt=True)
                for clip in clips
            ]
            seen.append(heard(model, encoded, sizes.num_parity_tokens))
    (logits, tokens), (other_logits, other_tokens) = seen
    num_equal = sum(left == right for left, right in zip(tokens, other_tokens, strict=True))
    largest, difference = logits.abs().max(), (logits - other_logits).abs().max()
    return [
        {
            "clips": len(clips),
            "largest_logit": round(float(largest), 3),
            "max_difference": float(f"{difference:.3g}"),
            "equal_answers": num_equal,
            "tokens_compared": sum(map(len, tokens)),
            "agrees": bool(difference <= TOLERANCE * largest) and num_equal == len(clips),
        }
    ]


@torch.inference_mode()
def heard(
    model: EurekaAudio, encoded: list[EncodedConversation], num_tokens: int
) -> tuple[Tensor, list[list[int]]]:
    """Logits of every real position of a batch, and the greedy answers to it."""
    batch = model.processor.collate(encoded).to(model.model.device)
    logits = model.model(**batch).logits[batch["attention_mask"].bool()].cpu()
    requests = [GenerationRequest(item, num_tokens, max_repeats=None) for item in encoded]
    with AudioEngine(model.model, model.processor).submitted(requests) as handles:
        answers = [[event.token_id for event in handle] for handle in handles]
    return logits, answers


@contextmanager
def exact_products() -> Iterator[None]:
    """Keep float32 what it says: no TF32 in matrix products or convolutions."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def prefill(model: EurekaAudioForConditionalGeneration, batch: dict[str, Tensor]) -> Tensor:
    """The logits `(B, V)` after prompts of one length, heard and read at once."""
    audio = model.get_audio_features(batch["input_features"], batch["feature_lengths"])
    decoding = Decoding(model)
    decoding.start(len(batch["input_ids"]))
    return decoding.extend(model.embed(batch["input_ids"], audio))


def make_batch(
    model: EurekaAudioForConditionalGeneration,
    num_clips: int,
    num_seconds: int,
    device: torch.device,
) -> dict[str, Tensor]:
    """Conversations of one recording each, cut into windows of 30 s, and some text."""
    model.config.audio_token_id = AUDIO_TOKEN_ID
    lengths = [clock.WINDOW_SECONDS] * (num_seconds // clock.WINDOW_SECONDS)
    if num_seconds % clock.WINDOW_SECONDS:
        lengths.append(num_seconds % clock.WINDOW_SECONDS)
    frames = [clock.num_mel_frames(int(length * clock.SAMPLING_RATE)) for length in lengths]
    ids = [TEXT_TOKEN_ID] * NUM_TEXT_TOKENS
    for num_frames in frames:
        ids += [AUDIO_TOKEN_ID] * clock.num_audio_tokens(num_frames) + [TEXT_TOKEN_ID]
    ids += [TEXT_TOKEN_ID] * NUM_TEXT_TOKENS
    input_ids = torch.tensor([ids] * num_clips, device=device)
    num_bins = model.config.audio_config.num_mel_bins
    return {
        "input_ids": input_ids,
        "attention_mask": torch.ones_like(input_ids),
        "input_features": torch.randn(
            num_clips * len(frames), num_bins, max(frames), device=device, dtype=model.dtype
        ),
        "feature_lengths": torch.tensor(frames * num_clips, device=device),
    }


def _there_and_back(compute: Callable[[], Tensor]) -> None:
    """Forward and backward."""
    compute().sum().backward()


def timed(compute: Callable[[], Any], device: torch.device, num_runs: int) -> float:
    """Median seconds of some runs, after one that does not count."""
    seconds = []
    for _ in range(1 + num_runs):
        start = time.perf_counter()
        compute()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - start)
    return median(seconds[1:])


def free_memory(device: torch.device) -> None:
    """Give back what nothing uses any more, models that hold on to themselves included."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


PARTS: dict[str, Callable[[str, torch.device, Sizes], list[Row]]] = {
    "decode": measure_decode,
    "prefill": measure_prefill,
    "training": measure_training,
    "adapter": measure_adapter,
    "parity": measure_parity,
}

if __name__ == "__main__":
    sys.exit(main())
