"""What a command leaves: its exit code, lines any terminal can take, the one line of an error."""

import json
import sys
from typing import Any

EXIT_GOOD, EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130


def print_error(message: str) -> None:
    """One line on stderr, whatever the message holds."""
    print(f"error: {one_line(message)}", file=sys.stderr)


def print_text(text: str) -> None:
    """A line on stdout; what its encoding lacks (half a character in a file's name) is escaped."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding))


def print_json(value: Any) -> None:
    """One line of JSON on stdout, readable where its encoding allows, else escaped."""
    line = json.dumps(value, ensure_ascii=False)
    try:
        line.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        line = json.dumps(value)
    print(line)


def one_line(message: str) -> str:
    r"""A message without line breaks.

    Example:
        >>> one_line("no such file:\n  a.wav")
        'no such file: a.wav'
    """
    return " ".join(message.split())
