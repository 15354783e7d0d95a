"""The page of a run in a real browser: from the disk alone, without a fault, on a phone too."""

import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest

from experiments.common import page
from experiments.common.workdir import Record
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
    path.write_text(page.of_run(WORDS, [folder / "loss_by_step.png"], run, recorded()), encoding="utf-8")
    return path


def recorded() -> list[Record]:
    """Of two networks with two seeds each; some of their norms are 0, some are no numbers."""
    records: list[Record] = []
    for cell, seed in itertools.product(("gru", "elman"), (0, 1)):
        identity = {"run": f"{cell}-seed{seed}", "cell": cell, "seed": seed}
        for step in (0, 10, 20):
            loss = (2 if cell == "gru" else 3) - step / 20 + seed / 10
            norms = np.geomspace(1e-3 if step else 1e-6, 1, 8).tolist()
            norms[:3] = [0.0, None, math.inf] if cell == "elman" else norms[:3]
            records.append({**identity, "kind": "evaluation", "step": step, "loss": loss})
            records.append({**identity, "kind": "state_gradient", "step": step, "norms": norms})
        records.append({**identity, "kind": "finished"})
    return records


@pytest.fixture
def tab(browser: Any, report: Path) -> Iterator[Any]:
    with opened(browser, report) as tab:
        yield tab


def column(tab: Any, number: int) -> list[str]:
    return [cell.inner_text() for cell in tab.locator(f"table >> nth=0 >> tbody tr td:nth-child({number})").all()]


@pytest.mark.slow
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


def lines(tab: Any, chart: int) -> list[str]:
    """Where the lines of a chart are drawn."""
    return [each.get_attribute("d") for each in tab.locator(f".chart >> nth={chart} >> g.mark-line path").all()]


def test_the_slider_moves_by_keys_and_moves_the_curves(tab: Any) -> None:
    slider = tab.locator(".chart >> nth=1 >> input[type=range]")
    words = tab.locator(".chart >> nth=1 >> g.role-title-text")
    before = lines(tab, 1)
    assert len(before) == 2
    assert words.text_content() == "before training"
    slider.press("ArrowRight")
    words.get_by_text("after 10 training steps").wait_for()
    assert lines(tab, 1) != before


def test_a_value_stands_under_the_pointer(tab: Any) -> None:
    chart = tab.locator(".chart >> nth=1 >> svg")
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 4)
    told = tab.locator("#vg-tooltip-element.visible")
    told.wait_for()
    words = dict(line.split("\t") for line in told.inner_text().splitlines())
    assert words["network"] in ("gru", "elman")
    assert 1e-6 <= float(words["relative norm"]) <= 1
    assert 0 <= int(words["lag (steps back)"]) < 8
    assert words["norm"] == words["relative norm"]  # the first is 1
    assert tab.locator(".chart >> nth=1 >> g.mark-symbol.role-mark path[opacity='1']").count() == 1


def test_what_is_shown_can_be_chosen_from_lists(tab: Any) -> None:
    assert len(lines(tab, 0)) == 2
    tab.get_by_label("cell").first.select_option("gru")
    tab.locator(".chart >> nth=0 >> g.role-legend").get_by_text("elman").wait_for(state="detached")
    assert len(lines(tab, 0)) == 1


def test_words_in_charts_are_light_where_the_page_is_dark(tab: Any) -> None:
    words = tab.locator(".chart >> nth=0 >> g.role-axis-label text").first
    for scheme, colour in {"light": "rgb(29, 29, 31)", "dark": "rgb(232, 232, 230)"}.items():
        tab.emulate_media(color_scheme=scheme)
        assert words.evaluate("text => getComputedStyle(text).fill") == colour
