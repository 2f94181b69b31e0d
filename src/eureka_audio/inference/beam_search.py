"""Beam search: several answers grow side by side, and the most probable one is kept.

A greedy answer cannot take back a word that what follows makes unlikely; a beam can.

Source: the rules are those of transformers' `generate` with `num_beams`, a length penalty of 1 and
`early_stopping=False`, so that both give the same answers.
Unstated: how the paper decodes. Ours searches where it is asked to, or where a checkpoint asks for
it when it transcribes.
"""

from collections.abc import Callable, Iterator, Sequence
from heapq import merge, nlargest
from itertools import islice
from operator import attrgetter
from typing import NamedTuple

from eureka_audio.inference.growing_answer import GrowingAnswer


class Beam(NamedTuple):
    """An answer, its log-probability, and what others than the decoder think of it so far: of all
    its tokens together while it grows, and per token, its end among them, once it has ended.
    """

    answer: GrowingAnswer
    log_prob: float
    hint: float

    @property
    def worth(self) -> tuple[bool, float]:
        """One that runs in circles is worth less than any other."""
        return self.answer.finish_reason != "repetition", self.log_prob + self.hint


class Step(NamedTuple):
    """What a beam does next: the number of the beam it grows from, and its new token."""

    beam: int
    token: int


class BeamSearch:
    """The search for one answer.

    Args:
        empty: an answer without tokens.
        num_beams: how many may grow side by side.
        hint: what others than the decoder think of an answer, finished or not: a number that is
            added to its log-probability while it grows.
    """

    def __init__(
        self,
        empty: GrowingAnswer,
        num_beams: int,
        hint: Callable[[GrowingAnswer], float] | None = None,
    ) -> None:
        self.num_beams = num_beams
        self._hint = hint
        self.growing = [Beam(empty, 0.0, 0.0)]
        self._ended: list[Beam] = []  # the best first

    def grow(self, continuations: Sequence[Sequence[tuple[float, int]]]) -> list[Step]:
        """Add a token to the beams.

        Args:
            continuations: for each growing beam its most probable next tokens, with their
                log-probabilities, the best first. They have to be enough: `num_beams`, and as many
                again for each token that ends an answer.

        Returns:
            The steps of the beams that are `growing` now; none once the search is over.
        """
        if not self.growing:
            return []
        candidates = merge(
            *(
                _continued(beam, number, row)
                for number, (beam, row) in enumerate(zip(self.growing, continuations, strict=True))
            ),
            reverse=True,
        )
        num_tokens = len(self.growing[0].answer.token_ids) + 1
        grown = [
            (self._grown(self.growing[number], log_prob, token), Step(number, token))
            for _, number, token, log_prob in islice(candidates, len(continuations[0]))
        ]
        if self._hint is not None:
            grown.sort(key=lambda pair: pair[0].log_prob + pair[0].hint, reverse=True)
        self.growing, steps = [], list[Step]()
        for rank, (beam, step) in enumerate(grown):
            if not beam.answer.has_finished:
                self.growing.append(beam)
                steps.append(step)
            elif rank < self.num_beams:
                self._ended.append(
                    Beam(beam.answer, beam.log_prob / num_tokens, beam.hint / num_tokens)
                )
            if len(self.growing) == self.num_beams:
                break
        self._ended = nlargest(self.num_beams, self._ended, key=attrgetter("worth"))
        if self.growing and len(self._ended) == self.num_beams:
            best = self.growing[0]
            worst = min(beam.log_prob + beam.hint for beam in self._ended)
            if (best.log_prob + best.hint) / num_tokens <= worst:
                self.growing, steps = [], []
        return steps

    def _grown(self, beam: Beam, log_prob: float, token: int) -> Beam:
        answer = beam.answer.fork()
        answer.add(token)
        hint = 0.0 if self._hint is None else self._hint(answer)
        return Beam(answer, beam.log_prob + log_prob, hint)

    @property
    def found(self) -> tuple[Beam, ...]:
        """What was found, the best first; the search must be over."""
        return tuple(self._ended)


def best_of(beams: Sequence[Beam], bonuses: Sequence[float]) -> GrowingAnswer:
    """The best of what was found, where its bonus is added to each one's log-probability, in the
    place of the hint.
    """
    pairs = zip(beams, bonuses, strict=True)
    return max((beam._replace(hint=bonus) for beam, bonus in pairs), key=attrgetter("worth")).answer


def _continued(
    beam: Beam, number: int, row: Sequence[tuple[float, int]]
) -> Iterator[tuple[float, int, int, float]]:
    """What a beam would be worth with each next token, one by one: few will be looked at."""
    worth = beam.log_prob + beam.hint
    for log_prob, token in row:
        yield worth + log_prob, number, token, log_prob
