"""``eureka-audio dataflux``: raw audio in, verified instruction data out, in a closed loop."""

import argparse

from eureka_audio.cli import dataflux_look, dataflux_report, dataflux_review, dataflux_run


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``dataflux`` and what it can do to the command line."""
    parser = subparsers.add_parser(
        "dataflux", help="make verified instruction data from raw audio", description=__doc__
    )
    actions = parser.add_subparsers(dest="action", required=True)
    dataflux_run.add_run(actions)
    dataflux_look.add_looks(actions)
    dataflux_report.add_report(actions)
    dataflux_review.add_review(actions)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Do what was asked for; returns the exit code."""
    code: int = args.act(args)
    return code
