"""Letting a text model say whether a reply means the right answer.

A judge is anything that turns a prompt into a reply; which model answers is the caller's business.
Its replies are read as Kimi-Audio-Evalkit reads them.
"""

from collections.abc import Sequence
from typing import Protocol

_PROMPT = """\
Decide whether a reply to a question about a recording gives the correct answer.
Judge the meaning only: other words, another language, or the letter of the right option will do.
Ignore whatever the question says about the form of the answer.
Explain briefly, then write "yes" or "no" alone on the last line.

Question: {question}
Options: {options}
Correct answer: {answer}
Reply: {reply}
"""


class Judge(Protocol):
    """A text model that was asked to judge."""

    def __call__(self, prompt: str) -> str:
        """The model's reply to ``prompt``, whole and unedited."""
        ...


def judge_prompt(question: str, choices: Sequence[str], answer: str, reply: str) -> str:
    """What a judge is asked about one item.

    Departure: Kimi-Audio-Evalkit's prompt has the same task in other words, so verdicts of a model
    may differ; replies recorded from it can be scored as they are.
    """
    lettered = [f"({chr(ord('A') + index)}) {choice}" for index, choice in enumerate(choices)]
    return _PROMPT.format(
        question=question, options=" ".join(lettered) or "none", answer=answer, reply=reply
    )


def read_judgement(reply: str) -> bool | None:
    """Read the last line of a judge's reply: "yes" anywhere in it, else "no", else None.

    "no" is found inside "not", "unknown" and "cannot" as well; the rule has it so.
    """
    last = reply.strip().split("\n")[-1].lower()
    if "yes" in last:
        return True
    return False if "no" in last else None
