"""The order of what is heard: neighbouring events of one name make a run, and runs come one after
another or do not.

events   beep beep   dog           beep
runs     [beep    ]  [dog       ]  [beep]
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from eureka_audio.records import AudioEvent

MIN_LEAD_SECONDS = 0.15  # a sound that starts this much earlier is heard to start earlier
MAX_TOUCH_SECONDS = 0.05  # sounds that overlap no longer than this are heard one after another


@dataclass(frozen=True)
class Run:
    """Neighbouring events of one label, from the start of the first to the end of the last."""

    label: str
    start_seconds: float
    end_seconds: float

    def is_over_before(self, other: "Run") -> bool:
        """Whether this run ends before the other begins."""
        return self.end_seconds <= other.start_seconds + MAX_TOUCH_SECONDS


def orders(run: Run, following: Run) -> bool:
    """Whether a listener can tell that one run starts before the other."""
    return run.start_seconds + MIN_LEAD_SECONDS <= following.start_seconds


def runs_of(events: Iterable[AudioEvent]) -> list[Run]:
    """Runs in the order of their start."""
    ordered = sorted(events, key=lambda event: event.start_seconds)
    grouped = (list(group) for _, group in groupby(ordered, key=lambda event: event.label))
    return [
        Run(group[0].label, group[0].start_seconds, max(event.end_seconds for event in group))
        for group in grouped
    ]
