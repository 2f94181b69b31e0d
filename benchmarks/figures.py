"""Write the figures of the README from the committed results, or check that they agree.

    python benchmarks/figures.py [--check]

Exit code 1 with --check when the README says anything else than the results.
"""

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
RESULTS = ROOT / "benchmarks" / "results"
BLOCK = re.compile(r"(<!-- figures:begin -->\n).*?(\n<!-- figures:end -->)", re.DOTALL)

TITLES = {
    "digit": "digits, unseen speaker (FSDD test)",
    "sound": "environmental sounds (ESC-10 test)",
    "instrument": "instrument, unseen notes (Philharmonia test)",
    "gender": "male or female, unseen speakers (speechocean762 test)",
    "age": "child or adult, unseen speakers (speechocean762 test)",
    "wer_synthetic": "word error rate, synthetic speech, unseen sentences",
    "wer_sentences": "word error rate, read speech, unseen speakers (speechocean762 test)",
    "caption_event_f1": "captions of composed scenes: events named, F1",
}


def acceptance_table(result: dict[str, Any]) -> str:
    """The acceptance figures as a Markdown table."""
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


def main() -> int:
    """Write or check; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing, compare")
    args = parser.parse_args()
    table = acceptance_table(json.loads((RESULTS / "acceptance.json").read_text("utf-8")))
    before = README.read_text("utf-8")
    after = BLOCK.sub(lambda found: found[1] + table + found[2], before)
    if args.check:
        return int(before != after)
    README.write_text(after, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
