"""`eureka-audio transcribe`: write down what is said."""

import argparse

from eureka_audio.cli.arguments import add_model_arguments, answer_files, check_words


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "transcribe",
        help="write down what is said",
        description="Write down what is said in recordings of any length.",
    )
    add_model_arguments(parser)
    parser.add_argument("--language", metavar="L", help="what is spoken, in English: German")
    parser.add_argument(
        "--num-beams",
        type=int,
        metavar="N",
        help="transcripts that grow side by side, of which the most probable is kept (default: "
        "what the model asks for; 1 is the fastest)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Transcribe; returns the exit code.

    Raises:
        ConfigError: a language or a number of beams that is none.
    """
    if args.language is not None:
        check_words("--language", args.language)
    return answer_files(
        args,
        lambda model, files: model.transcribe(
            files, args.language, num_beams=args.num_beams, errors="return"
        ),
    )
