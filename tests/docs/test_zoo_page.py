"""docs/zoo.md says of every cell what docs/zoo.csv has, and the page of a run has its figures where they belong."""

import re
from pathlib import Path

import pandas as pd
import pytest

import rnnjax
from docs import zoo_page

DOCS = Path(zoo_page.__file__).parent
PAGE = (DOCS / "zoo.md").read_text(encoding="utf-8")
MEASURED = pd.read_csv(DOCS / "zoo.csv")
TASKS = ("adding", "copy memory", "temporal order", "patterns", "permuted digits")


def rows(heading: str) -> dict[str, list[str]]:
    """The table under a heading, by cell; without a heading that at the top of the page."""
    under = (PAGE.split(f"## {heading}\n")[1] if heading else PAGE).split("\n## ")[0]
    table = re.findall(r"^\| (\w+) +\|(.*)\|$", under, flags=re.MULTILINE)
    return {cell: [entry.strip() for entry in entries.split("|")] for cell, entries in table if cell != "cell"}


def columns() -> list[tuple[str, int]]:
    """Task and lag of each column, as the first table's head has them."""
    (head,) = re.findall(r"^\| cell +\| +units \|.*$", PAGE, flags=re.MULTILINE)
    return [(task.strip().replace(" ", "_"), int(lag)) for task, lag in re.findall(r"([a-z ]+), T = (\d+)", head)]


def test_every_cell_was_trained_on_five_tasks_at_two_lags_each() -> None:
    assert set(rows("")) == set(rnnjax.CELLS)
    expected = {(task.replace(" ", "_"), cell) for task in TASKS for cell in rnnjax.CELLS}
    lags = MEASURED.groupby(["task", "cell"])["lag"].nunique()
    assert set(lags.index) == expected
    assert (lags == 2).all()


@pytest.mark.parametrize("cell", rnnjax.CELLS)
def test_the_tables_say_what_was_measured(cell: str) -> None:
    of_cell = MEASURED[MEASURED["cell"] == cell].set_index(["task", "lag"])
    _, _, *ends = rows("")[cell]
    reach = rows("How far back the gradient reaches")[cell]
    rates = rows("Learning rates that were chosen")[cell]
    for place, (task, lag) in enumerate(columns()):
        found = of_cell.loc[(task, lag)]
        solved, _, steps = ends[place].partition(" in ")
        assert solved.split(",")[0] == found["seeds_that_solve"]
        assert not steps or int(steps.replace(",", "")) == found["median_steps"]
        assert reach[place] == f"{found['reach_before_training']:.0f} / {found['reach_after_training']:.0f}"
        assert float(rates[place]) == found["learning_rate"]


def test_every_figure_is_there_and_described() -> None:
    shown = re.findall(r"!\[(.+)\]\((figures/zoo_\w+\.png)\)", PAGE)
    assert [file for _, file in shown] == [
        f"figures/zoo_{name}.png" for name in ("solved", "before_and_after", "reach_and_success")
    ]
    assert all((DOCS / file).stat().st_size > 10_000 for _, file in shown)
