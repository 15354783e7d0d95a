"""The gallery has every experiment, with a figure and with all that its config file says."""

import ast
import re

import pytest
from PIL import Image

from docs import experiment_pages
from experiments.common import catalogue

EXPERIMENTS = catalogue.experiments()


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda each: each.name)
def test_an_experiments_page_has_its_figure_and_every_word_of_its_config_file(experiment: catalogue.Experiment) -> None:
    with Image.open(experiment_pages.PICTURES / f"{experiment.name}.png") as figure:
        assert 300 < figure.width <= experiment_pages.WIDEST
    page = experiment_pages.page(experiment)
    source = catalogue.config_path(experiment.name).read_text(encoding="utf-8")
    shown = _words(page)
    assert _words(ast.get_docstring(ast.parse(source)) or "") <= shown
    for comment in catalogue.field_comments(source).values():
        assert _words(comment) <= shown


def _words(text: str) -> set[str]:
    return set(re.findall(r"[\w.%+-]+", re.sub(r"[`\\]", "", text).replace("_", "")))


def test_the_gallery_leads_to_every_experiment() -> None:
    page = experiment_pages.gallery(EXPERIMENTS)
    for experiment in EXPERIMENTS:
        assert f"## [{experiment.question}]({experiment.name}.md)" in page
        assert f"figures/experiments/{experiment.name}.png" in page


def test_text_is_text_and_no_markup() -> None:
    words = "Of 3 to 8\n% are a_b or |x| < 1, ``code``:\n\n    python -m x_y\n\n* an item\n  goes on\n* another *"
    assert experiment_pages._markdown(words) == (
        "Of 3 to 8 % are a\\_b or \\|x\\| \\< 1, `code`:\n\n    python -m x_y\n\n* an item goes on\n\n* another \\*"
    )
