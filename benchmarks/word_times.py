"""How well the times of words are found: spoken digits, joined with gaps, so that truth is known.

    python benchmarks/word_times.py --recordings DIR --out benchmarks/results/word_times.json

A recording of `fsdd` holds one word; where it is loud, that word is said. Ten such are joined with
gaps of 0.2 to 0.8 s. Two figures: the words that were said, aligned (the alignment alone), and
those that the model wrote (what a user gets), of which only right ones have a true time.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

import numpy as np
import torch
from acceptance import record, recorded_clips
from numpy.typing import NDArray

from eureka_audio import DecodedAudio, EurekaAudio, load_audio
from eureka_audio.audio.clock import SAMPLING_RATE
from eureka_audio.inference.transcription.times import word_times
from eureka_audio.protocols import TranscriptWord
from eureka_audio.records import AudioClip

WORDS_AT_ONCE = 10
GAP_SECONDS = (0.2, 0.8)
ROOM_NOISE = 1e-4  # of the gaps: -80 dB of full scale
FRAME = SAMPLING_RATE // 100
LOUD_DB = 30.0  # a word begins and ends where it is so far below its loudest 10 ms
WITHIN_MS = (50, 100, 200)


@dataclass(frozen=True)
class Spoken:
    """A recording whose words and times are known."""

    audio: DecodedAudio
    words: tuple[TranscriptWord, ...]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--recordings", type=Path, default=os.environ.get("EUREKA_AUDIO_DATA"))
    parser.add_argument("--num", type=int, default=300, help="words (default: 300)")
    parser.add_argument("--num-beams", type=int, help="of the transcripts (default: the model's)")
    parser.add_argument("--split", choices=("test", "dev"), default="test")
    parser.add_argument("--out", type=Path, help="also write the JSON here")
    args = parser.parse_args(arguments)
    if args.recordings is None:
        parser.error("--recordings or EUREKA_AUDIO_DATA must name the folder of recordings")
    model = EurekaAudio.from_pretrained(args.model)
    clips = recorded_clips(Path(args.recordings) / "fsdd", args.split, args.num)
    spoken = list(joined([clip for clip in clips if clip.transcript]))
    aligned = [pair for each in spoken for pair in aligned_words(model, each)]
    written = [pair for each in spoken for pair in written_words(model, each, args.num_beams)]
    figures = {"aligned": errors(aligned), "written": errors(written)}
    for name, figure in figures.items():
        print(name, ", ".join(f"{key} {value:.3g}" for key, value in figure.items()))
    result = {
        "benchmark": "word_times",
        "model": args.model,
        "split": args.split,
        "num_beams": args.num_beams,
        "words": sum(len(each.words) for each in spoken),
        "figures": figures,
    }
    record(result, args.out)
    return 0


def joined(clips: Sequence[AudioClip]) -> Iterator[Spoken]:
    """Recordings of ten words each, in an order and with gaps that do not change."""
    rng = np.random.default_rng(0)
    order = rng.permutation(len(clips))
    for first in range(0, len(order), WORDS_AT_ONCE):
        parts: list[NDArray[np.float32]] = []
        words: list[TranscriptWord] = []
        position = 0
        for index in order[first : first + WORDS_AT_ONCE]:
            gap = int(rng.uniform(*GAP_SECONDS) * SAMPLING_RATE)
            waveform = load_audio(clips[index].path).waveform
            start, end = loud(waveform)
            offset = (position + gap) / SAMPLING_RATE
            word = str(clips[index].transcript)
            words.append(TranscriptWord(word, offset + start, offset + end))
            parts += [(ROOM_NOISE * rng.standard_normal(gap)).astype(np.float32), waveform]
            position += gap + len(waveform)
        yield Spoken(DecodedAudio(np.concatenate(parts)), tuple(words))


def loud(waveform: NDArray[np.float32]) -> tuple[float, float]:
    """From when to when a recording of one word is loud, in seconds."""
    frames = waveform[: len(waveform) // FRAME * FRAME].reshape(-1, FRAME)
    decibels = 10 * np.log10(np.square(frames).mean(axis=1) + 1e-12)
    heard = np.flatnonzero(decibels > decibels.max() - LOUD_DB)
    return float(heard[0] / 100), float((heard[-1] + 1) / 100)


Pair = tuple[TranscriptWord, TranscriptWord]  # true, found


def aligned_words(model: EurekaAudio, spoken: Spoken) -> Iterator[Pair]:
    """The words that were said, aligned as the only chunk."""
    features = model.processor.window_features(spoken.audio.waveform)
    with torch.inference_mode():
        heard = [model.model.get_audio_features(each[None]).ctc_logits for each in features]
    logits = torch.cat([each[0] for each in heard if each is not None]).float()
    names = [word.word for word in spoken.words]
    log_probs = logits.log_softmax(-1).numpy()
    found = word_times(log_probs, names, 0.0, spoken.audio.duration_seconds)
    yield from zip(spoken.words, found or (), strict=False)


def written_words(model: EurekaAudio, spoken: Spoken, num_beams: int | None) -> Iterator[Pair]:
    """The words that the model wrote and that were said."""
    transcript = model.transcribe_detailed(spoken.audio, word_times=True, num_beams=num_beams)
    found = transcript.words or ()
    said = [word.word.lower() for word in spoken.words]
    wrote = [word.word.lower().strip(".,!?") for word in found]
    for block in SequenceMatcher(a=said, b=wrote, autojunk=False).get_matching_blocks():
        for step in range(block.size):
            yield spoken.words[block.a + step], found[block.b + step]


def errors(pairs: Sequence[Pair]) -> dict[str, float]:
    """How far starts and ends are off, in milliseconds, and how often both are near."""
    if not pairs:
        return {"words": 0}
    off_ms = 1000 * np.array([(f.start - t.start, f.end - t.end) for t, f in pairs])
    result = {"words": float(len(pairs))}
    for name, column in zip(("start", "end"), off_ms.T, strict=True):
        result[f"{name}_mean_ms"] = round(float(column.mean()), 1)
        result[f"{name}_median_error_ms"] = round(float(np.median(np.abs(column))), 1)
    for limit in WITHIN_MS:
        near = float((np.abs(off_ms).max(axis=1) <= limit).mean())
        result[f"within_{limit}_ms"] = round(near, 3)
    return result


if __name__ == "__main__":
    sys.exit(main())
