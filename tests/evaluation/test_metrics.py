"""Corpus sums, undefined rates, and guards."""

import pytest

from eureka_audio.errors import EvaluationError
from eureka_audio.evaluation import metrics
from eureka_audio.evaluation.metrics import ErrorCount, accuracy, edit_distance, word_error_rate
from eureka_audio.evaluation.normalizers import asr_rule


def levenshtein(a: list[str], b: list[str]) -> int:
    """The textbook table, for comparison."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        previous, row[0] = row[0], i
        for j, y in enumerate(b, start=1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (x != y))
    return row[-1]


def test_edit_distance_is_over_tokens() -> None:
    for a, b in [("a b c", "a x c d"), ("", "a b"), ("ab", "a b"), ("a b", "b a")]:
        assert edit_distance(a.split(), b.split()) == levenshtein(a.split(), b.split())


def test_the_corpus_rate_is_not_a_mean_of_rates() -> None:
    count = word_error_rate(["one", "the dog sat on the mat"], ["two", "the dog sat on the mat"])
    assert (count.edits, count.ref_len) == (1, 7)
    assert count.percent == 14.29


def test_an_empty_reference_adds_insertions_only() -> None:
    count = word_error_rate(["(laughs)", "hello"], ["ha ha", "hello"])
    assert count == ErrorCount(2, 1)


def test_no_reference_token_is_an_error_not_a_zero() -> None:
    with pytest.raises(EvaluationError, match="undefined"):
        _ = word_error_rate(["(laughs)"], [""]).value


def test_sides_of_different_length_are_refused() -> None:
    with pytest.raises(EvaluationError, match="one side ended first"):
        word_error_rate(["a", "b"], ["a"])


def test_counts_add_up() -> None:
    assert ErrorCount(1, 2) + ErrorCount(3, 4) == ErrorCount(4, 6)


def test_accuracy() -> None:
    assert accuracy([True, False, True, True]) == 0.75
    with pytest.raises(EvaluationError, match="got none"):
        accuracy([])


def test_unknown_rules_and_languages_are_refused() -> None:
    with pytest.raises(EvaluationError, match="one of kimi, whisper"):
        asr_rule("wer")
    with pytest.raises(EvaluationError, match="language 'zh'"):
        asr_rule("whisper", "zh")
    assert asr_rule("whisper", "de").tokens("Über-Maß, [lacht] 5%!") == ["über", "maß", "5"]


def test_missing_rapidfuzz_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import builtins

    real = builtins.__import__

    def without(name: str, *rest: object) -> object:
        if name.startswith("rapidfuzz"):
            raise ImportError(name)
        return real(name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(metrics.MissingDependencyError, match="rapidfuzz"):
        edit_distance(["a"], ["b"])
