"""Both pages in a real Chromium: what they show, the keyboard alone, nothing from elsewhere."""

from pathlib import Path
from typing import Any

from flux_books import WANTED, beep, small_calls, small_run, write_books
from test_dataflux_review import judged_items, served

from browser import Pages, until
from eureka_audio.dataflux.report import read_figures, wanted_of, write_report
from eureka_audio.dataflux.review_session import read_decisions

HOSTILE = "<img src=x onerror=document.title='owned'>"


def wait_for(page: Any, text: str) -> None:
    page.get_by_text(text).first.wait_for()


def plays(page: Any) -> bool:
    """Whether the first clip of the page plays."""
    found: bool = page.evaluate("""() => new Promise(done => {
        const audio = document.querySelector("audio");
        audio.addEventListener("playing", () => done(audio.duration > 0));
        audio.addEventListener("error", () => done(false));
        audio.play().catch(() => done(false));
    })""")
    return found


def test_the_report(pages: Pages, tmp_path: Path) -> None:
    items = small_run(beep(tmp_path / "audio" / "beep.wav"))
    items[0] = items[0].model_copy(update={"caption": HOSTILE})
    folder = write_books(tmp_path / "run", items, small_calls(), 12.5, list(WANTED))
    out = write_report(folder, *read_figures(folder, wanted_of(folder)), tmp_path / "report.html")
    page = pages.open(out.as_uri())
    text = page.inner_text("body")
    for shown in (
        "1 of 6 items are kept, 3 discarded",
        "sound › events › kind › animals",
        "33.3 %",
        "the right choice was found without hearing anything",
        "75.0 %\n3 of 4",
        "3 of 6 tries right with no audio",
        "at least 0.7500",
        "Cost of a kept item: unknown",
        "6 of 6 items match",
        HOSTILE,
    ):
        assert shown in text
    assert page.title() == "DataFlux: run"
    assert plays(page)
    page.locator("select[aria-label=Outcome]").press_sequentially("hard")
    wait_for(page, "1 of 6 items match")


def test_a_review_by_keyboard_alone(pages: Pages, tmp_path: Path) -> None:
    items = judged_items(2, beep(tmp_path / "beep.wav"))
    items = [one.model_copy(update={"caption": HOSTILE}) for one in items]
    folder = tmp_path / "run"
    with served(folder, items) as server:
        page = pages.open(server.url)
        wait_for(page, "Item 1 of 4")
        assert HOSTILE not in page.inner_text("body")  # blind: captions and verdicts stay hidden
        assert page.evaluate("document.activeElement.innerText") == "Item 1 of 4"
        assert plays(page)
        page.keyboard.press(" ")
        until(page, "document.querySelector('audio').paused")
        page.keyboard.press("a")
        wait_for(page, "Saved: accepted.")
        assert HOSTILE in page.inner_text("body")
        assert "1 of 4 decided" in page.inner_text("body")
        page.keyboard.press("Enter")
        wait_for(page, "Item 2 of 4")
        page.keyboard.press("r")
        wait_for(page, "Saved: rejected.")
        page.keyboard.press("u")
        wait_for(page, "Undone: item 2 is undecided again.")
        assert HOSTILE not in page.inner_text("body")
        page.keyboard.press("ArrowRight")
        wait_for(page, "Item 3 of 4")
        page.keyboard.press("ArrowLeft")
        wait_for(page, "Item 2 of 4")
        for place in (2, 3, 4):
            wait_for(page, f"Item {place} of 4")
            page.keyboard.press("r")
            wait_for(page, f"{place} of 4 decided")
            page.keyboard.press("Enter")
        wait_for(page, "The judge, measured so far")
        assert "4 decided: 1 accepted, 3 rejected" in page.inner_text("body")
    assert len(read_decisions(folder).standing) == 4


def test_a_review_goes_on_where_it_was_left_and_says_when_nothing_is_saved(
    pages: Pages, tmp_path: Path
) -> None:
    items = judged_items(2, beep(tmp_path / "beep.wav"))
    with served(tmp_path / "run", items, blind=False) as server:
        page = pages.open(server.url)
        wait_for(page, "Item 1 of 4")
        assert "The caption names a dog." in page.inner_text("body")  # not blind
        page.keyboard.press("a")
        wait_for(page, "Item 2 of 4")
        assert "Saved: accepted." in page.inner_text("body")
    with served(tmp_path / "run", items) as server:
        page = pages.open(server.url)
        wait_for(page, "Item 2 of 4")
    page.click("button.accept")
    wait_for(page, "Not saved: ")
    assert "1 of 4 decided" in page.inner_text("body")


def test_a_run_without_verdicts_says_so(pages: Pages, tmp_path: Path) -> None:
    with served(tmp_path, []) as server:
        page = pages.open(server.url)
        wait_for(page, "There is nothing to review yet")
