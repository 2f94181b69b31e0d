"""Items a second, start-up and memory of DataFlux over a server of 64 places that takes 50 ms.

    python benchmarks/dataflux_throughput.py --nums 2000 20000

Five steps to an item (caption, question, two answers, verdict), the control off, all models behind
one server of 64 places, scripted in the process itself: what is measured is the engine. The bound
is what the server allows: five calls an item, 64 / 0.05 s = 1,280 calls a second. On a machine that
does other things, read the CPU seconds: a call may cost 0.78 ms of one core to keep up. Recordings
are there before the clock starts; start-up is all that happens before the first call.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from dataflux_world import make_clips, write_result

HERE = Path(__file__).resolve().parent
SECONDS, PLACES, CALLS_PER_ITEM = 0.05, 64, 5


def measure(num: int, root: Path) -> dict[str, Any]:
    """One run in a process of its own."""
    command = [sys.executable, str(HERE / "dataflux_once.py"), "--num", str(num)]
    command += ["--out", str(root / f"out-{num}"), "--clips", str(root / "clips")]
    command += ["--seconds", str(SECONDS), "--concurrency", str(PLACES), "--shared"]
    command += ["--no-control"]
    make_clips(root / "clips", num)
    began = time.monotonic()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds = time.monotonic() - began
    told = json.loads(done.stdout.splitlines()[-1])
    allowed = num * CALLS_PER_ITEM * SECONDS / PLACES
    return {
        **told,
        "num": num,
        "start_up_seconds": round(seconds - told["wall_seconds"] + told["ready_seconds"], 2),
        "items_per_second": num / told["wall_seconds"],
        "share_of_what_the_server_allows": allowed / told["wall_seconds"],
        "cpu_ms_per_call": 1000 * told["cpu_seconds"] / told["asked"],
    }


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nums", type=int, nargs="+", default=[2_000, 20_000, 200_000])
    parser.add_argument("--note", default="", help="how it was measured, kept with the figures")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "dataflux_throughput.json")
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(prefix="dataflux-") as folder:
        for num in args.nums:
            rows.append(measure(num, Path(folder)))
            print(json.dumps(rows[-1]))
            write_result(args.out, {"runs": rows, "note": args.note})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
