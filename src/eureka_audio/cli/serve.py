"""`eureka-audio serve`: a server that OpenAI's clients talk to, with a page for people."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from eureka_audio.cli.arguments import KEY_VARIABLE, add_dtype_argument, quieten
from eureka_audio.errors import ConfigError, MissingDependencyError

if TYPE_CHECKING:
    from eureka_audio.server.limits import ServerSettings


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "serve",
        help="answer OpenAI's clients, and people at a page",
        description="Serve a model over HTTP: OpenAI's routes under /v1, a page at /. "
        f"The key clients must send is read from {KEY_VARIABLE}.",
    )
    parser.add_argument(
        "--model",
        default="nano",
        metavar="M",
        help="a packaged model, a folder, or a hub id owner/name (default: nano)",
    )
    parser.add_argument(
        "--served-model-name",
        nargs="+",
        metavar="NAME",
        help="what clients may call it (default: as --model)",
    )
    parser.add_argument("--device", metavar="D", help="cpu or cuda (default: a GPU, if any)")
    add_dtype_argument(parser)
    parser.add_argument(
        "--allow-unverified",
        action="store_true",
        help="load a folder that has no checksums.json to notice damage by",
    )
    parser.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1, this machine only")
    parser.add_argument("--port", type=int, default=8000, metavar="P", help="default: 8000")
    parser.add_argument(
        "--allow-urls", action="store_true", help="fetch public http(s) URLs that clients name"
    )
    parser.add_argument(
        "--allow-folder",
        action="append",
        default=[],
        type=Path,
        metavar="FOLDER",
        help="clients may name files under this folder; may be given several times",
    )
    parser.add_argument(
        "--max-pending", type=int, default=64, metavar="N",
        help="requests at once; more are told to come back (default: 64)",
    )  # fmt: skip
    parser.add_argument(
        "--max-audio-seconds", type=float, default=600.0, metavar="S",
        help="the longest recording (default: 600)",
    )  # fmt: skip
    parser.add_argument(
        "--idle-unload", type=float, metavar="S",
        help="take the model out of memory after S seconds without work",
    )  # fmt: skip
    parser.add_argument(
        "--drain-timeout", type=float, default=30.0, metavar="S",
        help="what requests under way get after SIGTERM (default: 30)",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve until told to stop; returns the exit code.

    Raises:
        MissingDependencyError: the extra `server` is not installed.
        ConfigError: a number out of range, a folder that is none, an empty key.
        CheckpointError: no such model.
    """
    settings = settings_of(args)
    try:
        from eureka_audio.inference.assistant import EurekaAudio
        from eureka_audio.parts.names import find_checkpoint
        from eureka_audio.server.run import run as run_server
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"serving needs {error.name}; pip install 'eureka-audio[server]'"
        ) from error
    quieten()
    find_checkpoint(args.model)  # a wrong name is one line now, and no failed start later

    def load() -> "EurekaAudio":
        return EurekaAudio.from_pretrained(
            args.model,
            device=args.device,
            dtype=args.dtype,
            allow_unverified=args.allow_unverified,
            batch_size=settings.max_batch_size,
        )

    return run_server(settings, load, args.host, args.port)


def settings_of(args: argparse.Namespace) -> "ServerSettings":
    """The server's settings."""
    from dataclasses import replace

    from eureka_audio.audio.fetch import AudioAccess
    from eureka_audio.server.limits import ServerSettings

    for option, value in (
        ("--max-pending", args.max_pending),
        ("--max-audio-seconds", args.max_audio_seconds),
        ("--idle-unload", args.idle_unload),
        ("--drain-timeout", args.drain_timeout),
    ):
        if value is not None and not 0 < value < float("inf"):
            raise ConfigError(f"{option}: expected more than 0, got {value}; change it")
    if not 0 <= args.port < 2**16:
        raise ConfigError(f"--port: expected 0 to 65535, got {args.port}; choose another")
    for name in args.served_model_name or ():
        if not name.strip():
            raise ConfigError("--served-model-name: expected names, got an empty one; drop it")
    for folder in args.allow_folder:
        if not folder.is_dir():
            raise ConfigError(f"--allow-folder: expected a folder, found none at {folder}")
    key = os.environ.get(KEY_VARIABLE)
    if key is not None and not key.strip():
        raise ConfigError(f"{KEY_VARIABLE}: expected a key, got an empty one; set or unset it")
    base = ServerSettings()
    return replace(
        base,
        model=args.model,
        model_names=tuple(args.served_model_name or [str(args.model)]),
        api_key=key,
        access=AudioAccess(allow_urls=args.allow_urls, allowed_folders=tuple(args.allow_folder)),
        limits=replace(base.limits, max_duration_seconds=args.max_audio_seconds),
        max_pending=args.max_pending,
        idle_unload_seconds=args.idle_unload,
        drain_timeout_seconds=args.drain_timeout,
    )
