"""Asks a model every trial of a run, once, whatever happens on the way.

Replies go to an append-only ledger, batch by batch. A run that was killed goes on where it stopped,
never asks a finished item again, and ends with the files an undisturbed run would have written::

    DIR/run.json                      whose replies these are; another run is refused
    DIR/replies.jsonl                 the ledger: every attempt, in the order it was made
    DIR/<benchmark>/predictions.jsonl one row per item, in the benchmark's order

Batches are cut from the whole list, so a resumed run asks in the same company as an undisturbed
one.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from eureka_audio.durable import atomic_write
from eureka_audio.errors import EndpointError, EurekaAudioError, EvaluationError
from eureka_audio.evaluation.ledger import Ledger, Row, open_ledger
from eureka_audio.evaluation.trials import Trial, checked_trials
from eureka_audio.protocols import AudioLanguageModel, ChoosingModel, Reply, TranscribingModel

LEDGER, IDENTITY, PREDICTIONS = "replies.jsonl", "run.json", "predictions.jsonl"
CHOICE_SCORES = "choice_scores"  # in a prediction: how probable each option was
_KEPT = ("prediction", "finish_reason", "num_new_tokens", CHOICE_SCORES)
MAX_FAILED_BATCHES = 5  # in a row, every item of them: then the model is taken to be down


@dataclass(frozen=True)
class RunIdentity:
    """Whose replies a folder holds.

    Attributes:
        benchmark: what was asked for on the command line.
        model: the model's name.
        fingerprint: of its weights, or where it is served.
        max_new_tokens: the longest reply; None leaves it to the model.
        choose: questions with options are answered by the most probable option, not freely.
        transcribe: recordings to write down are given to the model's own `transcribe`, as a user
            would, rather than asked about.
    """

    benchmark: str
    model: str
    fingerprint: str
    max_new_tokens: int | None = None
    choose: bool = False
    transcribe: bool = False

    def settings(self) -> dict[str, Any]:
        """What of it shapes a reply, for the key."""
        settings = {"fingerprint": self.fingerprint, "max_new_tokens": self.max_new_tokens}
        ways = {"choose": self.choose, "transcribe": self.transcribe}
        return settings | {way: True for way, is_taken in ways.items() if is_taken}


@dataclass(frozen=True)
class RunOptions:
    """How a model is asked.

    Attributes:
        batch_size: items per call, and per fsync.
        max_attempts: how often an item is asked that failed in a way that may pass.
        retry_failed: forget the failures of earlier calls and ask those items again.
        on_progress: called with the number of items that were just finished.
    """

    batch_size: int = 32
    max_attempts: int = 3
    retry_failed: bool = False
    on_progress: Callable[[int], None] = lambda count: None


@dataclass
class RunBooks:
    """Where every item went: ``items = answered + failed``, failures counted by kind of error."""

    items: int = 0
    answered: int = 0
    asked: int = 0
    failed: Counter[str] = field(default_factory=Counter)

    def as_dict(self) -> dict[str, Any]:
        """The counts, failures with their reasons."""
        assert self.items == self.answered + self.failed.total()
        return {
            "items": self.items,
            "answered": self.answered,
            "failed": self.failed.total(),
            "reasons": dict(sorted(self.failed.items())),
        }


def run_trials(
    model: AudioLanguageModel,
    trials: Sequence[Trial],
    folder: str | Path,
    identity: RunIdentity,
    options: RunOptions | None = None,
) -> RunBooks:
    """Ask what has not been asked yet, then write the predictions.

    With ``identity.choose``, a question with options goes to the model's method ``choose``; with
    ``identity.transcribe``, a recording to write down goes to its method ``transcribe``.

    Args:
        model: whom to ask.
        trials: what to ask; several benchmarks may be mixed.
        folder: where the run lives.
        identity: whose replies these are.
        options: batches, attempts, progress.

    Returns:
        The books; ``asked`` counts the questions put to the model by this call.

    Raises:
        EvaluationError: the folder holds another run, the trials are unusable, or the model does
            not answer at all. What was answered stays; run again to go on.
    """
    folder, options = Path(folder), options or RunOptions()
    trials = checked_trials(trials)
    if identity.choose:
        _check_can_choose(model, trials)
    with open_ledger(folder / LEDGER) as ledger:
        _claim(folder / IDENTITY, identity)
        keys = [trial.key(identity.settings()) for trial in trials]
        state = _State(ledger, options)
        options.on_progress(sum(key in state.replies for key in keys))
        for _ in range(options.max_attempts):
            if not _one_round(model, list(zip(keys, trials, strict=True)), state, identity):
                break
        books = RunBooks(items=len(trials), asked=state.asked)
        _write_predictions(folder, trials, keys, state, books)
    return books


def _claim(path: Path, identity: RunIdentity) -> None:
    """Write down whose folder this is, or check that it is ours.

    Raises:
        EvaluationError: it holds another run.
    """
    mine = {name: value for name, value in asdict(identity).items() if value is not False}
    if not path.exists():
        with atomic_write(path) as stream:
            stream.write(json.dumps(mine, indent=1) + "\n")
        return
    theirs = json.loads(path.read_text(encoding="utf-8"))
    changed = [name for name in {**mine, **theirs} if theirs.get(name) != mine.get(name)]
    if changed:
        name = changed[0]
        raise EvaluationError(
            f"expected {path.parent} to be empty or to hold this run, but its {name} is"
            f" {theirs.get(name)!r}, not {mine.get(name)!r}; choose another folder"
        )


class _State:
    """What the ledger knows, kept up to date while asking."""

    def __init__(self, ledger: Ledger, options: RunOptions) -> None:
        self.ledger = ledger
        self.options = options
        self.replies: dict[str, Row] = {}
        self.errors: dict[str, Row] = {}
        self.attempts: Counter[str] = Counter()
        self.asked = self._failed_batches = 0
        self._held: list[Row] = []
        for row in ledger.rows:
            if "error" not in row or not options.retry_failed:
                self._take(row)

    def is_open(self, key: str) -> bool:
        """Whether an item still has to be asked."""
        if key in self.replies:
            return False
        if key in self.errors and not self.errors[key]["error"]["retryable"]:
            return False
        return self.attempts[key] < self.options.max_attempts

    def record(self, rows: Sequence[Row]) -> None:
        """Keep a batch.

        The failures of an outage are held back until the model answers again, so that they cost no
        attempts.

        Raises:
            EvaluationError: too many batches failed one after another.
        """
        down = all("error" in row and row["error"]["retryable"] for row in rows)
        self._failed_batches = self._failed_batches + 1 if down else 0
        if self._failed_batches >= MAX_FAILED_BATCHES:
            raise EvaluationError(
                f"expected answers, got none in {MAX_FAILED_BATCHES} batches in a row, the last"
                f" error being: {rows[-1]['error']['message']}; {len(self.replies)} items are"
                " answered and kept: run again to go on"
            )
        self._held += rows
        if not down:
            self.flush()

    def flush(self) -> None:
        """Write what is held back."""
        if self._held:
            self.ledger.append(self._held)
            for row in self._held:
                self._take(row)
        self._held = []

    def _take(self, row: Row) -> None:
        key = row["key"]
        self.attempts[key] += 1
        if "error" in row:
            self.errors[key] = row
        else:
            self.replies[key] = row


def _one_round(
    model: AudioLanguageModel,
    pairs: list[tuple[str, Trial]],
    state: _State,
    identity: RunIdentity,
) -> bool:
    """Ask every open item once; whether there was any."""
    asked = False
    size = state.options.batch_size
    for start in range(0, len(pairs), size):
        open_pairs = [pair for pair in pairs[start : start + size] if state.is_open(pair[0])]
        if not open_pairs:
            continue
        asked = True
        state.asked += len(open_pairs)
        answers = _ask(model, [trial for _, trial in open_pairs], identity)
        rows = [
            {"key": key, "benchmark": trial.benchmark, "uid": trial.uid, **_outcome(answer)}
            for (key, trial), answer in zip(open_pairs, answers, strict=True)
        ]
        state.record(rows)
        state.options.on_progress(sum("error" not in row for row in rows))
    state.flush()
    return asked


def _check_can_choose(model: AudioLanguageModel, trials: Sequence[Trial]) -> None:
    if not isinstance(model, ChoosingModel):
        raise EvaluationError(
            f"expected a model that can say how probable each option is (a method choose), got a"
            f" {type(model).__name__}; ask it freely"
        )
    if not any(trial.options for trial in trials):
        raise EvaluationError(
            "expected questions with options to choose from, found none; ask freely"
        )


def _ask(
    model: AudioLanguageModel, trials: Sequence[Trial], identity: RunIdentity
) -> Sequence[Reply | EurekaAudioError]:
    """The answers to a batch, in order, whichever way each item is asked."""
    answers: list[Reply | EurekaAudioError | None] = [None] * len(trials)
    for method in ("answer", "transcribe", "choose"):
        indices = [i for i, trial in enumerate(trials) if _way(model, trial, identity) == method]
        if not indices:
            continue
        part = [trials[index] for index in indices]
        try:
            found = _ask_by(method, model, part, identity)
        except EurekaAudioError as error:  # of the whole batch
            found = [error] * len(part)
        if len(found) != len(part):
            raise EvaluationError(
                f"expected {len(part)} replies, one for each item, got {len(found)} from"
                f" {type(model).__name__}; correct its method {method}"
            )
        for index, answer in zip(indices, found, strict=True):
            answers[index] = answer
    return [answer for answer in answers if answer is not None]


def _way(model: AudioLanguageModel, trial: Trial, identity: RunIdentity) -> str:
    """The method of a model that an item is given to."""
    if identity.choose and trial.options:
        return "choose"
    if identity.transcribe and isinstance(model, TranscribingModel) and trial.is_transcription:
        return "transcribe"
    return "answer"


def _ask_by(
    method: str, model: AudioLanguageModel, trials: Sequence[Trial], identity: RunIdentity
) -> Sequence[Reply | EurekaAudioError]:
    if method == "transcribe" and isinstance(model, TranscribingModel):
        return model.transcribe([trial.audio for trial in trials], errors="return")
    conversations = [trial.conversation() for trial in trials]
    if method == "choose" and isinstance(model, ChoosingModel):
        return model.choose(conversations, [trial.options for trial in trials])
    return model.answer(conversations, max_new_tokens=identity.max_new_tokens)


def _outcome(answer: Reply | EurekaAudioError) -> Mapping[str, Any]:
    """What a ledger keeps of a reply or an error.

    An error is worth another attempt when it says so; one that says nothing is final, since the
    same audio and words will fail the same way again.
    """
    if isinstance(answer, Reply):
        kept: dict[str, Any] = {
            "prediction": answer.text,
            "finish_reason": answer.finish_reason,
            "num_new_tokens": answer.num_new_tokens,
        }
        return kept if answer.scores is None else {**kept, CHOICE_SCORES: dict(answer.scores)}
    retryable = isinstance(answer, EndpointError) and answer.retryable
    kind = type(answer).__name__
    return {"error": {"type": kind, "message": str(answer), "retryable": retryable}}


def _write_predictions(
    folder: Path, trials: Sequence[Trial], keys: Sequence[str], state: _State, books: RunBooks
) -> None:
    """One file per benchmark, in the order of its items."""
    rows: dict[str, list[Row]] = {}
    for trial, key in zip(trials, keys, strict=True):
        row = {
            **trial.fields,
            "uid": trial.uid,
            "prediction": None,
            "prompt": trial.prompt,
            "audio": None if trial.audio is None else str(trial.audio),
        }
        if key in state.replies:
            reply = state.replies[key]
            row |= {name: reply[name] for name in _KEPT if name in reply}
            books.answered += 1
        else:
            error = state.errors[key]["error"]
            row["error"] = {name: error[name] for name in ("type", "message")}
            books.failed[error["type"]] += 1
        rows.setdefault(trial.benchmark, []).append(row)
    for benchmark, listed in rows.items():
        with atomic_write(folder / benchmark / PREDICTIONS) as stream:
            for row in listed:
                stream.write(json.dumps(row, ensure_ascii=False) + "\n")
