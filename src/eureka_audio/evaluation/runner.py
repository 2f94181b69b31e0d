"""Asks a model every trial of a run, once, whatever happens on the way (see ``asking``).

Replies go to an append-only ledger, batch by batch. A run that was killed goes on where it stopped,
never asks a finished item again, and ends with the files an undisturbed run would have written::

    DIR/run.json                      whose replies these are; another run is refused
    DIR/replies.jsonl                 the ledger: every attempt, in the order it was made
    DIR/<benchmark>/predictions.jsonl one row per item, in the benchmark's order
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from eureka_audio.asking.claim import claim_folder
from eureka_audio.asking.ledger import Row, open_ledger
from eureka_audio.asking.outcomes import CHOICE_SCORES, RunBooks
from eureka_audio.asking.rounds import Asker, Rounds, RunOptions
from eureka_audio.durable import atomic_write
from eureka_audio.errors import EurekaAudioError, EvaluationError
from eureka_audio.evaluation.trials import Trial, checked_trials
from eureka_audio.protocols import AudioLanguageModel, ChoosingModel, Reply, TranscribingModel

LEDGER, PREDICTIONS = "replies.jsonl", "predictions.jsonl"
_KEPT = ("prediction", "finish_reason", "num_new_tokens", CHOICE_SCORES)


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

    def as_dict(self) -> dict[str, Any]:
        """What tells this run from another; what is off is left out."""
        return {name: value for name, value in asdict(self).items() if value is not False}


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
        EvaluationError: the trials are unusable.
        RunError: the folder holds another run, or the model does not answer at all. What was
            answered stays; run again to go on.
    """
    folder, options = Path(folder), options or RunOptions()
    trials = checked_trials(trials)
    if identity.choose:
        _check_can_choose(model, trials)
    with open_ledger(folder / LEDGER) as ledger:
        claim_folder(folder, identity.as_dict())
        keys = [trial.key(identity.settings()) for trial in trials]
        rounds: Rounds[Trial] = Rounds(ledger, options)
        asker = Asker(lambda batch: _ask(model, batch, identity), _label)
        rounds.run(list(zip(keys, trials, strict=True)), asker)
        books = RunBooks(items=len(trials), asked=rounds.asked)
        _write_predictions(folder, trials, keys, rounds, books)
    return books


def _label(trial: Trial) -> dict[str, str]:
    return {"benchmark": trial.benchmark, "uid": trial.uid}


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


def _write_predictions(
    folder: Path,
    trials: Sequence[Trial],
    keys: Sequence[str],
    rounds: Rounds[Trial],
    books: RunBooks,
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
        if key in rounds.replies:
            reply = rounds.replies[key]
            row |= {name: reply[name] for name in _KEPT if name in reply}
            books.answered += 1
        else:
            error = rounds.errors[key]["error"]
            row["error"] = {name: error[name] for name in ("type", "message")}
            books.failed[error["type"]] += 1
        rows.setdefault(trial.benchmark, []).append(row)
    for benchmark, listed in rows.items():
        with atomic_write(folder / benchmark / PREDICTIONS) as stream:
            for row in listed:
                stream.write(json.dumps(row, ensure_ascii=False) + "\n")
