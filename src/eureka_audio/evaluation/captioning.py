"""Dense captions judged by what a reader can answer from them alone.

A model describes each clip; a text model, which hears nothing, answers the questions from the
description; the benchmark's own scorer judges the answers. Two controls make the score readable:

    @floor     the question without a description: what a guess from the words is worth
    @ceiling   the true description, where one is known: what the reader can make of a perfect one

Source: paper 6.3. Unstated: both prompts (8.4 prints them as pictures), whether the options are
shown to the reader; here they are.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from eureka_audio.asking.outcomes import RunBooks
from eureka_audio.asking.rounds import RunOptions
from eureka_audio.evaluation.runner import PREDICTIONS, RunIdentity, run_trials
from eureka_audio.evaluation.trials import Trial
from eureka_audio.protocols import AudioLanguageModel, TextLanguageModel

CAPTIONS, FLOOR, CEILING = "captions", "@floor", "@ceiling"
DESCRIPTION = "description"

_READ = """\
A recording was described as follows:
{caption}

From this description alone, answer a question about the recording.
Question: {question}
Options: {choices}
Answer with the text of one option and nothing else."""
_GUESS = """\
Answer a question about a recording that you cannot hear.
Question: {question}
Options: {choices}
Answer with the text of one option and nothing else."""


def as_caption_questions(trials: Sequence[Trial], own: str) -> list[Trial]:
    """The multiple-choice questions among trials, under the names of dense captioning.

    Args:
        trials: of any benchmark.
        own: the benchmark of our own questions, which becomes ``caption``.
    """
    kept = []
    for trial in trials:
        if trial.audio is not None and trial.fields.get("choices"):
            name = "caption" if trial.benchmark == own else f"{trial.benchmark}_caption"
            kept.append(replace(trial, benchmark=name))
    return kept


def caption_trials(questions: Sequence[Trial], prompt: str) -> list[Trial]:
    """One request for a description per clip, in the order of the questions."""
    clips = dict.fromkeys(trial.audio for trial in questions if trial.audio is not None)
    return [Trial(CAPTIONS, str(clip), prompt, "", clip) for clip in clips]


def reading_trials(questions: Sequence[Trial], captions: Mapping[str, str]) -> Iterator[Trial]:
    """The questions as a text model gets them: with the caption, without, and with the truth.

    A question whose clip got no caption is put without one, so that it counts; it is not dropped.

    Args:
        questions: with ``question`` and ``choices`` in their fields, and the true description as
            ``description`` where it is known.
        captions: by path of the clip.
    """
    for trial in questions:
        caption = captions.get(str(trial.audio), "")
        name = trial.benchmark
        yield _reading(trial, name, caption, {"caption": caption})
        yield _reading(trial, name + FLOOR, "", {})
        if truth := trial.fields.get(DESCRIPTION):
            yield _reading(trial, name + CEILING, str(truth), {"caption": str(truth)})


def _reading(trial: Trial, name: str, caption: str, extra: Mapping[str, str]) -> Trial:
    question, choices = str(trial.fields["question"]), "; ".join(trial.fields["choices"])
    head, tail = (_READ if caption else _GUESS).split("Question: {question}")
    prompt = (
        head.replace("{caption}", caption)
        + f"Question: {question}"
        + tail.replace("{choices}", choices)
    )
    fields = {**trial.fields, **extra, "clip": str(trial.audio)}
    return replace(trial, benchmark=name, prompt=prompt, system="", audio=None, fields=fields)


def run_captioning(
    captioner: tuple[AudioLanguageModel, RunIdentity],
    reader: tuple[TextLanguageModel, RunIdentity],
    questions: Sequence[Trial],
    folder: str | Path,
    prompt: str,
    options: RunOptions | None = None,
) -> tuple[RunBooks, RunBooks]:
    """Describe the clips, then have the questions answered from the descriptions.

    Args:
        captioner: the model under test, and who it is.
        reader: the text model that answers, and who it is.
        questions: multiple choice, each with its audio.
        folder: of the run; the descriptions are kept in ``captions/`` inside it.
        prompt: asks for a description.
        options: batches, attempts, progress; the same for both steps.

    Returns:
        The books of the describing and of the reading. Both resume like any other run.
    """
    folder = Path(folder)
    inner = folder / CAPTIONS
    described = run_trials(
        captioner[0], caption_trials(questions, prompt), inner, captioner[1], options
    )
    captions = {}
    with (inner / CAPTIONS / PREDICTIONS).open(encoding="utf-8") as stream:
        for row in map(json.loads, stream):
            if row["prediction"]:
                captions[row["uid"]] = row["prediction"]
    trials = list(reading_trials(questions, captions))
    return described, run_trials(reader[0], trials, folder, reader[1], options)
