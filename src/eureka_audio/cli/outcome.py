"""What a command leaves: its exit code, lines any terminal can take, the one line of an error.

This is the one edge where errors become exit codes: commands raise, and catch nothing.
"""

import json
import os
import sys
from collections.abc import Callable
from typing import Any

from eureka_audio.errors import (
    ConfigError,
    EurekaAudioError,
    EvaluationError,
    ForeignRunError,
    ManifestError,
)

EXIT_GOOD, EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130
# What was asked for is not as it should be; every other error is something that went wrong.
USAGE_ERRORS = (ConfigError, EvaluationError, ForeignRunError, ManifestError)
DEBUG = "EUREKA_AUDIO_DEBUG"


def exit_code(run: Callable[[], int]) -> int:
    """Run a command; an error becomes one line on stderr and an exit code."""
    try:
        code = run()
        sys.stdout.flush()
        return code
    except EurekaAudioError as error:
        print_error(str(error))
        return EXIT_USAGE if isinstance(error, USAGE_ERRORS) else EXIT_FAILED
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except KeyboardInterrupt:
        print_error("interrupted")
        return EXIT_INTERRUPTED
    except OSError as error:  # a full disk, a lost mount: the machine's doing, not a bug
        if os.environ.get(DEBUG):
            raise
        print_error(f"the system refused to read or write: {error}; see to it and try again")
        return EXIT_FAILED
    except Exception as error:  # the edge of the process: no traceback for a user
        if os.environ.get(DEBUG):
            raise
        print_error(
            f"unexpected {type(error).__name__}: {error}; this is a bug, set {DEBUG}=1 to see where"
        )
        return EXIT_FAILED


def print_error(message: str) -> None:
    """One line on stderr, whatever the message holds."""
    print(f"error: {one_line(message)}", file=sys.stderr)


def print_text(text: str) -> None:
    """Lines on stdout; what its encoding lacks, or what steers a terminal, is escaped."""
    encoding = sys.stdout.encoding or "utf-8"
    shown = "\n".join(map(printable, text.split("\n")))
    print(shown.encode(encoding, "backslashreplace").decode(encoding))


def print_json(value: Any) -> None:
    """One line of JSON on stdout; what its encoding or a terminal could not take is escaped."""
    line = json.dumps(value, ensure_ascii=False)
    try:
        line.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        line = json.dumps(value)
    if not line.isprintable():
        line = json.dumps(value).replace("\x7f", "\\u007f")
    print(line)


def one_line(message: str) -> str:
    r"""A message without line breaks, and without what steers a terminal.

    Example:
        >>> one_line("no such file:\n  \x1b[31ma.wav")
        'no such file: \\x1b[31ma.wav'
    """
    return printable(" ".join(message.split()))


def printable(text: str) -> str:
    r"""A text in which all that is not printable (line breaks, escape codes) is written out.

    Example:
        >>> print(printable("a\nb\x1b[2J\u202e.wav"))
        a\nb\x1b[2J\u202e.wav
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )
