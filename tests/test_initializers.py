"""Orthogonal kernels, one or many at a time; the chrono initializer's distribution, and where it goes in each cell."""

import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from rnnjax.initializers import chrono, orthogonal
from tests.cases import I
from tests.test_errors import check

WIDE = 2000
KEYS = jax.random.split(jax.random.key(0), 4)


@pytest.mark.parametrize("shape", [(5, 5), (3, 7), (2, 7, 3)])
def test_orthogonal_is_what_jax_has_drawn_one_matrix_at_a_time(x64, shape):
    init = orthogonal(0.5)
    expected = [jax.nn.initializers.orthogonal(0.5)(key, shape, jnp.float32) for key in KEYS]
    np.testing.assert_array_equal([init(key, shape, jnp.float32) for key in KEYS], expected, strict=True)
    together = jax.jit(jax.vmap(lambda key: init(key, shape, jnp.float32)))
    np.testing.assert_array_equal(together(KEYS), expected, strict=True)
    decomposed = re.findall(r":f32\[([\d,]+)\] = qr\[", str(together.trace(KEYS).jaxpr))
    assert [found.count(",") for found in decomposed] == [1]
    slope = jax.grad(lambda scale: orthogonal(scale)(KEYS[0], shape).sum())(0.5)
    np.testing.assert_allclose(slope, 2 * init(KEYS[0], shape).sum())


@pytest.mark.slow
def test_weights_of_many_seeds_at_once_do_not_wait_for_each_other() -> None:
    """As the QR decompositions of batches did, on two cores."""
    program = """
import jax, rnnjax
networks = [rnnjax.stack(cell, cell) for cell in (rnnjax.elman(64), rnnjax.lstm(64))] + [rnnjax.lstm(256)]
for network in networks:
    init = jax.jit(jax.vmap(lambda key: network.init(key, 64)))
    for _ in range(5):
        jax.block_until_ready(init(jax.random.split(jax.random.key(0), 20)))
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120, cwd=Path(__file__).parent.parent)


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
