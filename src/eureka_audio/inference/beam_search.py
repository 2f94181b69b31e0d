"""Beam search: several answers grow side by side, and the most probable one is kept.

A greedy answer cannot take back a word that what follows makes unlikely; a beam can.

Source: the rules are those of transformers' `generate` with `num_beams`, a length penalty of 1 and
`early_stopping=False`, so that both give the same answers.
Unstated: how the paper decodes. Ours searches where it is asked to, or where a checkpoint asks for
it when it transcribes.
"""

from collections.abc import Sequence
from heapq import nlargest
from typing import NamedTuple

from eureka_audio.inference.growing_answer import GrowingAnswer


class Beam(NamedTuple):
    """An answer and its log-probability: of all its tokens together while it grows, and per token,
    its end among them, once it has ended.
    """

    answer: GrowingAnswer
    log_prob: float


class Step(NamedTuple):
    """What a beam does next: the number of the beam it grows from, and its new token."""

    beam: int
    token: int


class BeamSearch:
    """The search for one answer.

    Args:
        empty: an answer without tokens.
        num_beams: how many may grow side by side.
    """

    def __init__(self, empty: GrowingAnswer, num_beams: int) -> None:
        self.num_beams = num_beams
        self.growing = [Beam(empty, 0.0)]
        self._ended: list[Beam] = []  # the best first

    def grow(self, continuations: Sequence[Sequence[tuple[float, int]]]) -> list[Step]:
        """Add a token to the beams.

        Args:
            continuations: for each growing beam its most probable next tokens, with their
                log-probabilities. They have to be enough: `num_beams`, and as many again for each
                token that ends an answer.

        Returns:
            The steps of the beams that are `growing` now; none once the search is over.
        """
        if not self.growing:
            return []
        candidates = [
            (beam.log_prob + log_prob, Step(number, token))
            for number, (beam, row) in enumerate(zip(self.growing, continuations, strict=True))
            for log_prob, token in row
        ]
        beams, steps = self.growing, list[Step]()
        num_tokens = len(beams[0].answer.token_ids) + 1
        self.growing = []
        for rank, (log_prob, step) in enumerate(nlargest(len(continuations[0]), candidates)):
            answer = beams[step.beam].answer.fork()
            answer.add(step.token)
            if not answer.has_finished:
                self.growing.append(Beam(answer, log_prob))
                steps.append(step)
            elif rank < self.num_beams:
                self._ended.append(Beam(answer, log_prob / num_tokens))
            if len(self.growing) == self.num_beams:
                break
        self._ended = nlargest(self.num_beams, self._ended, key=_worth)
        if self.growing and len(self._ended) == self.num_beams:
            worst = min(beam.log_prob for beam in self._ended)
            if self.growing[0].log_prob / num_tokens <= worst:
                self.growing, steps = [], []
        return steps

    @property
    def found(self) -> list[GrowingAnswer]:
        """The answers that were found, the best first; the search must be over."""
        return [beam.answer for beam in self._ended]

    def best(self, bonuses: Sequence[float]) -> GrowingAnswer:
        """The best of what was found, once each has its bonus added to its log-probability."""
        pairs = zip(self._ended, bonuses, strict=True)
        return max(
            (beam._replace(log_prob=beam.log_prob + more) for beam, more in pairs), key=_worth
        ).answer


def _worth(ended: Beam) -> tuple[bool, float]:
    """One that runs in circles is worth less than any other."""
    return ended.answer.finish_reason != "repetition", ended.log_prob
