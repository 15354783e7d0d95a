"""The page of a run in a real browser: from the disk alone, without a fault, on a phone too."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest

from experiments.common import page

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), "")
WORDS = """# Who wins?

GRU, in 3 of 3 seeds.

| cell | loss | solved | a column that is wide | another one | and another one | and one more |
|------|------|--------|-----------------------|-------------|-----------------|--------------|
| gru  | 10   | 3/3    | never                 | 1,200       | 40 (20 to 60)   | vanishes     |
| lstm | 9.5  | 2/3    | 12 to 20              | 30          | 50 (20 to 60)   | vanishes     |
| tanh | 1.5  | 0/3    | 4                     | 400         | 60 (20 to 60)   | explodes     |
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, as Debian and others install it, driven by playwright."""
    driver = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
    if not CHROMIUM:
        pytest.skip("no Chromium on this machine: apt install chromium")
    with driver.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    figure, axes = plt.subplots(figsize=(9, 4))
    axes.plot([0, 1])
    figure.savefig(folder / "loss_by_step.png", dpi=150)
    plt.close(figure)
    run = {"command": "python -m experiments.long_memory", "config": {"seeds": 3, "lags": "3,6"}, "jax": "0.10"}
    path = folder / "report.html"
    path.write_text(page.html(WORDS, [folder / "loss_by_step.png"], run, [{"kind": "train"}]), encoding="utf-8")
    return path


@pytest.fixture
def opened(browser: Any, report: Path) -> Iterator[Any]:
    """The page at the width of a phone; at the end nothing has failed, and nothing was asked of the network."""
    tab = browser.new_page(viewport={"width": 390, "height": 800})
    faults: list[str] = []
    asked: list[str] = []
    tab.on("console", lambda message: faults.append(message.text) if message.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: faults.append(str(error)))
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(report.as_uri())
    yield tab
    assert faults == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    tab.close()


def column(tab: Any, number: int) -> list[str]:
    return [cell.inner_text() for cell in tab.locator(f"table >> nth=0 >> tbody tr td:nth-child({number})").all()]


def test_a_click_on_the_head_of_a_column_sorts_by_number_or_by_word_up_and_then_down(opened: Any) -> None:
    loss = opened.get_by_role("button", name="loss", exact=True)
    loss.click()
    assert column(opened, 2) == ["1.5", "9.5", "10"]
    loss.click()
    assert column(opened, 2) == ["10", "9.5", "1.5"]
    opened.get_by_role("button", name="another one", exact=True).click()
    assert column(opened, 5) == ["30", "400", "1,200"]
    opened.get_by_role("button", name="cell", exact=True).click()
    assert column(opened, 1) == ["gru", "lstm", "tanh"]
    assert opened.locator("th[aria-sort]").count() == 1


def test_a_figure_is_shown_in_its_own_size_on_a_click_until_escape(opened: Any) -> None:
    small = opened.locator("figure img")
    assert small.bounding_box()["width"] < 390
    opened.get_by_role("button", name="Enlarge loss_by_step").click()
    large = opened.locator("dialog img")
    assert large.bounding_box()["width"] == 1350
    opened.keyboard.press("Escape")
    assert not large.is_visible()


def test_every_figure_has_a_size_and_words_and_the_page_does_not_scroll_sideways_on_a_phone(opened: Any) -> None:
    for image in opened.locator("figure img").all():
        assert image.get_attribute("alt")
        assert int(image.get_attribute("width")) > 0
    assert opened.evaluate("document.documentElement.scrollWidth") <= 390
