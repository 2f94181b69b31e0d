"""`eureka-audio transcribe`: write down what is said."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eureka_audio.cli.arguments import (
    KEY_VARIABLE,
    add_model_arguments,
    answer_files,
    as_json,
    check_words,
    load_model,
)
from eureka_audio.cli.outcome import print_json, print_text, printable
from eureka_audio.errors import ConfigError
from eureka_audio.protocols import Transcript

if TYPE_CHECKING:
    from eureka_audio.clients.transcription import TranscriptionClient
    from eureka_audio.inference.assistant import EurekaAudio

FORMATS = ("text", "json", "srt", "vtt")
SUBTITLES = ("srt", "vtt")


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "transcribe",
        help="write down what is said",
        description="Write down what is said in recordings of any length.",
    )
    add_model_arguments(parser)
    parser.add_argument(
        "--language", metavar="L", help="what is spoken, in English or as ISO 639-1: German, de"
    )
    parser.add_argument(
        "--num-beams",
        type=int,
        metavar="N",
        help="transcripts that grow side by side, of which the most probable is kept (default: "
        "what the model asks for; 1 is the fastest)",
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        help="text (default), json (as --json, with segments and warnings), or subtitles",
    )
    parser.add_argument(
        "--timestamps",
        choices=("segment", "word"),
        help="when each is said: in JSON, or before each line of text",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="write DIR/NAME.FORMAT for each file instead of printing it",
    )
    parser.add_argument(
        "--server",
        metavar="URL",
        help="ask a server that speaks OpenAI's API, such as http://localhost:8000/v1; the key is "
        f"read from {KEY_VARIABLE}",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Transcribe; returns the exit code.

    Raises:
        ConfigError: a language or a number of beams that is none, or options that do not go
            together.
    """
    if args.language is not None:
        check_words("--language", args.language)
    _check_format(args)
    load = load_model if args.server is None else connect
    if args.format is None and args.timestamps is None and args.out is None:
        return answer_files(
            args,
            lambda model, files: model.transcribe(
                files, args.language, num_beams=args.num_beams, errors="return"
            ),
            load=load,
        )
    args.json = args.json or args.format == "json"
    # Segments, too, are better where the times of words are known.
    plain = args.timestamps is None and args.format == "text"
    word_times = True if args.timestamps == "word" else False if plain else None

    def answer(model: "EurekaAudio", files: list[Any]) -> Sequence[Any]:
        return model.transcribe_detailed(
            files,
            args.language,
            word_times=word_times,
            num_beams=args.num_beams,
            errors="return",
        )

    return answer_files(args, answer, _writer(args), load)


def connect(args: argparse.Namespace) -> "TranscriptionClient":
    """The server that is asked in the place of a model.

    Raises:
        ConfigError: an address that is none, or an option that only a model at hand understands.
    """
    import os

    from eureka_audio.clients.transcription import TranscriptionClient
    from eureka_audio.clients.wire import Endpoint

    for option in ("num_beams", "device", "dtype"):
        if getattr(args, option) is not None:
            name = option.replace("_", "-")
            raise ConfigError(f"--{name}: expected nothing beside --server; leave it out")
    url = args.server.rstrip("/")
    url = url if url.endswith("/v1") else f"{url}/v1"
    endpoint = Endpoint(url, os.environ.get(KEY_VARIABLE, ""), timeout_seconds=600.0)
    return TranscriptionClient(endpoint, args.model)


def _check_format(args: argparse.Namespace) -> None:
    if args.json and args.format not in (None, "json"):
        raise ConfigError(
            f"--json and --format {args.format}: expected one of them; drop the other"
        )
    if args.out is None and args.format in SUBTITLES and len(args.files) > 1:
        raise ConfigError(
            f"--format {args.format}: expected one file to print, got {len(args.files)}; add --out "
            "DIR to write a file for each"
        )
    names = [Path(path).stem for path in args.files]
    if args.out is not None and len(set(names)) < len(names):
        raise ConfigError(
            "--out: expected files of different names, got two of one; transcribe them apart"
        )


def _writer(args: argparse.Namespace) -> Callable[[str, Any], None]:
    """What becomes of one transcript."""
    kind = "json" if args.json else args.format or "text"
    alone = len(args.files) == 1

    def write(path: str, transcript: Transcript) -> None:
        if args.out is not None:
            _save(args.out, path, kind, _as_file(path, transcript, kind, args.timestamps))
        elif kind == "json":
            print_json(_detailed_json(path, transcript))
        elif kind in SUBTITLES:
            print_text(_as_file(path, transcript, kind, args.timestamps).removesuffix("\n"))
        else:
            name = "" if alone else f"{printable(path)}: "
            for line in _as_file(path, transcript, kind, args.timestamps).splitlines():
                print_text(name + line)

    return write


def _save(folder: Path, path: str, kind: str, text: str) -> None:
    from eureka_audio.durable import atomic_write

    folder.mkdir(parents=True, exist_ok=True)
    stem = "stdin" if path == "-" else Path(path).stem
    with atomic_write(folder / f"{stem}.{'txt' if kind == 'text' else kind}") as stream:
        stream.write(text)


def _as_file(path: str, transcript: Transcript, kind: str, timestamps: str | None) -> str:
    """A transcript as the content of a file."""
    import json

    from eureka_audio.inference.transcription.subtitles import as_srt, as_vtt

    if kind == "json":
        return json.dumps(_detailed_json(path, transcript), ensure_ascii=False) + "\n"
    if kind in SUBTITLES:
        return as_srt(transcript) if kind == "srt" else as_vtt(transcript)
    if timestamps is None:
        return transcript.text + "\n"
    parts = [(word.start, word.end, word.word) for word in transcript.words or ()]
    if timestamps == "segment":
        parts = [(segment.start, segment.end, segment.text) for segment in transcript.segments]
    return "".join(f"[{start:.2f} - {end:.2f}] {text}\n" for start, end, text in parts)


def _detailed_json(path: str, transcript: Transcript) -> dict[str, Any]:
    """What `--json` prints, and all else that is known."""
    return {"path": path, **_rounded(asdict(transcript)), **as_json(path, transcript)}


def _rounded(value: Any) -> Any:
    """Times to the millisecond."""
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, dict):
        return {name: _rounded(part) for name, part in value.items()}
    return [_rounded(part) for part in value] if isinstance(value, list | tuple) else value
