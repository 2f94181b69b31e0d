"""R7 and R10 for DataFlux: kills at random moments, interrupts, faults; the books must be exact.

    python benchmarks/dataflux_reliability.py --kills 100

Runs over scripted endpoints, each in a process of its own. A kill falls while clips are loaded,
while questions are worked on (most), or at the end, around the writing of the set. What was asked
again makes the bill longer than that of an undisturbed run; calls under way at a kill are on the
bill and not in the books.
"""

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dataflux_world import write_result

from eureka_audio.dataflux.store import BOOKS, read_store
from eureka_audio.errors import RunError

HERE = Path(__file__).resolve().parent
SECONDS, CONCURRENCY = 0.05, 4  # of each of five endpoints
LINGER_SECONDS = 0.1  # before and after the set is written, so that a kill can fall there
PLACES = {"start": 0.2, "work": 0.6, "end": 0.2}


def command(folder: Path, args: argparse.Namespace, *more: str) -> list[str]:
    """A run of this benchmark in a folder."""
    base = [sys.executable, str(HERE / "dataflux_once.py"), "--num", str(args.num)]
    base += ["--clips", str(args.clips), "--seconds", str(SECONDS)]
    base += [
        "--linger",
        str(LINGER_SECONDS),
        "--concurrency",
        str(CONCURRENCY),
        "--bill",
        str(folder.with_suffix(".bill")),
    ]
    return [*base, "--out", str(folder), *more]


def lines(path: Path) -> list[str]:
    """The lines of a file, none where there is none."""
    return path.read_text().splitlines() if path.exists() else []


def num_kept_calls(folder: Path) -> int:
    """Calls in the books."""
    if not (folder / BOOKS).exists():
        return 0
    try:
        with read_store(folder) as store:
            return sum(1 for _ in store.calls())
    except RunError:
        return 0


def kill_once(folder: Path, args: argparse.Namespace, dice: random.Random) -> dict[str, Any]:
    """Start a run, kill it at a random moment, count the calls that it took with it."""
    bill, place = folder.with_suffix(".bill"), dice.choices(list(PLACES), list(PLACES.values()))[0]
    for name in ("ready", "ending"):
        (folder / name).unlink(missing_ok=True)
    billed_before, kept_before = len(lines(bill)), num_kept_calls(folder)
    process = subprocess.Popen(command(folder, args), stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 600
    wanted = billed_before + dice.randrange(1, max(2, args.num // 2))
    while process.poll() is None and time.monotonic() < deadline:
        ready = (folder / "ready").exists()
        if place == "start" and (ready or dice.random() < 0.02):
            break
        if place == "work" and ready and len(lines(bill)) >= wanted:
            break
        time.sleep(0.01)
        if place == "end" and (folder / "ending").exists():
            time.sleep(dice.random() * 2 * LINGER_SECONDS)
            break
    ended = process.poll() is not None
    process.send_signal(signal.SIGKILL)
    process.wait()
    billed = len(lines(bill)) - billed_before
    return {"place": place, "ended": ended, "lost": billed - (num_kept_calls(folder) - kept_before)}


def kills(args: argparse.Namespace, root: Path) -> Iterator[dict[str, Any]]:
    """Kill until so many kills are done; a set that is complete begins anew in another folder.

    Yields:
        The figures after each complete set.
    """
    calm = root / "calm"
    subprocess.run(command(calm, args), check=True, stdout=subprocess.DEVNULL)
    wanted = (calm / "kept.jsonl").read_bytes()
    bill = lines(calm.with_suffix(".bill"))
    dice, sets, found = random.Random(args.seed), 0, Counter[str]()
    lost: list[int] = []
    places = 5 * CONCURRENCY
    while len(lost) < args.kills:
        folder = root / f"set-{sets}"
        while len(lost) < args.kills and not (folder / "kept.jsonl").exists():
            one = kill_once(folder, args, dice)
            lost.append(one["lost"])
            found[one["place"]] += 1
        subprocess.run(command(folder, args), check=True, stdout=subprocess.DEVNULL)
        sets += 1
        kept = (folder / "kept.jsonl").read_bytes()
        found["identical"] += kept == wanted
        rows = [json.loads(line)["id"] for line in kept.splitlines()]
        found["duplicated"] += len(rows) - len(set(rows))
        billed = lines(folder.with_suffix(".bill"))
        found["repeated"] += len(billed) - len(bill)
        found["missing"] += len(set(bill) - set(billed))
        yield {
            "kills": len(lost),
            "by_place": {place: found[place] for place in PLACES},
            "sets": sets,
            "sets_identical": found["identical"],
            "rows_duplicated": found["duplicated"],
            "calls_missing": found["missing"],
            "calls_needed_per_set": len(bill),
            "calls_repeated": found["repeated"],
            "places_at_endpoints": places,
            "repeated_per_kill": found["repeated"] / len(lost),
            "repeated_per_kill_and_place": found["repeated"] / len(lost) / places,
            "under_way_per_kill": sum(lost) / len(lost),
        }


def interrupts(args: argparse.Namespace, root: Path) -> dict[str, Any]:
    """Interrupt a run again and again: nothing that was paid for may be lost."""
    if not args.interrupts:
        return {}
    folder, dice, done, codes = root / "interrupted", random.Random(args.seed), 0, Counter[int]()
    bill, longest = folder.with_suffix(".bill"), 0.0
    while done < args.interrupts and not (folder / "kept.jsonl").exists():
        (folder / "ready").unlink(missing_ok=True)
        before = len(lines(bill))
        process = subprocess.Popen(command(folder, args), stdout=subprocess.DEVNULL)
        wanted, deadline = before + dice.randrange(1, args.num // 4), time.monotonic() + 600
        while process.poll() is None and time.monotonic() < deadline:
            if (folder / "ready").exists() and len(lines(bill)) >= wanted:
                break
            time.sleep(0.01)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        codes[process.wait()] += 1
        longest = max(longest, time.monotonic() - began)
        done += 1
    subprocess.run(command(folder, args), check=True, stdout=subprocess.DEVNULL)
    billed = lines(bill)
    identical = (folder / "kept.jsonl").read_bytes() == (root / "calm" / "kept.jsonl").read_bytes()
    return {
        "interrupts": done,
        "exit_codes": {str(code): number for code, number in codes.items()},
        "calls_repeated": len(billed) - len(lines((root / "calm").with_suffix(".bill"))),
        "longest_drain_seconds": round(longest, 2),
        "identical": identical,
    }


def faults(args: argparse.Namespace, root: Path) -> list[dict[str, Any]]:
    """Runs in which 30 % of calls fail one way or another: where every item went."""
    rows = []
    for number in range(args.fault_runs):
        folder = root / f"faults-{number}"
        said = subprocess.run(
            command(folder, args, "--faults", "0.3"), check=True, capture_output=True
        ).stdout
        told = json.loads(said.splitlines()[-1])
        exact = told["items"] == sum(told["fates"].values()) == args.num
        rows.append({"items": told["items"], **told["fates"], "exact": exact})
    return rows


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--interrupts", type=int, default=20)
    parser.add_argument("--fault-runs", type=int, default=5)
    parser.add_argument("--num", type=int, default=60, help="items of a set (default: 60)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "dataflux_reliability.json")
    args = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="dataflux-"))
    args.clips = root / "clips"
    try:
        figures: dict[str, Any] = {"items_per_set": args.num, "seconds_per_call": SECONDS}
        for figures["kills"] in kills(args, root):  # what is measured is written at once
            write_result(args.out, figures)
        for part in (faults, interrupts):
            figures[part.__name__] = part(args, root)
            write_result(args.out, figures)
    finally:
        shutil.rmtree(root)
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
