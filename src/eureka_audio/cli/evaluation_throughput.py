"""``eureka-audio evaluate throughput``: how fast a model describes clips."""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from eureka_audio.cli.evaluation_model import add_model_options, chosen_model
from eureka_audio.durable import atomic_write
from eureka_audio.errors import ConfigError, EurekaAudioError
from eureka_audio.evaluation.throughput import (
    BATCH_SIZES,
    MAX_NEW_TOKENS,
    NUM_CLIPS,
    BatchTiming,
    Stopwatch,
    spread,
    summarize,
    table,
)
from eureka_audio.records import Conversation

if TYPE_CHECKING:
    from eureka_audio.protocols import AudioLanguageModel

Actions: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


class _Timer(Protocol):
    def time_batch(self, conversations: Sequence[Conversation], limit: int) -> BatchTiming: ...


def add_throughput(actions: Actions) -> None:
    """Register the command."""
    parser = actions.add_parser(
        "throughput",
        help="measure how fast a model answers",
        description="Ask for a caption of each clip, once for every batch size, and time it: "
        "tokens per second, time to the first token, prefill and decode apart, real-time factor, "
        "peak memory. Prints a table, then one line of JSON. A model behind --endpoint is timed "
        "from outside: prefill and decode stay together, and its memory is unknown.",
    )
    add_model_options(parser)
    parser.add_argument(
        "--data",
        required=True,
        nargs="+",
        type=Path,
        help="packs of recordings, folders with manifest.jsonl, or manifests",
    )
    parser.add_argument(
        "--split", choices=("train", "dev", "test"), help="only clips of this split"
    )
    parser.add_argument(
        "--clips",
        type=int,
        default=NUM_CLIPS,
        metavar="N",
        help="how many, taken at even distances (default: %(default)s, as in the paper)",
    )
    parser.add_argument(
        "--max-new-tokens",
        type=int,
        default=MAX_NEW_TOKENS,
        metavar="N",
        help="the longest answer (default: %(default)s, as in the paper)",
    )
    parser.add_argument(
        "--batch-sizes",
        nargs="+",
        type=int,
        default=list(BATCH_SIZES),
        metavar="B",
        help=f"to be swept (default: {' '.join(map(str, BATCH_SIZES))})",
    )
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: torch's)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write the JSON here")
    parser.set_defaults(act=_throughput)


def _throughput(args: argparse.Namespace) -> int:
    import torch

    from eureka_audio.inference.hardware import fingerprint

    _check(args)
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    requests = _requests(args)
    named = chosen_model(args)
    timer, device = _timer(named.model)
    results = list(_sweep(timer, device, requests, args))
    result: dict[str, Any] = {
        "benchmark": "throughput",
        "model": named.name,
        "request": "dense caption",
        "max_new_tokens": args.max_new_tokens,
        "timed": "from outside" if device is None else "from inside",
        "sweep": results,
        **(fingerprint() if device is None else fingerprint(device)),
    }
    print(table(results))
    if args.out:
        with atomic_write(args.out) as stream:
            stream.write(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))
    return 1 if any(part["failed"] for part in results) else 0


def _check(args: argparse.Namespace) -> None:
    numbers = [args.clips, args.max_new_tokens, args.threads or 1, *args.batch_sizes]
    if min(numbers) < 1:
        raise ConfigError(
            "expected --clips, --max-new-tokens, --batch-sizes and --threads to be at least 1, got"
            f" {args.clips}, {args.max_new_tokens}, {args.batch_sizes} and {args.threads}"
        )


def _requests(args: argparse.Namespace) -> list[Conversation]:
    from eureka_audio.data.evaluation_set import read_clips
    from eureka_audio.text.chat import caption_request

    clips = read_clips(args.data, args.split)
    if not clips:
        raise ConfigError("expected clips in --data, found none; check the paths and the split")
    return [caption_request(Path(clip.path)) for clip in spread(clips, args.clips)]


def _timer(model: "AudioLanguageModel") -> tuple[_Timer, Any]:
    """What times the model, and the device it is on; None for one that runs elsewhere."""
    from eureka_audio.inference.assistant import EurekaAudio
    from eureka_audio.inference.timing import EngineStopwatch

    if isinstance(model, EurekaAudio):
        return EngineStopwatch(model), model.model.device
    return Stopwatch(model), None


def _sweep(
    timer: _Timer, device: Any, requests: Sequence[Conversation], args: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """The figures of each batch size; one batch before each is not counted, as a warm-up."""
    from tqdm import tqdm

    from eureka_audio.inference.hardware import PeakMemory

    with tqdm(total=len(requests) * len(args.batch_sizes), unit="clip", disable=None) as bar:
        for size in args.batch_sizes:
            timer.time_batch(requests[:size], min(8, args.max_new_tokens))
            peak = None if device is None else PeakMemory(device)
            batches = []
            for start in range(0, len(requests), size):
                batch = requests[start : start + size]
                batches.append(_timed(timer, batch, args.max_new_tokens))
                bar.update(len(batch))
            yield summarize(size, batches, None if peak is None else peak.num_bytes())


def _timed(timer: _Timer, batch: Sequence[Conversation], limit: int) -> BatchTiming:
    """One batch; an error of the whole batch is an error of each of its clips."""
    try:
        return timer.time_batch(batch, limit)
    except EurekaAudioError as error:
        return BatchTiming((), 0.0, failed=(str(error),) * len(batch))
