"""Which model an evaluation asks: ours, one behind an endpoint, or any that meets the protocol."""

import argparse
import hashlib
import os
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from eureka_audio.cli.arguments import quieten
from eureka_audio.errors import ConfigError
from eureka_audio.protocols import AudioLanguageModel


class NamedModel(NamedTuple):
    """A model, its name, and what tells its replies from those of another."""

    model: AudioLanguageModel
    name: str
    fingerprint: str


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """The options that say whom to ask."""
    parser.add_argument(
        "--model",
        required=True,
        help="nano, a folder, a hub id; with --endpoint the name it has there; or package.module:"
        "function, a function that makes a model meeting protocols.AudioLanguageModel",
    )
    parser.add_argument(
        "--endpoint", metavar="URL", help="ask an OpenAI-compatible server, such as .../v1"
    )
    add_endpoint_options(parser)
    parser.add_argument("--device", help="of a model that runs here, such as cpu or cuda")


def add_endpoint_options(parser: argparse.ArgumentParser) -> None:
    """How a server is asked."""
    parser.add_argument(
        "--api-key-env",
        default="OPENAI_API_KEY",
        metavar="NAME",
        help="environment variable with the key of the endpoint (default: OPENAI_API_KEY)",
    )
    parser.add_argument(
        "--concurrency", type=int, default=8, help="requests under way at once (default: 8)"
    )
    parser.add_argument(
        "--timeout", type=float, default=120.0, help="seconds per request (default: 120)"
    )


def chosen_model(args: argparse.Namespace) -> NamedModel:
    """The model the options name.

    Raises:
        CheckpointError, ConfigError: there is none of that name, or options do not fit together.
    """
    if args.endpoint:
        return endpoint_model(args.model, args.endpoint, args)
    if ":" in args.model:
        return _made_by(args.model)
    from eureka_audio.inference.assistant import EurekaAudio
    from eureka_audio.parts.names import find_checkpoint

    quieten()
    folder = find_checkpoint(args.model)
    model = EurekaAudio.from_pretrained(folder, device=args.device)
    return NamedModel(model, args.model, folder_fingerprint(folder))


def endpoint_model(name: str, url: str, args: argparse.Namespace) -> NamedModel:
    """A model behind an OpenAI-compatible server."""
    from eureka_audio.clients.openai import OpenAIClient
    from eureka_audio.clients.wire import Endpoint

    endpoint = Endpoint(url, os.environ.get(args.api_key_env, ""), args.timeout)
    client = OpenAIClient(endpoint, name, concurrency=args.concurrency)
    return NamedModel(client, name, f"{url.rstrip('/')} {name}")


def folder_fingerprint(folder: Path) -> str:
    """SHA-256 over the names and bytes of a checkpoint's files."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.is_file():
            with path.open("rb") as stream:
                digest.update(f"{path.name} ".encode())
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def _made_by(name: str) -> NamedModel:
    """A model that a function of the user's makes; its name is all that tells it apart."""
    module, _, function = name.partition(":")
    try:
        model = getattr(import_module(module), function)()
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"expected --model {name} to name a function as package.module:function, found none"
            f" ({error}); check the spelling and PYTHONPATH"
        ) from error
    if not isinstance(model, AudioLanguageModel):
        raise ConfigError(
            f"expected {name} to make a model with a method answer (AudioLanguageModel), got a"
            f" {type(model).__name__}"
        )
    return NamedModel(model, name, name)
