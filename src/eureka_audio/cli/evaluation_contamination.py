"""``eureka-audio evaluate contamination``: does training share clips or words with a test?"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TypeAlias

from eureka_audio.errors import ConfigError
from eureka_audio.records import AudioClip

Actions: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
MAX_SHOWN = 20


def add_contamination(actions: Actions) -> None:
    """Register the command."""
    parser = actions.add_parser(
        "contamination",
        help="look for clips of an evaluation set in training manifests",
        description="Compare manifests by decoded samples, by a coarse contour that survives "
        "re-encoding, and by long transcripts. Exit code 1 when something is shared.",
    )
    where = "manifests, folders with manifest.jsonl, or packs of recordings"
    parser.add_argument("trained", nargs="+", type=Path, metavar="TRAIN", help=where)
    parser.add_argument("--against", nargs="+", type=Path, required=True, help=where)
    parser.add_argument(
        "--trained-split", choices=("train", "dev", "test"), help="only these clips of TRAIN"
    )
    parser.add_argument(
        "--against-split", choices=("train", "dev", "test"), help="only these of the other side"
    )
    parser.add_argument("--words-only", action="store_true", help="decode nothing")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
    parser.set_defaults(act=_contamination)


def _contamination(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from eureka_audio.audio.decode import load_audio
    from eureka_audio.data.evaluation_set import read_clips
    from eureka_audio.evaluation.contamination import Waveform, find_overlaps

    def decode(path: Path) -> Waveform:
        return load_audio(path).waveform

    trained = read_clips(args.trained, args.trained_split)
    evaluated = read_clips(args.against, args.against_split)
    if not trained or not evaluated:
        raise ConfigError(
            f"expected clips on both sides, got {len(trained)} trained and {len(evaluated)}"
            " evaluated; check the paths and splits"
        )
    with tqdm(total=len(trained) + len(evaluated), unit="clip", disable=None) as bar:
        found = find_overlaps(
            _placed(trained),
            _placed(evaluated),
            None if args.words_only else decode,
            lambda: (bar.update(), None)[1],
        )
    if args.json:
        print(json.dumps(asdict(found)))
    else:
        print(f"{found.num_trained:,} trained clips against {found.num_evaluated:,} evaluated ones")
        for overlap in found.overlaps[:MAX_SHOWN]:
            print(f"  {overlap.evaluated} = {overlap.trained} by {overlap.mark}: {overlap.detail}")
        if len(found.overlaps) > MAX_SHOWN:
            print(f"  and {len(found.overlaps) - MAX_SHOWN:,} more; --json lists all")
        for name in found.unreadable[:MAX_SHOWN]:
            print(f"  could not be decoded: {name}")
        print("nothing is shared" if found.clean else f"{len(found.overlaps):,} overlaps")
    return 0 if found.clean else 1


def _placed(clips: list[AudioClip]) -> Iterator[tuple[AudioClip, Path]]:
    return ((clip, Path(clip.path)) for clip in clips)
