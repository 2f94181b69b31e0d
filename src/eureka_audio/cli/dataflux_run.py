"""``eureka-audio dataflux run`` and ``refresh``: make a set, and make it anew where it is stale."""

import argparse
import asyncio
import shutil
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from eureka_audio.cli.outcome import EXIT_FAILED, EXIT_GOOD, EXIT_INTERRUPTED
from eureka_audio.cli.progress import ProgressBar
from eureka_audio.errors import ConfigError

if TYPE_CHECKING:
    from eureka_audio.clients.workers import Make, Workers
    from eureka_audio.dataflux.config import FluxConfig
    from eureka_audio.dataflux.run import FluxBooks, Run
    from eureka_audio.dataflux.store import Store
    from eureka_audio.dataflux.taxonomy import Exemplar

Actions: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_run(actions: Actions) -> None:
    """Add ``run`` and ``refresh``."""
    run = actions.add_parser(
        "run",
        help="make a set, or go on with one",
        description="Make a set of verified items; run again to go on after an interruption. Kept "
        "items are in DIR/kept.jsonl.",
    )
    _add_arguments(run)
    run.set_defaults(act=_run, refresh=False, hard_exemplars=False)
    refresh = actions.add_parser(
        "refresh",
        help="make a set anew after a change of models, prompts or audio",
        description="Take a changed configuration for the same folder: what depends on the change "
        "is asked again, all else comes from the books. The set as it was is kept in DIR/versions.",
    )
    _add_arguments(refresh)
    refresh.add_argument(
        "--hard-exemplars",
        action="store_true",
        help="show the writer the hard items of the set as it was, as exemplars of their leaves",
    )
    refresh.set_defaults(act=_run, refresh=True)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, metavar="CONFIG", help="a YAML file")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="of the run")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a setting, such as selection.per_leaf=10",
    )
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="hold the checkpoints in N processes of a Ray cluster (extra: cluster)",
    )
    parser.add_argument(
        "--cluster", metavar="ADDRESS", help="of a Ray cluster that runs (default: this machine)"
    )
    parser.add_argument(
        "--gpus-per-worker", type=float, default=0.0, metavar="F", help="or a share (default: 0)"
    )


def read_config(path: Path, overrides: Sequence[str] = ()) -> "FluxConfig":
    """The configuration of a file, its paths made absolute."""
    from eureka_audio.config import load_config
    from eureka_audio.dataflux.config import FluxConfig

    return load_config(FluxConfig, path, overrides).located(path.resolve().parent)


def _run(args: argparse.Namespace) -> int:
    from eureka_audio.asking.claim import IDENTITY, claim_folder
    from eureka_audio.cli.dataflux_models import make_models, read_audio
    from eureka_audio.dataflux.export import write_kept
    from eureka_audio.dataflux.review_session import read_decisions
    from eureka_audio.dataflux.run import Run, identity_of, load_clips
    from eureka_audio.dataflux.store import open_store
    from eureka_audio.dataflux.taxonomy import read_taxonomy

    config = read_config(args.config, args.set)
    taxonomy = read_taxonomy(config.taxonomy)
    leaves = taxonomy.chosen(config.leaves)
    models = make_models(config, _spread(args))
    identity = identity_of(config, taxonomy, models)
    out: Path = args.out
    with open_store(out) as store:
        if (out / IDENTITY).exists() and not args.refresh:
            claim_folder(out, identity)  # another run's folder is left as it is
        clips = read_audio(config, out.resolve())
        if args.refresh:
            clips = iter(list(clips))  # before anything is set aside
            _set_aside(store, args.hard_exemplars)
        load_clips(store, clips, config.seed)
        claim_folder(out, identity)
        if any(model.kind == "rules" for model in config.models.values()):
            print(
                "note: questions or verdicts come from rules that know our own labels only; this "
                "is the small default, good to try the loop, and no judge of real recordings",
                file=sys.stderr,
            )
        budget = min(config.selection.budget, store.num_clips())
        with ProgressBar(len(leaves) * budget, "candidate") as bar:
            rejected = read_decisions(out).rejected
            run = Run(config, leaves, models, store, _kept_exemplars(store), bar.advance, rejected)
            books = asyncio.run(_until_told(run))
        num_rows = write_kept(store)
    _tell(books, out, num_rows)
    if books.stopped:
        return EXIT_INTERRUPTED
    return EXIT_FAILED if books.fates["failed"] else EXIT_GOOD


def _spread(args: argparse.Namespace) -> "Callable[[Make], Workers] | None":
    """How checkpoints are spread over workers; None for this process.

    Raises:
        ConfigError: options that have no effect, or no sense.
    """
    if args.workers is None:
        if args.cluster is not None or args.gpus_per_worker:
            raise ConfigError("--cluster, --gpus-per-worker: no effect without --workers; add it")
        return None
    if args.workers < 1:
        raise ConfigError(f"--workers: expected at least 1, got {args.workers}")
    from eureka_audio.clients.workers import Workers

    return lambda make: Workers(make, args.workers, args.cluster, args.gpus_per_worker)


def _set_aside(store: "Store", hard_exemplars: bool) -> None:
    """Keep the set as it was, forget its items, and make its hard ones exemplars if asked to."""
    from eureka_audio.asking.claim import IDENTITY
    from eureka_audio.dataflux.loop import EXEMPLARS, hard_exemplars_of
    from eureka_audio.dataflux.store import KEPT

    hard = hard_exemplars_of(store) if hard_exemplars else {}
    versions = store.folder / "versions"
    place = versions / f"{len(list(versions.glob('*'))) + 1:03d}"
    place.mkdir(parents=True)
    for name in (KEPT, IDENTITY):
        if (store.folder / name).exists():
            shutil.copy2(store.folder / name, place / name)
    (store.folder / IDENTITY).unlink(missing_ok=True)
    rows = {leaf: [one.model_dump() for one in some] for leaf, some in hard.items()}
    store.set_fact(EXEMPLARS, rows)
    store.forget_items()


def _kept_exemplars(store: "Store") -> "Mapping[str, Sequence[Exemplar]]":
    """The exemplars a refresh has left, so that a resumed one asks in the same words."""
    from eureka_audio.dataflux.loop import EXEMPLARS
    from eureka_audio.dataflux.taxonomy import Exemplar

    rows = store.fact(EXEMPLARS) or {}
    return {leaf: [Exemplar(**one) for one in some] for leaf, some in rows.items()}


async def _until_told(run: "Run") -> "FluxBooks":
    """Run; the first interrupt drains, so that no answer that was paid for is lost."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        print(
            "stopping: calls under way are finished, no others begun; once more to end at once",
            file=sys.stderr,
        )
        run.stop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    return await run.run()


def _tell(books: "FluxBooks", out: Path, num_rows: int) -> None:
    from eureka_audio.dataflux.store import KEPT

    counts = " + ".join(f"{number:,} {fate}" for fate, number in books.fates.items())
    print(f"{books.items:,} in = {counts}; {books.asked:,} calls made")
    for (fate, reason), number in sorted(books.reasons.items()):
        print(f"  {fate}: {number:,} x {reason}")
    if books.stopped:
        print("interrupted: run again to go on", file=sys.stderr)
    elif books.shortfall:
        lacking = sum(books.shortfall.values())
        print(f"short of {lacking:,} items in {len(books.shortfall)} leaves (dataflux status)")
    print(f"kept: {num_rows:,} rows in {out / KEPT}")
