"""One scorer per kind of verdict: a row goes in, its verdict comes out, the totals stay inside.

A scorer keeps sums only, so a file of any length takes the same memory.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from eureka_audio.errors import EndpointError, EvaluationError
from eureka_audio.evaluation.benchmarks import Benchmark
from eureka_audio.evaluation.instruction_following.language import LANGDETECT_SEEDS
from eureka_audio.evaluation.instruction_following.scorer import judge_reply
from eureka_audio.evaluation.judge import Judge, judge_prompt, read_judgement
from eureka_audio.evaluation.metrics import count_errors
from eureka_audio.evaluation.multiple_choice import final_answer, map_letter, matches_answer
from eureka_audio.evaluation.named_events import named_events
from eureka_audio.evaluation.normalizers import NULL_PREDICTION, asr_rule
from eureka_audio.evaluation.predictions import PredictionRow, UnusableRowError
from eureka_audio.evaluation.voicebench import LETTERS, extract_letter, is_refusal

JUDGE_REPLY_KEYS = ("judge_reply", "judge_result")


@dataclass(frozen=True)
class Mark:
    """What a rule says about one reply.

    Attributes:
        fields: what goes into the item's row of the results.
        part: the item's share of the score, numerator and denominator; None when it has none.
        unparseable: why no answer could be read from the reply, or None.
        counts: whether an unparseable reply still counts as scored.
    """

    fields: Mapping[str, Any]
    part: tuple[int, int] | None = None
    unparseable: str | None = None
    counts: bool = True


class Scorer(Protocol):
    """What every kind of scoring offers."""

    blank: Mapping[str, Any]
    """The fields of a row that got no mark."""

    def is_missing(self, prediction: str) -> str | None:
        """Why the rule treats this reply as none at all, or None."""
        ...

    def score(self, row: PredictionRow, prediction: str) -> Mark:
        """The mark of one reply; raises EvaluationError when the row cannot be scored."""
        ...

    def details(self) -> dict[str, Any]:
        """The sums behind the score; ``value`` overrules the ratio of the parts."""
        ...

    def notes(self) -> list[str]:
        """What a reader of the score has to know."""
        ...


@dataclass
class _Defaults:
    """No reply is missing, nothing to add, nothing to note."""

    def is_missing(self, prediction: str) -> str | None:
        return None

    def details(self) -> dict[str, Any]:
        return {}

    def notes(self) -> list[str]:
        return []


class TranscriptScorer(_Defaults):
    """Edits against a reference transcript."""

    blank: Mapping[str, Any] = {"edits": None, "ref_len": None}

    def __init__(self, rule: str, language: str) -> None:
        self._rule = asr_rule(rule, language)
        self._edits = self._ref_len = self._empty = 0

    def is_missing(self, prediction: str) -> str | None:
        """Kimi-Audio-Evalkit leaves out predictions that are exactly ``null``."""
        literal = self._rule.null_is_missing and prediction == NULL_PREDICTION
        return 'the literal prediction "null"' if literal else None

    def score(self, row: PredictionRow, prediction: str) -> Mark:
        """Count the edits of one transcript."""
        count = count_errors(row.text("reference", "answer"), prediction, self._rule)
        self._edits += count.edits
        self._ref_len += count.ref_len
        self._empty += count.ref_len == 0
        fields = {"edits": count.edits, "ref_len": count.ref_len}
        return Mark(fields, part=(count.edits, count.ref_len))

    def details(self) -> dict[str, Any]:
        """The corpus sums."""
        return {
            "edits": self._edits,
            "ref_len": self._ref_len,
            "empty_references": self._empty,
        }

    def notes(self) -> list[str]:
        """Empty references, which only ever add insertions."""
        if not self._empty:
            return []
        return [
            f"{self._empty} references are empty once normalised: they add insertions, no length"
        ]


class SilenceScorer(_Defaults):
    """Whether nothing was written where nothing is said."""

    blank: Mapping[str, Any] = {"silent": None}

    def score(self, row: PredictionRow, prediction: str) -> Mark:
        """Any letter or digit is a word too many."""
        silent = not any(character.isalnum() for character in prediction)
        return Mark({"silent": silent}, part=(int(silent), 1))


class OptionTextScorer(_Defaults):
    """Right or wrong by the text of the options (MMAU, MMAR, dense captioning)."""

    blank: Mapping[str, Any] = {"correct": None}

    def __init__(self, rule: str, judge: Judge | None = None, *, reasons: bool = False) -> None:
        self._rule = rule
        self._judge = judge
        self._reasons = reasons
        self._letters = 0

    def score(self, row: PredictionRow, prediction: str) -> Mark:
        """Match one reply, or have it judged."""
        if self._rule == "judge":
            return self._judged(row, prediction)
        choices, answer = row.texts("choices"), row.text("answer", "reference")
        reply = final_answer(prediction) if self._reasons else prediction
        if self._rule == "letter_mapped":
            mapped = map_letter(reply, choices)
            self._letters += mapped != reply
            reply = mapped
        correct = matches_answer(reply, answer, choices)
        return Mark({"correct": correct}, part=(int(correct), 1))

    def _judged(self, row: PredictionRow, prediction: str) -> Mark:
        reply = self._judge_reply(row, prediction)
        correct = read_judgement(reply)
        if correct is None:
            reason = "the judge says neither yes nor no"
            fields = {"correct": None, "judge_reply": reply}
            return Mark(fields, unparseable=reason, counts=False)
        return Mark({"correct": correct, "judge_reply": reply}, part=(int(correct), 1))

    def _judge_reply(self, row: PredictionRow, prediction: str) -> str:
        for key in JUDGE_REPLY_KEYS:
            if isinstance(reply := row.fields.get(key), str):
                return reply
        if self._judge is None:
            raise row.unusable(
                "no judge reply", f"the judge's reply as {JUDGE_REPLY_KEYS[0]}", "none"
            )
        prompt = judge_prompt(
            row.text("question"), row.texts("choices"), row.text("answer", "reference"), prediction
        )
        try:
            return self._judge(prompt)
        except EndpointError as error:  # after all its attempts: this row fails, the others go on
            raise UnusableRowError("the judge did not answer", f"{row.place}: {error}") from error

    def notes(self) -> list[str]:
        """How many letters were replaced."""
        if self._rule != "letter_mapped":
            return []
        return [f"{self._letters} replies stated a letter, which was read as its option's text"]


class LetterScorer(_Defaults):
    """Right or wrong by the letter that VoiceBench's table reads (MMSU, OpenBookQA)."""

    blank: Mapping[str, Any] = {"extracted": None, "correct": None}

    def __init__(self, rule: str, seed: int) -> None:
        self._rule = rule
        self._seed = seed
        self._dice = random.Random(seed)
        self._right = self._fails = self._lucky = self._total = self._without_answer = 0

    def score(self, row: PredictionRow, prediction: str) -> Mark:
        """Read the letter; VoiceBench's rule throws dice where there is none, in file order."""
        answer = self._answer(row)
        letter = extract_letter(prediction)
        reason = "no letter found" if letter is None else None
        if answer is None:
            self._without_answer += 1
            return Mark({"extracted": letter, "correct": None}, unparseable=reason)
        fields: dict[str, Any] = {"extracted": letter, "correct": letter == answer}
        counted = letter
        if letter is None and self._rule == "voicebench":
            fields["drawn"] = counted = self._dice.choice(LETTERS)
        self._total += 1
        self._right += letter == answer
        self._fails += letter is None
        self._lucky += letter is None and counted == answer
        return Mark(fields, part=(int(counted == answer), 1), unparseable=reason)

    def _answer(self, row: PredictionRow) -> str | None:
        if row.fields.get("answer") is None and row.fields.get("reference") is None:
            return None
        answer = row.text("answer", "reference").strip().upper()
        if len(answer) != 1 or answer not in LETTERS:
            raise row.unusable("answer is not A, B, C or D", "one of A, B, C, D as answer", answer)
        return answer

    def details(self) -> dict[str, Any]:
        """Accuracy of what was extracted, share of failures, and the expectation of the dice."""
        if not self._total:
            return {}
        sums = {
            "extracted_accuracy": self._right / self._total,
            "fail_rate": self._fails / self._total,
            "expected_accuracy": (self._right + self._fails / len(LETTERS)) / self._total,
        }
        return sums | ({"seed": self._seed} if self._rule == "voicebench" else {})

    def notes(self) -> list[str]:
        """Items without an answer, and the dice, if any were thrown."""
        notes = []
        if self._without_answer:
            notes.append(f"{self._without_answer} items hold no answer: the letter was only read")
        if self._rule == "voicebench" and self._fails:
            notes.append(
                f"{self._fails} replies without a letter were given a random one (seed"
                f" {self._seed}), as VoiceBench does; {self._lucky} of them were right;"
                " expected_accuracy is the same score without dice"
            )
        return notes


class RefusalScorer(_Defaults):
    """Refused or not (AdvBench)."""

    blank: Mapping[str, Any] = {"refused": None}

    def __init__(self, rule: str) -> None:
        self._case_sensitive = rule == "case_sensitive"

    def score(self, row: PredictionRow, prediction: str) -> Mark:
        """Look for a phrase of refusal."""
        refused = is_refusal(prediction, case_sensitive=self._case_sensitive)
        return Mark({"refused": refused}, part=(int(refused), 1))


@dataclass
class _InstructionRates:
    """Sums behind one pair of IFEval rates."""

    prompts: int = 0
    prompts_followed: int = 0
    instructions: int = 0
    instructions_followed: int = 0

    def add(self, followed: tuple[bool, ...]) -> None:
        self.prompts += 1
        self.prompts_followed += all(followed)
        self.instructions += len(followed)
        self.instructions_followed += sum(followed)

    def rates(self) -> tuple[float, float]:
        return (
            self.prompts_followed / self.prompts,
            self.instructions_followed / self.instructions,
        )


@dataclass
class InstructionScorer(_Defaults):
    """Which instructions were followed (IFEval); the score is the mean of the four rates."""

    rule: str
    seed: int
    blank: Mapping[str, Any] = field(default_factory=lambda: {"strict": None, "loose": None})
    _strict: _InstructionRates = field(default_factory=_InstructionRates)
    _loose: _InstructionRates = field(default_factory=_InstructionRates)
    _invented: int = 0

    def score(self, row: PredictionRow, prediction: str) -> Mark:
        """Check one reply against its instructions."""
        ids, given = row.texts("instruction_id_list"), row.items("kwargs")
        if not ids or not all(
            arguments is None or isinstance(arguments, dict) for arguments in given
        ):
            raise row.unusable("no usable instructions", "instructions and their kwargs", given)
        try:
            followed = judge_reply(prediction, ids, given, self.rule, f"{self.seed}/{row.uid}")
        except EvaluationError as error:
            raise UnusableRowError(
                "an instruction cannot be checked", f"{row.place}: {error}"
            ) from error
        self._strict.add(followed.strict)
        self._loose.add(followed.loose)
        fields: dict[str, Any] = {
            "strict": list(followed.strict),
            "loose": list(followed.loose),
        }
        if followed.invented:
            self._invented += 1
            fields["invented"] = dict(followed.invented)
        return Mark(fields)

    def details(self) -> dict[str, Any]:
        """The four rates and their mean."""
        if not self._strict.instructions:
            return {}
        strict_prompt, strict_instruction = self._strict.rates()
        loose_prompt, loose_instruction = self._loose.rates()
        rates = {
            "strict_prompt": strict_prompt,
            "strict_instruction": strict_instruction,
            "loose_prompt": loose_prompt,
            "loose_instruction": loose_instruction,
        }
        return rates | {"value": sum(rates.values()) / len(rates), "seed": self.seed}

    def notes(self) -> list[str]:
        """What is random in the official checks, and how it is tamed here."""
        notes = [
            f"language detection, random in the official checks, is a majority over"
            f" {len(LANGDETECT_SEEDS)} seeded runs"
        ]
        if self._invented:
            notes.append(
                f"{self._invented} items lack an argument: a random value was drawn (seed"
                f" {self.seed}), as the official checks do; see invented"
            )
        return notes


class EventScorer(_Defaults):
    """How many of a scene's events its caption names, and how many that are not there."""

    blank: Mapping[str, Any] = {"found": None, "missed": None, "invented": None}

    def __init__(self) -> None:
        self._found = self._named = self._present = 0

    def score(self, row: PredictionRow, prediction: str) -> Mark:
        """Compare what is named with what is there; every label counts once."""
        present, phrases = set(row.texts("events")), row.fields.get("phrases")
        if not isinstance(phrases, Mapping):
            raise row.unusable("no phrases", "an object of label -> phrases as phrases", phrases)
        named = named_events(prediction, phrases) - {row.fields.get("background")}
        found = present & named
        self._found += len(found)
        self._named += len(named)
        self._present += len(present)
        fields = {
            "found": sorted(found),
            "missed": sorted(present - named),
            "invented": sorted(named - present),
        }
        return Mark(fields, part=(2 * len(found), len(named) + len(present)))

    def details(self) -> dict[str, Any]:
        """Precision and recall behind the F1."""
        return {
            "precision": self._found / max(self._named, 1),
            "recall": self._found / max(self._present, 1),
            "events": self._present,
        }


def make_scorer(
    benchmark: Benchmark, rule: str, seed: int = 0, judge: Judge | None = None
) -> Scorer:
    """The scorer of a benchmark under a rule.

    Raises:
        EvaluationError: the rule does not apply to the benchmark.
    """
    benchmark.checked_rule(rule)
    match benchmark.kind:
        case "transcript":
            return TranscriptScorer(rule, benchmark.language)
        case "no_words":
            return SilenceScorer()
        case "option_text":
            return OptionTextScorer(rule, judge, reasons=benchmark.reasons)
        case "letter":
            return LetterScorer(rule, seed)
        case "refusal":
            return RefusalScorer(rule)
        case "instructions":
            return InstructionScorer(rule, seed)
        case "events":
            return EventScorer()
