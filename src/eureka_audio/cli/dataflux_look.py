"""``eureka-audio dataflux status``, ``taxonomy``, ``export``, ``diff``: what asks no model."""

import argparse
import json
from pathlib import Path
from typing import TypeAlias

from eureka_audio.cli.outcome import EXIT_FAILED, EXIT_GOOD, print_json, print_text

Actions: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_looks(actions: Actions) -> None:
    """Add the commands that ask no model."""
    status = actions.add_parser("status", help="the books of a run, which may be under way")
    status.add_argument("run_folder", type=Path, metavar="DIR")
    status.add_argument("--json", action="store_true", help="as one JSON object")
    status.set_defaults(act=_status)
    taxonomy = actions.add_parser("taxonomy", help="what can be asked, as a tree")
    taxonomy.add_argument(
        "names", nargs="*", metavar="BRANCH", help="only these branches or leaves"
    )
    taxonomy.add_argument("--file", type=Path, metavar="YAML", help="one's own, which is checked")
    taxonomy.set_defaults(act=_taxonomy)
    export = actions.add_parser(
        "export", help="a Hugging Face datasets folder: parquet, audio included or referenced"
    )
    export.add_argument("run_folder", type=Path, metavar="DIR")
    export.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    export.add_argument(
        "--hard", action="store_true", help="with the hard items whose answer the judge confirms"
    )
    export.add_argument(
        "--no-audio",
        action="store_true",
        help="name recordings by their paths, leave them where they are",
    )
    export.set_defaults(act=_export)
    diff = actions.add_parser("diff", help="what two versions of a set have not in common")
    diff.add_argument("before", type=Path, metavar="BEFORE", help="a kept.jsonl, or its folder")
    diff.add_argument("after", type=Path, metavar="AFTER")
    diff.add_argument("--json", action="store_true", help="as one JSON object")
    diff.set_defaults(act=_diff)


def _status(args: argparse.Namespace) -> int:
    from eureka_audio.dataflux.items import FATES
    from eureka_audio.dataflux.report import read_figures, wanted_of
    from eureka_audio.dataflux.report_text import amount

    figures, _ = read_figures(args.run_folder, wanted_of(args.run_folder))
    if args.json:
        print_json(figures)
        return EXIT_GOOD
    totals = figures["totals"]
    print(f"{totals['items']:,} in = {' + '.join(f'{totals[fate]:,} {fate}' for fate in FATES)}")
    for row in figures["reasons"]:
        print(f"  {row['fate']}: {row['count']:,} x {row['reason']}")
    for row in figures["leaves"]:
        wanted = "" if row["wanted"] is None else f" of {row['wanted']:,}"
        print(f"{row['leaf']}: {row['kept']:,}{wanted} kept, {row['clips_tried']:,} clips tried")
    for row in figures["cost"]["rows"]:
        told = f"{row['refused']:,} unreadable, cost {amount(row, 'cost')}"
        print_text(f"{row['step']} by {row['model']}: {row['calls']:,} calls, {told}")
    return EXIT_GOOD


def _taxonomy(args: argparse.Namespace) -> int:
    from eureka_audio.dataflux.taxonomy import read_taxonomy

    taxonomy = read_taxonomy(args.file)
    for leaf in taxonomy.chosen(args.names):
        print_text(f"{leaf.id}: {leaf.description}")
        if args.names:
            for rule in leaf.rules:
                print_text(f"    rule: {rule}")
            for exemplar in leaf.exemplars:
                print_text(f"    such as: {exemplar.question} ({', '.join(exemplar.options)})")
    print(f"{len(taxonomy.leaves)} leaves")
    return EXIT_GOOD


def _export(args: argparse.Namespace) -> int:
    from eureka_audio.dataflux.datasets_folder import write_datasets_folder
    from eureka_audio.dataflux.items import Fate
    from eureka_audio.dataflux.review_session import read_decisions
    from eureka_audio.dataflux.store import read_store

    fates: tuple[Fate, ...] = ("kept", "hard") if args.hard else ("kept",)
    with read_store(args.run_folder) as store:
        number, left_out = write_datasets_folder(
            store,
            args.out,
            fates,
            read_decisions(args.run_folder).rejected,
            with_audio=not args.no_audio,
        )
    print(f"{number:,} rows in {args.out}; {left_out:,} rejected in review and left out")
    return EXIT_GOOD


def _diff(args: argparse.Namespace) -> int:
    from eureka_audio.dataflux.loop import diff
    from eureka_audio.dataflux.store import KEPT
    from eureka_audio.manifest import read_manifest
    from eureka_audio.records import ConversationRow

    before, after = (
        read_manifest(path / KEPT if path.is_dir() else path, ConversationRow)
        for path in (args.before, args.after)
    )
    found = diff(before, after)
    if args.json:
        print(json.dumps(vars(found)))
    else:
        added, removed, changed = len(found.added), len(found.removed), len(found.changed)
        print(f"{found.same:,} same, {added:,} added, {removed:,} removed, {changed:,} changed")
        for leaf, number in sorted(found.by_leaf.items()):
            print(f"  {leaf}: {number:+,}")
    differs = bool(found.added or found.removed or found.changed)
    return EXIT_FAILED if differs else EXIT_GOOD
