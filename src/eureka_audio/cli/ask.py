"""`eureka-audio ask`: answer a question about recordings."""

import argparse

from eureka_audio.cli.arguments import add_model_arguments, answer_files, check_words
from eureka_audio.errors import ConfigError


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "ask",
        help="answer a question, freely or from choices",
        description="Answer a question about each recording. With choices, the answer is always "
        "one of them, and --json adds how probable each is.",
    )
    add_model_arguments(parser)
    parser.add_argument("--question", metavar="Q", required=True, help="what to answer")
    parser.add_argument(
        "--choice",
        metavar="C",
        action="append",
        dest="choices",
        help="a possible answer; give it at least twice",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Answer; returns the exit code.

    Raises:
        ConfigError: no question, or choices that are none.
    """
    check_words("--question", args.question)
    choices = args.choices
    for choice in choices or ():
        check_words("--choice", choice)
    if choices is not None and len(set(choices)) < max(2, len(choices)):
        raise ConfigError(f"--choice: expected at least two different answers, got {choices}")
    return answer_files(
        args, lambda model, files: model.ask(files, args.question, choices, errors="return")
    )
