"""``eureka-audio synthesize``: speech, digits, voices, readings, sounds, or composed scenes."""

import argparse
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from eureka_audio.records import Split

if TYPE_CHECKING:
    from eureka_audio.synthesis.corpora import SentenceBook


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "synthesize",
        help="make training audio whose labels are true by construction",
        description="Make synthetic speech, rendered sounds, or scenes composed of recordings, "
        "sounds and speech. The same seed makes the same clips.",
    )
    kinds = parser.add_subparsers(
        dest="kind", required=True, metavar="{speech,digits,voices,readings,sounds,scenes}"
    )
    speech = kinds.add_parser(
        "speech", help="sentences of free texts, said by many synthetic voices"
    )
    digits = kinds.add_parser("digits", help="single digits, said by the same voices")
    voices = kinds.add_parser(
        "voices", help="short sentences and digits, said by the voices of Kokoro, a neural engine"
    )
    readings = kinds.add_parser(
        "readings", help="sentences as phones and their times, without sound, for the oracle"
    )
    sounds = kinds.add_parser("sounds", help="single sounds and pieces of music, rendered by code")
    scenes = kinds.add_parser("scenes", help="several sounds and voices, with events and captions")
    for kind in (speech, digits, voices, readings, sounds, scenes):
        kind.add_argument(
            "--out", type=Path, required=True, help="folder for the clips and their manifest"
        )
        kind.add_argument(
            "--num", type=int, required=True, help="how many clips (of the train split, for speech)"
        )
        kind.add_argument("--seed", type=int, default=0, help="same seed, same clips (default: 0)")
    for kind in (sounds, scenes):
        kind.add_argument(
            "--split", choices=get_args(Split), default="train", help="(default: train)"
        )
    for kind in (speech, voices, readings, scenes):
        kind.add_argument("--recordings", type=Path, help="pack of recorded datasets to draw on")
    for kind in (speech, voices, readings):
        kind.add_argument(
            "--num-reserved",
            type=int,
            default=600,
            help="clips of dev and test of the speech together (default: 600)",
        )
    for kind in (speech, digits, voices, readings):
        kind.add_argument("--workers", type=int, default=1, help="processes (default: 1)")
    scenes.add_argument("--speech", type=Path, help="folder that 'synthesize speech' has filled")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Make the clips, print how many were kept or dropped and why, return the exit code."""
    from eureka_audio.synthesis.scenes import render_sound, write_clips

    if args.kind == "speech":
        return _speech(args)
    if args.kind == "digits":
        return _digits(args)
    if args.kind == "voices":
        return _voices(args)
    if args.kind == "readings":
        return _readings(args)
    if args.kind == "sounds":
        made = (render_sound(args.seed, index, args.split) for index in range(args.num))
        print(f"kept {write_clips(args.out, made)} of {args.num} sounds in {args.out}")
        return 0
    return _scenes(args)


def _speech(args: argparse.Namespace) -> int:
    from eureka_audio.synthesis.speech import synthesize_speech

    book = _sentence_book(args)
    for reason, count in sorted(book.dropped.items()):
        print(f"dropped {count} sentences: {reason}")
    fates = synthesize_speech(args.out, book, args.seed, args.num, args.workers)
    return _report(fates, args.num + args.num_reserved)


def _voices(args: argparse.Namespace) -> int:
    from eureka_audio.synthesis.corpora import ShortBook
    from eureka_audio.synthesis.speech import synthesize_speech

    book = ShortBook(args.seed, _sentence_book(args))
    fates = synthesize_speech(
        args.out, book, args.seed, args.num, args.workers, name="voice", engine="kokoro"
    )
    return _report(fates, args.num + len(book.reserved))


def _readings(args: argparse.Namespace) -> int:
    from eureka_audio.manifest import write_manifest
    from eureka_audio.synthesis.corpora import ReadingBook
    from eureka_audio.synthesis.readings import read

    book = ReadingBook(args.seed, _sentence_book(args))
    clips = list(read(book, args.seed, args.num, args.workers))
    args.out.mkdir(parents=True, exist_ok=True)
    write_manifest(args.out / "manifest.jsonl", clips)
    print(f"kept {len(clips)} of {args.num} readings in {args.out}")
    return 0


def _sentence_book(args: argparse.Namespace) -> "SentenceBook":
    """Of the corpus of this seed: what it reserves for dev and test is the same in every call."""
    from eureka_audio.data.recordings import recordings
    from eureka_audio.synthesis.corpora import SentenceBook

    prompts: dict[Split, set[str]] = {"train": set(), "dev": set(), "test": set()}
    for clip in recordings(args.recordings) if args.recordings else []:
        if clip.transcript and clip.source.startswith("speechocean762"):
            prompts[clip.split].add(clip.transcript)
    held_out = prompts["dev"] | prompts["test"]
    return SentenceBook(args.seed, prompts["train"], held_out, args.num_reserved)


def _digits(args: argparse.Namespace) -> int:
    from eureka_audio.synthesis.corpora import DigitBook
    from eureka_audio.synthesis.speech import synthesize_speech

    book = DigitBook(args.seed)
    fates = synthesize_speech(args.out, book, args.seed, args.num, args.workers, "digit")
    return _report(fates, args.num)


def _report(fates: Counter[str], num_planned: int) -> int:
    for fate, count in sorted(fates.items()):
        print(f"{fate}: {count} of {num_planned} clips")
    return 0


def _scenes(args: argparse.Namespace) -> int:
    from eureka_audio.data.recordings import recordings
    from eureka_audio.manifest import read_clips
    from eureka_audio.synthesis.parts import Material
    from eureka_audio.synthesis.scenes import compose_scene, write_clips

    clips = recordings(args.recordings, args.split) if args.recordings else []
    material = Material(
        args.split, (*clips, *(read_clips(args.speech, args.split) if args.speech else []))
    )
    made = (compose_scene(args.seed, index, material) for index in range(args.num))
    print(f"kept {write_clips(args.out, made)} of {args.num} scenes in {args.out}")
    return 0
