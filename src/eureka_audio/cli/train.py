"""`eureka-audio train`: run the stages of a recipe."""

import argparse
import logging
import os
from pathlib import Path


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "train",
        help="train a model from a recipe, resuming what is there",
        description="Run the stages of a recipe: tokenizer, encoder, decoder, Stage 1, Stage 2, "
        "SFT, export. A finished stage is passed over, a stage that was cut off goes on.",
    )
    parser.add_argument("recipe", type=Path, help="a recipe, for example recipes/nano/recipe.yaml")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="KEY=VALUE",
        help="directly after the recipe, for example decoder.trainer.max_steps=100",
    )
    parser.add_argument("--out", type=Path, help="folder of the run (default: runs/<name>)")
    parser.add_argument(
        "--data", type=Path, default=Path("data/synthetic"), help="what `synthesize` has written"
    )
    parser.add_argument(
        "--recordings",
        type=Path,
        default=os.environ.get("EUREKA_AUDIO_DATA"),
        help="the pack of real recordings (default: EUREKA_AUDIO_DATA)",
    )
    parser.add_argument("--only", metavar="STAGE", help="run this stage alone")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train; returns the exit code."""
    from eureka_audio.config import load_config
    from eureka_audio.errors import ConfigError
    from eureka_audio.training.recipe import Recipe
    from eureka_audio.training.stages import Workspace, run_recipe

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    recipe = load_config(Recipe, args.recipe, args.overrides)
    if args.recordings is None:
        raise ConfigError(
            "expected --recordings or EUREKA_AUDIO_DATA: the folder of real recordings"
        )
    out = args.out or Path("runs") / recipe.name
    run_recipe(Workspace(recipe, out, args.data, Path(args.recordings)), args.only)
    return 0
