"""Logits -> the next token: greedy, or drawn from what temperature, top-k and top-p leave.

Each row draws from a generator of its own, so that a row's answer does not depend on its company.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TypedDict

import torch
from torch import Tensor

from eureka_audio.errors import ConfigError

MAX_BEAMS = 64  # each is a row of the batch; more find nothing better and fill the memory


class GenerationSettings(TypedDict, total=False):
    """The keywords of `generate` and `stream`; `GenerationOptions` says what they mean."""

    max_new_tokens: int | None
    temperature: float
    top_p: float
    top_k: int
    repetition_penalty: float
    stop: str | Sequence[str]
    seed: int | None
    max_repeats: int | None
    num_beams: int
    ctc_weight: float
    no_speech_threshold: float


@dataclass(frozen=True)
class SamplingConfig:
    """How a token is chosen.

    Attributes:
        temperature: 0 is greedy; otherwise logits are divided by it and a token is drawn.
        top_p: draw from the most probable tokens that together reach this probability.
        top_k: draw from this many most probable tokens; 0 takes all.
        repetition_penalty: above 1, tokens already in the conversation become less likely.

    Raises:
        ConfigError: a value out of range.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        _require(
            _is_number(self.temperature) and 0 <= self.temperature < float("inf"),
            "temperature", "0 or more", self.temperature,
        )  # fmt: skip
        _require(
            _is_number(self.top_p) and 0 < self.top_p <= 1, "top_p", "between 0 and 1", self.top_p
        )
        _require(
            _is_whole(self.top_k) and self.top_k >= 0,
            "top_k", "a whole number, 0 (all) or more", self.top_k,
        )  # fmt: skip
        _require(
            _is_number(self.repetition_penalty) and 0 < self.repetition_penalty < float("inf"),
            "repetition_penalty", "more than 0", self.repetition_penalty,
        )  # fmt: skip

    @property
    def is_greedy(self) -> bool:
        """Whether the most probable token is always taken."""
        return self.temperature == 0

    def generator(self, seed: int | None) -> torch.Generator | None:
        """A source of chance for one answer; `None` when none is needed."""
        if self.is_greedy:
            return None
        return torch.Generator().manual_seed(torch.seed() if seed is None else seed)


@dataclass(frozen=True)
class GenerationOptions:
    """How an answer is generated.

    Attributes:
        max_new_tokens: the longest answer; `None` leaves it to the task. The context bounds it too.
        temperature: 0 is greedy; otherwise logits are divided by it and a token is drawn.
        top_p: draw from the most probable tokens that together reach this probability.
        top_k: draw from this many most probable tokens; 0 takes all.
        repetition_penalty: above 1, tokens already in the conversation become less likely.
        stop: the answer ends before the first of these strings, however they fall into tokens.
        seed: the same seed draws the same answer; `None` draws afresh.
        max_repeats: end the answer once its last tokens repeat themselves this often in a row;
            `None` lets it go on to its limit.
        num_beams: above 1, so many answers grow side by side and the most probable one is kept
            (`beam_search`).
        ctc_weight: above 0, which beam is kept depends on the encoder's CTC head, too, with this
            weight (`rescoring`); for transcripts.
        no_speech_threshold: above 0, an answer becomes empty where the CTC head finds it more
            probable than this that nothing is said, rather than these words; for transcripts.

    Raises:
        ConfigError: a value out of range, or a setting that would have no effect.
    """

    max_new_tokens: int | None = None
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0
    stop: str | Sequence[str] = ()
    seed: int | None = None
    max_repeats: int | None = None
    num_beams: int = 1
    ctc_weight: float = 0.0
    no_speech_threshold: float = 0.0

    def __post_init__(self) -> None:
        stop = (self.stop,) if isinstance(self.stop, str) else self.stop
        _require(
            isinstance(stop, Sequence) and all(isinstance(text, str) and text for text in stop),
            "stop", "strings that are not empty", self.stop,
        )  # fmt: skip
        object.__setattr__(self, "stop", tuple(stop))
        for name, least in (("max_new_tokens", 1), ("max_repeats", 2)):
            number = getattr(self, name)
            _require(
                number is None or (_is_whole(number) and number >= least),
                name, f"a whole number, at least {least}", number,
            )  # fmt: skip
        sampling = self.sampling
        _require(self.seed is None or _is_whole(self.seed), "seed", "a whole number", self.seed)
        _require(
            _is_whole(self.num_beams) and 1 <= self.num_beams <= MAX_BEAMS,
            "num_beams", f"a whole number of 1 to {MAX_BEAMS}", self.num_beams,
        )  # fmt: skip
        _require(
            sampling.is_greedy or self.num_beams == 1,
            "num_beams", "1 beside a temperature above 0", self.num_beams,
        )  # fmt: skip
        weight = self.ctc_weight
        _require(
            _is_number(weight) and 0 <= weight < float("inf"), "ctc_weight", "0 or more", weight
        )
        _require(
            weight == 0 or self.num_beams > 1,
            "ctc_weight", "several beams beside it, or it has no effect", weight,
        )  # fmt: skip
        _require(
            _is_number(self.no_speech_threshold) and 0 <= self.no_speech_threshold <= 1,
            "no_speech_threshold", "between 0 and 1", self.no_speech_threshold,
        )  # fmt: skip
        if self.temperature == 0:
            for name, neutral in (("top_p", 1.0), ("top_k", 0), ("seed", None)):
                _require(
                    getattr(self, name) == neutral,
                    name, "a temperature above 0 beside it, or it has no effect",
                    getattr(self, name),
                )  # fmt: skip

    @property
    def sampling(self) -> SamplingConfig:
        """How tokens are chosen."""
        return SamplingConfig(self.temperature, self.top_p, self.top_k, self.repetition_penalty)


def penalise_seen(logits: Tensor, seen_ids: Collection[int], penalty: float) -> Tensor:
    """Make the tokens `seen_ids` less likely in `logits` `(V,)`.

    A positive logit is divided by the penalty, a negative one multiplied.
    """
    ids = torch.tensor(sorted(set(seen_ids)), device=logits.device)
    seen = logits[ids]
    return logits.index_copy(0, ids, torch.where(seen > 0, seen / penalty, seen * penalty))


def choose_token(logits: Tensor, config: SamplingConfig, generator: torch.Generator | None) -> int:
    """Choose one token by its `logits` `(V,)` float32."""
    if config.is_greedy:
        return int(logits.argmax())
    kept = filter_logits(logits[None] / config.temperature, config.top_k, config.top_p)
    return int(torch.multinomial(kept[0].softmax(-1).cpu(), 1, generator=generator))


def filter_logits(logits: Tensor, top_k: int, top_p: float) -> Tensor:
    """Set logits `(B, V)` outside the top k, then outside the top p, to minus infinity.

    The most probable token always stays; so does the one that carries the sum to `top_p`.
    """
    if 0 < top_k < logits.shape[-1]:
        smallest = logits.topk(top_k, dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < smallest, float("-inf"))
    if top_p < 1:
        ranked, order = logits.sort(dim=-1, descending=True)
        probs = ranked.softmax(dim=-1)
        before = probs.cumsum(dim=-1) - probs  # probability of all that rank higher
        dropped = torch.zeros_like(before, dtype=torch.bool).scatter(-1, order, before >= top_p)
        logits = logits.masked_fill(dropped, float("-inf"))
    return logits


def _is_whole(value: object) -> bool:
    """Whether a value is an integer; a bool is none."""
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    """Whether a value is an integer or a float; a bool is none."""
    return _is_whole(value) or isinstance(value, float)


def _require(holds: bool, name: str, expected: str, got: object) -> None:
    if not holds:
        raise ConfigError(f"{name}: expected {expected}, got {got!r}; change or leave it out")


GREEDY = SamplingConfig()
