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
    printable,
)
from eureka_audio.errors import CheckpointError, ConfigError, EurekaAudioError
from eureka_audio.protocols import Reply, Transcript

if TYPE_CHECKING:
    from eureka_audio.inference.assistant import EurekaAudio

# Answers are printed after each group, so that a long run shows, and keeps, what it has done.
GROUP_FILES = 128

STDIN = "-"
KEY_VARIABLE = "EUREKA_AUDIO_API_KEY"  # of a server: what it asks for, what its clients send

Answer = Callable[["EurekaAudio", list[Any]], "Sequence[Reply | Transcript | EurekaAudioError]"]


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """The files to hear, the model that hears them, and the form of the answers."""
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="a recording of any format; - reads one from stdin"
    )
    parser.add_argument(
        "--model",
        default="nano",
        metavar="M",
        help="a packaged model, a folder, or a hub id owner/name (default: nano)",
    )
    parser.add_argument(
        "--device", metavar="D", help="cpu or cuda (default: a GPU if there is one)"
    )
    add_dtype_argument(parser)
    parser.add_argument(
        "--allow-unverified",
        action="store_true",
        help="load a folder that has no checksums.json to notice damage by",
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object for each file, in order"
    )


def add_dtype_argument(parser: argparse.ArgumentParser) -> None:
    """How the weights are kept."""
    parser.add_argument(
        "--dtype",
        metavar="T",
        help="float32, bfloat16, or on a CPU int8 or int4 for the language model's weights "
        "(default: what is fastest at full precision)",
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


def load_model(args: argparse.Namespace) -> "EurekaAudio":
    """The model that `add_model_arguments` names."""
    from eureka_audio.inference.assistant import EurekaAudio

    quieten()
    return EurekaAudio.from_pretrained(
        args.model,
        device=args.device,
        dtype=args.dtype,
        allow_unverified=args.allow_unverified,
    )


def answer_files(
    args: argparse.Namespace,
    answer: Answer,
    write: Callable[[str, Reply | Transcript], None] | None = None,
    load: Callable[[argparse.Namespace], Any] = load_model,
) -> int:
    """Load the model, answer every file, print the answers; returns the exit code.

    Args:
        args: of `add_model_arguments`.
        answer: asks the model about a group of recordings.
        write: what becomes of the answer about one; by default it is printed.
        load: where the model comes from.

    Raises:
        ConfigError: stdin is named more than once.
        CheckpointError: no such model.
    """
    if args.files.count(STDIN) > 1:
        raise ConfigError("-: expected stdin once among the files, got it twice; name it once")
    write = write or _printer(args)
    try:
        model = load(args)
    except CheckpointError as error:
        if args.json:  # an object for each input is promised, whatever happens
            for path in args.files:
                print_json(as_json(path, error))
        raise
    code = EXIT_GOOD
    for group in _groups(args.files):
        sources = [sys.stdin.buffer if path == STDIN else path for path in group]
        for path, reply in zip(group, answer(model, sources), strict=True):
            if not isinstance(reply, EurekaAudioError):
                write(path, reply)
                continue
            code = EXIT_FAILED
            if args.json:
                print_json(as_json(path, reply))
            else:
                print_error(_naming(path, str(reply)))
        sys.stdout.flush()
    return code


def _printer(args: argparse.Namespace) -> Callable[[str, Reply | Transcript], None]:
    """Prints one answer: a JSON object, the text, or the file's name and the text in one line."""

    def write(path: str, reply: Reply | Transcript) -> None:
        if args.json:
            print_json(as_json(path, reply))
        elif len(args.files) == 1:
            print_text(reply.text)
        else:
            print_text(f"{printable(path)}: {one_line(reply.text)}")

    return write


def as_json(path: str, reply: Reply | Transcript | EurekaAudioError) -> dict[str, Any]:
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
    if isinstance(reply, Transcript) or reply.scores is None:
        return result
    return {**result, "scores": dict(reply.scores)}


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
