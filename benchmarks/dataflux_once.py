"""One run over scripted endpoints, in a process of its own that may be killed at any moment."""

import argparse
import asyncio
import json
import resource
import signal
import time
from pathlib import Path

from dataflux_world import Server, make_clips, world_config, world_models

from eureka_audio.asking.claim import claim_folder
from eureka_audio.dataflux.export import write_kept
from eureka_audio.dataflux.run import FluxBooks, Run, identity_of, load_clips
from eureka_audio.dataflux.store import open_store
from eureka_audio.dataflux.taxonomy import read_taxonomy


def run_once(args: argparse.Namespace) -> FluxBooks:
    """Run, or go on with a run."""
    wanted = args.keep or args.num
    sections = {"selection": {"per_leaf": wanted, "budget": args.num}, "in_flight": args.in_flight}
    if args.no_control:
        sections["control"] = {"enabled": False}
    config, taxonomy = world_config(args.num, **sections), read_taxonomy()

    async def go() -> FluxBooks:
        server = Server(args.concurrency) if args.shared else None
        models = world_models(
            bill=args.bill,
            seconds=args.seconds,
            faults=args.faults,
            concurrency=args.concurrency,
            server=server,
        )
        with open_store(args.out) as store:
            claim_folder(args.out, identity_of(config, taxonomy, models))
            load_clips(store, make_clips(args.clips, args.num), config.seed)
            run = Run(config, taxonomy.chosen(config.leaves), models, store)
            loop = asyncio.get_running_loop()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, run.stop)
            (args.out / "ready").touch()
            args.ready = time.monotonic()
            books = await run.run()
            if not books.stopped:
                (args.out / "ending").touch()
                time.sleep(args.linger)
                write_kept(store)
                time.sleep(args.linger)
        return books

    return asyncio.run(go())


def main() -> int:
    """Run and print the books, time and memory as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--num", type=int, default=100)
    parser.add_argument("--keep", type=int)
    parser.add_argument("--bill", type=Path)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--faults", type=float, default=0.0)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--shared", action="store_true", help="all models on one server")
    parser.add_argument("--in-flight", type=int, default=256)
    parser.add_argument("--linger", type=float, default=0.0)
    parser.add_argument("--no-control", action="store_true")
    args = parser.parse_args()
    began, used = time.monotonic(), time.process_time()
    books = run_once(args)
    figures = {
        "items": books.items,
        "fates": dict(books.fates),
        "asked": books.asked,
        "stopped": books.stopped,
        "ready_seconds": round(args.ready - began, 2),
        "wall_seconds": round(time.monotonic() - began, 2),
        "cpu_seconds": round(time.process_time() - used, 2),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    print(json.dumps(figures))
    return 130 if books.stopped else 0


if __name__ == "__main__":
    raise SystemExit(main())
