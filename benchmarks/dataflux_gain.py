"""What DataFlux's items teach: fine-tuning with them and without, equal steps, several seeds.

    python benchmarks/dataflux_gain.py --recordings DIR --out FILE

Makes items from all training recordings and the composed scenes of `--data`
(`benchmarks/dataflux_gain.yaml`), then trains `recipes/ablation-dataflux.yaml` twice for each seed,
from the same aligned adapter: on transcripts and captions alone, and with a quarter of the samples
from the items, each of them as often as any other. Judged are questions with choices about test
recordings and test scenes. What exists is not made again. Prints a table, then one line of JSON.

Source: paper section 5.1 and its ablation, which reports +7.7 on MMAU and +5.5 on MMAR.
"""

import argparse
import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from acceptance import record, run_command, spread

from eureka_audio import EurekaAudio
from eureka_audio.config import load_config
from eureka_audio.data.evaluation_set import (
    dataset_of,
    question_trials,
    read_clips,
    transcript_trial,
)
from eureka_audio.data.recordings import recordings
from eureka_audio.evaluation.metrics import word_error_rate
from eureka_audio.evaluation.statistics import Measured, compare
from eureka_audio.evaluation.trials import Trial
from eureka_audio.manifest import write_manifest
from eureka_audio.training.recipe import Recipe

HERE = Path(__file__).resolve().parent
RECIPE = HERE.parent / "recipes" / "ablation-dataflux.yaml"
# What is heard for which leaves: of a clip that has nothing to do with a leaf only a caption comes.
SETS = {
    "speakers": (("speechocean762", "librispeech_mini"), ("speech/speaker/identity",)),
    "emotions": (("emogator",), ("speech/emotion/category/which",)),
    "digits": (("fsdd",), ("speech/interaction/content/digit",)),
    "sounds": (("esc10", "sound_effects"), ("sound/events/identity/which",)),
    "instruments": (("philharmonia",), ("music/instrument/name",)),
    "order": (("scenes",), ("sound/order/position", "sound/counting/number")),
    "together": (("scenes",), ("mixed/together/speech/presence",)),
}
ITEMS_SHARE = 0.25  # of the samples of the second arm; every kept item is as likely as any other
ARMS = ("without", "with")
GROUPS = {
    "speaker and emotion": ("gender", "age", "emotion"),
    "scenes": ("first", "last", "after", "before", "times", "distinct"),
    "sounds and instruments": ("sound", "instrument"),
    "digits": ("digit",),
}
MAX_SECONDS = 30.0


def main() -> int:
    """Make items, train both arms, judge them, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recordings", type=Path, default=os.environ.get("EUREKA_AUDIO_DATA"))
    parser.add_argument("--data", type=Path, default=Path("data/synthetic"), help="with scenes/")
    parser.add_argument("--runs", type=Path, default=Path("runs/gain"))
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--limit", type=int, default=150, help="of questions of a kind, sentences")
    parser.add_argument("--set", action="append", default=[], help="of DataFlux, KEY=VALUE")
    parser.add_argument("--items-only", action="store_true", help="make the items, train nothing")
    parser.add_argument("--out", type=Path)
    parser.add_argument("overrides", nargs="*", help="of the recipe, KEY=VALUE")
    args = parser.parse_intermixed_args()
    if args.recordings is None:
        parser.error("--recordings or EUREKA_AUDIO_DATA must name the folder of recordings")
    kept = make_items(args)
    print(json.dumps(kept), flush=True)
    if args.items_only:
        return 0
    trials = gathered(args)
    right: dict[str, dict[str, list[Measured]]] = {arm: {} for arm in ARMS}
    wrong_words: dict[str, list[float]] = {arm: [] for arm in ARMS}
    for seed in args.seeds:
        for arm in ARMS:
            numbers = {name: sum(kept[name].values()) * (arm == "with") for name in SETS}
            model = EurekaAudio.from_pretrained(train(args, arm, seed, numbers))
            for group, answers in judge(model, trials, seed).items():
                right[arm].setdefault(group, []).extend(answers)
            wrong_words[arm].append(words_wrong(model, trials))
            print(arm, seed, f"words wrong {wrong_words[arm][-1]:.3f}", flush=True)
    result = {
        "items": kept,
        "seeds": args.seeds,
        "overrides": args.overrides,
        "limit": args.limit,
        "questions": summarise(right),
        "words_wrong": wrong_words,
    }
    print(json.dumps(record({"benchmark": "dataflux_gain", **result}, args.out)))
    return 0


def make_items(args: argparse.Namespace) -> dict[str, dict[str, int]]:
    """Run DataFlux over each kind of recordings; the kept items by kind and leaf."""
    clips = recordings(args.recordings, "train")
    clips += read_clips([args.data / "scenes" / "train"])
    kept = {}
    for name, (datasets, leaves) in SETS.items():
        folder = args.runs / "items" / name
        folder.mkdir(parents=True, exist_ok=True)
        here = [
            clip.model_copy(update={"path": str(Path(clip.path).resolve())})
            for clip in clips
            if dataset_of(clip) in datasets and clip.duration_seconds <= MAX_SECONDS
        ]
        write_manifest(folder / "manifest.jsonl", here)
        shutil.copy(HERE / "dataflux_gain.yaml", folder / "config.yaml")
        chosen = f"leaves=[{', '.join(leaves)}]"
        words = ["--out", str(folder / "flux"), "--set", chosen, *_settings(args)]
        # 1: some items failed, which costs the set these alone
        run_command("dataflux", "run", str(folder / "config.yaml"), *words, good=(0, 1))
        rows = (folder / "flux" / "kept.jsonl").read_text(encoding="utf-8").splitlines()
        kept[name] = dict(Counter(json.loads(row)["meta"]["leaf"] for row in rows))
    return kept


def _settings(args: argparse.Namespace) -> list[str]:
    return [word for one in args.set for word in ("--set", one)]


def train(args: argparse.Namespace, arm: str, seed: int, numbers: dict[str, int]) -> Path:
    """The model of one arm, which learns from so many items of each set; the second arm of a seed
    takes the aligned adapter of the first.
    """
    run = args.runs / f"{arm}-{seed}"
    aligned = args.runs / f"{ARMS[0]}-{seed}" / "align"
    if aligned.is_dir() and not (run / "align").exists():
        shutil.copytree(aligned, run / "align")
    data = args.runs / "data"
    data.mkdir(exist_ok=True)
    for name, place in (("items", args.runs / "items"), ("scenes", args.data / "scenes")):
        if not (data / name).exists():
            (data / name).symlink_to(place.resolve())
    folders = ["--data", data, "--recordings", args.recordings, "--out", run, "--cache", args.cache]
    words = [*map(str, folders), "--overlap", "ignore", f"seed={seed}"]
    run_command("train", str(RECIPE), *words, *weights(numbers), *args.overrides)
    return Path(run / "model")


def weights(numbers: dict[str, int]) -> list[str]:
    """Settings by which items are drawn: from each set as often as it holds items."""
    plain = load_config(Recipe, RECIPE, []).stages["sft"].mixture.weights
    others = sum(weight for name, weight in plain.items() if not name.endswith("_items"))
    each = others * ITEMS_SHARE / (1 - ITEMS_SHARE) / max(sum(numbers.values()), 1)
    return [f"stages.sft.mixture.weights.{n}_items={each * k:.4f}" for n, k in numbers.items()]


def gathered(args: argparse.Namespace) -> list[Trial]:
    """Questions of each skill and set, spread over it, and some sentences to write down."""
    clips = recordings(args.recordings, "test")
    clips += read_clips([args.data / "scenes" / "test"])
    kinds: dict[tuple[str, str], list[Trial]] = {}
    for clip in clips:
        for trial in question_trials(clip):
            fields = trial.fields
            kinds.setdefault((str(fields["skill"]), str(fields["dataset"])), []).append(trial)
    spoken = [transcript_trial(c) for c in clips if dataset_of(c) == "speechocean762"]
    chosen = [one for kind in kinds.values() for one in spread(kind, args.limit)]
    return chosen + spread(spoken, args.limit)


def judge(model: EurekaAudio, trials: Sequence[Trial], seed: int) -> dict[str, list[Measured]]:
    """Answers by group of skills; right ones are chosen as users' are, by probability."""
    asked = [trial for trial in trials if not trial.is_transcription]
    audio: list[Any] = [trial.audio for trial in asked]
    questions = [str(trial.fields["question"]) for trial in asked]
    choices: list[list[str]] = [list(map(str, _listed(trial, "choices"))) for trial in asked]
    groups: dict[str, list[Measured]] = {}
    for trial, reply in zip(asked, model.ask(audio, questions, choices), strict=True):
        is_right = reply.text == trial.fields["answer"]
        measured = Measured(
            f"{trial.uid}/{seed}", str(trial.audio), (float(is_right), 1.0), is_right
        )
        of = [name for name, skills in GROUPS.items() if trial.fields["skill"] in skills]
        for group in [*of, "all"]:
            groups.setdefault(group, []).append(measured)
    return groups


def _listed(trial: Trial, name: str) -> Sequence[object]:
    value = trial.fields[name]
    assert isinstance(value, list)
    return value


def words_wrong(model: EurekaAudio, trials: Sequence[Trial]) -> float:
    """Word errors over the sentences: whether writing down has suffered."""
    spoken = [trial for trial in trials if trial.is_transcription]
    audio: list[Any] = [trial.audio for trial in spoken]
    written = [reply.text for reply in model.transcribe(audio, language="en")]
    return word_error_rate([str(t.fields["reference"]) for t in spoken], written).value


def summarise(right: dict[str, dict[str, list[Measured]]]) -> dict[str, Any]:
    """Each group without and with the items, and the difference by clip, all seeds together."""
    table: dict[str, Any] = {}
    first, second = (right[arm] for arm in ARMS)
    print(f"{'questions':24} {'without':>8} {'with':>8} {'difference':>26}")
    for group, answers in first.items():
        found = compare("option_text", answers, second[group])
        assert found is not None
        table[group] = asdict(found)
        low, high = 100 * np.array([found.difference.low, found.difference.high])
        print(
            f"{group:24} {100 * found.first:8.1f} {100 * found.second:8.1f} "
            f"{100 * found.difference.value:+10.1f} [{low:+.1f}, {high:+.1f}]"
        )
    return table


if __name__ == "__main__":
    sys.exit(main())
