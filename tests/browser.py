"""Chromium for tests of pages: an error of a script, or a request to the network, fails the test that has it open."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), "")


@contextmanager
def started() -> Iterator[Any]:
    """Chromium, as Debian and others install it, driven by playwright; the test is skipped where one is missing."""
    driver = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
    if not CHROMIUM:
        pytest.skip("no Chromium on this machine: apt install chromium")
    with driver.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def opened(browser: Any, page: Path, query: str = "") -> Iterator[Any]:
    """The page at the width of a phone; at the end nothing has failed, and nothing was asked of the network."""
    tab = browser.new_page(viewport={"width": 390, "height": 800})
    faults: list[str] = []
    asked: list[str] = []
    tab.on("console", lambda message: faults.append(message.text) if message.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: faults.append(str(error)))
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(page.as_uri() + query)
    yield tab
    assert faults == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    tab.close()


def check_images_and_width(tab: Any) -> None:
    """Every image has been loaded and has words, and the page does not scroll sideways on a phone."""
    for image in tab.locator("main img, article img").all():
        assert image.get_attribute("alt")
        assert image.evaluate("image => image.naturalWidth") > 0
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
