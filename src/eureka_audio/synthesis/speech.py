"""A corpus of synthetic speech: sentences said by many voices, in shards that can be trained on as
they appear.

    out/train/shard-000/manifest.jsonl + *.flac   clips of one shard, written when it is complete
    out/dev, out/test                             the same for sentences that occur nowhere else
    out/manifest.jsonl                            all of it, written last

What is said by whom, how, and with which noise follows from the seed and the clip's number alone,
and so does every sample, given the same engines.
A folder that is complete is not made again, so an interrupted run goes on where it was.
"""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import soundfile

from eureka_audio.audio.clock import SAMPLING_RATE
from eureka_audio.manifest import read_manifest, write_manifest
from eureka_audio.records import AudioClip, Split
from eureka_audio.synthesis.corpora import Book, Sentence
from eureka_audio.synthesis.engines import Waveform, require_engines, speak
from eureka_audio.synthesis.recorded import as_recorded, draw_silence, trim
from eureka_audio.synthesis.voices import Delivery, draw_delivery

CLIPS_PER_SHARD = 2000
CLIPS_PER_TASK = 100
MIN_SECONDS, MAX_SECONDS = 0.4, 14.0


@dataclass(frozen=True)
class Utterance:
    """One clip to be made: who says what, and where it goes (relative to the corpus)."""

    id: str
    path: str
    sentence: Sentence
    delivery: Delivery
    split: Split
    seed: int


def plan(book: Book, seed: int, num_train: int, name: str = "speech") -> Iterator[Utterance]:
    """The utterances of a corpus of some name in order: dev, test, then train. More of them never
    changes the first ones.
    """
    half = len(book.reserved) // 2
    splits: dict[Split, Sequence[Sentence]] = {
        "dev": book.reserved[:half],
        "test": book.reserved[half:],
    }
    for split, sentences in splits.items():
        for index, sentence in enumerate(sentences):
            yield _utterance(sentence, seed, name, split, index, split)
    for index in range(num_train):
        folder = f"train/shard-{index // CLIPS_PER_SHARD:03d}"
        yield _utterance(book.next_sentence(), seed, name, "train", index, folder)


def _utterance(
    sentence: Sentence,
    seed: int,
    name: str,
    split: Split,
    index: int,
    folder: str,
) -> Utterance:
    rng = random.Random(f"delivery/{seed}/{split}/{index}")
    id = f"{name}-{split}-{index:06d}"
    delivery = draw_delivery(rng)
    return Utterance(id, f"{folder}/{id}.flac", sentence, delivery, split, rng.getrandbits(32))


def render(out: Path, utterances: Sequence[Utterance]) -> tuple[list[AudioClip], Counter[str]]:
    """Say utterances and write their audio; return the clips (paths relative to ``out``) and why
    others were dropped.
    """
    spoken = speak([(u.sentence.words, u.delivery) for u in utterances])
    clips, dropped = [], Counter[str]()
    for utterance, said in zip(utterances, spoken, strict=True):
        engine, rng = utterance.delivery.engine, np.random.default_rng(utterance.seed)
        framed = framed_by_silence(said, rng)
        if framed is None:
            dropped[f"{engine}: no audio"] += 1
            continue
        waveform = as_recorded(framed, rng)
        seconds = len(waveform) / SAMPLING_RATE
        if not MIN_SECONDS <= seconds <= MAX_SECONDS:
            dropped[f"{engine}: not {MIN_SECONDS}-{MAX_SECONDS} s long"] += 1
            continue
        path = out / utterance.path
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, waveform, SAMPLING_RATE, format="FLAC", subtype="PCM_16")
        clips.append(clip_of(utterance, seconds))
    return clips, dropped


def framed_by_silence(said: Waveform | None, rng: np.random.Generator) -> Waveform | None:
    """What is audible of something said, between two drawn silences; `None` if nothing is."""
    kept = None if said is None else trim(said)
    return None if kept is None or not len(kept) else np.pad(kept, draw_silence(rng))


def clip_of(utterance: Utterance, seconds: float) -> AudioClip:
    """What is known of an utterance once it is said."""
    delivery, sentence = utterance.delivery, utterance.sentence
    accent = " with a learner's accent" if delivery.learner else ""
    return AudioClip(
        id=utterance.id,
        path=utterance.path,
        duration_seconds=round(seconds, 4),
        transcript=sentence.words,
        language="en",
        speaker=delivery.speaker,
        split=utterance.split,
        source=f"{delivery.engine}/{delivery.voice}{accent}; text: {sentence.source}",
        license=f"synthetic speech; text: {sentence.license}",
    )


def synthesize_speech(
    out: Path,
    book: Book,
    seed: int,
    num_train: int,
    num_workers: int = 1,
    name: str = "speech",
) -> Counter[str]:
    """Make a corpus of some name under ``out``, and return what became of every utterance:
    ``kept``, or a reason for dropping it.

    Raises:
        MissingDependencyError: an engine is not installed.
    """
    require_engines()
    fates: Counter[str] = Counter()
    everything: list[AudioClip] = []
    # What eSpeak says depends on what it has said before: a task has a process of its own.
    fresh = get_context("spawn")
    with ProcessPoolExecutor(num_workers, fresh, max_tasks_per_child=1) as pool:
        for folder, utterances in groupby(
            plan(book, seed, num_train, name), lambda planned: Path(planned.path).parent
        ):
            planned = list(utterances)
            folder_clips = _written(out, folder, planned)
            if not folder_clips:
                tasks = _tasks(planned)
                for clips, dropped in pool.map(render, [out] * len(tasks), tasks):
                    folder_clips += clips
                    fates.update(dropped)
                _write_folder(out / folder, folder_clips)
            fates["kept"] += len(folder_clips)
            everything += folder_clips
    write_manifest(out / "manifest.jsonl", everything)
    return fates


def _write_folder(folder: Path, clips: Sequence[AudioClip]) -> None:
    """The manifest of one folder, whose paths are relative to it."""
    local = [clip.model_copy(update={"path": Path(clip.path).name}) for clip in clips]
    write_manifest(folder / "manifest.jsonl", local)


def _written(out: Path, folder: Path, planned: Sequence[Utterance]) -> list[AudioClip]:
    """The clips of a folder that an earlier run completed; none unless they are what is planned, up
    to the last one.
    """
    path = out / folder / "manifest.jsonl"
    plans = {utterance.id: utterance for utterance in planned}
    clips = []
    for clip in read_manifest(path, AudioClip) if path.exists() else ():
        known = plans.get(clip.id)
        if known is None or clip.transcript != known.sentence.words:
            return []
        clips.append(clip.model_copy(update={"path": known.path}))
    is_complete = clips and clips[-1].id == planned[-1].id
    return clips if is_complete else []


def _tasks(utterances: list[Utterance]) -> list[list[Utterance]]:
    starts = range(0, len(utterances), CLIPS_PER_TASK)
    return [utterances[start : start + CLIPS_PER_TASK] for start in starts]
