"""The sparse adapter against a dense one of equal active parameters: same data, same steps.

    python benchmarks/moe_against_dense.py recipes/nano/recipe.yaml --run runs/nano --recordings DIR

Encoder, decoder and tokenizer are those of a finished run, or of one into which
`recipes/nano/by_the_clock.py install` wrote saved parts. For each seed and each kind of adapter,
Stage 1 and Stage 2 are run short; what is compared is the loss per answer token on clips of the
`dev` splits, by task, without augmentation. Prints a table, then one line of JSON.

Source: paper section 3.2 claims the sparse adapter's advantage.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch
from acceptance import record, spread
from figures import mean_and_spread

from eureka_audio.config import load_config
from eureka_audio.data.mixture import Batch, Sample
from eureka_audio.model.modeling import EurekaAudioForConditionalGeneration
from eureka_audio.training.checkpoint import load_weights, newest
from eureka_audio.training.multimodal import MultimodalCollator, MultimodalModel
from eureka_audio.training.recipe import ALIGNMENT, Recipe
from eureka_audio.training.stages import Workspace, run_multimodal_stage

KINDS = ("moe", "dense")
STAGES = ("stage1", "stage2")
DEV_TASKS = {
    "synthetic_dev": "transcribe",
    "sentences_dev": "transcribe",
    "digits_dev": "digit",
    "sounds_dev": "sound",
    "instruments_dev": "instrument",
    "scenes_dev": "caption",
}
SHARED = ("processor", "text.txt", "cache", ALIGNMENT, "decoder")


def main() -> int:
    """Train all, judge all, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--run", type=Path, default=Path("runs/nano"), help="a finished run")
    parser.add_argument("--data", type=Path, default=Path("data/synthetic"))
    parser.add_argument("--recordings", type=Path, default=os.environ.get("EUREKA_AUDIO_DATA"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, nargs=2, default=[150, 300], help="of Stage 1 and 2")
    parser.add_argument("--batch-seconds", type=float, default=100.0)
    parser.add_argument("--processes", type=int, default=1, help="runs side by side")
    parser.add_argument("--run-note", help="what the run's encoder and decoder are, for the result")
    parser.add_argument("--clips", type=int, default=160, help="most clips judged of each set")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.recordings is None:
        parser.error("--recordings or EUREKA_AUDIO_DATA must name the folder of recordings")
    jobs = [(args, kind, seed) for seed in args.seeds for kind in KINDS]
    losses: dict[str, dict[str, list[float]]] = {kind: {} for kind in KINDS}
    sizes: dict[str, dict[str, int]] = {}
    with ProcessPoolExecutor(args.processes, multiprocessing.get_context("spawn")) as pool:
        for (_, kind, seed), (judged, size) in zip(jobs, pool.map(train_one, jobs), strict=True):
            sizes[kind] = size
            for task, loss in judged.items():
                losses[kind].setdefault(task, []).append(loss)
            print(kind, seed, {task: round(loss, 4) for task, loss in judged.items()}, flush=True)
    result = summarise(losses, sizes) | {
        "seeds": args.seeds,
        "steps": args.steps,
        "batch_seconds": args.batch_seconds,
        "run": args.run_note,
    }
    print(json.dumps(record({"benchmark": "moe_against_dense", **result}, args.out)))
    return 0


def train_one(job: tuple[argparse.Namespace, str, int]) -> tuple[dict[str, float], dict[str, int]]:
    """Losses by task and sizes of one kind of adapter with one seed."""
    args, kind, seed = job
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // args.processes))
    space = prepare(args, kind, seed)
    for name in STAGES:
        run_multimodal_stage(space, name)
    model = EurekaAudioForConditionalGeneration(space.config())
    wrapped = MultimodalModel(model, ())
    load_weights(newest(space.run / STAGES[-1]), wrapped)
    return judge(wrapped, space, args.clips), count(model)


def prepare(args: argparse.Namespace, kind: str, seed: int) -> Workspace:
    """A run of its own that shares what came before the adapter."""
    overrides = [
        f"seed={seed}",
        f"model.overrides={{adapter_config: {{adapter_type: {kind}}}}}",
    ]
    for name, steps in zip(STAGES, args.steps, strict=True):
        overrides += [
            f"stages.{name}.trainer.max_steps={steps}",
            f"stages.{name}.trainer.optimizer.warmup_steps=20",
            f"stages.{name}.trainer.seed={seed}",
            f"stages.{name}.mixture.batch_seconds={args.batch_seconds}",
        ]
    overrides.append(f"stages.{STAGES[-1]}.trainer.optimizer.decay_steps={args.steps[-1] // 2}")
    recipe = load_config(Recipe, args.recipe, overrides)
    folder = args.run.parent / f"{args.run.name}-{kind}-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    for name in (*SHARED, *recipe.encoders, *recipe.oracles):
        link = folder / name
        if not link.exists():
            link.symlink_to((args.run / name).resolve())
    return Workspace(recipe, folder, args.data, args.recordings)


def judge(wrapped: MultimodalModel, space: Workspace, most: int) -> dict[str, float]:
    """Loss per answer token on the dev clips of each task."""
    sources = space.sources(set(DEV_TASKS))
    tasks = {name: {task: 1.0} for name, task in DEV_TASKS.items()}
    collate = MultimodalCollator(sources, space.processor, tasks, None)
    wrapped.eval()
    result = {}
    for name, task in DEV_TASKS.items():
        total = tokens = 0.0
        indices = spread(range(len(sources[name].clips)), most)
        for start in range(0, len(indices), 16):
            chosen = indices[start : start + 16]
            batch: dict[str, Any] = collate(Batch(tuple(Sample(name, i, i) for i in chosen)))
            with torch.inference_mode():
                learnt = int((batch["labels"][:, 1:] != -100).sum())
                total += float(wrapped(**batch).metrics["ntp_loss"]) * learnt
            tokens += learnt
        result[f"{name.removesuffix('_dev')}/{task}"] = total / tokens
    return result


def count(model: EurekaAudioForConditionalGeneration) -> dict[str, int]:
    """Parameters of the adapter: all, and those that act on one token."""
    config = model.config.adapter_config
    total = sum(parameter.numel() for parameter in model.adapter.parameters())
    if config.adapter_type == "dense":
        return {"total": total, "active": total}
    experts = sum(parameter.numel() for parameter in model.adapter.experts.parameters())
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
