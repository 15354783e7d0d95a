"""docs/findings.md says of each experiment what its config says, and of all of them."""

import re
from pathlib import Path

import pytest

from experiments.common import catalogue
from tests.docs.numbers_in import numbers_in

PAGE = (Path(__file__).parents[2] / "docs" / "findings.md").read_text(encoding="utf-8")
ITEM = r"^- \[(\w+)\]\(\.\./experiments/\1/config\.py\): (.*?)(?=^- |^## |\Z)"
ITEMS = dict(re.findall(ITEM, PAGE, flags=re.MULTILINE | re.DOTALL))


def test_the_page_has_every_experiment() -> None:
    assert set(ITEMS) == {experiment.name for experiment in catalogue.experiments()}


@pytest.mark.parametrize("name", ITEMS)
def test_every_number_of_a_finding_stands_in_the_config_of_its_experiment(name: str) -> None:
    source = catalogue.config_path(name).read_text(encoding="utf-8")
    assert set() < numbers_in(ITEMS[name]) <= numbers_in(source)
