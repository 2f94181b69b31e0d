"""`eureka-audio`: one command for each module of this folder, loaded when it is called.

Exit codes: 0 all good, 1 something failed, 2 the command line is wrong.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from eureka_audio import __version__
from eureka_audio.cli.outcome import EXIT_USAGE, exit_code, one_line

# What a user is most likely to want comes first.
COMMANDS = (
    "transcribe",
    "ask",
    "caption",
    "serve",
    "init",
    "train",
    "evaluate",
    "synthesize",
    "dataflux",
    "bench",
)


class _Parser(argparse.ArgumentParser):
    """Arguments may stand before, between and after options; errors are safe to print."""

    def parse_words(self, words: Sequence[str], parsed: argparse.Namespace) -> argparse.Namespace:
        """Follow the words down to the parser of the innermost command, and parse the rest."""
        commands = next(
            (action for action in self._actions if isinstance(action, argparse._SubParsersAction)),
            None,
        )
        if commands is None:
            return self.parse_intermixed_args(words, parsed)
        if not words or words[0] not in commands.choices:
            return self.parse_args(words, parsed)  # a wrong command, or its help
        vars(parsed).update(self._defaults)
        setattr(parsed, commands.dest, words[0])
        inner: _Parser = commands.choices[words[0]]
        return inner.parse_words(words[1:], parsed)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, with nothing in it that steers a terminal."""
        self.print_usage(sys.stderr)
        self.exit(EXIT_USAGE, f"{self.prog}: error: {one_line(message)}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code. Errors are one line on stderr."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    args = _parser(words).parse_words(words, argparse.Namespace())
    return exit_code(lambda: args.run(args))


def _parser(words: Sequence[str]) -> _Parser:
    """The parser, with the command asked for or, where none is, with all of them."""
    parser = _Parser(
        prog="eureka-audio",
        description="Hear: recordings become words.",
        epilog="eureka-audio COMMAND --help tells more of a command.",
    )
    parser.add_argument("--version", action="version", version=f"eureka-audio {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    asked = words[:1] if words and words[0] in COMMANDS else COMMANDS
    for command in asked:
        import_module(f"eureka_audio.cli.{command}").add_parser(subparsers)
    return parser


if __name__ == "__main__":
    sys.exit(main())
