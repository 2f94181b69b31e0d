"""DataFlux over a local Ray cluster of two nodes: speed with one worker and two, and a node killed.

    python benchmarks/dataflux_cluster.py

Needs the extra `cluster`. The models are scripted and slow: in every worker each of the five takes
50 ms and answers one request at a time, as a model on a GPU would, so a worker, and not an
endpoint or this machine, is the limit. Each node has room for one worker; the run and its books are
in this process. Half-way through the last run one node is killed, raylet and worker at once.
"""

import argparse
import asyncio
import json
import tempfile
import threading
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import ray
from dataflux_world import make_clips, world_config, world_models, write_result
from ray.cluster_utils import Cluster

from eureka_audio.asking.claim import claim_folder
from eureka_audio.clients.workers import Workers
from eureka_audio.dataflux.caller import NamedModel
from eureka_audio.dataflux.export import write_kept
from eureka_audio.dataflux.run import FluxBooks, Run, identity_of, load_clips
from eureka_audio.dataflux.store import KEPT, open_store, read_store
from eureka_audio.dataflux.taxonomy import read_taxonomy
from eureka_audio.protocols import AsyncModel

HERE = Path(__file__).resolve().parent
SECONDS = 0.05


def in_worker(bill: Path) -> Mapping[str, AsyncModel]:
    """The five models as a worker holds them."""
    made = world_models(bill=bill, seconds=SECONDS, concurrency=1)
    return {name: named.model for name, named in made.items()}


def run(out: Path, clips: Path, num: int, workers: Workers) -> tuple[FluxBooks, float]:
    """A whole run; its books, and the seconds it took once the workers were up."""
    config = world_config(num, control={"enabled": False})
    models = {
        name: NamedModel(name, named.identity, workers.model(name))
        for name, named in world_models().items()
    }
    taxonomy = read_taxonomy()

    async def go() -> tuple[FluxBooks, float]:
        with open_store(out) as store:
            claim_folder(out, identity_of(config, taxonomy, models))
            load_clips(store, make_clips(clips, num), config.seed)
            began = time.monotonic()
            books = await Run(config, taxonomy.chosen(config.leaves), models, store).run()
            seconds = time.monotonic() - began
            write_kept(store)
            return books, seconds

    return asyncio.run(go())


def kill_half_way(cluster: Cluster, node: Any, bill: Path, calls: int) -> None:
    """Kill a node once so many calls were received."""
    while not bill.exists() or len(bill.read_bytes().splitlines()) < calls:
        time.sleep(0.02)
    cluster.remove_node(node, allow_graceful=False)


def measure(num: int, num_workers: int, root: Path, kill: bool = False) -> dict[str, Any]:
    """One run on a cluster of its own."""
    name = f"workers-{num_workers}{'-killed' if kill else ''}"
    bill, out = root / f"{name}.bill", root / name
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
        cluster.wait_for_nodes()
        ray.init(address=cluster.address, log_to_driver=False)
        workers = Workers(partial(in_worker, bill), num_workers)
        placed = workers.places()
        if kill:
            args = (cluster, nodes[0], bill, num * 5 // 2)
            threading.Thread(target=kill_half_way, args=args, daemon=True).start()
        books, seconds = run(out, root / "clips", num, workers)
        left = workers.number
    finally:
        ray.shutdown()
        cluster.shutdown()
    with read_store(out) as store:
        ids = [item.id for item in store.items()]
    return {
        "nodes_with_a_worker": len(set(placed)),
        "items": books.items,
        "kept": books.fates["kept"],
        "ids": len(set(ids)),
        "seconds": round(seconds, 2),
        "items_per_second": round(num / seconds, 1),
        "calls_billed": len(bill.read_bytes().splitlines()),
        "workers_left": left,
    }


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--num", type=int, default=300)
    parser.add_argument("--note", default="", help="how it was measured, kept with the figures")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "dataflux_cluster.json")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dataflux-") as folder:
        root = Path(folder)
        one, two = (measure(args.num, number, root) for number in (1, 2))
        killed = measure(args.num, 2, root, kill=True)
        sets = {name: (root / name / KEPT).read_bytes() for name in ("workers-1", "workers-2")}
        same = (
            sets["workers-1"]
            == sets["workers-2"]
            == (root / "workers-2-killed" / KEPT).read_bytes()
        )
    figures = {
        "ray": ray.__version__,
        "num": args.num,
        "note": args.note,
        "one_worker": one,
        "two_workers": two,
        "speed_up": round(one["seconds"] / two["seconds"], 2),
        "a_node_killed": killed,
        "calls_repeated": killed["calls_billed"] - two["calls_billed"],
        "identical_sets": same,
    }
    write_result(args.out, figures)
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
