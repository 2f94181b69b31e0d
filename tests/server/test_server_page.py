"""The page, in a real Chromium: pressed, typed into, listened to, and watched for what it loads."""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from browser import Pages, until
from eureka_audio.protocols import Transcript, TranscriptWarning, TranscriptWord
from eureka_audio.server.app import WEB_FOLDER
from eureka_audio.server.problems import Problem
from eureka_audio.text.chat import CAPTION_PROMPT
from server.running import Running, running, wav

WEB = Path(WEB_FOLDER)
SOUND = {"name": "noise.wav", "mimeType": "audio/wav", "buffer": wav(2.0)}
WORDS = (
    TranscriptWord("one", 0.2, 0.6),
    TranscriptWord("two", 0.7, 1.2),
    TranscriptWord("<b>three</b>", 1.3, 2.5),  # lit at the end, however seldom a machine draws
)
SKIPPED = TranscriptWarning("silence_skipped", "nothing can be heard", 1.9, 2.0)
TEXT = " ".join(word.word for word in WORDS)


@pytest.fixture
def open_page(pages: Pages) -> Callable[[Running], Any]:
    def open_at(server: Running) -> Any:
        page = pages.open(server.url)
        page.on("filechooser", lambda chooser: chooser.set_files([SOUND]))
        page.wait_for_selector(
            ".model:has-text('tiny')" if not server.context.settings.api_key else ".key"
        )
        return page

    return open_at


@pytest.fixture
def page(server: Running, open_page: Callable[[Running], Any]) -> Any:
    return open_page(server)


class Script:
    """In the place of a transcriber: says words at its own pace, and knows when it is left."""

    def __init__(
        self, words: tuple[TranscriptWord, ...] | None = WORDS, pause: float = 0.0
    ) -> None:
        self.words = words
        self.pause = pause
        self.num_left = 0
        self.error: Exception | None = None

    async def transcribe(self, audio: Any, options: Any) -> Transcript:
        return Transcript(
            TEXT,
            duration_seconds=audio.duration_seconds,
            words=self.words,
            warnings=(SKIPPED,),
            num_new_tokens=7,
        )

    async def stream(self, audio: Any, options: Any) -> AsyncIterator[str | Transcript]:
        try:
            for number, word in enumerate(WORDS):
                yield word.word if number == 0 else f" {word.word}"
                await asyncio.sleep(self.pause)
            if self.error is not None:
                raise self.error
            yield await self.transcribe(audio, options)
        except (asyncio.CancelledError, GeneratorExit):
            self.num_left += 1
            raise


@pytest.fixture
def script(server: Running, monkeypatch: pytest.MonkeyPatch) -> Script:
    script = Script()
    monkeypatch.setattr(server.context.service, "transcribe", script.transcribe)
    monkeypatch.setattr(server.context.service, "stream_transcribe", script.stream)
    return script


def add(page: Any, *files: dict[str, Any]) -> None:
    page.set_input_files("input[type=file]", list(files) or [SOUND])


def press(page: Any, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def figure(page: Any, name: str) -> float:
    value = page.locator(".figures div", has_text=name).locator("dd").inner_text()
    return float(value.split()[0])


# ---- what is sent


def test_the_page_keeps_to_its_policy_by_construction(server: Running) -> None:
    answer = httpx2.get(server.url)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<style|style=|\son\w+=|<script(?![^>]*\ssrc=)", answer.text)
    for path in re.findall(r"(?:src|href)=\"([^\"]+)\"", answer.text):
        assert httpx2.get(f"{server.url}/{path}").status_code == 200, path
    assert (
        httpx2.get(f"{server.url}/static/app.js")
        .headers["content-type"]
        .startswith("text/javascript")
    )


def test_parts_by_others_are_what_their_authors_published() -> None:
    vendor = WEB / "vendor"
    sums = dict(reversed(line.split()) for line in (vendor / "SHA256SUMS").read_text().splitlines())
    assert sums == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in vendor.iterdir()
        if path.suffix in (".js", ".LICENSE")
    }


def test_the_page_asks_for_captions_as_training_does() -> None:
    assert f'CAPTION_PROMPT = "{CAPTION_PROMPT}"' in (WEB / "api.js").read_text()


# ---- what is done with it


def test_a_file_is_shown_and_transcribed(page: Any, script: Script) -> None:
    script.pause = 0.05
    add(page)
    page.wait_for_selector("text=/0:02.0/")
    page.wait_for_selector(".experts")
    assert page.locator(".experts button").count() == 4
    press(page, "Transcribe")
    page.wait_for_selector(".figures :text('Faster')")
    assert page.locator(".answer").inner_text().split() == TEXT.split()
    assert page.locator(".answer b").count() == 0  # a model's text is text, whatever it spells
    assert page.locator(".warning").inner_text() == "0:01.9 to 0:02.0: nothing can be heard"
    assert figure(page, "First token after") > 0
    assert figure(page, "Tokens/s") > 0
    assert figure(page, "Tokens/s") == pytest.approx(
        7 * figure(page, "Faster than real time") / 2.0, rel=0.1, abs=0.5
    )


def test_words_light_up_as_they_are_played(page: Any, script: Script) -> None:
    add(page)
    press(page, "Transcribe")
    page.wait_for_selector("[data-word='2']")
    page.locator("[data-word='1']").click()
    page.wait_for_selector(".is-heard[data-word='1']")
    assert "“two”" in page.locator(".readout").inner_text()
    press(page, "Play")
    page.wait_for_selector(".is-heard[data-word='2']")
    assert page.locator(".is-heard").count() == 1


def test_where_a_model_tells_no_times_the_page_says_so(page: Any, script: Script) -> None:
    script.words = None
    add(page)
    press(page, "Transcribe")
    page.wait_for_selector("text=No times of words were given")
    assert page.locator(".answer").inner_text() == TEXT


def test_an_expert_is_heard_alone(page: Any) -> None:
    add(page)
    expert = page.locator(".experts button").nth(1)
    expert.click()
    assert expert.get_attribute("aria-pressed") == "true"
    assert re.fullmatch(r"Expert 2 heard \d+ %; play only that", expert.get_attribute("aria-label"))
    expert.click()
    assert expert.get_attribute("aria-pressed") == "false"


def test_a_question_and_a_caption_are_answered_by_the_model(page: Any) -> None:
    add(page)
    page.get_by_role("radio", name="Ask").check()
    press(page, "Ask")
    page.wait_for_selector("text=Type a question first.")
    page.fill("#question", "What is this?")
    press(page, "Ask")
    page.wait_for_selector(".figures :text('Faster')")
    assert page.locator(".question").inner_text() == "What is this?"
    assert page.locator(".answer").inner_text()
    page.get_by_role("radio", name="Caption").check()
    press(page, "Caption")
    page.wait_for_selector(".figures :text('Faster')")
    assert page.locator(".answer").inner_text()
    assert page.locator(".problem").count() == 0


def test_several_files_are_done_one_after_the_other(page: Any, script: Script) -> None:
    add(page, SOUND, {**SOUND, "name": "second.wav"})
    press(page, "All 2 clips")
    until(page, "document.querySelectorAll('.clips small').length === 2")
    page.get_by_role("button", name="second.wav").first.click()
    page.wait_for_selector("h2:has-text('second.wav')")
    page.wait_for_selector(".answer:has-text('<b>three</b>')")
    assert page.locator(".answer").inner_text().split() == TEXT.split()
    press(page, "Remove second.wav")
    page.wait_for_selector("h2:has-text('noise.wav')")


def test_stop_ends_it_on_both_sides(page: Any, script: Script) -> None:
    script.pause = 20.0
    add(page)
    press(page, "Transcribe")
    page.wait_for_selector(".answer:has-text('one')")
    press(page, "Stop")
    page.wait_for_selector("text=Stopped.")
    assert page.locator(".answer").inner_text() == "one"
    for _ in range(200):
        if script.num_left:
            break
        page.wait_for_timeout(50)
    assert script.num_left == 1
    press(page, "Transcribe")
    page.wait_for_selector(".answer:has-text('one')")
    page.keyboard.press("Escape")
    page.wait_for_selector("text=Stopped.")


def test_the_microphone_is_recorded(page: Any, script: Script) -> None:
    press(page, "Record")
    page.wait_for_selector("meter")
    until(page, "parseFloat(document.querySelector('.elapsed').innerText.slice(2)) > 1")
    press(page, "Stop recording")
    page.wait_for_selector("h2:has-text('Recording')")
    page.wait_for_selector(".experts")
    assert float(page.locator("[type=range]").get_attribute("max")) > 0.5
    press(page, "Transcribe")
    page.wait_for_selector(".figures :text('Faster')")


# ---- what goes wrong


def test_a_file_that_is_no_audio(page: Any) -> None:
    add(page, {"name": "letter.wav", "mimeType": "audio/wav", "buffer": b"Dear Sir"})
    page.wait_for_selector("text=cannot play this kind of file")
    press(page, "Transcribe")
    problem = page.locator(".answer-card [role=alert]")
    problem.wait_for()
    assert "cannot read this kind of file" in problem.inner_text()
    assert "letter.wav" in problem.inner_text()


def test_a_full_server(
    page: Any, script: Script, server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(page)
    page.wait_for_selector(".experts")
    monkeypatch.setattr(server.context.door, "max_inside", 0)
    press(page, "Transcribe")
    page.wait_for_selector("text=The server is busy. Try again in 1 s.")
    monkeypatch.undo()


def test_an_error_in_the_middle_of_a_stream(page: Any, script: Script) -> None:
    script.error = Problem(503, "the model has died", "model_unavailable")
    add(page)
    press(page, "Transcribe")
    page.wait_for_selector("text=The model has failed.")
    assert page.locator(".answer").inner_text() == TEXT


def test_a_server_that_is_gone(page: Any) -> None:
    page.route("**/v1/**", lambda route: route.abort())
    add(page)
    press(page, "Transcribe")
    page.wait_for_selector(".answer-card [role=alert]:has-text('cannot be reached')")


def test_a_server_with_a_key(open_page: Callable[[Running], Any]) -> None:
    with running(api_key="sesame") as server:
        page = open_page(server)
        assert page.locator("[role=alert]").inner_text().startswith("This server asks for an API")
        page.fill("#key", "sesame")
        press(page, "Use it")
        page.wait_for_selector(".model:has-text('tiny')")
        assert page.locator("[role=alert]").count() == 0
        add(page)
        page.wait_for_selector(".experts")


# ---- who uses it, and where


def test_it_can_be_used_from_the_keyboard_and_is_read_out(page: Any, script: Script) -> None:
    def focus() -> str:
        return page.evaluate(
            "(e => e.ariaLabel || e.id || e.value || e.type || e.innerText)(document.activeElement)"
        )

    def tab_to(name: str) -> None:
        seen = []
        while focus() != name:
            page.keyboard.press("Tab")
            seen.append(focus())
            assert len(seen) < 30, f"{name} not among {seen}"

    script.pause = 0.05
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector(".experts")
    tab_to("Position")
    page.keyboard.press("ArrowRight")
    assert (
        page.evaluate(
            "document.activeElement.ariaValueText || document.activeElement"
            ".getAttribute('aria-valuetext')"
        )
        == "0:00.1 of 0:02.0"
    )
    tab_to("transcribe")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#question")
    page.keyboard.press("ArrowLeft")
    tab_to("language")
    page.keyboard.press("Enter")
    page.wait_for_selector("#announcer:has-text('done.')", state="attached")
    assert page.locator(".answer").inner_text().split() == TEXT.split()
    unnamed = page.evaluate("""[...document.querySelectorAll('button, input, select, canvas')]
        .filter(e => !(e.hidden || e.ariaHidden))
        .filter(e => !(e.ariaLabel || e.innerText?.trim() || e.labels?.length))
        .map(e => e.outerHTML)""")
    assert unnamed == []


def test_it_fits_narrow_and_wide_light_and_dark(page: Any, script: Script) -> None:
    add(page)
    press(page, "Transcribe")
    page.wait_for_selector("[data-word='0']")
    for width in (320, 1200):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    papers = set()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        papers.add(page.evaluate("getComputedStyle(document.documentElement).backgroundColor"))
    assert len(papers) == 2


def test_an_inline_script_would_not_run(browser: Any, server: Running) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(server.url)
    page.evaluate("""() => {
        window.violations = [];
        document.addEventListener('securitypolicyviolation', e => violations.push(e.blockedURI));
        const script = document.createElement('script');
        script.textContent = 'window.wasRun = true';
        document.body.append(script);
        const image = new Image();
        image.src = 'https://example.org/pixel.png';
    }""")
    until(page, "violations.length === 2")
    assert page.evaluate("[violations, window.wasRun]") == [
        ["inline", "https://example.org/pixel.png"],
        None,
    ]
    context.close()
