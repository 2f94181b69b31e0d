"""Write the figures of the README from the committed results, or check that they agree.

    python benchmarks/figures.py [--check]

Exit code 1 with --check when the README says anything else than the results.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

from acceptance_rows import CPU_ROW, ROWS, shown

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
RESULTS = ROOT / "benchmarks" / "results"


def acceptance_table(result: dict[str, Any]) -> str:
    """The acceptance figures as a Markdown table; they must be of `test`, and of all of it."""
    if result["split"] != "test":
        raise SystemExit(f"expected figures of test, got those of {result['split']}")
    if result["limit"] is not None:
        raise SystemExit(f"expected figures of all items, got those of {result['limit']} of each")
    models = list(result["results"])
    titles = [f"`{name}`" if name == result["model"] else name for name in models]
    rows = [
        f"| what | {' | '.join(titles)} | must | stretch | items |",
        "|---" + "|--:" * (len(models) + 3) + "|",
    ]
    for row in (*ROWS, CPU_ROW):
        figures = [result["results"][name]["figures"].get(row.name) for name in models]
        ours = figures[models.index(result["model"])]
        if ours is None:
            continue
        cells = ["" if figure is None else shown(row, figure["value"]) for figure in figures]
        if not row.is_met(ours["value"]):
            cells[models.index(result["model"])] += " (missed)"
        goals = ["" if goal is None else shown(row, goal) for goal in (row.must, row.stretch)]
        rows.append(f"| {' | '.join([row.title, *cells, *goals, str(ours['items'])])} |")
    source = f"From `benchmarks/results/acceptance.json`, measured at commit `{result['commit']}`."
    return "\n".join([*rows, "", source])


def mean_and_spread(values: list[float]) -> tuple[float, float]:
    """Mean and standard deviation; of one value the latter is 0."""
    return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def adapter_table(result: dict[str, Any]) -> str:
    """The sparse adapter against the dense one, as a Markdown table."""
    rows = ["| loss per answer token on | sparse | dense | difference |", "|---|--:|--:|--:|"]
    for task, losses in result["losses"].items():
        moe, dense = losses["moe"], losses["dense"]
        paired = [a - b for a, b in zip(moe, dense, strict=True)]
        cells = ["{:.3f} ± {:.3f}".format(*mean_and_spread(values)) for values in (moe, dense)]
        change = "{:+.3f} ± {:.3f}".format(*mean_and_spread(paired))
        kind, name = task.split("/")
        rows.append(f"| {kind}: {name} | {cells[0]} | {cells[1]} | {change} |")
    sizes, (first, second) = result["parameters"], result["steps"]
    source = (
        f"Mean and standard deviation of {len(result['seeds'])} seeds, the difference paired by "
        f"seed; {first} steps of Stage 1 and {second} of Stage 2, each of "
        f"{result['batch_seconds']:.0f} s of audio.\nSparse: {sizes['moe']['total']:,} parameters, "
        f"{sizes['moe']['active']:,} active for a token; dense: {sizes['dense']['total']:,}. From "
        f"`benchmarks/results/moe_against_dense.json`, commit `{result['commit']}`."
    )
    return "\n".join([*rows, "", source])


TABLES = {
    "figures": ("acceptance", acceptance_table),
    "adapter": ("moe_against_dense", adapter_table),
}


def with_tables(text: str) -> str:
    """The text with every table as the results have it."""
    for block, (benchmark, as_table) in TABLES.items():
        table = as_table(json.loads((RESULTS / f"{benchmark}.json").read_text("utf-8")))
        begin, end = f"<!-- {block}:begin -->\n", f"\n<!-- {block}:end -->"
        if begin not in text or end not in text:
            raise SystemExit(f"expected a block {block!r} in the README, got none")
        head, rest = text.split(begin, 1)
        text = head + begin + table + end + rest.split(end, 1)[1]
    return text


def main() -> int:
    """Write or check; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing, compare")
    args = parser.parse_args()
    before = README.read_text("utf-8")
    after = with_tables(before)
    if args.check:
        return int(before != after)
    README.write_text(after, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
