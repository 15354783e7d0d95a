"""``multiply_out``: a linear program's values, with its constants multiplied together ahead of the loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from rnnjax.engine.linear import multiply_out
from rnnjax.engine.program import program_of
from tests.cases import B, H, I, random_inputs, random_params, random_state
from tests.engine.test_program import operations_of


def of_linearized(function, *arguments):
    """The factors and linear function of a derivative, and the derivative."""
    derivative = jax.linearize(function, *arguments)[1]
    return *multiply_out(program_of(derivative, *arguments)), derivative


def chain(x, y):
    """A long chain for x, two ways of y that meet again, and a sum that two use."""
    both = jnp.sin(jnp.tanh(jnp.exp(x) * y)) + 3 * y - y * y
    return both * jnp.cos(both), -both


def branches(x, y):
    """Operations that are no sums of products, and a constant array among them."""
    return jnp.where(x > 0, jnp.tanh(x), jnp.zeros_like(x)) @ y.T, jnp.concatenate([x, y.astype(x.dtype)])


def nested(x, y):
    return jax.jit(lambda x: jax.jit(jnp.tanh)(x) * y)(jnp.sin(x)), jnp.ones(3)


def untouched(x, y):
    return x, x, jnp.zeros(2)


@pytest.mark.parametrize("function", [chain, branches, nested, untouched])
def test_values_are_those_of_the_derivative(x64, function):
    x, y = random_inputs(3, 4), random_inputs(3, 4, seed=1)
    factors, linear, derivative = of_linearized(function, x, y)
    tangents = random_inputs(3, 4, seed=2), random_inputs(3, 4, seed=3)
    for received, expected in zip(linear(factors, list(tangents)), derivative(*tangents), strict=True):
        np.testing.assert_allclose(0 if received is None else received, expected, rtol=1e-13)


@pytest.mark.parametrize("function", [chain, branches, nested, untouched])
@pytest.mark.parametrize("moving", [(True, False), (False, True), (False, False)])
def test_none_stands_for_zeros(x64, function, moving):
    x, y = random_inputs(3, 4), random_inputs(3, 4, seed=1)
    factors, linear, derivative = of_linearized(function, x, y)
    tangents = random_inputs(3, 4, seed=2), random_inputs(3, 4, seed=3)
    received = linear(factors, [t if moves else None for t, moves in zip(tangents, moving, strict=True)])
    expected = derivative(*(t if moves else jnp.zeros_like(t) for t, moves in zip(tangents, moving, strict=True)))
    for one, other in zip(received, expected, strict=True):
        np.testing.assert_allclose(0 if one is None else one, other, rtol=1e-13, atol=0)
    assert any(moving) or all(one is None for one in received)


def test_a_chain_becomes_one_product_and_an_array_of_zeros_is_no_factor():
    x, y = jnp.ones((3, 4)), jnp.ones((3, 4))
    factors, linear, _ = of_linearized(lambda x, y: jnp.sin(jnp.exp(x) * y), x, y)
    assert len(factors) == 2
    assert operations_of(jax.make_jaxpr(linear)(factors, [x, y]).jaxpr) == ["mul", "mul", "add"]

    factors, _, _ = of_linearized(jax.nn.relu, x)
    assert [factor.dtype for factor in factors] == [jnp.bool_]


def test_a_nan_in_the_branch_not_taken_stays_out():
    x = jnp.array([-1.0, 1.0])
    factors, linear, _ = of_linearized(lambda x, bad: jnp.where(x > 0, 2 * x, bad), x, x)
    np.testing.assert_array_equal(linear(factors, [x, jnp.array([5.0, jnp.nan])])[0], [5, 2])


@pytest.mark.parametrize(("make", "count"), [(rnnjax.elman, 1), (rnnjax.lstm, 6), (rnnjax.gru, 6)])
def test_an_lstm_keeps_six_numbers_a_unit_and_step_for_its_adjoints(make, count):
    """f, o tanh'(c), and for each gate what the other factor and the activation's derivative make together."""
    cell = make(H)
    params, state = random_params(cell), random_state(cell, random_params(cell))
    drive = cell.project(params, random_inputs(B, I))
    factors, _, _ = of_linearized(lambda state, drive: cell.advance(params, state, drive), state, drive)
    arrays = [factor for factor in factors if factor.shape == (B, H)]
    assert len(arrays) == count
    assert len(factors) - len(arrays) == (2 if make is rnnjax.gru else 1)  # kernels
