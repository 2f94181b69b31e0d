"""A fact: the true answer to one question about a clip, and the false ones that could be offered
beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from eureka_audio.tasks.labels import could_be_both


@dataclass(frozen=True)
class Fact:
    """The answer to one question about a clip, and the wrong answers that could be offered beside
    it.

    Attributes:
        answer: as an open question is answered; a label's own wording.
        others: what else could be offered; none of it is true.
        thing: the label the question mentions, where it does.
        likely: those of `others` that only careful listening excludes, such as sounds heard
            elsewhere in the clip.
        closed_set: labels of a well-known data set that `answer` is one of; sometimes offered
            whole.
        parallel: the table of names the choices are reworded by, where they are a closed set.
    """

    answer: str
    others: tuple[str, ...] = ()
    thing: str | None = None
    likely: tuple[str, ...] = ()
    closed_set: tuple[str, ...] = ()
    parallel: str | None = None


def among(answer: str, options: Sequence[str], parallel: str, *, thing: str | None = None) -> Fact:
    """The fact that one option of a closed set is true, and no other."""
    others = tuple(option for option in options if option != answer)
    return Fact(answer, others, thing, closed_set=tuple(options), parallel=parallel)


def one_label(
    answer: str,
    pool: Sequence[str],
    *,
    thing: str | None = None,
    heard: Sequence[str] = (),
    data_set: Sequence[str] = (),
) -> Fact:
    """A fact whose answer is a label; labels that could be said of the same sound are not
    offered.
    """
    wrong = [
        label
        for label in dict.fromkeys((*heard, *pool))
        if label not in (answer, thing) and not could_be_both(label, answer)
    ]
    likely = tuple(label for label in wrong if label in heard)
    closed_set = tuple(data_set) if answer in data_set else ()
    return Fact(answer, tuple(wrong), thing, likely, closed_set)
