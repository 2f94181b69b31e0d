"""``eureka-audio evaluate``: scores that anyone can reproduce.

``run`` asks a model and writes a report; ``score`` judges predictions that exist already, under a
rule that is always named.
"""

import argparse
import json
from collections.abc import Iterable
from typing import Any

from eureka_audio.cli import evaluation_contamination, evaluation_run, evaluation_throughput
from eureka_audio.cli.evaluation_model import add_endpoint_options, endpoint_model
from eureka_audio.cli.outcome import EXIT_FAILED, EXIT_GOOD
from eureka_audio.errors import ConfigError, EurekaAudioError
from eureka_audio.evaluation.benchmarks import BENCHMARKS, benchmark_named
from eureka_audio.evaluation.judge import Judge
from eureka_audio.evaluation.scoring import score_file
from eureka_audio.records import Conversation, Message, TextPart


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``evaluate`` and what it can do to the command line."""
    parser = subparsers.add_parser(
        "evaluate", help="ask a model a benchmark and score its replies", description=__doc__
    )
    actions = parser.add_subparsers(dest="action", required=True)
    evaluation_run.add_run(actions)
    evaluation_run.add_report(actions)
    evaluation_contamination.add_contamination(actions)
    evaluation_throughput.add_throughput(actions)
    score = actions.add_parser(
        "score",
        help="score a file of predictions",
        description="Score predictions that exist already, one JSON object per line.",
        epilog=_rules_table(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    score.add_argument("benchmark", metavar="BENCH", help="what the predictions answer, see below")
    score.add_argument("predictions", metavar="PREDICTIONS.jsonl", help="rows to score")
    score.add_argument("--rule", required=True, help="the scoring rule; there is no default")
    score.add_argument("--out", required=True, metavar="RESULTS.jsonl", help="one verdict per row")
    score.add_argument(
        "--seed", type=int, default=0, help="of the dice that some rules throw (default: 0)"
    )
    score.add_argument(
        "--judge",
        metavar="MODEL",
        help="under the rule judge: the text model that is asked about rows without a recorded "
        "judge_reply",
    )
    score.add_argument(
        "--judge-endpoint", metavar="URL", help="the OpenAI-compatible server it is on"
    )
    add_endpoint_options(score)
    score.add_argument("--json", action="store_true", help="print the summary as one JSON object")
    score.set_defaults(act=_score)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Do what was asked for.

    Returns:
        0 when all went well, 1 when some items failed or a score is undefined.
    """
    code: int = args.act(args)
    return code


def _score(args: argparse.Namespace) -> int:
    summary = score_file(
        benchmark_named(args.benchmark),
        args.predictions,
        args.rule,
        args.out,
        seed=args.seed,
        judge=_judge(args),
    )
    print(json.dumps(summary) if args.json else _as_text(summary))
    return EXIT_FAILED if summary["failed"] or summary["value"] is None else EXIT_GOOD


def _judge(args: argparse.Namespace) -> Judge | None:
    """The judge the options name, if any.

    Raises:
        ConfigError: half of one is named, or the rule asks no judge.
    """
    if args.judge is None and args.judge_endpoint is None:
        return None
    if args.rule != "judge" or args.judge is None or args.judge_endpoint is None:
        raise ConfigError(
            "expected --judge and --judge-endpoint together, with --rule judge; alone or under"
            " another rule they have no effect"
        )
    model = endpoint_model(args.judge, args.judge_endpoint, args).model

    def ask(prompt: str) -> str:
        user = Message(role="user", content=(TextPart(text=prompt),))
        (reply,) = model.answer([Conversation(messages=(user,))])
        if isinstance(reply, EurekaAudioError):
            raise reply
        return reply.text

    return ask


def _rules_table() -> str:
    """Benchmarks and their rules, for the help page."""
    lines = [f"  {b.name:20} {', '.join(b.rules)}" for b in BENCHMARKS.values()]
    return "\n".join(["benchmarks and their rules:", *lines])


def _as_text(summary: dict[str, Any]) -> str:
    """The summary for a reader: what was asked, the score, where every item went, what to know."""
    score = "undefined" if summary["percent"] is None else f"{summary['percent']:.2f} %"
    lines = [f"{summary['benchmark']} under rule {summary['rule']}: {summary['metric']} {score}"]
    kinds = ("items", "scored", "missing", "failed", "unparseable", "skipped")
    lines.append("  ".join(f"{kind} {summary[kind]:,}" for kind in kinds))
    for kind, reasons in summary["reasons"].items():
        lines += [f"  {kind}: {count:,} x {reason}" for reason, count in reasons.items()]
    lines += _table("details", summary["details"].items())
    for name, members in summary["groups"].items():
        shares = [
            (f"{member} ({share['denominator']:,})", share["value"])
            for member, share in members.items()
        ]
        lines += _table(f"by {name}", shares)
    return "\n".join(lines + [f"note: {note}" for note in summary["notes"]])


def _table(title: str, rows: Iterable[tuple[str, Any]]) -> list[str]:
    shown = [
        f"  {name:42} {value:.4f}" if isinstance(value, float) else f"  {name:42} {value}"
        for name, value in rows
    ]
    return [f"{title}:", *shown] if shown else []
