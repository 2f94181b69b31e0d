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

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
RESULTS = ROOT / "benchmarks" / "results"

TITLES = {
    "digit": "digits, unseen speaker (FSDD test)",
    "sound": "environmental sounds (ESC-10 test)",
    "instrument": "instrument, unseen notes (Philharmonia test)",
    "gender": "male or female, unseen speakers (speechocean762 test)",
    "age": "child or adult, unseen speakers (speechocean762 test)",
    "wer_synthetic": "word error rate, synthetic speech, unseen sentences",
    "wer_sentences": "word error rate, read speech, unseen speakers (speechocean762 test)",
    "caption_event_f1": "captions of composed scenes: events named, F1",
    "no_speech": "no word written where nobody speaks (ESC-10 and Philharmonia test)",
}


def acceptance_table(result: dict[str, Any]) -> str:
    """The acceptance figures as a Markdown table; they must be of `test`."""
    if result["split"] != "test":
        raise SystemExit(f"expected figures of test, got those of {result['split']}")
    rows = ["| what | measured | must | stretch | clips |", "|---|--:|--:|--:|--:|"]
    for name, title in TITLES.items():
        figure, (must, stretch) = result["figures"][name], result["goals"][name]
        value = figure["value"]
        missed = value > must if name.startswith("wer") else value < must
        shown = f"{100 * value:.1f} %" + (" (missed)" if missed else "")
        goals = f"{100 * must:.0f} % | {100 * stretch:.0f} %"
        rows.append(f"| {title} | {shown} | {goals} | {figure['items']} |")
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
