"""Forced alignment: which phone each frame of a real recording holds, found by the encoder itself.

Of a recording only the words are known. eSpeak says how they are pronounced, and an encoder that
has learnt phones from synthetic speech says where: the most probable path through the phones in
their order, with pauses where it likes. What it finds, the next phase of the encoder learns.

Source: L. Rabiner, "A tutorial on hidden Markov models" (1989), section III.B, for the search.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from eureka_audio.audio.clock import ENCODER_FRAMES_PER_SECOND
from eureka_audio.data.mixture import Batch, Sample
from eureka_audio.data.sources import ClipSource
from eureka_audio.durable import atomic_write
from eureka_audio.records import AudioClip, Phone
from eureka_audio.synthesis.espeak import espeak
from eureka_audio.synthesis.phones import PHONES, phone_of
from eureka_audio.training.encoder_pretraining import EncoderWithHeads, PretrainingCollator
from eureka_audio.training.heads import PHONE_CLASS, SILENCE

BATCH_SIZE = 24
VOICE, WORDS_PER_MINUTE, PITCH = "en-us", 170, 50
IMPOSSIBLE = -1e30


@cache
def pronounce(words: str) -> tuple[str, ...]:
    """The phones of some words, without pauses and without sounds that have no name here.

    Raises:
        MissingDependencyError: eSpeak is not installed.
    """
    said = espeak().say(words, VOICE, WORDS_PER_MINUTE, PITCH, 0)
    named = [phone_of(phoneme.mnemonic, "espeak-ng") for phoneme in said.phonemes] if said else []
    return tuple(name for name in named if name in PHONES)


def align(
    log_probs_LP: NDArray[np.float32], classes: Sequence[int]
) -> list[tuple[int, int]] | None:
    """Where each of `classes` is heard on the most probable path through them in their order.

    Before, between and after them there may be silence.

    Args:
        log_probs_LP: `(L, P)` log-probabilities of the classes in each frame.
        classes: what is said; each fills at least one frame.

    Returns:
        First and end frame of each; `None` where there are fewer frames than classes, or none.
    """
    num_frames, num_states = len(log_probs_LP), 2 * len(classes) + 1
    if not classes or num_frames < len(classes):
        return None
    states = np.full(num_states, SILENCE)
    states[1::2] = classes
    emitted_LS = log_probs_LP[:, states]
    may_skip = np.zeros(num_states, bool)
    may_skip[3::2] = True  # the silence between two phones
    steps_LS = np.zeros((num_frames, num_states), np.int64)
    score_S = np.full(num_states, IMPOSSIBLE)
    score_S[:2] = emitted_LS[0, :2]
    for frame in range(1, num_frames):
        after_last = np.r_[IMPOSSIBLE, score_S[:-1]]
        after_skip = np.where(may_skip, np.r_[IMPOSSIBLE, IMPOSSIBLE, score_S[:-2]], IMPOSSIBLE)
        options = np.stack([score_S, after_last, after_skip])
        steps_LS[frame] = options.argmax(axis=0)
        score_S = options.max(axis=0) + emitted_LS[frame]
    state = num_states - 1 if score_S[-1] > score_S[-2] else num_states - 2
    path_L = np.empty(num_frames, np.int64)
    for frame in range(num_frames - 1, -1, -1):
        path_L[frame] = state
        state -= steps_LS[frame, state]
    wanted = 2 * np.arange(len(classes)) + 1
    firsts = np.searchsorted(path_L, wanted, side="left").tolist()
    ends = np.searchsorted(path_L, wanted, side="right").tolist()
    return list(zip(firsts, ends, strict=True))


@torch.inference_mode()
def aligned_phones(
    model: EncoderWithHeads, source: ClipSource
) -> Iterator[tuple[str, tuple[Phone, ...]]]:
    """Ids and phones of those clips of a source whose words are known and whose phones are not.

    A clip too short for what is said to be in it, or without a sound that has a name, is left out.
    """
    model.eval()
    collate = PretrainingCollator({source.name: source}, model.encoder.config.num_mel_bins, None)
    names = {
        index: pronounce(clip.transcript)
        for index, clip in enumerate(source.clips)
        if clip.transcript and clip.phones is None
    }
    order = sorted(names, key=lambda index: source.clips[index].duration_seconds)
    for start in range(0, len(order), BATCH_SIZE):
        chosen = order[start : start + BATCH_SIZE]
        output = model(**collate(Batch(tuple(Sample(source.name, index, 0) for index in chosen))))
        log_probs_ALP = output.heads.phone_logits.log_softmax(-1).numpy()
        lengths = output.frame_lengths.tolist()
        for index, log_probs_LP, length in zip(chosen, log_probs_ALP, lengths, strict=True):
            classes = [PHONE_CLASS[name] for name in names[index]]
            places = align(log_probs_LP[:length], classes)
            if places is not None:
                yield source.clips[index].id, _in_seconds(names[index], places)


def _in_seconds(names: Sequence[str], places: Sequence[tuple[int, int]]) -> tuple[Phone, ...]:
    return tuple(
        Phone(name, first / ENCODER_FRAMES_PER_SECOND, end / ENCODER_FRAMES_PER_SECOND)
        for name, (first, end) in zip(names, places, strict=True)
    )


def write_alignment(path: Path, found: Iterable[tuple[str, tuple[Phone, ...]]]) -> None:
    """One line of JSON per clip: its id and its phones."""
    with atomic_write(path) as file:
        for name, phones in found:
            file.write(json.dumps({"id": name, "phones": phones}) + "\n")


def with_alignment(clips: Iterable[AudioClip], path: Path) -> list[AudioClip]:
    """The clips, with the phones that `write_alignment` left at `path`, if it did."""
    if not path.exists():
        return list(clips)
    lines = path.read_text(encoding="utf-8").splitlines()
    found = {row["id"]: row["phones"] for row in map(json.loads, lines)}
    return [
        clip.model_copy(update={"phones": tuple(Phone(*phone) for phone in found[clip.id])})
        if clip.id in found
        else clip
        for clip in clips
    ]
