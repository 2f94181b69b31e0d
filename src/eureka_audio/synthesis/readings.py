"""Readings: sentences as the phones a voice would say and when, without the sound.

A decoder that practises on the oracle (`training/oracle.py`) hears no audio, so none is kept: words
by the hundred thousand are spelt out of their phones at a hundredth of the room and a third of the
time. Only eSpeak says them, the fastest of the engines.

Unstated: the paper's decoder knows its words from the web; ours has to meet them somewhere.
"""

import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor

import numpy as np

from eureka_audio.audio.clock import SAMPLING_RATE
from eureka_audio.records import AudioClip
from eureka_audio.synthesis.corpora import Book
from eureka_audio.synthesis.engines import require_engines, speak
from eureka_audio.synthesis.speech import (
    MAX_SECONDS,
    MIN_SECONDS,
    Utterance,
    clip_of,
    framed_by_silence,
)
from eureka_audio.synthesis.voices import draw_delivery

READINGS_PER_TASK = 200


def read(book: Book, seed: int, num: int, num_workers: int = 1) -> Iterator[AudioClip]:
    """Read sentences of a book; of each a clip whose path names nothing.

    What is read by whom follows from the seed and the clip's number alone. One that a voice cannot
    say, or that is too short or long (`speech.MIN_SECONDS`, `speech.MAX_SECONDS`), is left out.

    Raises:
        MissingDependencyError: eSpeak is not installed.
    """
    require_engines(["espeak-ng"])
    planned = [_planned(book, seed, index) for index in range(num)]
    starts = range(0, num, READINGS_PER_TASK)
    tasks = [planned[start : start + READINGS_PER_TASK] for start in starts]
    with ProcessPoolExecutor(num_workers) as pool:
        for clips in pool.map(read_out, tasks):
            yield from clips


def read_out(utterances: Sequence[Utterance]) -> list[AudioClip]:
    """The clips of some utterances."""
    clips = []
    spoken = speak([(utterance.sentence.words, utterance.delivery) for utterance in utterances])
    for utterance, said in zip(utterances, spoken, strict=True):
        framed = framed_by_silence(said, np.random.default_rng(utterance.seed))
        if framed is None:
            continue
        seconds = len(framed.waveform) / SAMPLING_RATE
        if MIN_SECONDS <= seconds <= MAX_SECONDS:
            clips.append(clip_of(utterance, seconds, framed.phones))
    return clips


def _planned(book: Book, seed: int, index: int) -> Utterance:
    rng = random.Random(f"reading/{seed}/{index}")
    id = f"reading-train-{index:06d}"
    delivery = draw_delivery(rng, "espeak-ng")
    return Utterance(id, id, book.next_sentence(), delivery, "train", rng.getrandbits(32))
