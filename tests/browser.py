"""A real browser for the tests of web pages: Chromium, driven by Playwright, without a window.

Nothing is fetched: where Chromium or Playwright is not installed, the test is skipped and says so.
"""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import soundfile

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
]
PATIENCE_SECONDS = 60.0  # as a machine may be busy


@contextmanager
def open_browser(folder: Path) -> Iterator[Any]:
    """A browser whose microphone hears noise.

    While it is open, Playwright's event loop is that of this thread: `asyncio.run` needs another.
    """
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium found; install one, or name its program in CHROMIUM")
    heard = folder / "heard.wav"
    soundfile.write(heard, 0.1 * np.random.default_rng(1).standard_normal(48_000), 16_000)
    flags = [*FLAGS, f"--use-file-for-fake-audio-capture={heard}"]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


class Pages:
    """Opens pages, and notes what goes wrong on them and what they ask of others."""

    def __init__(self, browser: Any) -> None:
        self.wrongs: list[str] = []
        self._browser = browser
        self._contexts: list[Any] = []

    def open(self, url: str) -> Any:
        """A page in a profile of its own."""
        permissions = ["microphone", "clipboard-write"]
        context = self._browser.new_context(permissions=permissions)
        self._contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(1000 * PATIENCE_SECONDS)
        scheme, host, *_ = urlsplit(url)
        own = url if scheme == "file" else f"{scheme}://{host}"

        def watch(request: Any) -> None:
            if not request.url.startswith((own, f"blob:{own}", "data:")):
                self.wrongs.append(f"asked of others: {request.url}")

        def listen(message: Any) -> None:
            # Chromium tells of each refused request there; what the page makes of it is tested.
            if message.type == "error" and not message.text.startswith("Failed to load resource"):
                self.wrongs.append(f"console: {message.text}")

        page.on("request", watch)
        page.on("console", listen)
        page.on("pageerror", lambda error: self.wrongs.append(f"script: {error}"))
        page.goto(url)
        return page

    def close(self) -> None:
        """Close what is open."""
        for context in self._contexts:
            context.close()


def until(page: Any, expression: str) -> None:
    """Wait for a condition; Playwright's own waiting needs `eval`, which our policy forbids."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while not page.evaluate(expression):
        assert time.monotonic() < give_up, expression
        page.wait_for_timeout(50)
