"""What a hundred clips of one speaker are worth: a model before and after `recipes/finetune.yaml`.

    python benchmarks/finetuning.py --recordings DIR --out FILE

The speaker is fsdd's of the test split, whom no model of ours has heard in training. A hundred
clips are learnt as docs/fine-tuning.md says, each with its transcript and with a question that no
model of ours was ever asked; two hundred others are judged. Prints the shares of right transcripts
and answers, then one line of JSON.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from acceptance import record, recorded_clips, run_command, spread

from eureka_audio import EurekaAudio
from eureka_audio.manifest import write_manifest
from eureka_audio.parts.names import find_checkpoint
from eureka_audio.records import AudioClip, OwnQuestion
from eureka_audio.synthesis.grammar import DIGITS

NUM_LEARNT, NUM_JUDGED = 100, 200
QUESTION, CHOICES = "Is the number even or odd?", ("even", "odd")
RECIPE = Path(__file__).resolve().parent.parent / "recipes" / "finetune.yaml"


def main() -> int:
    """Learn, judge before and after, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--recordings", type=Path, default=os.environ.get("EUREKA_AUDIO_DATA"))
    parser.add_argument("--runs", type=Path, default=Path("runs/finetuning"))
    parser.add_argument("--out", type=Path)
    parser.add_argument("overrides", nargs="*", help="of the recipe, KEY=VALUE")
    args = parser.parse_intermixed_args()
    if args.recordings is None:
        parser.error("--recordings or EUREKA_AUDIO_DATA must name the folder of recordings")
    learnt, judged = prepare(args.recordings, args.runs / "clips")
    started = find_checkpoint(args.model)
    train(args, started)
    shares = {
        "before": judge(EurekaAudio.from_pretrained(started), judged),
        "after": judge(EurekaAudio.from_pretrained(args.runs / "run" / "model"), judged),
    }
    for name, figures in shares.items():
        print(name, {what: round(share, 3) for what, share in figures.items()})
    result = {"model": args.model, "learnt": len(learnt), "judged": len(judged), **shares}
    print(json.dumps(record({"benchmark": "finetuning", **result}, args.out)))
    return 0


def prepare(recordings: Path, folder: Path) -> tuple[list[AudioClip], list[AudioClip]]:
    """The clips that are learnt, in a folder with a manifest as a user would have, and others."""
    clips = [owned(clip) for clip in recorded_clips(recordings / "fsdd", "test", None)]
    learnt = spread(clips, NUM_LEARNT)
    ids = {clip.id for clip in learnt}
    judged = spread([clip for clip in clips if clip.id not in ids], NUM_JUDGED)
    dev = [clip.model_copy(update={"split": "dev"}) for clip in learnt[::10]]
    train_clips = [clip for number, clip in enumerate(learnt) if number % 10]
    folder.mkdir(parents=True, exist_ok=True)
    write_manifest(folder / "manifest.jsonl", [*train_clips, *dev])
    return learnt, judged


def owned(clip: AudioClip) -> AudioClip:
    """What a user would know of the clip: its words, and an answer of his own."""
    parity = CHOICES[DIGITS.index(str(clip.transcript)) % 2]
    return AudioClip(
        id=clip.id,
        path=str(Path(clip.path).resolve()),
        duration_seconds=clip.duration_seconds,
        transcript=clip.transcript,
        language="en",
        questions=(OwnQuestion(question=QUESTION, answer=parity, choices=CHOICES),),
    )


def train(args: argparse.Namespace, started: Path) -> None:
    """Run the recipe from the model."""
    folders = ["--data", str(args.runs / "clips"), "--out", str(args.runs / "run")]
    # The speaker is of a test split; the clips that are judged are others of the same speaker.
    allowed = ["--overlap", "ignore"]
    run_command("train", str(RECIPE), *folders, *allowed, f"start={started}", *args.overrides)


def judge(model: EurekaAudio, clips: Sequence[AudioClip]) -> dict[str, float]:
    """Shares of clips whose transcript, and whose answer, is right."""
    paths: list[Any] = [clip.path for clip in clips]
    written = model.transcribe(paths, language="en")
    answered = model.ask(paths, QUESTION, list(CHOICES))
    told = [clip.questions[0].answer for clip in clips]
    return {
        "transcripts": share([r.text for r in written], [str(c.transcript) for c in clips]),
        "answers": share([reply.text for reply in answered], told),
    }


def share(given: Sequence[str], expected: Sequence[str]) -> float:
    """How many are equal, of all."""
    return sum(a == b for a, b in zip(given, expected, strict=True)) / len(expected)


if __name__ == "__main__":
    sys.exit(main())
