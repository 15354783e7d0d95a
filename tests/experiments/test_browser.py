"""The page of a run in a real browser: from the disk alone, without a fault, on a phone too."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest

from experiments.common import page
from tests.browser import check_images_and_width, opened, started

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
    with started() as browser:
        yield browser


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
def tab(browser: Any, report: Path) -> Iterator[Any]:
    with opened(browser, report) as tab:
        yield tab


def column(tab: Any, number: int) -> list[str]:
    return [cell.inner_text() for cell in tab.locator(f"table >> nth=0 >> tbody tr td:nth-child({number})").all()]


def test_a_click_on_the_head_of_a_column_sorts_by_number_or_by_word_up_and_then_down(tab: Any) -> None:
    loss = tab.get_by_role("button", name="loss", exact=True)
    loss.click()
    assert column(tab, 2) == ["1.5", "9.5", "10"]
    loss.click()
    assert column(tab, 2) == ["10", "9.5", "1.5"]
    tab.get_by_role("button", name="another one", exact=True).click()
    assert column(tab, 5) == ["30", "400", "1,200"]
    tab.get_by_role("button", name="cell", exact=True).click()
    assert column(tab, 1) == ["gru", "lstm", "tanh"]
    assert tab.locator("th[aria-sort]").count() == 1


def test_a_figure_is_shown_in_its_own_size_on_a_click_until_escape(tab: Any) -> None:
    small = tab.locator("figure img")
    assert small.bounding_box()["width"] < 390
    tab.get_by_role("button", name="Enlarge loss_by_step").click()
    large = tab.locator("dialog img")
    assert large.bounding_box()["width"] == 1350
    tab.keyboard.press("Escape")
    assert not large.is_visible()


def test_every_figure_has_words_and_the_page_does_not_scroll_sideways_on_a_phone(tab: Any) -> None:
    check_images_and_width(tab)
