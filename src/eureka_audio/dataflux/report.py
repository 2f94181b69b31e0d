"""The report of a run: one page, text for a terminal and JSON, all of the same figures."""

from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from eureka_audio.asking.claim import read_claim
from eureka_audio.dataflux.explained import EXPLAINED, TITLES
from eureka_audio.dataflux.items import Item
from eureka_audio.dataflux.report_figures import figures_of
from eureka_audio.dataflux.run import SECONDS
from eureka_audio.dataflux.store import read_store
from eureka_audio.dataflux.taxonomy import read_taxonomy
from eureka_audio.dataflux.views import Samples, View, asked, found
from eureka_audio.dataflux.witnesses import Figures
from eureka_audio.durable import atomic_write
from eureka_audio.errors import ConfigError
from eureka_audio.pages.clips import AudioBudget
from eureka_audio.pages.page import page

REPORT = "report.html"
MAX_SAMPLES = 200


def read_figures(folder: Path, wanted: Mapping[str, int]) -> tuple[Figures, list[Item]]:
    """The figures of a run, which may be under way, and samples of its items.

    Args:
        folder: of the run.
        wanted: for each leaf, how many items it was to keep.

    Raises:
        RunError: the folder holds no run.
    """
    samples = Samples(MAX_SAMPLES)

    def passing_by(items: Iterator[Item]) -> Iterator[Item]:
        for item in items:
            samples.add(item)
            yield item

    with read_store(folder) as store:
        seconds = store.fact(SECONDS)
        figures = figures_of(passing_by(store.items()), store.calls(), wanted, seconds)
    return figures, samples.result()


def wanted_of(folder: Path) -> dict[str, int]:
    """How many items each leaf of a run was to keep, from what the run wrote down about itself.

    Empty where its taxonomy is no longer to be read; then only the leaves that were tried count.

    Raises:
        RunError: the folder holds no run.
    """
    claim = read_claim(folder)
    per_leaf = claim.get("config.selection", {}).get("per_leaf")
    own = claim.get("config.taxonomy")
    try:
        leaves = read_taxonomy(own and Path(own)).chosen(claim.get("config.leaves", ()))
    except ConfigError:
        return {}
    return {} if per_leaf is None else {leaf.id: per_leaf for leaf in leaves}


def write_report(folder: Path, figures: Figures, samples: list[Item], out: Path) -> Path:
    """Write the page and return its path.

    Args:
        folder: of the run, for the page's title.
        figures: of the run.
        samples: items to show.
        out: the page; clips beyond what fits into it are named relative to it.
    """
    budget = AudioBudget(out.parent)
    shown = [_sample(item, budget) for item in samples]
    content = {
        "run": folder.resolve().name,
        "lead": lead(figures),
        "figures": figures,
        "titles": TITLES,
        "explained": EXPLAINED,
        "samples": shown,
        "clips": budget.sources,
        "notice": _notice(budget),
    }
    with atomic_write(out) as stream:
        stream.write(report_page(content))
    return out


def report_page(content: Mapping[str, Any]) -> str:
    """The page that shows this content."""
    return page(
        content,
        files("eureka_audio.dataflux") / "page",
        ("shared", "report"),
        title=f"DataFlux: {content['run']}",
        without_scripts="This page needs scripts to show its charts; eureka-audio dataflux report"
        " --json prints the same figures.",
    )


def lead(figures: Figures) -> str:
    """The run in one or two sentences."""
    totals = figures["totals"]
    text = (
        f"{totals['kept']:,} of {totals['items']:,} items are kept, {totals['discarded']:,}"
        f" discarded, {totals['hard']:,} hard, {totals['failed']:,} failed."
    )
    if totals["short"]:
        lacking = sum(1 for row in figures["leaves"] if row["short"])
        text += (
            f" {lacking:,} of {len(figures['leaves']):,} leaves have fewer than they should, by"
            f" {totals['short']:,} items in all."
        )
    return text


def _sample(item: Item, budget: AudioBudget) -> View:
    shown = asked(item) | found(item)
    return shown | {"audio": budget.number(Path(item.audio)), "outcome": item.fate}


def _notice(budget: AudioBudget) -> str:
    outside = sum(not source.startswith("data:") for source in budget.sources)
    if not outside:
        return ""
    return (
        f"{outside:,} of the {len(budget.sources):,} clips did not fit into this file: they play"
        " while the file and the recordings stay where they are."
    )
