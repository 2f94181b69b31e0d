"""How long one file takes from the shell, beside what the libraries below take to be imported.

    python benchmarks/startup.py --out benchmarks/results/startup.json

CPU seconds of a fresh process, user and system, the least of some runs: a busy machine does not
count. The third row is what any model of transformers has to import.
"""

import argparse
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from acceptance import record

CLIP = Path(__file__).resolve().parent.parent / "examples" / "man-bus-was-late.flac"
PROGRAMS = {
    "import_torch_transformers": ["-c", "import torch, transformers"],
    "import_pretrained_model": ["-c", "import torch; from transformers import PreTrainedModel"],
    "transcribe": ["-m", "eureka_audio.cli.main", "transcribe", str(CLIP)],
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--runs", type=int, default=3, help="of each (default: 3)")
    parser.add_argument("--out", type=Path, help="also write the JSON here")
    args = parser.parse_args(arguments)
    programs = {**PROGRAMS, "transcribe": [*PROGRAMS["transcribe"], "--model", args.model]}
    least = dict.fromkeys(programs, float("inf"))
    for _ in range(args.runs):
        for name, words in programs.items():
            least[name] = min(least[name], cpu_seconds(words))
    plain = least["import_torch_transformers"]
    for name, seconds in least.items():
        print(f"{name:28} {seconds:6.2f} s  {seconds / plain:4.2f} x")
    figures = {name: round(seconds, 3) for name, seconds in least.items()}
    result = {"benchmark": "startup", "model": args.model, "runs": args.runs, "figures": figures}
    record(result, args.out)
    return 0


def cpu_seconds(words: Sequence[str]) -> float:
    """CPU seconds of a Python process with these arguments."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    sys.exit(main())
