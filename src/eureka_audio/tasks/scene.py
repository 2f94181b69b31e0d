"""What comes when, how often, and behind what: facts of clips that hold several things, one
function per skill.

A function returns nothing where a listener could answer in more than one way: sounds that begin
together, a background that is there from the first moment, two voices where sounds are to be
counted.
"""

import re
from collections.abc import Sequence
from itertools import pairwise

from eureka_audio.records import AudioClip
from eureka_audio.tasks.captions import TIMES, Heard, clause
from eureka_audio.tasks.facts import Fact, among, one_label
from eureka_audio.tasks.labels import COUNTS, TEXTURES, TRUTHS, all_labels, could_be_both
from eureka_audio.tasks.orders import Run, orders, runs_of

MAX_LISTED = 4  # runs in a list of all sounds


def first(clip: AudioClip) -> list[Fact]:
    """Which of several sounds begins the clip."""
    runs = runs_of(clip.events or ())
    if clip.background is not None or len(runs) < 2 or not orders(runs[0], runs[1]):
        return []
    return [one_label(runs[0].label, all_labels(), heard=_distinct(runs))]


def last(clip: AudioClip) -> list[Fact]:
    """Which of several sounds ends the clip: it begins when all others are over."""
    runs = runs_of(clip.events or ())
    if clip.background is not None or len(runs) < 2:
        return []
    if not all(run.is_over_before(runs[-1]) for run in runs[:-1]):
        return []
    return [one_label(runs[-1].label, all_labels(), heard=_distinct(runs))]


def after(clip: AudioClip) -> list[Fact]:
    """What follows each sound that occurs in one place only."""
    runs = runs_of(clip.events or ())
    return [
        one_label(following.label, all_labels(), thing=run.label, heard=_distinct(runs))
        for index, (run, following) in enumerate(pairwise(runs))
        if _occurs_once(run, runs)
        and run.is_over_before(following)
        and all(orders(following, later) for later in runs[index + 2 :])
    ]


def before(clip: AudioClip) -> list[Fact]:
    """What precedes each sound that occurs in one place only."""
    runs = runs_of(clip.events or ())
    return [
        one_label(preceding.label, all_labels(), thing=run.label, heard=_distinct(runs))
        for index, (preceding, run) in enumerate(pairwise(runs))
        if _occurs_once(run, runs)
        and preceding.is_over_before(run)
        and all(earlier.is_over_before(preceding) for earlier in runs[:index])
    ]


def distinct(clip: AudioClip) -> list[Fact]:
    """How many different sounds are heard; with two voices or a background it depends on who
    counts.
    """
    events = clip.events or ()
    voices = sum(event.kind == "speech" for event in events)
    number = len({event.label for event in events})
    if clip.background is not None or voices > 1 or not 1 <= number <= len(COUNTS):
        return []
    return [among(COUNTS[number - 1], COUNTS, "count")]


def times(clip: AudioClip) -> list[Fact]:
    """How often each sound occurs that can be counted."""
    facts = []
    for label in dict.fromkeys(event.label for event in clip.events or ()):
        number = known_count(clip, label)
        if number is not None and 1 <= number <= len(COUNTS):
            facts.append(among(COUNTS[number - 1], COUNTS, "count", thing=label))
    return facts


def known_count(clip: AudioClip, label: str) -> int | None:
    """How often an event occurs, where that is known.

    A record lists events and cannot say whether the dog of one event barks once or ten times. The
    dense caption can: whatever was placed in a scene stroke by stroke has "once", "twice" or a
    number in it. All mentions must have one.
    """
    events = [event for event in clip.events or () if event.label == label]
    if not events or clip.dense_caption is None or events[0].kind == "speech":
        return None
    said = re.sub(r'"[^"]*"', '""', clip.dense_caption)
    number_of = {word: number for number, word in TIMES.items()}
    mentions = re.findall(
        rf"\b{re.escape(clause(Heard(events[0])))}(?: ({'|'.join(number_of)}))?\b", said
    )
    if not mentions or "" in mentions:
        return None
    total = sum(number_of[word] for word in mentions)
    return total if total == len(events) else None


def heard(clip: AudioClip) -> list[Fact]:
    """For every label, whether it is in the clip; what might be said to be there is left out."""
    if clip.events is None:
        return []
    present = dict.fromkeys(event.label for event in clip.events)
    if clip.background is not None:
        present[clip.background] = None
    textures_known = clip.background is not None or clip.dense_caption is not None
    absent = [
        label
        for label in all_labels()
        if label not in present
        and (textures_known or label not in TEXTURES)
        and not any(could_be_both(label, there) for there in present)
    ]
    yes, no = TRUTHS
    return [
        *(among(yes, TRUTHS, "truth", thing=label) for label in present),
        *(among(no, TRUTHS, "truth", thing=label) for label in absent),
    ]


def sequence(clip: AudioClip) -> list[Fact]:
    """All sounds by their start; wrong choices are other orders of the same."""
    runs = runs_of(clip.events or ())
    labels = [run.label for run in runs]
    ordered = all(orders(run, following) for run, following in pairwise(runs))
    if clip.background is not None or not 2 <= len(runs) <= MAX_LISTED or not ordered:
        return []
    wrong = dict.fromkeys(
        " then ".join(order) for order in _other_orders(labels) if order != labels
    )
    return [Fact(" then ".join(labels), tuple(wrong))]


def _other_orders(labels: list[str]) -> list[list[str]]:
    """The reverse, and every swap of two, in which no label follows itself."""
    orders_of = [labels[::-1]]
    for left in range(len(labels)):
        for right in range(left + 1, len(labels)):
            swapped = labels.copy()
            swapped[left], swapped[right] = labels[right], labels[left]
            orders_of.append(swapped)
    return [order for order in orders_of if all(a != b for a, b in pairwise(order))]


def background(clip: AudioClip) -> list[Fact]:
    """What goes on behind everything else; wrong choices begin with what is in front."""
    if clip.background is None or clip.background not in TEXTURES:
        return []
    front = [event.label for event in clip.events or ()]
    return [one_label(clip.background, TEXTURES, heard=front)]


def _occurs_once(run: Run, runs: Sequence[Run]) -> bool:
    return sum(other.label == run.label for other in runs) == 1


def _distinct(runs: Sequence[Run]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(run.label for run in runs))
