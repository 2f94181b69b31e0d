"""What becomes of an item: keep, discard or hard, each with its reason; exactly N kept per leaf."""

from collections.abc import Iterable, Sequence

from eureka_audio.dataflux.items import Fate, Item
from eureka_audio.dataflux.letters import plain
from eureka_audio.dataflux.verdict import agree, winning
from eureka_audio.records import Answer, Question, Verdict

Decision = tuple[Fate, str, str]  # fate, reason, detail


def judged(question: Question, answers: Sequence[Answer], verdict: Verdict) -> Decision | None:
    """What the verdict makes of an item; None when it passed.

    Hard is what models disagree on, or what the caption supports in part: such come back as
    exemplars or as training targets.
    """
    if verdict.consistency_with_caption == "CONFLICT":
        return "discarded", "conflict_with_caption", verdict.reasoning
    if not agree(answers):
        return "hard", "disagreement", verdict.reasoning
    if verdict.consistency_with_caption == "WEAK_MATCH":
        return "hard", "weak_match", verdict.reasoning
    if verdict.final_action == "DISCARD":
        return "discarded", "judge_discards", verdict.reasoning
    if winning(verdict, answers) != question.answer:
        return "discarded", "key_disputed", verdict.reasoning
    return None


def selected(
    item: Item, kept: Iterable[Item], num_kept: int, number: int, similarity: float
) -> Decision:
    """Decide on an item that passed all steps.

    Args:
        item: the next one in order.
        kept: items about the same audio that were kept already, of any leaf.
        num_kept: items kept of this leaf.
        number: how many the leaf needs.
        similarity: from which share of common words two questions about one audio are the same.
    """
    words = words_of(item)
    for other in kept:
        if common_share(words, words_of(other)) >= similarity:
            return "discarded", "near_duplicate", f"of {other.id}"
    return ("kept", "", "") if num_kept < number else ("discarded", "surplus", "")


def words_of(item: Item) -> set[str]:
    """The words of an item's question and of its right choice."""
    question = item.question
    assert question is not None, "only items with a question are selected"
    return set(plain(f"{question.query} {question.choices[question.answer]}").split())


def common_share(first: set[str], second: set[str]) -> float:
    """Words in common, of all words of both (Jaccard).

    Example:
        >>> common_share({"a", "b"}, {"b", "c"})
        0.3333333333333333
    """
    return len(first & second) / (len(first | second) or 1)
