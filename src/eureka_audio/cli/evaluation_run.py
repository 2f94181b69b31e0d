"""``eureka-audio evaluate run``, ``caption``, ``report`` and ``compare``: ask, judge, show."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

from eureka_audio.asking.rounds import RunOptions
from eureka_audio.cli.evaluation_model import (
    add_model_options,
    chosen_model,
    endpoint_model,
)
from eureka_audio.cli.progress import ProgressBar
from eureka_audio.errors import ConfigError, EvaluationError
from eureka_audio.evaluation.benchmarks import benchmark_named
from eureka_audio.evaluation.report import write_report
from eureka_audio.evaluation.report_text import compared, terminal
from eureka_audio.evaluation.results import read_summary, score_run
from eureka_audio.evaluation.runner import RunIdentity, run_trials
from eureka_audio.evaluation.trials import Trial
from eureka_audio.protocols import TranscribingModel
from eureka_audio.records import Split

OWN_SET, MANIFEST = "eureka", "manifest"
Actions: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_run(actions: Actions) -> None:
    """Register ``run`` and ``caption``."""
    run = actions.add_parser(
        "run",
        help="ask a model a benchmark, score its replies, write a report",
        description="Ask a model every item once. A run that is stopped goes on where it was: give "
        "the same command again.",
    )
    _add_set_options(run)
    add_model_options(run)
    _add_run_options(run)
    run.add_argument(
        "--prompt", default="", help="in place of the benchmark's: with {question} and {choices}"
    )
    run.add_argument(
        "--choose",
        action="store_true",
        help="answer questions with options by the most probable option instead of freely, where "
        "the model offers that (ours do); the report says so",
    )
    run.set_defaults(act=_run)
    caption = actions.add_parser(
        "caption",
        help="have a text model answer from a model's captions",
        description="Dense captioning: the model describes each clip, a text model that hears "
        "nothing answers from the description. Beside it: the same without a description (floor) "
        "and, where it is known, with the true one (ceiling).",
    )
    _add_set_options(caption)
    add_model_options(caption)
    caption.add_argument("--reader", required=True, help="name of the text model")
    caption.add_argument(
        "--reader-endpoint", required=True, metavar="URL", help="OpenAI-compatible server it is on"
    )
    _add_run_options(caption)
    caption.set_defaults(act=_caption)


def add_report(actions: Actions) -> None:
    """Register ``report`` and ``compare``."""
    report = actions.add_parser(
        "report", help="write the report of one or several runs beside the paper's tables"
    )
    report.add_argument("runs", nargs="+", type=Path, metavar="DIR", help="folders of runs")
    report.add_argument(
        "--out", type=Path, required=True, help="folder for report.html, .md, .json"
    )
    report.set_defaults(act=_report)
    compare = actions.add_parser(
        "compare",
        help="test whether two runs differ, item by item",
        description="Run B against run A over the items both have: difference with its 95 %% "
        "interval, a paired bootstrap over clips, and McNemar's exact test where items are right "
        "or wrong.",
    )
    compare.add_argument("first", type=Path, metavar="A", help="folder of a run")
    compare.add_argument("second", type=Path, metavar="B", help="folder of another")
    compare.add_argument("--json", action="store_true", help="one JSON object per line")
    compare.set_defaults(act=_compare)


def _add_set_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "benchmark",
        metavar="BENCH",
        help="eureka (test splits of recordings and scenes), manifest (clips of your own), mmau, "
        "mmar, or any other that `evaluate score --help` lists",
    )
    parser.add_argument(
        "--data",
        required=True,
        nargs="+",
        type=Path,
        help="the benchmark's folder or file; for eureka and manifest one or more packs of "
        "recordings, folders with manifest.jsonl, or manifests",
    )
    parser.add_argument("--limit", type=int, help="only the first so many items, to try it out")


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--batch-size", type=int, default=32, help="items at once (default: 32)")
    parser.add_argument("--max-new-tokens", type=int, help="the longest reply, in tokens")
    parser.add_argument(
        "--attempts", type=int, default=3, help="per item when a server fails (default: 3)"
    )
    parser.add_argument(
        "--retry-failed", action="store_true", help="ask items again that failed in earlier calls"
    )


def _trials(args: argparse.Namespace, prompt: str = "") -> list[Trial]:
    """What the benchmark asks.

    Raises:
        EurekaAudioError: the data is not there, or not as it should be.
    """
    if args.limit is not None and args.limit < 1:
        raise ConfigError(f"expected --limit to be at least 1, got {args.limit}")
    trials = list(_all_trials(args, prompt))
    return trials[: args.limit]


def _all_trials(args: argparse.Namespace, prompt: str) -> Iterator[Trial]:
    from eureka_audio.data.evaluation_set import evaluation_trials, read_clips
    from eureka_audio.evaluation.layouts import Prompts, benchmark_trials
    from eureka_audio.text.chat import TRANSCRIBE_SYSTEM_PROMPT

    if args.benchmark in (OWN_SET, MANIFEST):
        if prompt:
            raise ConfigError(
                f"--prompt has no effect on {args.benchmark}, which asks in its own words; drop it"
            )
        split: Split | None = "test" if args.benchmark == OWN_SET else None
        yield from evaluation_trials(read_clips(args.data, split))
        return
    if len(args.data) != 1:
        raise ConfigError(f"expected one --data for {args.benchmark}, got {len(args.data)}")
    prompts = Prompts(TRANSCRIBE_SYSTEM_PROMPT, prompt)
    yield from benchmark_trials(benchmark_named(args.benchmark), args.data[0], prompts)


def _run(args: argparse.Namespace) -> int:
    trials = _trials(args, args.prompt)
    named = chosen_model(args)
    # As a user would, unless the run asks for something that `transcribe` does not offer.
    transcribe = isinstance(named.model, TranscribingModel) and args.max_new_tokens is None
    identity = RunIdentity(
        args.benchmark,
        named.name,
        named.fingerprint,
        args.max_new_tokens,
        args.choose,
        transcribe and any(trial.is_transcription for trial in trials),
    )
    with ProgressBar(len(trials), "item") as bar:
        books = run_trials(named.model, trials, args.out, identity, _options(args, bar))
    return _finish(args.out, books.failed.total())


def _caption(args: argparse.Namespace) -> int:
    from eureka_audio.data.evaluation_set import OWN_QUESTIONS
    from eureka_audio.evaluation.captioning import as_caption_questions, run_captioning
    from eureka_audio.text.chat import CAPTION_PROMPT

    questions = as_caption_questions(_trials(args), OWN_QUESTIONS)
    if not questions:
        raise EvaluationError(
            f"expected questions with choices in {args.benchmark}, found none; dense captioning is"
            " measured on such"
        )
    named = chosen_model(args)
    reader = endpoint_model(args.reader, args.reader_endpoint, args)
    captioner = RunIdentity(args.benchmark, named.name, named.fingerprint, args.max_new_tokens)
    both = f"{named.name} read by {reader.name}"
    reading = RunIdentity("captions of " + args.benchmark, both, reader.fingerprint)
    with ProgressBar(None, "item") as bar:
        described, read = run_captioning(
            (named.model, captioner),
            (reader.model, reading),
            questions,
            args.out,
            CAPTION_PROMPT,
            _options(args, bar),
        )
    return _finish(args.out, described.failed.total() + read.failed.total())


def _options(args: argparse.Namespace, bar: ProgressBar) -> RunOptions:
    if min(args.batch_size, args.attempts) < 1:
        raise ConfigError("expected --batch-size and --attempts to be at least 1")
    return RunOptions(args.batch_size, args.attempts, args.retry_failed, bar.advance)


def _finish(folder: Path, num_failed: int) -> int:
    summary = score_run(folder)
    write_report([folder], folder)
    print(terminal([summary]))
    print(f"report: {folder / 'report.html'}")
    if num_failed:
        print(f"{num_failed} items failed; --retry-failed asks them again", file=sys.stderr)
    return 1 if num_failed else 0


def _report(args: argparse.Namespace) -> int:
    print(terminal([read_summary(folder) for folder in args.runs]))
    print(f"report: {write_report(args.runs, args.out)}")
    return 0


def _compare(args: argparse.Namespace) -> int:
    print(compared(args.first, args.second, as_json=args.json))
    return 0
