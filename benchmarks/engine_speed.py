"""How fast the engine is on a CPU, beside the plain ways to do the same, in one run.

    python benchmarks/engine_speed.py [--parts ...] [--threads 1] [--out FILE]

    concurrent   32 requests at once against one after the other: tokens a second
    first_token  a clip of 5 s as long as it is, against the same clip in a window of 30 s
    decode       one conversation: ours, transformers' `generate`, and rounded weights
    kernels      weights a second that products of one row reach, each kernel torch has
    llama        one conversation with SmolLM2-135M's own weights: ours, and llama.cpp's; how near
                 rounded weights come to float32 on a text; needs llama-cpp-python, built for the
                 machine, and --gguf, the catalogue's file

Elsewhere the decoder has the shape of SmolLM2-135M and random weights (speed does not depend on
them), the encoder that of whisper-base. `cpu` seconds are what the process worked, `wall` seconds
also hold what other processes made it wait: on a shared machine read the former. Goals that are
missed are named; the exit code is 1 then.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from eureka_audio.audio.clock import num_audio_tokens
from eureka_audio.audio.features import log_mel_spectrogram
from eureka_audio.checksums import sha256
from eureka_audio.durable import atomic_write
from eureka_audio.inference.bench import our_times, random_model, transformers_times
from eureka_audio.inference.decoding import Decoding
from eureka_audio.inference.encoder_cache import EncoderCache
from eureka_audio.inference.engine import AudioEngine
from eureka_audio.inference.hardware import fingerprint
from eureka_audio.inference.requests import GenerationRequest
from eureka_audio.inference.rounded_weights import ROUNDED, quantize_weights
from eureka_audio.inference.single_row import best_times, matrix_vector_products
from eureka_audio.joining import join
from eureka_audio.model import EurekaAudioForConditionalGeneration
from eureka_audio.parts.catalogue import PARTS as PART_CATALOGUE
from eureka_audio.processor import EncodedConversation

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
from tiny import make_processor

SMOL = {
    "vocab_size": 49152,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "head_dim": 64,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": True,
}
WHISPER_BASE = {
    "d_model": 512,
    "encoder_layers": 6,
    "encoder_attention_heads": 8,
    "encoder_ffn_dim": 2048,
}
AUDIO_TOKEN_ID = 5
NUM_REQUESTS = 32
GOALS = {
    "concurrent": {"speed_up": 4.0},
    "first_token": {"share_of_padded": 0.35},
    "decode": {"ours_per_generate": 1.0},
    "llama": {"bfloat16_per_llama_cpp": 1.2, "int8_per_llama_cpp": 1.2, "int4_per_llama_cpp": 1.0},
}
AT_MOST = {"share_of_padded"}
# What llama.cpp calls its kinds of weights, and what we have in their place.
LLAMA_TYPES = {"BF16": "bfloat16", "Q8_0": "int8", "Q4_0": "int4"}
LLAMA_PART = PART_CATALOGUE["smollm2-135m"]
LLAMA_PROMPT = "<|im_start|>user\nWhat can be heard in a harbour at night?<|im_end|>\n"
# What rounded weights are compared on.
TEXT = """\
The ferry leaves at six in the morning, long before the shops along the quay have opened. A few \
fishermen stand by the rail and talk quietly, and a woman with two children looks for a seat out \
of the wind. When the engine starts, the gulls rise from the roof of the customs house, circle \
once above the water and come down again on the other side of the harbour. The captain has made \
this journey every day for nineteen years. He says that no two crossings are the same: in summer \
the sea is so clear that one can count the stones on the bottom, and in winter the waves break \
over the bow and freeze on the windows. Most of his passengers work in the hospital or at the \
school on the mainland, and many of them sleep until the boat touches the pier. In the evening he \
brings them home, ties the ropes to the same two posts, and writes down the time, the weather and \
the number of people on board."""

Row = dict[str, Any]


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    alone = [name for name in PARTS if name != "llama"]
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=alone)
    parser.add_argument("--gguf", type=Path, help="of the part smollm2-135m, for `llama`")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--layers", type=int, default=SMOL["num_hidden_layers"])
    parser.add_argument("--tokens", type=int, default=24, help="of each answer")
    parser.add_argument("--out", type=Path, help="also write the JSON here, after each part")
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.threads)
    result: Row = {"benchmark": "engine_speed", "dtype": "float32", "layers": args.layers}
    result |= {"decoder": SMOL, "encoder": WHISPER_BASE, **fingerprint(), "parts": {}}
    has_missed = False
    for name in args.parts:
        row = PARTS[name](args)
        if goals := GOALS.get(name):
            missed = [figure for figure, goal in goals.items() if not is_met(figure, row, goal)]
            row |= {"goals": goals, "missed": missed}
            has_missed |= bool(missed)
        result["parts"][name] = row
        print(name, *(f"  {key:28} {value}" for key, value in row.items()), sep="\n", flush=True)
        if args.out:
            with atomic_write(args.out) as stream:
                stream.write(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))
    return int(has_missed)


def is_met(figure: str, row: Row, goal: float) -> bool:
    """Whether a figure is there, and good enough."""
    value = row.get(figure)
    return value is not None and (value <= goal if figure in AT_MOST else value >= goal)


def make_model(args: argparse.Namespace, **settings: Any) -> EurekaAudioForConditionalGeneration:
    """Random weights in float32."""
    shape = {**SMOL, "num_hidden_layers": args.layers}
    model = random_model("nano", text_config=shape, audio_config=WHISPER_BASE, **settings)
    model.config.audio_token_id = AUDIO_TOKEN_ID
    model.float()
    return model


def make_engine(
    model: EurekaAudioForConditionalGeneration, size: int = NUM_REQUESTS
) -> AudioEngine:
    """An engine that never meets a token that ends an answer, and hears each request anew."""
    processor = make_processor(["what can be heard?"] * 3, 300)
    engine = AudioEngine(model, processor, max_batch_size=NUM_REQUESTS)
    engine.runner.end_ids = frozenset()
    engine.runner.encoder_cache = EncoderCache(max_bytes=0)
    return engine


def make_request(seconds: float, num_tokens: int, seed: int = 0) -> GenerationRequest:
    """Noise of some length between a few words."""
    generator = torch.Generator().manual_seed(seed)
    waveform = 0.1 * torch.randn(int(seconds * 16_000), generator=generator)
    features = log_mel_spectrogram(waveform, 80)
    audio = [AUDIO_TOKEN_ID] * num_audio_tokens(features.shape[1])
    ids = (*range(10, 20), *audio, *range(30, 40))
    inputs = EncodedConversation(ids, ids, (features,), seconds)
    return GenerationRequest(inputs, num_tokens, max_repeats=None)


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Seconds of the processor and of the wall that some work takes."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


def measure_concurrent(args: argparse.Namespace) -> Row:
    """The same requests at once, and a quarter of them one after the other."""
    engine = make_engine(make_model(args))
    requests = [make_request(1.0, args.tokens, seed) for seed in range(NUM_REQUESTS)]
    engine.submit(make_request(1.0, 3)).result()  # what is measured once is measured now
    few = requests[: NUM_REQUESTS // 4]
    sequential = timed(lambda: [engine.submit(request).result() for request in few])

    def together() -> None:
        with engine.submitted(requests) as handles:
            for handle in handles:
                handle.result()

    concurrent = timed(together)
    speeds = {
        f"{name}_tokens_per_{clock}_second": round(count * args.tokens / seconds, 2)
        for name, count, times in (
            ("sequential", len(few), sequential),
            ("concurrent", len(requests), concurrent),
        )
        for clock, seconds in zip(("cpu", "wall"), times, strict=True)
    }
    speed_up = [
        4 * one / all_of_them for one, all_of_them in zip(sequential, concurrent, strict=True)
    ]
    return {
        "num_requests": len(requests),
        "tokens_each": args.tokens,
        **speeds,
        "speed_up": round(speed_up[0], 2),
        "speed_up_by_wall": round(speed_up[1], 2),
    }


def measure_first_token(args: argparse.Namespace) -> Row:
    """From log-mel to the first token, alone: as long as the clip is, and padded to 30 s."""
    seconds = {}
    for name, pad_windows in (("own_length", False), ("padded", True)):
        engine = make_engine(make_model(args, pad_windows=pad_windows))
        request = make_request(5.0, 1)

        def answer(engine: AudioEngine = engine, request: GenerationRequest = request) -> None:
            engine.submit(request).result()

        runs = [timed(answer) for _ in range(4)]
        seconds[name] = [min(run[clock] for run in runs[1:]) for clock in range(2)]
    own, padded = seconds["own_length"], seconds["padded"]
    return {
        "own_length_cpu_ms": round(1000 * own[0], 1),
        "padded_cpu_ms": round(1000 * padded[0], 1),
        "share_of_padded": round(own[0] / padded[0], 3),
        "share_of_padded_by_wall": round(own[1] / padded[1], 3),
    }


def measure_decode(args: argparse.Namespace) -> Row:
    """One conversation, the processor's seconds of a step, each way in turns."""
    model = make_model(args)
    prompt = torch.arange(64)[None] + 100
    with torch.inference_mode():
        our_times(model, prompt, 2)  # chooses the kernel
        ours, theirs = [], []
        for _ in range(3):
            theirs.append(cpu_per_step(transformers_times, model, prompt, args.tokens))
            ours.append(cpu_per_step(our_times, model, prompt, args.tokens))
        best = {"generate": min(theirs), "ours": min(ours)}
        for kind in ROUNDED:
            model = make_model(args)
            quantize_weights(model, kind)
            best[kind] = min(cpu_per_step(our_times, model, prompt, args.tokens) for _ in range(3))
    return {
        **{f"{name}_ms_per_token": round(1000 * each, 2) for name, each in best.items()},
        **{f"{name}_tokens_per_cpu_second": round(1 / each, 2) for name, each in best.items()},
        "ours_per_generate": round(best["generate"] / best["ours"], 3),
        **{f"{kind}_per_float32": round(best["ours"] / best[kind], 2) for kind in ROUNDED},
    }


def cpu_per_step(times: Callable[..., list[float]], *arguments: Any) -> float:
    """The median step of `our_times` or `transformers_times`, by the processor's clock."""
    found = times(*arguments, clock=time.process_time)[2:]
    return median(later - earlier for earlier, later in pairwise(found))


def measure_kernels(args: argparse.Namespace) -> Row:
    """Billions of weights a second, a row of 576 against 49,152 columns."""
    weight = torch.randn(49152, 576) * 0.02
    rows = torch.randn(1, 576)
    scales = weight.abs().amax(dim=1) / 127
    rounded = (weight / scales[:, None]).round().to(torch.int8)
    nibbles = torch._convert_weight_to_int4pack_for_cpu(
        torch.randint(0, 15, weight.shape, dtype=torch.int32), 1
    )
    steps = torch.rand(576 // 64, len(weight), 2)
    packed = torch.ops.quantized.linear_prepack(
        torch.quantize_per_channel(
            weight, scales, torch.zeros(len(weight), dtype=torch.long), 0, torch.qint8
        ),
        None,
    )
    low, low_scales, low_weight = rows.bfloat16(), scales.bfloat16(), weight.bfloat16()
    low_steps = torch.rand(576 // 32, len(weight), 2).bfloat16()

    def vectors(row: torch.Tensor, matrix: torch.Tensor) -> None:
        with matrix_vector_products():
            torch.nn.functional.linear(row, matrix)

    works: dict[str, Callable[[], Any]] = {
        "float32": lambda: torch.nn.functional.linear(rows, weight),
        "float32 vectors": lambda: vectors(rows, weight),
        "bfloat16": lambda: torch.nn.functional.linear(low, low_weight),
        "bfloat16 vectors": lambda: vectors(low, low_weight),
        "int8, weights alone": lambda: torch._weight_int8pack_mm(rows, rounded, scales),
        "int8, bfloat16 rows": lambda: torch._weight_int8pack_mm(low, rounded, low_scales),
        "int8, rows too (FBGEMM)": lambda: torch.ops.quantized.linear_dynamic(rows, packed, True),
        "int4, groups of 64": lambda: torch._weight_int4pack_mm_for_cpu(rows, nibbles, 64, steps),
        "int4, groups of 32, bfloat16 rows": lambda: torch._weight_int4pack_mm_for_cpu(
            low, nibbles, 32, low_steps
        ),
    }
    seconds = best_times(*works.values(), num_runs=9, clock=time.process_time)
    return {
        name: round(weight.numel() / each / 1e9, 2)
        for name, each in zip(works, seconds, strict=True)
    }


def measure_llama(args: argparse.Namespace) -> Row:
    """The same weights and prompt by both, the processor's seconds of a step, in turns."""
    if args.gguf is None or sha256(args.gguf) != LLAMA_PART.sha256:
        raise SystemExit(f"expected --gguf to be the file of {LLAMA_PART.name}, got {args.gguf}")
    ours = {}
    for name in ("float32", *LLAMA_TYPES.values()):
        dtype = torch.bfloat16 if name == "bfloat16" else torch.float32
        model, processor = join("whisper-base", LLAMA_PART.name, dtype=dtype)
        ours[name] = model.eval()
        if name in ROUNDED:
            quantize_weights(model, name)
    ids = processor.tokenizer.encode(LLAMA_PROMPT, add_special_tokens=False)
    row: Row = {"prompt_tokens": len(ids)}
    text = processor.tokenizer.encode(TEXT, add_special_tokens=False)
    with torch.inference_mode():
        exact = logits_of(ours.pop("float32"), text)
        for name, model in ours.items():
            row |= {f"{name}_{what}": x for what, x in nearness(model, text, exact).items()}
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        for kind, name in LLAMA_TYPES.items():
            llama = Llama(args.gguf, kind, Path(folder), args.threads)
            theirs, mine = [], []
            for _ in range(4):
                theirs.append(cpu_per_step(llama.times, ids, args.tokens))
                prompt = torch.tensor([ids])
                mine.append(cpu_per_step(our_times, ours[name], prompt, args.tokens))
            row[f"llama_cpp_{kind}_tokens_per_cpu_second"] = round(1 / min(theirs), 2)
            row[f"{name}_tokens_per_cpu_second"] = round(1 / min(mine), 2)
            row[f"{name}_per_llama_cpp"] = round(min(theirs) / min(mine), 3)
            row[f"{name}_logits_correlate"] = round(llama.agreement(ours[name], ids), 5)
    return row


def logits_of(model: EurekaAudioForConditionalGeneration, ids: list[int]) -> torch.Tensor:
    """After each token of a text, `(T, V)`."""
    decoding = Decoding(model)
    decoding.start(1)
    embeds = model.get_input_embeddings()(torch.tensor([ids]))
    return decoding.extend(embeds, keep_all=True)[0].float()


def nearness(
    model: EurekaAudioForConditionalGeneration, ids: list[int], exact: torch.Tensor
) -> Row:
    """How near a model's logits on a text come to those of the same weights in float32."""
    found = logits_of(model, ids)
    is_same = found.argmax(dim=-1) == exact.argmax(dim=-1)
    pairs = [torch.stack(pair) for pair in zip(found, exact, strict=True)]
    following = torch.tensor(ids[1:])
    losses = [
        float(nn.functional.cross_entropy(logits[:-1], following)) for logits in (found, exact)
    ]
    return {
        "text_tokens": len(ids),
        "same_next_token": round(float(is_same.float().mean()), 3),
        "logits_correlate_with_float32": round(
            sum(float(torch.corrcoef(pair)[0, 1]) for pair in pairs) / len(pairs), 5
        ),
        "more_loss_than_float32": round(losses[0] - losses[1], 4),
    }


class Llama:
    """llama.cpp with the weights of a file in one of its types.

    Args:
        gguf: in any type.
        kind: to convert it to.
        folder: where that is written.
        num_threads: of llama.cpp.
    """

    def __init__(self, gguf: Path, kind: str, folder: Path, num_threads: int) -> None:
        import llama_cpp

        self._library = llama_cpp
        settings = llama_cpp.llama_model_quantize_default_params()
        settings.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{kind}")
        settings.allow_requantize, settings.nthread = True, num_threads
        file = folder / f"{kind}.gguf"
        if llama_cpp.llama_model_quantize(str(gguf).encode(), str(file).encode(), settings):
            raise SystemExit(f"expected llama.cpp to convert {gguf} to {kind}; it did not")
        self._model = llama_cpp.Llama(
            str(file), n_ctx=512, n_threads=num_threads, n_threads_batch=num_threads, verbose=False
        )

    def logits(self) -> NDArray[np.float32]:
        """Of the token that comes next `(V,)`."""
        found = self._library.llama_get_logits_ith(self._model.ctx, -1)
        return np.ctypeslib.as_array(found, shape=(self._model.n_vocab(),))

    def times(
        self, prompt: list[int], num_tokens: int, clock: Callable[[], float] = time.perf_counter
    ) -> list[float]:
        """When each token was there, the most probable one taken each time."""
        times = []
        self._model.reset()
        self._model.eval(prompt)
        for _ in range(num_tokens):
            token = int(self.logits().argmax())
            times.append(clock())
            self._model.eval([token])
        return times

    def agreement(self, model: EurekaAudioForConditionalGeneration, prompt: list[int]) -> float:
        """How its logits after a prompt correlate with a model's: 1 for the same weights."""
        self._model.reset()
        self._model.eval(prompt)
        decoding = Decoding(model)
        decoding.start(1)
        ours = decoding.extend(model.get_input_embeddings()(torch.tensor([prompt])))[0].float()
        theirs = self.logits()
        return float(np.corrcoef(ours.numpy()[: len(theirs)], theirs)[0, 1])


PARTS: dict[str, Callable[[argparse.Namespace], Row]] = {
    "concurrent": measure_concurrent,
    "first_token": measure_first_token,
    "decode": measure_decode,
    "kernels": measure_kernels,
    "llama": measure_llama,
}

if __name__ == "__main__":
    sys.exit(main())
