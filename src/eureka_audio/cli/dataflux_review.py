"""``eureka-audio dataflux review``: a person hears and decides, and so measures the judge."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from eureka_audio.cli.outcome import EXIT_GOOD, print_json, print_text
from eureka_audio.errors import ConfigError

if TYPE_CHECKING:
    from eureka_audio.dataflux.review import Pool

Actions: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_review(actions: Actions) -> None:
    """Add ``review`` to the actions of ``dataflux``."""
    review = actions.add_parser(
        "review",
        help="hear items and accept or reject them, on a page of this machine",
        description="Serve a page on which a person hears, reads, accepts or rejects items, until"
        " interrupted. Decisions are kept in DIR/review.jsonl; run again to go on.",
    )
    review.add_argument("folder", type=Path, metavar="DIR", help="the folder of a run")
    review.add_argument(
        "--summary",
        action="store_true",
        help="print the judge's precision and recall against the decisions so far, and end",
    )
    review.add_argument("--json", action="store_true", help="with --summary: as one JSON object")
    review.add_argument(
        "--show-verdict",
        action="store_true",
        help="show captions, answers and verdicts before the decision, which then is not blind",
    )
    review.add_argument("--kept", action="store_true", help="only items that were kept")
    review.add_argument(
        "--limit", type=int, default=400, metavar="N", help="items to draw (default: 400)"
    )
    review.add_argument(
        "--port", type=int, default=0, metavar="P", help="of the page (default: any free one)"
    )
    review.set_defaults(act=_review)


def _review(args: argparse.Namespace) -> int:
    from eureka_audio.dataflux.review import draw
    from eureka_audio.dataflux.store import read_store

    if args.limit < 1:
        raise ConfigError(f"--limit: expected at least 1, got {args.limit}")
    if args.json and not args.summary:
        raise ConfigError("--json has no effect without --summary; add it, or drop --json")
    with read_store(args.folder) as store:
        pool = draw(store.items(), args.limit, kept_only=args.kept)
    return _summary(args, pool) if args.summary else _serve(args, pool)


def _summary(args: argparse.Namespace, pool: "Pool") -> int:
    from eureka_audio.dataflux.review_session import read_decisions
    from eureka_audio.dataflux.review_summary import summary, summary_text

    found = summary(pool.groups, read_decisions(args.folder))
    if args.json:
        print_json(found)
    else:
        print_text(summary_text(found))
    return EXIT_GOOD


def _serve(args: argparse.Namespace, pool: "Pool") -> int:
    from eureka_audio.dataflux.review_server import ReviewServer
    from eureka_audio.dataflux.review_session import open_session
    from eureka_audio.dataflux.review_summary import summary_text

    with (
        open_session(args.folder, pool, blind=not args.show_verdict) as session,
        ReviewServer(session, args.port) as server,
    ):
        print_text(f"{len(pool.items):,} items to review, at this address alone:")
        print(server.url, flush=True)
        print_text("Ctrl-C ends the review; every decision is saved at once.")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print_text(summary_text(session.summary()))
    return EXIT_GOOD
