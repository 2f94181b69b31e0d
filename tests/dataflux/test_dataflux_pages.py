"""Both pages in a real Chromium: what they show, the keyboard alone, nothing from elsewhere."""

from pathlib import Path

from flux_books import WANTED, beep, small_calls, small_run, write_books
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.ui import WebDriverWait
from test_dataflux_review import judged_items, served

from eureka_audio.dataflux.report import read_figures, wanted_of, write_report
from eureka_audio.dataflux.review_session import read_decisions

PATIENCE = 120  # seconds, as a machine may be busy
HOSTILE = "<img src=x onerror=document.title='owned'>"


def complaints(driver: WebDriver) -> list[str]:
    """What the browser refused or what went wrong in a script, since the last look."""
    return [entry["message"] for entry in driver.get_log("browser")]


def body(driver: WebDriver) -> str:
    text: str = driver.execute_script("return document.body.innerText")
    return text


def wait_for(driver: WebDriver, text: str) -> None:
    WebDriverWait(driver, PATIENCE).until(lambda found: text in body(found))


def press(driver: WebDriver, key: str) -> None:
    driver.switch_to.active_element.send_keys(key)


def plays(driver: WebDriver) -> bool:
    """Whether the first clip of the page plays."""
    script = """
        const [done, audio] = [arguments[0], document.querySelector("audio")];
        audio.addEventListener("playing", () => done(audio.duration > 0));
        audio.addEventListener("error", () => done(false));
        audio.play().catch(() => done(false));"""
    found: bool = driver.execute_async_script(script)
    return found


def test_the_report(browser: WebDriver, tmp_path: Path) -> None:
    items = small_run(beep(tmp_path / "audio" / "beep.wav"))
    items[0] = items[0].model_copy(update={"caption": HOSTILE})
    folder = write_books(tmp_path / "run", items, small_calls(), 12.5, list(WANTED))
    out = write_report(folder, *read_figures(folder, wanted_of(folder)), tmp_path / "report.html")
    complaints(browser)  # those of other tests
    browser.get(out.as_uri())
    text = body(browser)
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
    assert browser.title == "DataFlux: run"
    assert plays(browser)
    menu = browser.find_element(By.CSS_SELECTOR, "select[aria-label=Outcome]")
    menu.send_keys("hard")
    wait_for(browser, "1 of 6 items match")
    assert complaints(browser) == []


def test_a_review_by_keyboard_alone(browser: WebDriver, tmp_path: Path) -> None:
    items = judged_items(2, beep(tmp_path / "beep.wav"))
    items = [one.model_copy(update={"caption": HOSTILE}) for one in items]
    folder = tmp_path / "run"
    complaints(browser)  # those of other tests
    with served(folder, items) as server:
        browser.get(server.url)
        wait_for(browser, "Item 1 of 4")
        assert HOSTILE not in body(browser)  # blind: captions and verdicts stay hidden
        assert browser.switch_to.active_element.text == "Item 1 of 4"
        assert plays(browser)
        press(browser, " ")
        WebDriverWait(browser, PATIENCE).until(
            lambda found: found.execute_script("return document.querySelector('audio').paused")
        )
        press(browser, "a")
        wait_for(browser, "Saved: accepted.")
        assert HOSTILE in body(browser)
        assert "1 of 4 decided" in body(browser)
        press(browser, Keys.ENTER)
        wait_for(browser, "Item 2 of 4")
        press(browser, "r")
        wait_for(browser, "Saved: rejected.")
        press(browser, "u")
        wait_for(browser, "Undone: item 2 is undecided again.")
        assert HOSTILE not in body(browser)
        press(browser, Keys.ARROW_RIGHT)
        wait_for(browser, "Item 3 of 4")
        press(browser, Keys.ARROW_LEFT)
        wait_for(browser, "Item 2 of 4")
        for place in (2, 3, 4):
            wait_for(browser, f"Item {place} of 4")
            press(browser, "r")
            wait_for(browser, f"{place} of 4 decided")
            press(browser, Keys.ENTER)
        wait_for(browser, "The judge, measured so far")
        assert "4 decided: 1 accepted, 3 rejected" in body(browser)
        assert complaints(browser) == []
    assert len(read_decisions(folder).standing) == 4


def test_a_review_goes_on_where_it_was_left_and_says_when_nothing_is_saved(
    browser: WebDriver, tmp_path: Path
) -> None:
    items = judged_items(2, beep(tmp_path / "beep.wav"))
    with served(tmp_path / "run", items, blind=False) as server:
        browser.get(server.url)
        wait_for(browser, "Item 1 of 4")
        assert "The caption names a dog." in body(browser)  # not blind
        press(browser, "a")
        wait_for(browser, "Item 2 of 4")
        assert "Saved: accepted." in body(browser)
    with served(tmp_path / "run", items) as server:
        browser.get(server.url)
        wait_for(browser, "Item 2 of 4")
    browser.find_element(By.CSS_SELECTOR, "button.accept").click()
    wait_for(browser, "Not saved: ")
    assert "1 of 4 decided" in body(browser)


def test_a_run_without_verdicts_says_so(browser: WebDriver, tmp_path: Path) -> None:
    with served(tmp_path, []) as server:
        browser.get(server.url)
        wait_for(browser, "There is nothing to review yet")
