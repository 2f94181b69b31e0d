"""What beams and second opinions do for transcripts: words wrong without each, and of the best.

    python benchmarks/opinions.py --recordings DIR --out benchmarks/results/opinions.json

Clips of `dev`, on which the weights were chosen. `best_found` counts the words wrong of the best
transcript among those that the beams found, as if somebody knew which one it is.
"""

import argparse
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from unittest.mock import patch

from acceptance import made_clips, record, recorded_clips

from eureka_audio import EurekaAudio
from eureka_audio.evaluation.metrics import word_error_rate
from eureka_audio.inference import engine
from eureka_audio.inference.beam_search import BeamSearch
from eureka_audio.inference.growing_answer import GrowingAnswer
from eureka_audio.inference.long_audio import OPINION_KEYS, transcription_beams
from eureka_audio.records import AudioClip

CHOOSING = ("ctc_weight", "unknown_word_penalty", "ngram_weight")


class Watched(BeamSearch):
    """A search that keeps what it found."""

    found_texts: tuple[str, ...] = ()

    def best(self, bonuses: Sequence[float]) -> GrowingAnswer:
        """The best of what was found."""
        Watched.found_texts = tuple(answer.text for answer in self.found)
        return super().best(bonuses)


def measure(model: EurekaAudio, clips: Sequence[AudioClip], num_beams: int) -> dict[str, float]:
    """Word error rates over clips, and the seconds it took."""
    started = time.perf_counter()
    chosen, best = [], []
    for clip in clips:
        Watched.found_texts = ()
        text = str(model.transcribe(clip.path, num_beams=num_beams))
        chosen.append(text)
        best.append(min(
            (text, *Watched.found_texts),
            key=lambda found: word_error_rate([clip.transcript or ""], [found], "whisper").edits,
        ))  # fmt: skip
    said = [clip.transcript or "" for clip in clips]
    figures: dict[str, float] = {}
    for name, texts in (("wer", chosen), ("best_found", best)):
        errors = word_error_rate(said, texts, "whisper")
        figures[name] = errors.edits / errors.ref_len
    return {**figures, "seconds": round(time.perf_counter() - started, 1)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--recordings", type=Path, default=os.environ.get("EUREKA_AUDIO_DATA"))
    parser.add_argument("--synthetic", type=Path, default=Path("data/synthetic"))
    parser.add_argument("--split", choices=("dev", "test"), default="dev")
    parser.add_argument("--limit", type=int, default=150, help="clips of each kind")
    parser.add_argument("--out", type=Path, help="also write the JSON here")
    args = parser.parse_args(arguments)
    if args.recordings is None:
        parser.error("--recordings or EUREKA_AUDIO_DATA must name the folder of recordings")
    recordings = Path(args.recordings) / "speechocean762"
    clips = {
        "synthetic": made_clips(args.synthetic / "speech", args.split, args.limit),
        "sentences": recorded_clips(recordings, args.split, args.limit),
    }
    model = EurekaAudio.from_pretrained(args.model)
    settings = model.model.generation_config
    beams = transcription_beams(settings)
    shipped = {name: getattr(settings, OPINION_KEYS[name], 0.0) for name in CHOOSING}
    without: list[tuple[int, Mapping[str, float]]] = [
        (beams, shipped),
        *((beams, {**shipped, name: 0.0}) for name in CHOOSING),
        (beams, dict.fromkeys(CHOOSING, 0.0)),
        (beams // 2, shipped),
        (beams // 4, shipped),
        (1, dict.fromkeys(CHOOSING, 0.0)),
    ]
    figures = []
    for num_beams, weights in without:
        for name, weight in weights.items():
            setattr(settings, OPINION_KEYS[name], weight)
        with patch.object(engine, "BeamSearch", Watched):
            of = {kind: measure(model, some, num_beams) for kind, some in clips.items()}
        figures.append({"num_beams": num_beams, **weights, **of})
        wrong = ", ".join(f"{kind} {100 * figure['wer']:.1f} %" for kind, figure in of.items())
        print(f"{num_beams:2} beams, {dict(weights)}: words wrong {wrong}", flush=True)
    result = {
        "benchmark": "opinions",
        "model": args.model,
        "split": args.split,
        "clips": {kind: len(some) for kind, some in clips.items()},
        "figures": figures,
    }
    record(result, args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
