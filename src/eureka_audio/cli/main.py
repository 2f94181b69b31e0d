"""`eureka-audio`: one command for each module of this folder, loaded when it is called.

Exit codes: 0 all good, 1 something failed, 2 the command line is wrong.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from eureka_audio import __version__
from eureka_audio.cli.outcome import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_USAGE,
    print_error,
)
from eureka_audio.errors import ConfigError, EurekaAudioError

# What a user is most likely to want comes first.
COMMANDS = ("transcribe", "ask", "caption", "train", "evaluate", "synthesize", "bench")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code. Errors are one line on stderr."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    args = _parse(words)
    try:
        code: int = args.run(args)
        sys.stdout.flush()
        return code
    except EurekaAudioError as error:
        print_error(str(error))
        return EXIT_USAGE if isinstance(error, ConfigError) else EXIT_FAILED
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except KeyboardInterrupt:
        print_error("interrupted")
        return EXIT_INTERRUPTED
    except OSError as error:  # a full disk, a lost mount: the machine's doing, not a bug
        if os.environ.get("EUREKA_AUDIO_DEBUG"):
            raise
        print_error(f"the system refused to read or write: {error}; see to it and try again")
        return EXIT_FAILED
    except Exception as error:  # the edge of the process: no traceback for a user
        if os.environ.get("EUREKA_AUDIO_DEBUG"):
            raise
        print_error(
            f"unexpected {type(error).__name__}: {error}; this is a bug, set EUREKA_AUDIO_DEBUG=1 "
            "to see where"
        )
        return EXIT_FAILED


def _parse(words: list[str]) -> argparse.Namespace:
    """The arguments; settings (KEY=VALUE) may stand after options, too."""
    parser = _parser(words)
    args, rest = parser.parse_known_args(words)
    if rest and not (hasattr(args, "overrides") and all(map(_is_setting, rest))):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        args.overrides += rest
    return args


def _is_setting(word: str) -> bool:
    return "=" in word and not word.startswith("-")


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """The parser, with the command asked for or, where none is, with all of them."""
    parser = argparse.ArgumentParser(
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
