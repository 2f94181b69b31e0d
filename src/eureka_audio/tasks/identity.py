"""Who speaks, what is said, which one thing is heard: facts of a clip as a whole, one function per
skill.

A function returns nothing where the record does not say enough: a task never guesses.
"""

from eureka_audio.records import AudioClip, Speaker
from eureka_audio.tasks.captions import speaker_noun
from eureka_audio.tasks.facts import Fact, among, one_label
from eureka_audio.tasks.labels import (
    AGE_GROUPS,
    DIGITS,
    EMOTIONS,
    ESC10_SOUNDS,
    GENDERS,
    ORCHESTRA_INSTRUMENTS,
    TRUTHS,
    could_be_both,
    labels_of,
)


def only_speaker(clip: AudioClip) -> Speaker | None:
    """Who speaks, where it is one person; ``None`` when nobody, several people, or unknown."""
    if clip.events is None:
        return clip.speaker
    spoken = [event for event in clip.events if event.kind == "speech"]
    return spoken[0].speaker if len(spoken) == 1 else None


def only_words(clip: AudioClip) -> str | None:
    """What is said in English, where it is one stretch of speech."""
    if clip.language != "en":
        return None
    if clip.events is None:
        return clip.transcript or None
    spoken = [event for event in clip.events if event.kind == "speech"]
    return (spoken[0].transcript or None) if len(spoken) == 1 else None


def digit(clip: AudioClip) -> list[Fact]:
    """Which digit is said, where one digit is all that is said."""
    words = only_words(clip)
    return [among(words, DIGITS, "digit")] if words in DIGITS else []


def _only_label(clip: AudioClip, kind: str) -> str | None:
    """The label of a clip that holds one kind of thing and nothing else, not even a background."""
    labels = {(event.kind, event.label) for event in clip.events or ()}
    if len(labels) != 1 or clip.background is not None:
        return None
    ((found, label),) = labels
    return label if found == kind and label in labels_of(kind) else None


def sound(clip: AudioClip) -> list[Fact]:
    """Which sound a clip holds, where it holds only that."""
    label = _only_label(clip, "sound")
    return [one_label(label, labels_of("sound"), data_set=ESC10_SOUNDS)] if label else []


def music(clip: AudioClip) -> list[Fact]:
    """Which kind of music a clip holds, where it holds only that."""
    label = _only_label(clip, "music")
    return [one_label(label, labels_of("music"))] if label else []


def instrument(clip: AudioClip) -> list[Fact]:
    """Which instrument plays, where only one does and there is no other music."""
    played = {event.label for event in clip.events or () if event.kind in ("instrument", "music")}
    if len(played) != 1:
        return []
    (label,) = played
    pool = labels_of("instrument")
    return [one_label(label, pool, data_set=ORCHESTRA_INSTRUMENTS)] if label in pool else []


def gender(clip: AudioClip) -> list[Fact]:
    """Whether the only speaker is male or female."""
    speaker = only_speaker(clip)
    if speaker is None or speaker.gender is None:
        return []
    names = {
        None: "gender",
        "adult": "gender of an adult",
        "child": "gender of a child",
    }
    return [among(speaker.gender, GENDERS, names[speaker.age_group])]


def age(clip: AudioClip) -> list[Fact]:
    """Whether the only speaker is an adult or a child."""
    speaker = only_speaker(clip)
    if speaker is None or speaker.age_group is None:
        return []
    return [among(speaker.age_group, AGE_GROUPS, "age")]


def emotion(clip: AudioClip) -> list[Fact]:
    """What a voice is meant to convey, where it is one of the emotions that are told apart."""
    return [among(clip.emotion, EMOTIONS, "emotion")] if clip.emotion in EMOTIONS else []


def speaker(clip: AudioClip) -> list[Fact]:
    """Who speaks, by age and gender: an adult's gender must be known, a child's may be unknown."""
    who = only_speaker(clip)
    if who is None or who.age_group is None or (who.age_group == "adult" and who.gender is None):
        return []
    child_only = who.age_group == "child" and who.gender is None
    options = ("a man", "a woman", *(("a child",) if child_only else ("a boy", "a girl")))
    return [among(speaker_noun(who), options, "speaker")]


def speech(clip: AudioClip) -> list[Fact]:
    """Whether anyone speaks; singing leaves it open."""
    if clip.events is None:
        return [among(TRUTHS[0], TRUTHS, "truth")] if clip.transcript else []
    if any(event.kind == "speech" for event in clip.events):
        return [among(TRUTHS[0], TRUTHS, "truth")]
    if any(could_be_both("speech", event.label) for event in clip.events):
        return []
    return [among(TRUTHS[1], TRUTHS, "truth")]


def words(clip: AudioClip) -> list[Fact]:
    """What the only speaker says, word for word."""
    said = only_words(clip)
    return [Fact(said)] if said and said.strip() else []
