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
RESULTS = ROOT / "benchmarks" / "results"


def acceptance_table(result: dict[str, Any], *further: dict[str, Any]) -> str:
    """The acceptance figures as a Markdown table; they must be of `test`.

    Args:
        result: of the default model, with its peers.
        *further: of other models of ours, on the same items.
    """
    for key, expected in (("split", "test"), ("limit", result["limit"])):
        if found := [each[key] for each in (result, *further) if each[key] != expected]:
            raise SystemExit(f"expected figures of {key} {expected}, got those of {found[0]}")
    ours = [each["model"] for each in (result, *further)]
    figures = {m: f["figures"] for each in (result, *further) for m, f in each["results"].items()}
    models = [*ours, *(name for name in figures if name not in ours)]
    titles = [f"`{name}`" if name in ours else name for name in models]
    column = "must" if len(ours) == 1 else f"must: {', '.join(ours)}"
    rows = [
        f"| what | {' | '.join(titles)} | {column} | stretch | items |",
        "|---" + "|--:" * (len(models) + 3) + "|",
    ]
    for row in (*ROWS, CPU_ROW):
        if row.name not in figures[ours[0]]:
            continue
        cells: list[str] = []
        for name in models:
            figure = figures[name].get(row.name)
            cells.append("" if figure is None else shown(row, figure["value"]))
            if figure is not None and name in ours and not row.is_met(figure["value"], name):
                cells[-1] += " (missed)"
        musts = [row.must(name) for name in ours]
        must = ", ".join(dict.fromkeys(shown(row, goal) for goal in musts if goal is not None))
        stretch = "" if row.stretch is None else shown(row, row.stretch)
        items = str(figures[ours[0]][row.name]["items"])
        rows.append(f"| {' | '.join([row.title, *cells, must, stretch, items])} |")
    commits = ", ".join(
        f"`{each['model']}` at commit `{each['commit']}`" for each in (result, *further)
    )
    source = f"From `benchmarks/results/acceptance*.json`, measured {commits}"
    if (limit := result["limit"]) is not None:
        source += f", on at most {limit} items of each kind, spread over all of them"
    source += "."
    return "\n".join([*rows, "", source])


BEGIN, END = "<!-- figures:begin -->\n", "\n<!-- figures:end -->"


def with_table(text: str) -> str:
    """The text with the table as the results have it."""
    files = (RESULTS / "acceptance.json", *sorted(RESULTS.glob("acceptance_*.json")))
    table = acceptance_table(*(json.loads(file.read_text("utf-8")) for file in files))
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
