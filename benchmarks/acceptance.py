"""What a model can do on recordings it never heard, beside faster-whisper on the same clips.

    python benchmarks/acceptance.py --recordings DIR --out benchmarks/results/acceptance.json

A table for each model, then one line of JSON. All of it is `eureka-audio evaluate`: the same items,
asked the way `transcribe` and `ask` answer users, scored under the same rules. A run that is
stopped goes on where it was. Peers are asked the transcripts; without faster-whisper they are left
out, with a word.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
import transformers
from acceptance_rows import CPU_ROW, NATIVE, ROWS, SPEECH, Row, shown
from peers import PEERS, FasterWhisper

import eureka_audio
from eureka_audio import EurekaAudio
from eureka_audio.cli.evaluation_model import folder_fingerprint
from eureka_audio.cli.main import main as command_line
from eureka_audio.data.evaluation_set import JOINED, evaluation_trials, joined_trials
from eureka_audio.data.recordings import read_dataset, recordings
from eureka_audio.errors import EurekaAudioError, MissingDependencyError
from eureka_audio.evaluation.results import Part, parts_of, score_run
from eureka_audio.evaluation.runner import RunIdentity, run_trials
from eureka_audio.evaluation.trials import Trial
from eureka_audio.inference.encoder_cache import EncoderCache
from eureka_audio.manifest import read_clips
from eureka_audio.parts.names import find_checkpoint
from eureka_audio.protocols import AudioLanguageModel, TranscribingModel
from eureka_audio.records import AudioClip

T = TypeVar("T")
Figure = dict[str, float | int]

RULES = {SPEECH: "whisper", "eureka_questions": "official"}
JOINED_OF = frozenset({"speechocean762", *NATIVE})  # digits and commands are no speech to be cut
NUM_JOINED_CLIPS = 300  # of each data set: 15 to 40 recordings of a minute
NUM_TIMED_CLIPS = 24


def main() -> int:
    """Ask, score, print, write."""
    args = _arguments()
    started = time.time()
    trials = list(gathered(args))
    results: dict[str, Any] = {}
    for name, model, fingerprint in models(args):
        asked = trials if name == args.model else [t for t in trials if t.is_transcription]
        identity = RunIdentity("acceptance", name, fingerprint, choose=name == args.model,
                               transcribe=True)  # fmt: skip
        books = run_trials(model, asked, args.runs / _file_name(name), identity)
        score_run(args.runs / _file_name(name))
        figures = dict(figures_of(parts_of(args.runs / _file_name(name))))
        figures["cpu_seconds"] = cpu_seconds(model, trials)
        results[name] = {"figures": figures, **books.as_dict()}
        report(name, figures)
    result = {
        "benchmark": "acceptance",
        "model": args.model,
        "split": args.split,
        "limit": args.limit,
        "threads": torch.get_num_threads(),
        "results": results,
        "goals": {row.name: [row.must(args.model), row.stretch] for row in (*ROWS, CPU_ROW)},
        "seconds": round(time.time() - started, 1),
    }
    print(json.dumps(record(result, args.out)))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--recordings", type=Path, default=os.environ.get("EUREKA_AUDIO_DATA"))
    parser.add_argument("--synthetic", type=Path, default=Path("data/synthetic"))
    parser.add_argument("--runs", type=Path, default=Path("runs/acceptance"))
    parser.add_argument(
        "--peers", nargs="*", choices=tuple(PEERS), default=list(PEERS), help="of faster-whisper"
    )
    parser.add_argument(
        "--limit", type=int, help="at most so many items of each kind, spread over it"
    )
    parser.add_argument("--split", choices=("test", "dev"), default="test")
    parser.add_argument("--out", type=Path, help="also write the JSON here")
    args = parser.parse_args()
    if args.recordings is None:
        parser.error("--recordings or EUREKA_AUDIO_DATA must name the folder of recordings")
    return args


def gathered(args: argparse.Namespace) -> Iterator[Trial]:
    """What is asked, the kinds of items limited each for itself, and recordings of a minute."""
    clips = recordings(args.recordings, args.split)
    for kind in ("speech", "scenes"):
        if (args.synthetic / kind / args.split / "manifest.jsonl").is_file():
            clips += read_clips(args.synthetic / kind / args.split)
        elif (args.synthetic / kind / "manifest.jsonl").is_file():
            clips += read_clips(args.synthetic / kind, args.split)
        else:
            print(f"left out: no {kind} in {args.synthetic}", file=sys.stderr)
    kinds: dict[tuple[str, ...], list[Trial]] = {}
    for trial in evaluation_trials([clip for clip in clips if clip.language in (None, "en")]):
        if any(row.holds(trial.benchmark, trial.fields) for row in ROWS):
            fields = [str(trial.fields.get(n)) for n in ("dataset", "skill", "age_group")]
            kinds.setdefault((trial.benchmark, *fields), []).append(trial)
    speech: list[Trial] = []
    for (benchmark, dataset, *_), trials in kinds.items():
        chosen = spread(trials, args.limit)
        yield from chosen
        if benchmark == SPEECH and dataset in JOINED_OF:
            speech += spread(chosen, NUM_JOINED_CLIPS)
    yield from joined_trials(speech, args.runs / JOINED)


def models(args: argparse.Namespace) -> Iterator[tuple[str, AudioLanguageModel, str]]:
    """Ours and the peers that can be run here, each with its name and what tells it apart."""
    folder = find_checkpoint(args.model)
    yield args.model, EurekaAudio.from_pretrained(folder), folder_fingerprint(folder)
    for name in args.peers:
        try:
            yield f"faster-whisper {name}", FasterWhisper(name), PEERS[name].sha256
        except MissingDependencyError as error:
            print(f"left out: {error}", file=sys.stderr)
            return


def figures_of(parts: Sequence[Part]) -> Iterator[tuple[str, Figure]]:
    """The figure of every row that has items."""
    by_name = {part.name: part for part in parts}
    for row in ROWS:
        if row.benchmark in by_name:
            figure = figure_of(row, by_name[row.benchmark])
            if figure is not None:
                yield row.name, figure


def figure_of(row: Row, part: Part) -> Figure | None:
    """One row; an item without a reply counts as wrong, or as all its words wrong."""
    rule = RULES.get(part.name, part.rules[0])
    measured = {item.uid: item.sums for item in part.measured(rule)}
    rows = list(part.predictions())
    chosen = [r for r in rows if row.holds(part.name, r)]
    if not chosen:
        return None

    def sums(of: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
        each = [measured.get(str(r["uid"])) or _nothing(part.name, r) for r in of]
        if row.measure == "exact":
            return float(sum(wrong == 0 for wrong, _ in each)), float(len(each))
        return float(sum(n for n, _ in each)), float(sum(n for _, n in each))

    numerator, denominator = sums(chosen)
    value = numerator / max(denominator, 1)
    figure: Figure = {"items": len(chosen), "value": value}
    if row.measure == "joined":
        members = {str(uid) for r in chosen for uid in r["members"]}
        apart, words = sums([r for r in rows if str(r["uid"]) in members])
        one_by_one = apart / max(words, 1)
        figure |= {"wer": value, "one_by_one": one_by_one, "value": value / max(one_by_one, 1e-9)}
    return figure


def _nothing(benchmark: str, row: Mapping[str, Any]) -> tuple[float, float]:
    """What an item without a reply adds to a score."""
    if benchmark == SPEECH:
        words = len(str(row["reference"]).split())
        return words, words
    return (0, len(row["events"])) if benchmark == "eureka_captions" else (0, 1)


def cpu_seconds(model: AudioLanguageModel, trials: Sequence[Trial]) -> Figure:
    """CPU seconds of the whole process per second of audio, after a first clip to warm up; every
    clip is heard anew.
    """
    assert isinstance(model, TranscribingModel)
    if isinstance(model, EurekaAudio):
        model.engine.runner.encoder_cache = EncoderCache(max_bytes=0)
    spoken = [t for t in trials if t.benchmark == SPEECH and t.fields["dataset"] in JOINED_OF]
    clips = [trial.audio for trial in spread(spoken, NUM_TIMED_CLIPS)]
    model.transcribe(clips[:1], errors="return")
    started = time.process_time()
    replies = model.transcribe(clips, errors="return")
    spent = time.process_time() - started
    heard = sum(getattr(reply, "duration_seconds", 0.0) for reply in replies)
    return {"items": len(clips), "value": spent / max(heard, 1e-9), "audio_seconds": heard}


def report(name: str, figures: Mapping[str, Figure]) -> None:
    """The rows of one model."""
    print(name)
    for row in (*ROWS, CPU_ROW):
        if row.name in figures:
            figure = figures[row.name]
            print(f"  {row.title:66} {shown(row, figure['value']):>9}  n={figure['items']}")
    sys.stdout.flush()


def recorded_clips(folder: Path, split: str, limit: int | None) -> list[AudioClip]:
    """Some of the recordings of a split."""
    return spread([clip for clip in read_dataset(folder) if clip.split == split], limit)


def made_clips(folder: Path, split: str, limit: int | None) -> list[AudioClip]:
    """Some of the clips of a split that were made by code, with paths that can be opened."""
    return spread(read_clips(folder / split), limit)


def spread(items: Sequence[T], limit: int | None) -> list[T]:
    """At most `limit` items at even distances: sets are ordered by speaker or kind."""
    return list(items if limit is None else items[:: max(1, -(-len(items) // limit))])


def run_command(*words: str, good: Sequence[int] = (0,)) -> None:
    """Run `eureka-audio` with these words, as a user would; `good` are exit codes to go on with.

    Raises:
        EurekaAudioError: it did not end well; its own message stands above.
    """
    if (code := command_line(list(words))) not in good:
        raise EurekaAudioError(f"expected {' '.join(words)} to end well, got exit code {code}")


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


def _file_name(name: str) -> str:
    return "".join(c if c.isalnum() or c in ".-" else "_" for c in name).strip("._") or "model"


if __name__ == "__main__":
    sys.exit(main())
