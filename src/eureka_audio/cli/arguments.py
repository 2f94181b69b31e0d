"""What `transcribe`, `ask` and `caption` share: arguments, and one answer for each file."""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from eureka_audio.cli.outcome import (
    EXIT_FAILED,
    EXIT_GOOD,
    one_line,
    print_error,
    print_json,
    print_text,
)
from eureka_audio.errors import CheckpointError, ConfigError, EurekaAudioError
from eureka_audio.protocols import Reply

if TYPE_CHECKING:
    from eureka_audio.inference.assistant import EurekaAudio

# Answers are printed after each group, so that a long run shows, and keeps, what it has done.
GROUP_FILES = 128

Answer = Callable[["EurekaAudio", list[Any]], "Sequence[Reply | EurekaAudioError]"]


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """The files to hear, the model that hears them, and the form of the answers."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="a recording of any format")
    parser.add_argument(
        "--model",
        default="nano",
        metavar="M",
        help="a packaged model, a folder, or a hub id owner/name (default: nano)",
    )
    parser.add_argument(
        "--device", metavar="D", help="cpu or cuda (default: a GPU if there is one)"
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object for each file, in order"
    )


def check_words(option: str, words: str) -> None:
    """See that an option's words can be put to a model.

    Raises:
        ConfigError: they are blank, or no valid Unicode.
    """
    try:
        words.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(
            f"{option}: expected valid Unicode, got {words!r:.80}; check the terminal's encoding"
        ) from error
    if not words.strip():
        raise ConfigError(f"{option}: expected some text, got {words!r}; write something")


def answer_files(args: argparse.Namespace, answer: Answer) -> int:
    """Load the model, answer every file, print the answers; returns the exit code."""
    from eureka_audio.inference.assistant import EurekaAudio

    quieten()
    try:
        model = EurekaAudio.from_pretrained(args.model, device=args.device)
    except CheckpointError as error:
        if args.json:  # an object for each input is promised, whatever happens
            for path in args.files:
                print_json(as_json(path, error))
        raise
    code = EXIT_GOOD
    for group in _groups(args.files):
        for path, reply in zip(group, answer(model, group), strict=True):
            if isinstance(reply, EurekaAudioError):
                code = EXIT_FAILED
                if not args.json:
                    print_error(_naming(path, str(reply)))
            if args.json:
                print_json(as_json(path, reply))
            elif isinstance(reply, Reply):
                alone = len(args.files) == 1
                print_text(reply.text if alone else f"{path}: {one_line(reply.text)}")
        sys.stdout.flush()
    return code


def as_json(path: str, reply: Reply | EurekaAudioError) -> dict[str, Any]:
    """What `--json` prints for one file."""
    if isinstance(reply, EurekaAudioError):
        error = {"type": type(reply).__name__, "message": one_line(str(reply))}
        return {"path": path, "error": error}
    result = {
        "path": path,
        "text": reply.text,
        "duration_seconds": round(reply.duration_seconds, 3),
        "num_audio_tokens": reply.num_audio_tokens,
        "num_new_tokens": reply.num_new_tokens,
        "finish_reason": reply.finish_reason,
    }
    return result if reply.scores is None else {**result, "scores": dict(reply.scores)}


def _groups(files: Sequence[str]) -> Iterator[list[Any]]:
    for start in range(0, len(files), GROUP_FILES):
        yield list(files[start : start + GROUP_FILES])


def _naming(path: str, message: str) -> str:
    """The message, with the file named once."""
    return message if path in message else f"{path}: {message}"


def quieten() -> None:
    """Leave stderr to our own messages: no bars while weights load."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
