"""``eureka-audio synthesize``: speech, digits, sounds, composed scenes, or chats."""

import argparse
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from eureka_audio.records import Split

if TYPE_CHECKING:
    from eureka_audio.synthesis.corpora import SentenceBook

PROMPTS = "speechocean762"  # whose training sentences are said by synthetic voices, too


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "synthesize",
        help="make training data whose labels are true by construction",
        description="Make synthetic speech, rendered sounds, scenes composed of recordings, sounds "
        "and speech, or chats of a language model with itself. The same seed and synthesisers make "
        "the same, however many workers there are.",
    )
    kinds = parser.add_subparsers(
        dest="kind", required=True, metavar="{speech,digits,sounds,scenes,chats}"
    )
    speech = kinds.add_parser(
        "speech", help="sentences of free texts, said by many synthetic voices"
    )
    digits = kinds.add_parser("digits", help="single digits, said by the same voices")
    sounds = kinds.add_parser("sounds", help="single sounds and pieces of music, rendered by code")
    scenes = kinds.add_parser("scenes", help="several sounds and voices, with events and captions")
    chats = kinds.add_parser(
        "chats", help="questions and answers that a language model writes, so that it still chats"
    )
    for kind in (speech, digits, sounds, scenes, chats):
        kind.add_argument(
            "--out", type=Path, required=True, help="folder for what is made and its manifest"
        )
        kind.add_argument(
            "--num", type=int, required=True, help="how many (clips of the train split, for speech)"
        )
        kind.add_argument("--seed", type=int, default=0, help="same seed, same clips (default: 0)")
    for kind in (sounds, scenes):
        kind.add_argument(
            "--split", choices=get_args(Split), default="train", help="(default: train)"
        )
    for kind in (speech, scenes):
        kind.add_argument("--recordings", type=Path, help="pack of recorded datasets to draw on")
    speech.add_argument(
        "--num-reserved",
        type=int,
        default=600,
        help="clips of dev and test together (default: 600)",
    )
    speech.add_argument(
        "--held-out",
        type=Path,
        help="file of sentences that no training text may hold: read, and those of dev and test "
        "are added (default: held_out.txt beside <out>)",
    )
    chats.add_argument(
        "--language-model",
        default="smollm2-135m",
        help="a part of the catalogue, a folder or a hub id (default: smollm2-135m)",
    )
    chats.add_argument("--device", default="auto", help="(default: auto)")
    for kind in (speech, digits):
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
    if args.kind == "chats":
        return _chats(args)
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


def _sentence_book(args: argparse.Namespace) -> "SentenceBook":
    """The book of this seed, which obeys the file of held-out sentences and adds its own to it."""
    from eureka_audio.data.held_out import FILE_NAME, add_held_out, read_held_out
    from eureka_audio.data.recordings import recordings
    from eureka_audio.synthesis.corpora import SentenceBook
    from eureka_audio.text.words import words_of

    path = args.held_out or args.out.absolute().parent / FILE_NAME
    before = set(read_held_out(path) if path.is_file() else ())
    prompts: set[str] = set()
    held_out: set[str] = set()
    for clip in recordings(args.recordings) if args.recordings else []:
        if clip.transcript and clip.source.startswith(PROMPTS):
            (prompts if clip.split == "train" else held_out).add(clip.transcript)
        elif clip.transcript and clip.split != "train":
            before.add(" ".join(words_of(clip.transcript)))
    book = SentenceBook(args.seed, prompts, held_out, args.num_reserved, before)
    reserved = {sentence.words for sentence in book.reserved}
    add_held_out(path, (before | held_out | reserved) - {""})
    return book


def _chats(args: argparse.Namespace) -> int:
    from eureka_audio.synthesis.chats import write_chats

    path = args.out / "chats.jsonl"
    num_kept = write_chats(path, args.language_model, args.num, args.seed, args.device)
    print(f"kept {num_kept} of {args.num} chats in {path}")
    return 0


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
