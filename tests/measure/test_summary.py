"""The table of a cell: every layer once, with the shapes and numbers of its params, and their sum."""

import jax
import pytest

import rnnjax
from rnnjax import Cell
from tests.cases import I


def numbers(text: str) -> list[int]:
    return [int(word.replace(",", "")) for word in text.split() if word.replace(",", "").isdigit()]


def test_the_numbers_are_those_of_the_params_and_add_up(cell: Cell) -> None:
    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), I))
    last = rnnjax.summary(cell, I).splitlines()[-1]
    assert last.startswith("all ")
    assert numbers(last)[0] == sum(leaf.size for leaf in jax.tree.leaves(params))


def test_a_stack_is_told_layer_by_layer() -> None:
    cell = rnnjax.stack(rnnjax.lstm(64), rnnjax.residual(rnnjax.gru(64)), rnnjax.repeat(rnnjax.gru(64), 3))
    found = [line.split("  ") for line in rnnjax.summary(cell, 10).splitlines()[2:]]
    told = [[part.strip() for part in row if part.strip()] for row in found]
    gru = "kernel ({0}64, 192), recurrent_kernel ({0}64, 192), bias ({1})"
    assert told == [
        [
            "0 lstm(64)",
            "kernel (10, 256), recurrent_kernel (64, 256), bias (256,)",
            "19,200",
            "hidden (64,), cell (64,)",
            "(64,)",
        ],
        ["1.0 gru(64)", gru.format("", "192,"), "24,768", "hidden (64,)", "(64,)"],
        [
            "2 repeat(gru(64), 3)",
            gru.format("3, ", "3, 192"),
            "74,304",
            "0.hidden (64,), 1.hidden (64,), 2.hidden (64,)",
            "(64,)",
        ],
        ["all", "118,272", "(64,)"],
    ]


def test_what_is_learned_beside_the_layers_is_told_apart() -> None:
    cell = rnnjax.learned_initial_state(rnnjax.stack(rnnjax.lstm(4)))
    assert numbers(rnnjax.summary(cell, 10).splitlines()[-2]) == [8]


@pytest.mark.parametrize(
    ("cell", "size", "message"),
    [
        (rnnjax.lstm, 3, "summary received lstm: expected cells, made with their sizes"),
        (rnnjax.lstm(4), 0, "input_size is 0: expected at least 1"),
        (rnnjax.lstm(4), "10", "input_size is '10' \\(str\\): expected a whole number"),
    ],
)
def test_what_is_no_cell_and_no_size_is_refused(cell: Cell, size: int, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        rnnjax.summary(cell, size)
