"""How a command ends: its exit code, and the one line an error may take."""

import sys

EXIT_GOOD, EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130


def print_error(message: str) -> None:
    """One line on stderr, whatever the message holds."""
    print(f"error: {one_line(message)}", file=sys.stderr)


def one_line(message: str) -> str:
    r"""A message without line breaks.

    Example:
        >>> one_line("no such file:\n  a.wav")
        'no such file: a.wav'
    """
    return " ".join(message.split())
