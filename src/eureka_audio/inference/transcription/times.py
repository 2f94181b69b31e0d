"""When each word of a transcript is said, from the letters that a CTC head hears.

The head gives each encoder frame (20 ms) a probability of every letter and of none of them. Of all
ways to spread the letters of the text over the frames, in order, the most probable one tells when
each is said.

Source: CTC (Graves et al., 2006); the best path by Viterbi's algorithm.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eureka_audio.audio import clock
from eureka_audio.protocols import TranscriptWord
from eureka_audio.text.letters import BLANK, CHARACTERS, encode_characters

SPACE = CHARACTERS.index(" ") + 1
LogProbs = NDArray[np.float32]


class Letter(NamedTuple):
    """Where a letter lies: frames `start` up to but without `end`, and how probable it is there."""

    start: int
    end: int
    log_prob: float


def align_letters(log_probs_LV: LogProbs, letters: Sequence[int]) -> list[Letter] | None:
    """The places of letters on the most probable path through the frames.

    Args:
        log_probs_LV: of every frame and letter, the blank among them.
        letters: ids, in order, without blanks.

    Returns:
        One place for each letter; `None` where there are more letters than the frames can hold.
    """
    if not letters:
        return []
    # A blank may stand before, between and after the letters, and must between two equal ones.
    states_S = np.full(2 * len(letters) + 1, BLANK)
    states_S[1::2] = letters
    skips_S = np.zeros(len(states_S), dtype=bool)
    skips_S[3::2] = states_S[3::2] != states_S[1:-2:2]
    scores_LS = log_probs_LV[:, states_S].astype(np.float64)
    steps_LS = np.zeros(scores_LS.shape, dtype=np.int8)  # how many states back a path comes from
    best_S = np.full(len(states_S), -np.inf)
    best_S[:2] = scores_LS[0, :2]
    ways_3S = np.full((3, len(states_S)), -np.inf)
    for frame in range(1, len(scores_LS)):
        ways_3S[0] = best_S
        ways_3S[1, 1:] = best_S[:-1]
        ways_3S[2, 2:] = np.where(skips_S[2:], best_S[:-2], -np.inf)
        steps_LS[frame] = ways_3S.argmax(axis=0)
        best_S = ways_3S.max(axis=0) + scores_LS[frame]
    last = len(states_S) - 1
    state = last if best_S[last] >= best_S[last - 1] else last - 1
    if best_S[state] == -np.inf:
        return None
    path_L = np.empty(len(scores_LS), dtype=np.int64)
    for frame in range(len(scores_LS) - 1, -1, -1):
        path_L[frame] = state
        state -= int(steps_LS[frame, state])
    places = []
    for state in range(1, len(states_S), 2):
        start, end = np.searchsorted(path_L, [state, state + 1]).tolist()
        places.append(Letter(start, end, float(scores_LS[start:end, state].max())))
    return places


def word_times(
    log_probs_LV: LogProbs, words: Sequence[str], start_seconds: float, end_seconds: float
) -> list[TranscriptWord] | None:
    """The words of a stretch of a recording with their times.

    A word without a letter of the head's alphabet (a number, another script) is placed between its
    neighbours, and has no probability.

    Args:
        log_probs_LV: of the stretch's frames.
        words: said in it.
        start_seconds: where the stretch begins in the recording.
        end_seconds: where it ends.

    Returns:
        `None` where the words do not fit into the frames.
    """
    spelt = [[letter for letter in encode_characters(word) if letter != SPACE] for word in words]
    letters: list[int] = []
    owners: list[int] = []  # the word of each letter; -1 for spaces
    for number, word in enumerate(spelt):
        if word and letters:
            letters.append(SPACE)
            owners.append(-1)
        letters += word
        owners += [number] * len(word)
    places = align_letters(log_probs_LV, letters)
    if places is None:
        return None
    of_words: list[list[Letter]] = [[] for _ in words]
    for owner, place in zip(owners, places, strict=True):
        if owner >= 0:
            of_words[owner].append(place)
    timed = [
        _timed(word, own, start_seconds, end_seconds)
        for word, own in zip(words, of_words, strict=True)
    ]
    return _fill(words, timed, start_seconds, end_seconds)


def _timed(
    word: str, letters: Sequence[Letter], start_seconds: float, end_seconds: float
) -> TranscriptWord | None:
    """A word from the places of its letters, if it has any."""
    if not letters:
        return None

    def seconds(frame: int) -> float:
        return min(start_seconds + frame / clock.ENCODER_FRAMES_PER_SECOND, end_seconds)

    probability = float(np.exp(np.mean([letter.log_prob for letter in letters])))
    return TranscriptWord(word, seconds(letters[0].start), seconds(letters[-1].end), probability)


def _fill(
    words: Sequence[str],
    timed: Sequence[TranscriptWord | None],
    start_seconds: float,
    end_seconds: float,
) -> list[TranscriptWord]:
    """Put words without a time between those that have one."""
    filled: list[TranscriptWord] = []
    position = 0
    while position < len(words):
        here = timed[position]
        if here is not None:
            filled.append(here)
            position += 1
            continue
        end = next((i for i in range(position, len(words)) if timed[i]), len(words))
        following = timed[end] if end < len(words) else None
        before = filled[-1].end if filled else start_seconds
        after = following.start if following else end_seconds
        filled += spread_words(words[position:end], before, after)
        position = end
    return filled


def spread_words(
    words: Sequence[str], start_seconds: float, end_seconds: float
) -> list[TranscriptWord]:
    """Words that fill a stretch of time, each as long as it is written."""
    borders = np.cumsum([0, *(len(word) for word in words)]) / max(1, sum(map(len, words)))
    moments = (start_seconds + borders * (end_seconds - start_seconds)).tolist()
    return [
        TranscriptWord(word, start, end)
        for word, start, end in zip(words, moments, moments[1:], strict=False)
    ]
