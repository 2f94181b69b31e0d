"""Every figure of the report equals a count by hand; what is unknown stays unknown."""

import argparse
import json
from math import exp
from pathlib import Path

import pytest
from flux_books import (
    ANIMAL,
    GENRE,
    SPEAKER,
    WANTED,
    beep,
    call,
    item,
    small_calls,
    small_run,
    verdict,
    write_books,
)

from eureka_audio.cli.dataflux_report import add_report
from eureka_audio.cli.main import main
from eureka_audio.dataflux.proportions import wilson
from eureka_audio.dataflux.report import read_figures, wanted_of
from eureka_audio.dataflux.report_figures import figures_of
from eureka_audio.dataflux.report_text import terminal
from eureka_audio.dataflux.views import Samples
from eureka_audio.dataflux.witnesses import Order, Positions
from eureka_audio.errors import RunError

FIGURES = figures_of(small_run(), small_calls(), WANTED, 12.5)


def report(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    add_report(parser.add_subparsers())
    args = parser.parse_args(["report", *arguments])
    code: int = args.act(args)
    return code


def test_yield_by_leaf() -> None:
    by_leaf = {row["leaf"]: row for row in FIGURES["leaves"]}
    names = ("clips_tried", "questions", "kept", "hard", "discarded", "failed", "short", "yield")
    assert [by_leaf[ANIMAL][name] for name in names] == [4, 3, 1, 1, 2, 0, 1, 1 / 3]
    assert [by_leaf[SPEAKER][name] for name in names] == [2, 2, 0, 0, 1, 1, 2, 0.0]
    assert [by_leaf[GENRE][name] for name in names] == [0, 0, 0, 0, 0, 0, 2, None]
    totals = FIGURES["totals"]
    assert [totals[name] for name in names] == [6, 5, 1, 1, 3, 1, 5, 0.2]
    assert totals["items"] == 6
    assert [row["wanted"] for row in figures_of(small_run(), [], {}, None)["leaves"]] == [None] * 2


def test_reasons() -> None:
    counts = {(row["fate"], row["reason"]): row["count"] for row in FIGURES["reasons"]}
    assert counts == {
        ("hard", "disagreement"): 1,
        ("discarded", "answered_without_audio"): 1,
        ("discarded", "category_mismatch"): 1,
        ("failed", "verdict"): 1,
        ("discarded", "judge_discards"): 1,
    }
    assert {row["share"] for row in FIGURES["reasons"]} == {0.2}
    meanings = {row["reason"]: row["meaning"] for row in FIGURES["reasons"]}
    assert meanings["verdict"] == "the step “verdict” failed"
    assert meanings["disagreement"] == "the models disagree"


def test_agreement() -> None:
    found = FIGURES["agreement"]
    assert found["names"] == ["a", "b", "judge", "question writer"]
    pairs = {
        (row, column): (found["cells"][i][j]["same"], found["cells"][i][j]["of"])
        for i, row in enumerate(found["names"])
        for j, column in enumerate(found["names"])
        if i != j
    }
    expected = {
        ("a", "b"): (3, 4),
        ("a", "judge"): (2, 2),
        ("b", "judge"): (1, 2),
        ("a", "question writer"): (4, 5),
        ("b", "question writer"): (2, 4),
        ("judge", "question writer"): (2, 2),
    }
    assert pairs == expected | {(b, a): counts for (a, b), counts in expected.items()}
    assert found["chance"] == pytest.approx((15 / 4 + 4 / 2) / 19)


def test_hearing_counts_questions_put_in_all_ways() -> None:
    rows = {(row["among"], row["model"], row["kind"]): row for row in FIGURES["hearing"]}
    counts = {key: (row["right"], row["tries"], row["questions"]) for key, row in rows.items()}
    assert counts == {
        ("all", "a", "with_audio"): (3, 3, 3),
        ("all", "a", "other_audio"): (1, 2, 1),
        ("all", "a", "no_audio"): (3, 6, 3),
        ("all", "b", "with_audio"): (2, 3, 3),
        ("kept", "a", "with_audio"): (1, 1, 1),
        ("kept", "a", "other_audio"): (1, 2, 1),
        ("kept", "a", "no_audio"): (0, 2, 1),
        ("kept", "b", "with_audio"): (1, 1, 1),
    }
    assert {row["chance"] for row in rows.values()} == {0.25}
    assert rows["all", "a", "no_audio"]["interval"] == wilson(0.5, 3)
    uncontrolled = figures_of([item(0, "kept", picked=(0, 1))], [], {}, None)["hearing"]
    assert [(row["among"], row["model"], row["right"]) for row in uncontrolled] == [
        ("all", "a", 1),
        ("all", "b", 0),
        ("kept", "a", 1),
        ("kept", "b", 0),
    ]


def test_positions() -> None:
    rows = {row["name"]: row for row in FIGURES["positions"]}
    right = rows["right choice, all questions"]
    places = {p["place"]: (p["count"], p["even"]) for p in right["places"]}
    assert places == {"A": (2, 1.75), "B": (2, 1.75), "C": (1, 0.75), "D": (0, 0.75)}
    assert right["number"] == 5
    assert right["p"] == pytest.approx(exp(-0.5) * 1.5)  # chi-square 1 with 4 degrees of freedom
    assert rows["right choice, kept items"]["number"] == 1
    assert rows["picked by b"]["number"] == 4


def test_an_uneven_spread_shows() -> None:
    positions = Positions()
    for number in range(40):
        positions.add(item(number, "kept", right=0))
    (right, kept) = positions.result()
    assert right["p"] < 1e-6
    assert kept["places"][0] == {"place": "A", "count": 40, "even": 10.0}


def test_order_counts_disagreements_only() -> None:
    assert FIGURES["order"] == [
        {"place": "MODEL_A", "wins": 1, "of": 1, "even": 0.5},
        {"place": "MODEL_B", "wins": 0, "of": 1, "even": 0.5},
    ]
    order = Order()
    order.add(item(0, "kept", picked=(0, 0), judged=verdict("MODEL_B")))
    assert order.result() == []


def test_cost_is_never_guessed() -> None:
    cost = FIGURES["cost"]
    answer, caption = cost["rows"]
    assert (answer["step"], answer["model"], answer["calls"]) == ("answer", "a", 1)
    names = ("calls", "refused", "seconds", "prompt_tokens", "new_tokens", "reasoning_tokens")
    assert [caption[name] for name in names] == [2, 1, 3.0, 30, 5, None]
    assert caption["cost"] == 0.5
    unknown = {"prompt_tokens": 0, "new_tokens": 1, "reasoning_tokens": 2, "cost": 1}
    assert caption["unknown"] == unknown
    assert (cost["total"]["cost"], cost["total"]["unknown"]["cost"]) == (0.75, 1)
    assert cost["cost_per_kept"] is None
    assert cost["seconds"] == 12.5
    told = figures_of(small_run(), [call("1", "caption", "cap", cost=0.25)], {}, None)["cost"]
    assert told["cost_per_kept"] == 0.25
    assert told["seconds"] is None
    free = figures_of([], [], {}, None)
    assert free["cost"]["total"]["cost"] is None
    assert free["totals"]["yield"] is None


def test_text_says_what_is_unknown() -> None:
    text = terminal(FIGURES)
    assert ["sound/events/kind/animals", "4", "3", "1", "1", "2", "0", "1", "33.3"] in [
        line.split() for line in text.splitlines()
    ]
    assert "at least 0.5000" in text
    assert "unknown" in text
    assert "Cost of a kept item: unknown." in text
    assert "two that guess" in text
    assert "Cost of a kept item" in terminal(figures_of([], [], {}, None))


def test_samples_take_some_of_every_leaf_and_fate() -> None:
    samples = Samples(limit=4)
    for number in range(10):
        samples.add(item(number, "kept"))
        samples.add(item(number, "kept", leaf=SPEAKER))
        samples.add(item(number, "hard", "disagreement"))
    found = [(one.fate, one.leaf, one.rank) for one in samples.result()]
    assert found == [
        ("kept", ANIMAL, 0),
        ("kept", SPEAKER, 0),
        ("hard", ANIMAL, 0),
        ("kept", ANIMAL, 1),
    ]


def test_the_command_writes_one_closed_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = "</script><img src=x onerror=alert(1)>"
    items = small_run(beep(tmp_path / "audio" / "beep.wav"))
    items[0] = items[0].model_copy(update={"caption": hostile})
    folder = write_books(tmp_path / "run", items, small_calls(), 12.5, list(WANTED))
    assert report(str(folder)) == 0
    out = capsys.readouterr().out
    assert out.endswith(f"report: {folder / 'report.html'}\n")
    text = (folder / "report.html").read_text()
    assert "default-src 'none'" in text
    assert "unsafe-inline" not in text
    assert hostile not in text
    assert text.count("<script") == text.count("</script>") == 2
    assert text.count("data:audio/wav;base64,") == 1  # six items share the clip
    page = tmp_path / "elsewhere" / "page.html"
    assert report(str(folder), "--out", str(page), "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads(json.dumps(FIGURES))
    assert page.is_file()


def test_what_the_run_wanted_is_read_from_its_folder(tmp_path: Path) -> None:
    folder = write_books(tmp_path, [], leaves=["sound/events/kind"], per_leaf=7)
    wanted = wanted_of(folder)
    assert wanted[ANIMAL] == 7
    assert all(leaf.startswith("sound/events/kind/") for leaf in wanted)
    figures, samples = read_figures(folder, wanted)
    assert figures["totals"]["short"] == 7 * len(wanted)
    assert samples == []


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"expected the folder of a run"):
        report(str(tmp_path))


def test_status_tells_the_same_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_books(tmp_path, small_run(), small_calls(), 12.5, list(WANTED))
    assert main(["dataflux", "status", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "6 in = 1 kept + 3 discarded + 1 hard + 1 failed"
    assert f"{ANIMAL}: 1 of 2 kept, 4 clips tried" in lines
    assert "caption by cap: 2 calls, 1 unreadable, cost at least 0.5000" in lines
    assert main(["dataflux", "status", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(FIGURES))
