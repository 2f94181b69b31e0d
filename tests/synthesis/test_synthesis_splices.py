"""Splices: words stay with their sound, wherever they are put."""

import numpy as np
import pytest

from eureka_audio.errors import ConfigError
from eureka_audio.records import AudioClip, Phone, Speaker
from eureka_audio.synthesis.letter_times import letter_times
from eureka_audio.synthesis.splices import SpokenWords, splice

RATE = 16_000
# Words whose every letter is a phone, and the pitch that stands for each word.
PITCH_OF = {"man": 300.0, "pet": 500.0, "dim": 700.0, "fun": 900.0, "six": 1100.0}
PHONES_OF = {
    "man": "m ae n",
    "pet": "p eh t",
    "dim": "d ih m",
    "fun": "f ah n",
    "six": "s ih k s",
}
SPEAKERS = (
    Speaker(id="a", gender="female", age_group="adult"),
    Speaker(id="b", gender="female", age_group="adult"),
    Speaker(id="c", gender="male", age_group="child"),
)


def recorded(index: int, words: list[str], speaker: Speaker) -> tuple[AudioClip, np.ndarray]:
    """Half a second per word, its tone in the middle 0.3 s."""
    waveform, phones = np.zeros(len(words) * RATE // 2, np.float32), []
    for place, word in enumerate(words):
        start, labels = 0.5 * place + 0.1, PHONES_OF[word].split()
        at = np.arange(int(0.3 * RATE))
        first = int(start * RATE)
        waveform[first : first + len(at)] = 0.3 * np.sin(2 * np.pi * PITCH_OF[word] * at / RATE)
        step = 0.3 / len(labels)
        phones += [
            Phone(label, round(start + i * step, 3), round(start + (i + 1) * step, 3))
            for i, label in enumerate(labels)
        ]
    clip = AudioClip(
        id=f"clip-{index}",
        path=f"{index}.wav",
        duration_seconds=len(waveform) / RATE,
        transcript=" ".join(words),
        language="en",
        speaker=speaker,
        phones=tuple(phones),
        license="free",
    )
    return clip, waveform


@pytest.fixture(scope="module")
def material() -> tuple[dict[int, AudioClip], dict[int, np.ndarray]]:
    rng, names = np.random.default_rng(0), sorted(PITCH_OF)
    made = {
        7 + 3 * i: recorded(i, [names[j] for j in rng.integers(5, size=6)], SPEAKERS[i % 3])
        for i in range(9)
    }
    return {i: clip for i, (clip, _) in made.items()}, {i: wave for i, (_, wave) in made.items()}


def test_every_word_sounds_where_its_phones_say(
    material: tuple[dict[int, AudioClip], dict[int, np.ndarray]],
) -> None:
    clips, waves = material
    words = SpokenWords(clips)
    for index in range(60):
        waveform, clip = splice(3, index, words, waves.__getitem__)
        assert clip.transcript
        assert clip.phones
        assert len(waveform) == pytest.approx(clip.duration_seconds * RATE, abs=2)
        borders = letter_times(clip.transcript, clip.phones)
        at = 0
        for word in clip.transcript.split():
            start, end = borders[at] + 0.03, borders[at + len(word)] - 0.03
            heard = waveform[int(start * RATE) : int(end * RATE)]
            spectrum = np.abs(np.fft.rfft(heard, RATE))
            assert spectrum.argmax() == pytest.approx(PITCH_OF[word], abs=5)
            at += len(word) + 1


def test_the_same_seed_and_index_give_the_same_splice(
    material: tuple[dict[int, AudioClip], dict[int, np.ndarray]],
) -> None:
    clips, waves = material
    words = SpokenWords(clips)
    first, again = (splice(5, 8, words, waves.__getitem__) for _ in range(2))
    assert np.array_equal(first[0], again[0])
    assert first[1] == again[1]
    assert splice(5, 9, words, waves.__getitem__)[1] != first[1]


def test_voices_are_of_one_kind_and_digits_come_alone(
    material: tuple[dict[int, AudioClip], dict[int, np.ndarray]],
) -> None:
    clips, waves = material
    words = SpokenWords(clips)
    made = [splice(0, index, words, waves.__getitem__)[1] for index in range(150)]
    kinds = {(c.speaker.gender, c.speaker.age_group) for c in made if c.speaker}
    assert kinds == {("female", "adult"), ("male", "child")}
    assert {clip.speaker.id for clip in made if clip.speaker} == {"a", "b", "c", None}
    assert sum(clip.transcript == "six" for clip in made) > 10
    assert {clip.license for clip in made} == {"free"}


def test_what_is_cut_keeps_to_its_side_of_the_pause(
    material: tuple[dict[int, AudioClip], dict[int, np.ndarray]],
) -> None:
    clips, _ = material
    phrase = SpokenWords(clips).phrase(7, 1, 3)
    assert phrase.words == tuple((clips[7].transcript or "").split()[1:3])
    assert phrase.start_seconds == pytest.approx(0.6 - 0.06)
    assert phrase.end_seconds == pytest.approx(1.4 + 0.06)


def test_clips_of_unknown_phones_are_passed_over(
    material: tuple[dict[int, AudioClip], dict[int, np.ndarray]],
) -> None:
    clips = {i: clip.model_copy(update={"phones": None}) for i, clip in material[0].items()}
    with pytest.raises(ConfigError, match="whose words, phones and speaker are known"):
        SpokenWords(clips)
