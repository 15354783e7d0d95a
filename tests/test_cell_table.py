"""docs/cells.md says what the cells are now, and its numbers are right where they can be known."""

import re
from functools import partial

import jax
import numpy as np
import pytest

import rnnjax
from docs import cell_table

PAGE = cell_table.PAGE.read_text(encoding="utf-8")


def test_the_page_is_up_to_date_in_all_that_is_not_measured() -> None:
    measured, version = cell_table.read_page(PAGE)
    assert list(measured) == list(rnnjax.CELLS), "run: make cells"
    assert cell_table.page(measured, version) == PAGE, "run: make cells"


def test_every_cell_has_a_row_without_gaps_and_a_section() -> None:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in re.findall(r"^\| \[.*$", PAGE, re.M)]
    assert [row[0] for row in rows] == [f"[{name}](#{name})" for name in rnnjax.CELLS]
    assert all(len(row) == 8 and all(row) for row in rows)
    assert re.findall(r"^## (.*)$", PAGE, re.M) == list(rnnjax.CELLS)
    for path in re.findall(r"\]\(\.\./([^)]+)\)", PAGE):
        assert (cell_table.PAGE.parent.parent / path).exists()


@pytest.mark.parametrize(("input_size", "hidden_size"), [(3, 40), (7, 64)])
def test_formulas_count_the_params_at_sizes_they_were_not_fitted_to(input_size: int, hidden_size: int) -> None:
    for name, constructor in rnnjax.CELLS.items():
        written = cell_table.formula(constructor).replace("²", "**2")
        python = re.sub(r"(?<=[\dIH)])(?=[IH(])", "*", written)
        value = eval(python, {"I": input_size, "H": hidden_size})
        assert value == cell_table.count_params(constructor, input_size, hidden_size), (name, written)


@pytest.mark.parametrize(
    ("constructor", "written"),
    [
        (rnnjax.lstm, "4H(I + H + 1)"),
        (rnnjax.indrnn, "H(I + 2)"),
        (partial(rnnjax.jordan, output_size=1), "IH + 3H + 1"),
        (rnnjax.scrn, "H(4I + 3H + 3)/4"),
    ],
)
def test_formulas_are_written_short(constructor, written: str) -> None:
    assert cell_table.formula(constructor) == written


def test_the_decay_of_a_linear_leak_is_its_rate() -> None:
    make = partial(rnnjax.leaky, rate=0.5, activation="identity", recurrent_init=jax.nn.initializers.zeros)
    norms = cell_table.gradient_norms(make, seeds=1)
    np.testing.assert_allclose(norms[0, :-1] / norms[0, 1:], 0.5, rtol=1e-12)
    assert cell_table.condensed(norms) == ("0.500", "1.0", "1.6e-30", "vanishes")


def test_a_gradient_that_ends_is_said_to_end() -> None:
    ends = np.array([[0.0] * 7 + [2.0] * 3])
    assert cell_table.condensed(ends) == ("1, then 0 from lag 3", "3", "0", "vanishes")


def test_a_gradient_that_grows_has_no_half_life() -> None:
    grows = np.array([2.0 ** np.arange(10, 0, -1)] * 2)
    assert cell_table.condensed(grows) == ("2.000", "none", "5.1e+02", "explodes")


def test_the_summary_names_what_lasts_and_what_is_lost() -> None:
    measured = {
        "keeps": cell_table.Measured("1.000", "over 1000", "0.98", "preserved"),
        "leaks": cell_table.Measured("0.990", "69.0", "0.05", "preserved"),
        "forgets": cell_table.Measured("0.500", "1.0", "1e-30", "vanishes"),
        "ends": cell_table.Measured("1, then 0 from lag 3", "3", "0", "vanishes"),
        "grows": cell_table.Measured("2.000", "none", "9", "explodes"),
    }
    learned = " ".join(cell_table.learned(measured).split())
    assert "1 of the 5 cells keep" in learned
    assert "In `grows` it grows. In the other 3 it shrinks, with a median half-life of 3.0 steps" in learned
    assert "slowest in `leaks` (69.0), `ends` (3.0) and `forgets` (1.0), fastest in `forgets` (1.0)" in learned


def test_a_docstring_that_lacks_something_is_told_what() -> None:
    def nameless(size: int) -> rnnjax.Cell:
        """A cell of nobody's.

            h_t = x_t

        It forgets everything.
        """
        return rnnjax.elman(size)

    with pytest.raises(ValueError, match=r"nameless lacks: source \(Author, year\), sentence 'Invented"):
        cell_table.text_of(nameless)
