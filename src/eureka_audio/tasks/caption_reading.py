"""Our language of captions, read back: a caption becomes the clip it describes."""

import re

from eureka_audio.records import AudioClip, AudioEvent, Speaker
from eureka_audio.tasks.captions import BACKGROUNDS, CLAUSES, TIMES
from eureka_audio.tasks.labels import labels_of

_BACKGROUND = re.compile(r"(?:^|, )with ([^,]+) in the background(?:, |$)")
_SPEECH = re.compile(r'(a man|a woman|a boy|a girl|a child|someone) (?:speaks|says "([^"]*)")')
_COUNT = re.compile(rf"(.+?)(?: ({'|'.join(TIMES.values())}))?")
_SPEAKERS = {
    "a man": Speaker(gender="male", age_group="adult"),
    "a woman": Speaker(gender="female", age_group="adult"),
    "a boy": Speaker(gender="male", age_group="child"),
    "a girl": Speaker(gender="female", age_group="child"),
    "a child": Speaker(age_group="child"),
    "someone": Speaker(),
}
_LASTS, _PAUSE = 1.0, 0.3  # seconds given to an event, and between two
_LABELS = {clause: label for label, clause in CLAUSES.items()}
_NUMBERS = {words: number for number, words in TIMES.items()}
_TEXTURES = {words: label for label, words in BACKGROUNDS.items()}


def read_caption(text: str, clip_id: str = "caption") -> AudioClip | None:
    """The clip that a caption describes, times made up in its order; None where it is not ours.

    Example:
        >>> clip = read_caption("a bell rings twice, with rain in the background.")
        >>> [event.label for event in clip.events], clip.background
        (['bell ringing', 'bell ringing'], 'rain')
    """
    said = text.strip().rstrip(".")
    found = _BACKGROUND.search(re.sub(r'"[^"]*"', lambda words: "_" * len(words[0]), said))
    background = None
    if found:
        background = _TEXTURES.get(found[1], found[1])
        said = said[: found.start()] + said[found.end() :]
    events: list[AudioEvent] = []
    start = end = 0.2
    for joint, clause in _clauses(said):
        occurrences = _events_of(clause)
        if occurrences is None:
            return None
        start = start + 0.5 * _LASTS if joint == "while" else end + _PAUSE
        for event in occurrences:
            times = {"start_seconds": round(start, 2), "end_seconds": round(start + _LASTS, 2)}
            events.append(event.model_copy(update=times))
            end = max(end, start + _LASTS)
            start += _LASTS + _PAUSE
        start -= _LASTS + _PAUSE
    spoken = [event for event in events if event.kind == "speech"]
    return AudioClip(
        id=clip_id,
        path="",
        duration_seconds=round(end + 1.0, 2),
        transcript=" ".join(event.transcript or "" for event in spoken).strip() or None,
        language="en" if spoken else None,
        speaker=spoken[0].speaker if len(spoken) == 1 else None,
        events=tuple(sorted(events, key=lambda event: event.start_seconds)),
        background=background,
        dense_caption=text,
    )


def _clauses(said: str) -> list[tuple[str, str]]:
    """Each clause with how it is joined to the one before: "then", "while" or nothing."""
    pieces = re.split(r'(?:, (then) | (while) )(?=(?:[^"]*"[^"]*")*[^"]*$)', said)
    joints = [
        "",
        *(then or during for then, during in zip(pieces[1::3], pieces[2::3], strict=True)),
    ]
    return list(zip(joints, pieces[::3], strict=True))


def _events_of(clause: str) -> list[AudioEvent] | None:
    """The events of a clause, one for each time; None for words that are not of the language."""
    if speech := _SPEECH.fullmatch(clause):
        who, words = speech.groups()
        speaker = _SPEAKERS[who]
        return [
            AudioEvent(
                kind="speech", label="speech", end_seconds=0, transcript=words, speaker=speaker
            )
        ]
    counted = _COUNT.fullmatch(clause)
    if counted is None:
        return None
    label = _label_of(counted[1])
    for kind in ("sound", "instrument", "music"):
        if label in labels_of(kind):
            event = AudioEvent.model_validate({"kind": kind, "label": label, "end_seconds": 0})
            return [event] * _NUMBERS.get(counted[2], 1)
    return None


def _label_of(does: str) -> str:
    """What it is that barks, rings or plays."""
    if does in _LABELS:
        return _LABELS[does]
    noun = does.removesuffix(" plays")
    return noun if noun in labels_of("music") else re.sub(r"^an? ", "", noun)
