"""Equations of docstrings are shown on the site as they are meant."""

import re

import pytest

from docs import cell_table, equations


@pytest.mark.parametrize(
    ("plain", "shown"),
    [
        (
            "h_t = tanh(x_t W + b)",
            "<i>h</i><sub><i>t</i></sub> = tanh(<i>x</i><sub><i>t</i></sub> <i>W</i> + <i>b</i>)",
        ),
        (
            "a_{t,i} h_{t - 2^i}",
            "<i>a</i><sub><i>t</i>,<i>i</i></sub> <i>h</i><sub><i>t</i> − 2<sup><i>i</i></sup></sub>",
        ),
        ("U^l_n * A^-1", "<i>U</i><sup><i>l</i></sup><sub><i>n</i></sub> ⊙ <i>A</i><sup>−1</sup>"),
        (
            "e_t = y*_t - y_t",
            "<i>e</i><sub><i>t</i></sub> = <i>y</i><sup>∗</sup><sub><i>t</i></sub> − <i>y</i><sub><i>t</i></sub>",
        ),
        (
            "sum over l = 0, ..., L - 1 of W_l",
            "∑<sub><i>l</i> = 0</sub><sup><i>L</i> − 1</sup> <i>W</i><sub><i>l</i></sub>",
        ),
        ("a < 1 and b", None),
    ],
)
def test_an_equation_is_set_symbol_by_symbol(plain: str, shown: str | None) -> None:
    assert equations.written(plain) == shown


def test_remarks_stand_beside_their_equations() -> None:
    table = equations.rendered("    h_t = g(z_t)        any g < 1, or\n    a = step        alpha = a, the rate")
    assert table == (
        '<table class="equations"><tr><td><i>h</i><sub><i>t</i></sub> = <i>g</i>(<i>z</i><sub><i>t</i></sub>)</td>'
        "<td>any g &lt; 1, or</td></tr><tr><td><i>a</i> = step</td><td>alpha = a, the rate</td></tr></table>"
    )


def test_code_and_text_are_left_as_they_are() -> None:
    assert equations.rendered("    state, outputs = unroll(cell, params, inputs)") is None
    assert equations.rendered("    python -m docs.cell_table") is None


def test_every_cells_equations_are_shown_with_all_their_symbols() -> None:
    blocks = re.findall(r"^```text\n(.*?)^```$", cell_table.PAGE.read_text(encoding="utf-8"), re.M | re.S)
    assert len(blocks) == 34
    capital = r"(?<![A-Za-z])[A-Z](?![A-Za-z])"
    for block in blocks:
        table = equations.rendered(block)
        assert table, block
        assert re.findall(capital, re.sub("<[^>]*>", " ", table)) == re.findall(capital, block), block
