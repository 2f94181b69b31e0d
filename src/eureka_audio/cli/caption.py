"""`eureka-audio caption`: describe everything that can be heard."""

import argparse

from eureka_audio.cli.arguments import add_model_arguments, answer_files


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "caption",
        help="describe everything that can be heard",
        description="Describe everything that can be heard in recordings.",
    )
    add_model_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Describe; returns the exit code."""
    return answer_files(args, lambda model, files: model.caption(files, errors="return"))
