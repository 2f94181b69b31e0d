"""Write the table of the README from the committed result, or check that they agree.

    python benchmarks/figures.py [--check]

Exit code 1 with --check when the README says anything else than the result.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from acceptance_rows import CPU_ROW, ROWS, shown

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
RESULT = ROOT / "benchmarks" / "results" / "acceptance.json"


def acceptance_table(result: dict[str, Any]) -> str:
    """The acceptance figures as a Markdown table; they must be of `test`."""
    if result["split"] != "test":
        raise SystemExit(f"expected figures of test, got those of {result['split']}")
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
    source = f"From `benchmarks/results/acceptance.json`, measured at commit `{result['commit']}`"
    if (limit := result["limit"]) is not None:
        source += f", on at most {limit} items of each kind, spread over all of them"
    source += "."
    return "\n".join([*rows, "", source])


BEGIN, END = "<!-- figures:begin -->\n", "\n<!-- figures:end -->"


def with_table(text: str) -> str:
    """The text with the table as the results have it."""
    table = acceptance_table(json.loads(RESULT.read_text("utf-8")))
    if BEGIN not in text or END not in text:
        raise SystemExit(f"expected {BEGIN.strip()} and {END.strip()} in the README")
    head, rest = text.split(BEGIN, 1)
    return head + BEGIN + table + END + rest.split(END, 1)[1]


def main() -> int:
    """Write or check; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing, compare")
    args = parser.parse_args()
    before = README.read_text("utf-8")
    after = with_table(before)
    if args.check:
        return int(before != after)
    README.write_text(after, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
