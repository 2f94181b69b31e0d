"""`eureka-audio train`: run the stages of a recipe."""

import argparse
import logging
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eureka_audio.training.recipe import Recipe


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "train",
        help="train a model from a recipe, resuming what is there",
        description="Run the stages of a recipe, and write the model they made to <out>/model. A "
        "finished stage is passed over, a stage that was cut off goes on.",
    )
    parser.add_argument("recipe", type=Path, help="a recipe, for example recipes/nano.yaml")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="KEY=VALUE",
        help="settings of the recipe to change, for example stages.align.trainer.max_steps=100",
    )
    parser.add_argument("--out", type=Path, help="folder of the run (default: runs/<name>)")
    parser.add_argument(
        "--data",
        type=Path,
        default=Path("data/synthetic"),
        help="what the recipe's manifests are relative to (default: data/synthetic)",
    )
    parser.add_argument(
        "--recordings",
        type=Path,
        default=os.environ.get("EUREKA_AUDIO_DATA"),
        help="the pack of real recordings (default: EUREKA_AUDIO_DATA)",
    )
    parser.add_argument(
        "--cache",
        type=Path,
        help="decoded audio and encoder features, which runs share (default: cache beside <out>)",
    )
    parser.add_argument("--only", metavar="STAGE", help="run this stage alone")
    parser.add_argument(
        "--evaluation-set",
        nargs="+",
        type=Path,
        default=[],
        metavar="PATH",
        help="what training must not have met: packs (their test splits), manifests, or folders "
        "with manifest.jsonl (default: the test splits of the run's own data)",
    )
    parser.add_argument(
        "--overlap",
        choices=("refuse", "report", "ignore"),
        default="refuse",
        help="when training clips are among the evaluation sets: refuse to train (default), report "
        "it and go on, or do not look",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train; returns the exit code."""
    from eureka_audio.audio.decode import load_audio
    from eureka_audio.cli.training_overlap import check_overlap, evaluation_clips, training_clips
    from eureka_audio.config import load_config
    from eureka_audio.errors import ConfigError
    from eureka_audio.training.checks import check_recipe
    from eureka_audio.training.distributed import launch
    from eureka_audio.training.recipe import Recipe
    from eureka_audio.training.start import starting_model
    from eureka_audio.training.workspace import Workspace

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    recipe = load_config(Recipe, args.recipe, args.overrides)
    recordings = None if args.recordings is None else Path(args.recordings)
    out = args.out or Path("runs") / recipe.name
    cache = args.cache or out.absolute().parent / "cache"
    check_recipe(Workspace(recipe, out, args.data, recordings, cache, starting_model))
    if args.overlap == "ignore":
        if args.evaluation_set:
            raise ConfigError("--evaluation-set has no effect with --overlap ignore; drop one")
    else:
        check_overlap(
            training_clips(recipe, args.data, recordings),
            evaluation_clips(args.evaluation_set, args.data, recordings),
            out,
            lambda path: load_audio(path).waveform,
            args.overlap,
        )
    launch(partial(_train, recipe, out, args.data, recordings, cache, args.only), recipe.processes)
    return 0


def _train(
    recipe: "Recipe",
    out: Path,
    data: Path,
    recordings: Path | None,
    cache: Path,
    only: str | None,
) -> None:
    """What each process does."""
    from eureka_audio.training.distributed import joined_world
    from eureka_audio.training.stages import run_recipe
    from eureka_audio.training.start import starting_model
    from eureka_audio.training.workspace import Workspace

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with joined_world(recipe.device) as world:
        run_recipe(Workspace(recipe, out, data, recordings, cache, starting_model, world), only)
