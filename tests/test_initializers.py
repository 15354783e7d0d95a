"""Initial biases of gates: the chrono initializer's distribution, and where it goes in every cell that takes it."""

import jax
import numpy as np
import pytest

import rnnjax
from rnnjax.initializers import chrono
from tests.cases import I
from tests.test_errors import check

WIDE = 2000


def assert_spans_are_uniform(biases, longest):
    """By Kolmogorov and Smirnov, at the level of 1 %."""
    spans = np.sort(np.exp(np.asarray(biases, np.float64)))
    assert (spans > 0.999).all()
    assert (spans < (longest - 1) * 1.001).all()
    uniform = (spans - 1) / (longest - 2)
    ranks = np.arange(1, len(spans) + 1) / len(spans)
    assert np.abs(uniform - ranks).max() < 1.63 / np.sqrt(len(spans))


@pytest.mark.parametrize("longest", [3, 100])
def test_chrono_biases_are_logarithms_of_uniform_numbers_up_to_the_longest_span_less_1(longest):
    assert_spans_are_uniform(chrono(longest)(jax.random.key(0), (20_000,)), longest)


CELLS = {
    # Where in the bias the gate stands that keeps, and where the gate that writes, if it has a bias to be drawn.
    "lstm": ("forget_bias", 1, 0),
    "peephole_lstm": ("forget_bias", 1, 0),
    "layer_norm_lstm": ("forget_bias", 1, 0),
    "slstm": ("forget_bias", 1, None),
    "cifg_lstm": ("forget_bias", 0, None),
    "janet": ("forget_bias", 0, None),
    "gru": ("update_bias", 1, None),
    "gru_reset_after": ("update_bias", 1, None),
}


@pytest.mark.parametrize("name", CELLS)
def test_drawn_biases_stand_at_the_gates_that_keep_and_turned_at_those_that_write(name):
    keyword, keeps, writes = CELLS[name]
    constructor = rnnjax.cell_named(name)
    options = {keyword: chrono(100), "recurrent_init": jax.nn.initializers.zeros}
    params = constructor(WIDE, **options).init(jax.random.key(1), I)
    gates = np.split(np.asarray(params.bias), len(params.bias) // WIDE)
    assert_spans_are_uniform(gates.pop(keeps), 100)
    if writes is not None:
        np.testing.assert_array_equal(gates.pop(writes), -np.asarray(params.bias)[keeps * WIDE : (keeps + 1) * WIDE])
    np.testing.assert_array_equal(gates, 0)


@pytest.mark.parametrize("name", CELLS)
def test_numbers_and_drawn_biases_change_nothing_but_the_bias(name):
    keyword, keeps, _ = CELLS[name]
    constructor = rnnjax.cell_named(name)
    plain, number, drawn = (
        constructor(5, **options).init(jax.random.key(0), I) for options in ({}, {keyword: 2.5}, {keyword: chrono(9)})
    )
    np.testing.assert_array_equal(number.bias[5 * keeps : 5 * keeps + 5], 2.5)
    assert (np.delete(number.bias, range(5 * keeps, 5 * keeps + 5)) == 0).all()
    for other in (number, drawn):
        jax.tree.map(np.testing.assert_array_equal, plain._replace(bias=0), other._replace(bias=0))
    assert len(set(np.asarray(drawn.bias[5 * keeps : 5 * keeps + 5]).tolist())) == 5


def test_a_span_too_short_is_refused():
    check(ValueError, ["longest is 1.5", "at least 2"], lambda: chrono(1.5))
