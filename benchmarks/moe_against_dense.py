"""The sparse adapter against a dense one of equal active parameters: same data, same steps.

    python benchmarks/moe_against_dense.py --recordings DIR --out FILE

For each seed `eureka-audio train` runs `recipes/ablation-moe.yaml` and `ablation-dense.yaml`;
what is compared is the loss per answer token on clips of the `dev` splits, by task, which the last
stage logs. Prints a table, then one line of JSON.

Source: paper section 3.2 claims the sparse adapter's advantage.
"""

import argparse
import json
import os
import statistics
import sys
from pathlib import Path
from typing import Any

from acceptance import record, run_command

from eureka_audio.config import load_config
from eureka_audio.model.modeling import EurekaAudioForConditionalGeneration
from eureka_audio.model.weights import load_checkpoint
from eureka_audio.training.recipe import Recipe

KINDS = ("moe", "dense")
RECIPES = Path(__file__).resolve().parent.parent / "recipes"
LOSS = "next_token_loss"


def mean_and_spread(values: list[float]) -> tuple[float, float]:
    """Mean and standard deviation; of one value the latter is 0."""
    return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def main() -> int:
    """Train all, judge all, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--recordings", type=Path, default=os.environ.get("EUREKA_AUDIO_DATA"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path)
    parser.add_argument("overrides", nargs="*", help="of both recipes, KEY=VALUE")
    args = parser.parse_intermixed_args()
    losses: dict[str, dict[str, list[float]]] = {kind: {} for kind in KINDS}
    sizes: dict[str, dict[str, int]] = {}
    for seed in args.seeds:
        for kind in KINDS:
            judged, sizes[kind] = train_one(args, kind, seed)
            for task, loss in judged.items():
                losses[kind].setdefault(task, []).append(loss)
            print(kind, seed, {task: round(loss, 4) for task, loss in judged.items()}, flush=True)
    stages = load_config(Recipe, RECIPES / "ablation-moe.yaml", args.overrides).stages.values()
    result = summarise(losses, sizes) | {
        "seeds": args.seeds,
        "overrides": args.overrides,
        "steps": [stage.trainer.max_steps for stage in stages],
        "batch_seconds": max(stage.mixture.batch_seconds for stage in stages),
    }
    print(json.dumps(record({"benchmark": "moe_against_dense", **result}, args.out)))
    return 0


def train_one(
    args: argparse.Namespace, kind: str, seed: int
) -> tuple[dict[str, float], dict[str, int]]:
    """Losses by task and sizes of one kind of adapter with one seed."""
    recipe, run = RECIPES / f"ablation-{kind}.yaml", args.runs / f"{kind}-{seed}"
    words = ["train", str(recipe), "--out", str(run), f"seed={seed}", *args.overrides]
    if args.recordings is not None:
        words += ["--recordings", str(args.recordings)]
    run_command(*words)
    last = list(load_config(Recipe, recipe).stages)[-1]
    model = load_checkpoint(run / "model")
    return judged(run / last / "log.jsonl"), count(model)


def judged(log: Path) -> dict[str, float]:
    """Loss per answer token by source and task: the last evaluation that a log holds."""
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    found = [
        {
            name.removesuffix(f"/{LOSS}").replace("_dev/", "/"): value
            for name, value in line.items()
            if name.endswith(f"/{LOSS}")
        }
        for line in lines
        if any(name.endswith(f"/{LOSS}") for name in line)
    ]
    return found[-1]


def count(model: EurekaAudioForConditionalGeneration) -> dict[str, int]:
    """Parameters of the adapter: all, and those that act on one token."""
    config = model.config.adapter_config
    total = sum(parameter.numel() for parameter in model.adapter.parameters())
    if config.adapter_type == "dense":
        return {"total": total, "active": total}
    experts = sum(
        p.numel() for name, p in model.adapter.named_parameters() if name.startswith("experts.")
    )
    idle = experts * (config.num_experts - config.num_experts_per_tok) // config.num_experts
    return {"total": total, "active": total - idle}


def summarise(
    losses: dict[str, dict[str, list[float]]], sizes: dict[str, dict[str, int]]
) -> dict[str, Any]:
    """Means, spreads, and the difference paired by seed (below 0: the sparse one is better)."""
    table = {}
    print(f"{'task':24} {'moe':>16} {'dense':>16} {'difference':>18}")
    for task in losses["moe"]:
        moe, dense = losses["moe"][task], losses["dense"][task]
        paired = [a - b for a, b in zip(moe, dense, strict=True)]
        row = {"moe": moe, "dense": dense, "difference": statistics.mean(paired)}
        table[task] = row
        cells = ["{:.4f} ±{:.4f}".format(*mean_and_spread(v)) for v in (moe, dense, paired)]
        print(f"{task:24} {cells[0]:>16} {cells[1]:>16} {cells[2]:>18}")
    return {"losses": table, "parameters": sizes}


if __name__ == "__main__":
    sys.exit(main())
