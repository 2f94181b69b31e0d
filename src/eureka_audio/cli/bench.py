"""`eureka-audio bench`: how fast this machine decodes, and what hearing costs."""

import argparse
import json


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "bench",
        help="measure decoding and hearing on this machine",
        description="Compare, in one run on the CPU and in bfloat16, our decoding of a model with "
        "random weights with transformers' generate, and the cost of hearing 3 s with that of "
        "30 s. Prints a table, then one line of JSON. The default needs 6 GB of memory.",
    )
    parser.add_argument(
        "--preset", default="eureka-audio-1.7b", help="the shapes (default: %(default)s)"
    )
    parser.add_argument(
        "--tokens", type=int, default=32, metavar="N", help="tokens to decode (default: 32)"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: torch's)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure and print; returns the exit code."""
    from eureka_audio.inference.bench import measure, render

    result = measure(args.preset, num_tokens=args.tokens, num_threads=args.threads)
    print(render(result))
    print(json.dumps(result))
    return 0
