"""What the embedded model can do, on recordings it never heard: one table, then one line of JSON.

    python benchmarks/acceptance.py --recordings DIR --synthetic data/synthetic [--model nano]

Every figure is over a whole `test` split: unseen speakers, notes, sources or sentences; weights are
chosen on `--split dev`. Choices are scored by log-probability, captions by the events they name.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
import transformers

import eureka_audio
from eureka_audio import EurekaAudio
from eureka_audio.data.recordings import read_dataset
from eureka_audio.evaluation.metrics import word_error_rate
from eureka_audio.inference.long_audio import transcription_beams, transcription_opinions
from eureka_audio.manifest import audio_path, read_manifest
from eureka_audio.records import AudioClip
from eureka_audio.tasks import evaluation_items
from eureka_audio.tasks.captions import named_labels

T = TypeVar("T")
Figure = dict[str, float | int | str]

# name -> (must, stretch); errors must lie below, everything else above
GOALS = {
    "digit": (0.95, 0.99),
    "sound": (0.80, 0.90),
    "instrument": (0.90, 0.97),
    "gender": (0.92, 0.97),
    "age": (0.85, 0.93),
    "wer_synthetic": (0.10, 0.04),
    "wer_sentences": (0.40, 0.20),
    "caption_event_f1": (0.80, 0.95),
    "no_speech": (0.95, 0.99),
}


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--recordings", type=Path, default=os.environ.get("EUREKA_AUDIO_DATA"))
    parser.add_argument("--synthetic", type=Path, default=Path("data/synthetic"))
    parser.add_argument(
        "--limit", type=int, help="at most so many clips of each set, spread over it"
    )
    parser.add_argument("--split", choices=("test", "dev"), default="test")
    parser.add_argument("--out", type=Path, help="also write the JSON here")
    args = parser.parse_args()
    if args.recordings is None:
        parser.error("--recordings or EUREKA_AUDIO_DATA must name the folder of recordings")
    started = time.time()
    model = EurekaAudio.from_pretrained(args.model)

    def recorded(name: str) -> list[AudioClip]:
        return recorded_clips(args.recordings / name, args.split, args.limit)

    def made(name: str) -> list[AudioClip]:
        return made_clips(args.synthetic / name, args.split, args.limit)

    figures: dict[str, Figure] = {}
    sentences = recorded("speechocean762")
    for name, clips in (
        ("digit", recorded("fsdd")),
        ("sound", recorded("esc10")),
        ("instrument", recorded("philharmonia")),
        ("gender", sentences),
        ("age", sentences),
    ):
        figures[name] = measure_choices(model, clips, name)
        report(name, figures[name])
    speechless = [*recorded("esc10"), *recorded("philharmonia")]
    figures["no_speech"] = measure_empty_transcripts(model, speechless)
    report("no_speech", figures["no_speech"])
    for name, clips in (("wer_synthetic", made("speech")), ("wer_sentences", sentences)):
        figures[name] = measure_transcripts(model, clips)
        report(name, figures[name])
    figures["caption_event_f1"] = measure_captions(model, made("scenes"))
    report("caption_event_f1", figures["caption_event_f1"])
    settings = model.model.generation_config
    result = {
        "benchmark": "acceptance",
        "model": args.model,
        "split": args.split,
        "figures": figures,
        "goals": GOALS,
        "transcription": {
            "num_beams": transcription_beams(settings),
            **transcription_opinions(settings)._asdict(),
        },
        "seconds": round(time.time() - started, 1),
    }
    print(json.dumps(record(result, args.out)))
    return 0


def recorded_clips(folder: Path, split: str, limit: int | None) -> list[AudioClip]:
    """Some of the recordings of a split."""
    return spread([clip for clip in read_dataset(folder) if clip.split == split], limit)


def made_clips(folder: Path, split: str, limit: int | None) -> list[AudioClip]:
    """Some of the clips of a split that were made by code, with paths that can be opened."""
    path = folder / split / "manifest.jsonl"
    clips = read_manifest(path, AudioClip)
    return spread(
        [clip.model_copy(update={"path": str(audio_path(clip, path))}) for clip in clips], limit
    )


def spread(clips: Sequence[T], limit: int | None) -> list[T]:
    """At most `limit` clips at even distances: sets are ordered by speaker or kind."""
    return list(clips if limit is None else clips[:: max(1, -(-len(clips) // limit))])


def measure_choices(model: EurekaAudio, clips: Sequence[AudioClip], skill: str) -> Figure:
    """Accuracy of the most probable choice on the questions of one skill."""
    groups: dict[tuple[str, tuple[str, ...]], list[tuple[AudioClip, str]]] = {}
    for clip in clips:
        for name, question, choices, answer in evaluation_items(clip):
            if name == skill:
                groups.setdefault((question, tuple(choices)), []).append((clip, answer))
    right = total = 0
    for (question, choices), items in groups.items():
        replies = model.ask([clip.path for clip, _ in items], question, choices=list(choices))
        right += sum(
            str(reply) == answer for reply, (_, answer) in zip(replies, items, strict=True)
        )
        total += len(items)
    return {"value": right / total, "items": total}


def measure_transcripts(model: EurekaAudio, clips: Sequence[AudioClip]) -> Figure:
    """Corpus word error rate under the `whisper` rule."""
    replies = model.transcribe([clip.path for clip in clips])
    errors = word_error_rate(
        [clip.transcript or "" for clip in clips], [str(reply) for reply in replies], "whisper"
    )
    return {"value": errors.value, "items": len(clips), "words": errors.ref_len}


def measure_empty_transcripts(model: EurekaAudio, clips: Sequence[AudioClip]) -> Figure:
    """Share of clips without speech for which no word is written."""
    replies = model.transcribe([clip.path for clip in clips])
    return {
        "value": sum(not str(reply).strip() for reply in replies) / len(clips),
        "items": len(clips),
    }


def measure_captions(model: EurekaAudio, clips: Sequence[AudioClip]) -> Figure:
    """F1 of the events named, pooled over all scenes: each kind of event counts once per scene."""
    labels = sorted({event.label for clip in clips for event in clip.events or ()})
    replies = model.caption([clip.path for clip in clips])
    hits = named = present = 0
    for clip, reply in zip(clips, replies, strict=True):
        truth = {event.label for event in clip.events or ()}
        found = named_labels(str(reply), labels) - {clip.background}
        hits, named, present = hits + len(truth & found), named + len(found), present + len(truth)
    return {"value": 2 * hits / max(named + present, 1), "items": len(clips), "events": present}


def report(name: str, figure: Figure) -> None:
    """One row of the table."""
    must, stretch = GOALS[name]
    value = float(figure["value"])
    better: Callable[[float], bool] = (
        (lambda goal: value <= goal) if name.startswith("wer") else (lambda goal: value >= goal)
    )
    verdict = "stretch" if better(stretch) else "must" if better(must) else "missed"
    print(
        f"{name:18} {100 * value:6.2f} %   must {100 * must:4.0f}   {verdict:8} n={figure['items']}"
    )
    sys.stdout.flush()


def record(result: dict[str, Any], out: Path | None) -> dict[str, Any]:
    """A result and what it was measured with, written to a file if there is to be one."""
    result = {**result, **environment()}
    if out:
        out.write_text(json.dumps(result, indent=1) + "\n")
    return result


def environment() -> dict[str, str]:
    """What the figures were measured with."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return {
        "commit": commit,
        "version": eureka_audio.__version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }


if __name__ == "__main__":
    sys.exit(main())
