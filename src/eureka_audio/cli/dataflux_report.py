"""``eureka-audio dataflux report``: the figures of a run as a page, as text, as JSON."""

import argparse
from pathlib import Path
from typing import TypeAlias

from eureka_audio.cli.outcome import EXIT_GOOD, print_json, print_text

Actions: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_report(actions: Actions) -> None:
    """Add ``report`` to the actions of ``dataflux``."""
    report = actions.add_parser(
        "report",
        help="show what a run gave, in one page",
        description="Write one page with the figures of a run and samples that play, and print the"
        " figures. A run under way is shown as it stands.",
    )
    report.add_argument("folder", type=Path, metavar="DIR", help="the folder of a run")
    report.add_argument(
        "--out", type=Path, metavar="FILE", help="the page (default: DIR/report.html)"
    )
    report.add_argument("--json", action="store_true", help="print the figures as one JSON object")
    report.set_defaults(act=_report)


def _report(args: argparse.Namespace) -> int:
    from eureka_audio.dataflux.report import REPORT, read_figures, wanted_of, write_report
    from eureka_audio.dataflux.report_text import terminal

    figures, samples = read_figures(args.folder, wanted_of(args.folder))
    path = write_report(args.folder, figures, samples, args.out or args.folder / REPORT)
    if args.json:
        print_json(figures)
        return EXIT_GOOD
    print_text(terminal(figures))
    print_text(f"report: {path}")
    return EXIT_GOOD
