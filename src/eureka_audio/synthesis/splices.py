"""Splices: new sentences out of phrases that real speakers said.

A few thousand recorded sentences are soon known by heart, and then a model guesses which of them it
hears instead of listening. So phrases of one to four words are cut from recordings whose phones are
known (forced alignment finds them) and put together: a sentence nobody said, in voices that are
real. Single digits are cut out too, since recordings of digits know few speakers.

Source: T. K. Lam et al., "On-the-fly aligned data augmentation for sequence-to-sequence ASR"
(2021), for the idea; they replace single words of a sentence, here phrases are put in a row.
Departure: the paper says nothing of augmentation.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from eureka_audio.audio.clock import SAMPLING_RATE
from eureka_audio.errors import ConfigError
from eureka_audio.records import AudioClip, Phone, Speaker
from eureka_audio.synthesis.letter_times import letter_times
from eureka_audio.synthesis.phones import retimed
from eureka_audio.synthesis.recorded import draw_silence
from eureka_audio.synthesis.signals import Waveform, at_level, gate
from eureka_audio.tasks.labels import DIGITS

NUM_PHRASES = {1: 0.2, 2: 0.45, 3: 0.35}
NUM_WORDS = {1: 0.2, 2: 0.35, 3: 0.3, 4: 0.15}
DIGIT_SHARE = 0.15
ONE_SPEAKER_SHARE = 0.5  # of the others, all phrases are of one gender and age group
PAUSE_SHARE = 0.5
LEVEL_DBFS = -20.0
MARGIN_SECONDS = 0.06  # kept on either side of a phrase, where the words beside it leave as much
FADE_SECONDS = 0.008


@dataclass(frozen=True)
class Phrase:
    """Neighbouring words of one clip: which clip, the words, and where to cut."""

    clip: int
    words: tuple[str, ...]
    start_seconds: float
    end_seconds: float


@dataclass(frozen=True)
class _Word:
    text: str
    start_seconds: float
    end_seconds: float


class SpokenWords:
    """The words of clips whose transcripts and phones are known, by speaker.

    Args:
        clips: by any number of theirs; those of unknown words, phones or speaker are passed over.

    Raises:
        ConfigError: nothing is left.
    """

    def __init__(self, clips: Mapping[int, AudioClip]) -> None:
        self.clips = clips
        self._words: dict[int, list[_Word]] = {}
        by_speaker: dict[Speaker, list[int]] = defaultdict(list)
        self._by_group: dict[tuple[str | None, str | None], list[int]] = defaultdict(list)
        self._digits: dict[str, list[Phrase]] = defaultdict(list)
        for index, clip in clips.items():
            if not (clip.transcript and clip.phones and clip.speaker):
                continue
            self._words[index] = _timed(clip.transcript, clip.phones)
            by_speaker[clip.speaker].append(index)
            self._by_group[_group(clip)].append(index)
            for place, word in enumerate(self._words[index]):
                if word.text in DIGITS:
                    self._digits[word.text].append(self.phrase(index, place, place + 1))
        if not self._words:
            raise ConfigError("expected clips whose words, phones and speaker are known, got none")
        self._of_speakers = list(by_speaker.values())

    def phrase(self, clip: int, first: int, end: int) -> Phrase:
        """Words `first` to `end` of a clip. It is cut in the middle of the pause beside it, or
        `MARGIN_SECONDS` from it where the pause is long.
        """
        words, seconds = self._words[clip], self.clips[clip].duration_seconds
        before = words[first - 1].end_seconds if first else 0.0
        after = words[end].start_seconds if end < len(words) else seconds
        start, stop = words[first].start_seconds, words[end - 1].end_seconds
        return Phrase(
            clip,
            tuple(word.text for word in words[first:end]),
            start - min(MARGIN_SECONDS, (start - before) / 2),
            min(seconds, stop + min(MARGIN_SECONDS, max(0.0, (after - stop) / 2))),
        )

    def draw(self, rng: np.random.Generator) -> list[Phrase]:
        """The phrases of one splice."""
        if self._digits and rng.random() < DIGIT_SHARE:
            said = self._digits[sorted(self._digits)[rng.integers(len(self._digits))]]
            return [said[rng.integers(len(said))]]
        own = self._of_speakers[rng.integers(len(self._of_speakers))]
        one = rng.random() < ONE_SPEAKER_SHARE
        others = own if one else self._by_group[_group(self.clips[own[0]])]
        phrases = []
        for number in range(_drawn(NUM_PHRASES, rng)):
            pool = others if number else own
            clip = pool[rng.integers(len(pool))]
            num_words = min(_drawn(NUM_WORDS, rng), len(self._words[clip]))
            first = int(rng.integers(len(self._words[clip]) - num_words + 1))
            phrases.append(self.phrase(clip, first, first + num_words))
        return phrases


def splice(
    seed: int, index: int, words: SpokenWords, waveform: Callable[[int], Waveform]
) -> tuple[Waveform, AudioClip]:
    """One splice of a seed; the same seed and index give the same one.

    Args:
        seed: of the corpus.
        index: of the splice.
        words: what to draw from.
        waveform: the samples `(num_samples,)` at 16 kHz of a clip of `words`, by its number.
    """
    rng = np.random.default_rng([seed, index])
    phrases = words.draw(rng)
    before, after = draw_silence(rng)
    pieces = [np.zeros(before, np.float32)]
    phones: list[Phone] = []
    for number, phrase in enumerate(phrases):
        if number and rng.random() < PAUSE_SHARE:
            pieces.append(np.zeros(int(rng.uniform(0, 0.3) * SAMPLING_RATE), np.float32))
        first, end = (
            int(seconds * SAMPLING_RATE) for seconds in (phrase.start_seconds, phrase.end_seconds)
        )
        shift = sum(map(len, pieces)) - first
        phones += _moved(words.clips[phrase.clip], phrase, shift / SAMPLING_RATE)
        piece = at_level(waveform(phrase.clip)[first:end], LEVEL_DBFS)
        pieces.append(piece * gate(len(piece), FADE_SECONDS).astype(np.float32))
    spliced = np.concatenate([*pieces, np.zeros(after, np.float32)])
    heard = [words.clips[phrase.clip] for phrase in phrases]
    gender, age_group = _group(heard[0])
    is_one = len({clip.speaker for clip in heard}) == 1
    clip = AudioClip(
        id=f"splice-train-{index:06d}",
        path=f"splice-train-{index:06d}.flac",
        duration_seconds=round(len(spliced) / SAMPLING_RATE, 4),
        transcript=" ".join(word for phrase in phrases for word in phrase.words),
        language=heard[0].language,
        speaker=heard[0].speaker if is_one else Speaker(gender=gender, age_group=age_group),
        phones=tuple(phones),
        source="spliced of " + ", ".join(clip.id for clip in heard),
        license="; ".join(sorted({clip.license for clip in heard})),
        restricted=any(clip.restricted for clip in heard),
    )
    return spliced, clip


def _timed(transcript: str, phones: Sequence[Phone]) -> list[_Word]:
    """The words of a transcript and when they are said."""
    text = " ".join(transcript.split())
    borders = letter_times(text.lower(), phones)
    words, first = [], 0
    for word in text.split():
        end = first + len(word)
        words.append(_Word(word.lower(), float(borders[first]), float(borders[end])))
        first = end + 1
    return words


def _group(clip: AudioClip) -> tuple[str | None, str | None]:
    speaker = clip.speaker or Speaker()
    return speaker.gender, speaker.age_group


def _drawn(chances: dict[int, float], rng: np.random.Generator) -> int:
    return int(rng.choice(list(chances), p=list(chances.values())))


def _moved(clip: AudioClip, phrase: Phrase, shift_seconds: float) -> tuple[Phone, ...]:
    """The phones of a phrase, where they are in the splice."""
    inside = [
        phone
        for phone in clip.phones or ()
        if phrase.start_seconds
        <= (phone.start_seconds + phone.end_seconds) / 2
        < phrase.end_seconds
    ]
    return retimed(inside, 1.0, shift_seconds)
