"""How long scoring transcripts takes, and whether its memory stays flat.

    python benchmarks/scoring_speed.py [--pairs 100000] [--out FILE]

Pairs of a sentence and what a recogniser might make of it are scored by the code of `evaluate
score`, each rule in a process of its own, first a tenth of the pairs and then all of them: where
memory is flat, both take the same. `cpu` is what one core worked; `wall` also holds what others
made it wait. Prints a table, then one line of JSON.
"""

import argparse
import json
import os
import platform
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import eureka_audio
from eureka_audio.evaluation.benchmarks import benchmark_named
from eureka_audio.evaluation.scoring import score_file

CASES = (
    ("asr_en", "kimi"),
    ("asr_en", "whisper"),
    ("asr_en", "qwen2_audio"),
    ("asr_zh", "kimi"),
    ("asr_zh", "qwen2_audio"),
    ("asr_zh", "wenet"),
)
GOAL_SECONDS = 60
NUM_WORDS = 18  # of an English sentence, as long as read speech has them
NUM_CHARACTERS = 16
SHARE_OF_ERRORS = 0.1
# Many more numbers, titles and contractions than speech has: these are what costs.
ENGLISH = """
    the a of to and in he that it was his with as had for she not at but on her is they you him all
    this from by were we so which when one there said up out into been could would more now then
    time little over day after old where never came before himself our other good only through
    don't it's we'll twenty three hundred Mr. Dr. colour honour well-known Mrs. $3.50 5% 1,000
"""
MANDARIN = [
    *"的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会可主发年动同工也能下过",
    *("3个", "2008年", "5%", "，"),
]


def main() -> int:
    """Measure every rule, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--out", type=Path, help="also write the JSON here")
    parser.add_argument(
        "--one", nargs=3, metavar=("BENCH", "RULE", "PAIRS"), help=argparse.SUPPRESS
    )
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.one[0], args.one[1], int(args.one[2]))))
        return 0
    print(
        f"{'benchmark':9} {'rule':12} {'cpu s':>7} {'wall s':>7} {'MiB':>6} {'MiB at a tenth':>15}"
    )
    rows = []
    for name, rule in CASES:
        small, large = (_apart(name, rule, size) for size in (args.pairs // 10, args.pairs))
        row = {**large, "peak_memory_mib_at_a_tenth": small["peak_memory_mib"]}
        rows.append(row)
        print(
            f"{name:9} {rule:12} {row['cpu_seconds']:7.1f} {row['wall_seconds']:7.1f}"
            f" {row['peak_memory_mib']:6.0f} {row['peak_memory_mib_at_a_tenth']:15.0f}"
        )
        sys.stdout.flush()
    result = {
        "benchmark": "scoring_speed",
        "pairs": args.pairs,
        "goal_seconds": GOAL_SECONDS,
        "goal_met": all(row["cpu_seconds"] < GOAL_SECONDS for row in rows),
        "rules": rows,
        **environment(),
    }
    if args.out:
        args.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result))
    return 0


def measure(name: str, rule: str, num_pairs: int) -> dict[str, Any]:
    """Score so many pairs in this process."""
    with tempfile.TemporaryDirectory() as folder:
        predictions = Path(folder) / "predictions.jsonl"
        with predictions.open("w", encoding="utf-8") as stream:
            stream.writelines(pairs(name, num_pairs))
        wall, cpu = time.perf_counter(), time.process_time()
        summary = score_file(
            benchmark_named(name), predictions, rule, Path(folder) / "results.jsonl"
        )
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return {
        "name": name,
        "rule": rule,
        "scored": summary["scored"],
        "error_rate": round(summary["value"], 4),
        "cpu_seconds": round(cpu, 2),
        "wall_seconds": round(wall, 2),
        "peak_memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1),
    }


def pairs(name: str, count: int) -> Iterator[str]:
    """Rows of predictions: sentences drawn from a small vocabulary, and the same with errors."""
    draw = random.Random(0)
    words, length, glue = (
        (ENGLISH.split(), NUM_WORDS, " ") if name == "asr_en" else (MANDARIN, NUM_CHARACTERS, "")
    )
    for index in range(count):
        said = draw.choices(words, k=length)
        heard = [draw.choice(words) if draw.random() < SHARE_OF_ERRORS else word for word in said]
        row = {"uid": index, "reference": glue.join(said), "prediction": glue.join(heard)}
        yield json.dumps(row, ensure_ascii=False) + "\n"


def _apart(name: str, rule: str, num_pairs: int) -> dict[str, Any]:
    """The same in a process of its own, so that its memory is its own."""
    words = [sys.executable, __file__, "--one", name, rule, str(num_pairs)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


def environment() -> dict[str, Any]:
    """What the figures were measured with."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return {
        "commit": commit,
        "version": eureka_audio.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "load_average": round(os.getloadavg()[0], 2),
    }


if __name__ == "__main__":
    sys.exit(main())
