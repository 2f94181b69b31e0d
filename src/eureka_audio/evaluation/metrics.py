"""Corpus error rates and accuracy: sums over items, never means of ratios.

Example:
    >>> rate = word_error_rate(["Mr. Smith won't pay $3.50."], ["mister smith will not pay $3.50"])
    >>> rate.edits, rate.ref_len, rate.value
    (0, 7, 0.0)
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from eureka_audio.errors import EvaluationError, MissingDependencyError
from eureka_audio.evaluation.normalizers import AsrRule, asr_rule


@dataclass(frozen=True)
class ErrorCount:
    """Substitutions, deletions and insertions against the number of reference tokens; addable."""

    edits: int = 0
    ref_len: int = 0

    def __add__(self, other: "ErrorCount") -> "ErrorCount":
        return ErrorCount(self.edits + other.edits, self.ref_len + other.ref_len)

    @property
    def value(self) -> float:
        """Edits per reference token, a fraction that may pass 1.

        Raises:
            EvaluationError: no reference token was seen, so the rate is undefined (not 0).
        """
        if self.ref_len == 0:
            raise EvaluationError(
                "expected at least one reference token, but every reference is empty once"
                " normalised: the error rate is undefined; check the references and the rule"
            )
        return self.edits / self.ref_len

    @property
    def percent(self) -> float:
        """The rate as printed: percent, two decimals."""
        return round(self.value * 100, 2)


def edit_distance(reference: Sequence[str], hypothesis: Sequence[str]) -> int:
    """Levenshtein distance between two token lists (jiwer's alignment library counts it)."""
    try:
        from rapidfuzz.distance import Levenshtein
    except ImportError as error:
        raise MissingDependencyError(
            "expected the package rapidfuzz, which counts edits, found none;"
            " pip install 'eureka-audio[evaluation]'"
        ) from error
    return Levenshtein.distance(reference, hypothesis)


def count_errors(reference: str, hypothesis: str, rule: AsrRule) -> ErrorCount:
    """The edits of one transcript under a rule.

    An empty reference counts insertions only and adds no length.
    """
    expected = rule.tokens(reference)
    return ErrorCount(edit_distance(expected, rule.tokens(hypothesis)), len(expected))


def word_error_rate(
    references: Iterable[str],
    hypotheses: Iterable[str],
    rule: str | AsrRule = "kimi",
    language: str = "en",
) -> ErrorCount:
    """Corpus error rate under a named rule: words for English, characters for Mandarin.

    Args:
        references: the true transcripts.
        hypotheses: the model's, in the same order.
        rule: a name of :data:`~eureka_audio.evaluation.normalizers.ASR_RULES`, or a rule.
        language: ISO 639-1 code; only used when ``rule`` is a name.

    Returns:
        The summed counts; ``.value`` is the rate as a fraction.

    Raises:
        EvaluationError: unknown rule, or the two sides differ in length.
    """
    rule = asr_rule(rule, language) if isinstance(rule, str) else rule
    edits = ref_len = 0
    pairs = zip(references, hypotheses, strict=True)
    while True:
        try:
            reference, hypothesis = next(pairs)
        except StopIteration:
            return ErrorCount(edits, ref_len)
        except ValueError as error:
            raise EvaluationError(
                "expected as many hypotheses as references, but one side ended first; pair them up"
            ) from error
        count = count_errors(reference, hypothesis, rule)
        edits, ref_len = edits + count.edits, ref_len + count.ref_len


def accuracy(verdicts: Iterable[bool]) -> float:
    """The share of true verdicts, pooled over items.

    Raises:
        EvaluationError: there is no verdict.
    """
    total = correct = 0
    for verdict in verdicts:
        total += 1
        correct += verdict
    if total == 0:
        raise EvaluationError(
            "expected at least one verdict, got none: an accuracy over nothing is undefined"
        )
    return correct / total
