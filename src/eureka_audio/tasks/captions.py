"""Compact, regular captions of clips whose contents are known.

    a dog barks, then a woman says "we call it bear", with rain in the background.
    a bell rings three times while a man speaks.

The language is small on purpose: a small decoder can learn all of it, and a test can read it back.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eureka_audio.evaluation.named_events import named_events
from eureka_audio.records import AudioEvent, Speaker

# label -> what it does, for labels that are not simply "<a thing> plays"
CLAUSES = {
    "dog barking": "a dog barks",
    "rooster crowing": "a rooster crows",
    "crying baby": "a baby cries",
    "sneezing": "someone sneezes",
    "clock ticking": "a clock ticks",
    "helicopter": "a helicopter flies",
    "chainsaw": "a chainsaw runs",
    "rain": "rain falls",
    "sea waves": "sea waves roll",
    "crackling fire": "a fire crackles",
    "whale song": "a whale sings",
    "bird chirping": "a bird chirps",
    "beep": "a beep sounds",
    "bell ringing": "a bell rings",
    "knocking": "someone knocks",
    "hand clap": "someone claps",
    "whistle": "someone whistles",
    "car horn": "a car horn sounds",
    "doorbell": "a doorbell rings",
    "water drop": "a water drop falls",
    "thunder": "thunder rumbles",
    "siren": "a siren wails",
    "alarm clock": "an alarm clock beeps",
    "telephone ringing": "a telephone rings",
    "footsteps": "someone walks",
    "crickets": "crickets chirp",
    "wind": "wind blows",
    "engine": "an engine runs",
    "electric hum": "electric hum sounds",
    "static noise": "static noise sounds",
    "coughing": "someone coughs",
    "vocal sound": "someone utters a sound",
    "gunshot": "a shot is fired",
    "explosion": "something explodes",
    "fireworks": "fireworks go off",
    "big cat growling": "a big cat growls",
    "cicadas": "cicadas buzz",
    "cow mooing": "a cow moos",
    "sheep bleating": "a sheep bleats",
    "pig grunting": "a pig grunts",
    "horse neighing": "a horse neighs",
    "parrot squawking": "a parrot squawks",
    "sea lion barking": "a sea lion barks",
    "airplane": "an airplane flies",
    "singing": "someone sings",
    "percussion": "percussion plays",
    "folk song with vocals": "a folk song plays",
}
BACKGROUNDS = {
    "engine": "an engine",
    "crackling fire": "a crackling fire",
}  # where the label is no noun phrase
SPEAKERS = ("man", "woman", "boy", "girl", "child", "someone")
TIMES = {1: "once", 2: "twice", 3: "three times", 4: "four times", 5: "five times"}


@dataclass(frozen=True)
class Heard:
    """One thing a caption mentions: occurrences of the same event, one after another.

    ``count`` is ``None`` when occurrences cannot be counted (rain, a clip with an unknown number of
    barks).
    """

    event: AudioEvent
    count: int | None = None


def clause(heard: Heard) -> str:
    """What is heard, as a clause without a stop.

    Example:
        >>> bell = AudioEvent(kind="sound", label="bell ringing", end_seconds=1)
        >>> clause(Heard(bell, count=2))
        'a bell rings twice'
    """
    event = heard.event
    if event.kind == "speech":
        who = speaker_noun(event.speaker)
        if event.transcript:
            return f'{who} says "{event.transcript}"'
        return f"{who} speaks"
    does = CLAUSES.get(event.label)
    if does is None:
        does = f"{with_article(event.label) if event.kind == 'instrument' else event.label} plays"
    return does if heard.count is None else f"{does} {TIMES[heard.count]}"


def speaker_noun(speaker: Speaker | None) -> str:
    """The most that is known of who speaks: "a girl", "a woman", "a child", "someone"."""
    gender = speaker.gender if speaker else None
    if speaker and speaker.age_group == "child":
        return {"male": "a boy", "female": "a girl", None: "a child"}[gender]
    return {"male": "a man", "female": "a woman", None: "someone"}[gender]


def with_article(noun: str) -> str:
    """A noun with "a" or "an".

    Example:
        >>> with_article("oboe")
        'an oboe'
    """
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def caption(
    heard: Sequence[Heard],
    overlaps: Sequence[bool],
    background: str | None,
    rng: np.random.Generator,
) -> str:
    """A sentence that names everything in order; ``overlaps[i]`` says that item ``i`` sounds during
    item ``i - 1``.
    """
    text = clause(heard[0])
    for item, overlap in zip(heard[1:], overlaps[1:], strict=True):
        text += (" while " if overlap else ", then ") + clause(item)
    if background is None:
        return f"{text}."
    texture = f"with {BACKGROUNDS.get(background, background)} in the background"
    return f"{text}, {texture}." if rng.random() < 0.7 else f"{texture}, {text}."


def caption_phrases(label: str) -> list[str]:
    """The words by which a caption of this language names a label; "speech" is anyone speaking."""
    found = [
        CLAUSES.get(label, f"{label} plays"),
        f"with {BACKGROUNDS.get(label, label)} in the background",
    ]
    if label == "speech":
        found += [f"{who} {does}" for who in SPEAKERS for does in ("says", "speaks")]
    return found


def named_labels(text: str, labels: Sequence[str]) -> set[str]:
    """Which of `labels` a caption of this language names, read as the evaluation reads it.

    Example:
        >>> caption = 'a dog barks twice, then a man says "a bell rings".'
        >>> sorted(named_labels(caption, ["dog barking", "bell ringing", "speech"]))
        ['dog barking', 'speech']
    """
    return named_events(text, {label: caption_phrases(label) for label in labels})
