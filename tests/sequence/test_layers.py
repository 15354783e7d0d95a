"""Sequences with several episodes in them, and recurrences solved in parallel."""

from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rnnjax
from tests.cases import B, H, I, flow_of, random_inputs, random_params, random_state, unrolled

pytestmark = pytest.mark.usefixtures("x64")

AFFINE = ["min_gru", "min_lstm", "qrnn", "sru", "lru"]
STEPS = 11


def assert_close(received, expected):
    for a, b in zip(jax.tree.leaves(received), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def affine_stack():
    return rnnjax.learned_initial_state(rnnjax.stack(rnnjax.min_gru(H), rnnjax.lru(H), rnnjax.sru(H)))


# Resets


def reset_at(step):
    """Of 9 steps one, for all examples."""
    return np.arange(9)[:, None].repeat(B, axis=1) == step


@pytest.mark.parametrize(("make", "method"), [(partial(rnnjax.gru, H), "scan"), (affine_stack, "parallel")])
def test_a_reset_starts_afresh_as_a_sequence_of_its_own_would(make, method):
    cell = make()
    params, inputs = random_params(cell), random_inputs(9, B, I)
    state = random_state(cell, params)
    final, outputs = unrolled(cell, params, inputs, state, reset=reset_at(4), method=method)
    _, first = unrolled(cell, params, inputs[:4], state)
    expected_final, second = unrolled(cell, params, inputs[4:])
    assert_close((final, outputs), (expected_final, np.concatenate([first, second])))


def test_no_gradient_flows_across_a_reset():
    cell = rnnjax.lstm(H)
    params, inputs = random_params(cell), random_inputs(9, B, I)
    reset = reset_at(5) & (np.arange(B) == 0)
    last = jax.jit(jax.grad(lambda x: jnp.sum(rnnjax.unroll(cell, params, x, reset=reset)[1][-1])))
    gradient = np.asarray(last(inputs))
    assert (gradient[:5, 0] == 0).all()
    assert (np.abs(gradient[5:, 0]).sum(axis=1) > 0).all()
    assert (np.abs(gradient[:, 1]).sum(axis=1) > 0).all()


def test_every_step_reset_forgets_every_step():
    cell = rnnjax.learned_initial_state(rnnjax.gru(H))
    params, inputs, unroll = random_params(cell), random_inputs(5, B, I), jax.jit(partial(rnnjax.unroll, cell))
    _, outputs = unroll(params, inputs, reset=np.ones((5, B), bool))
    alone = [unroll(params, inputs[t : t + 1])[1][0] for t in range(5)]
    assert_close(outputs, np.stack(alone))


@pytest.mark.slow
def test_gradient_flow_stops_at_a_reset():
    cell = rnnjax.stack(rnnjax.gru(H), rnnjax.lstm(H))
    params, inputs = random_params(cell), random_inputs(9, B, I)
    flow = flow_of(cell, params, inputs, lambda y: jnp.sum(y[-1]), reset=reset_at(5))
    alone = flow_of(cell, params, inputs[5:], lambda y: jnp.sum(y[-1]))
    for whole, part in zip(jax.tree.leaves(flow[1:]), jax.tree.leaves(alone[1:]), strict=True):
        assert (whole[:5] == 0).all()
        np.testing.assert_allclose(whole[5:], part, rtol=1e-11)


# Parallel in time


@lru_cache
def both_ways(reverse):
    """Compiled once."""
    run = partial(rnnjax.unroll, affine_stack(), reverse=reverse)
    return jax.jit(partial(run, method="parallel")), jax.jit(run)


@pytest.mark.slow
@given(
    mask=st.lists(st.lists(st.booleans(), min_size=B, max_size=B), min_size=STEPS, max_size=STEPS),
    reset=st.lists(st.lists(st.booleans(), min_size=B, max_size=B), min_size=STEPS, max_size=STEPS),
    reverse=st.booleans(),
    seed=st.integers(0, 3),
)
def test_parallel_equals_the_scan_with_any_mask_and_resets(mask, reset, reverse, seed):
    cell = affine_stack()
    params, inputs = random_params(cell, seed), random_inputs(STEPS, B, I, seed=seed)
    state, options = random_state(cell, params, seed=seed), {"mask": jnp.array(mask), "reset": jnp.array(reset)}
    parallel, scanned = both_ways(reverse)
    assert_close(parallel(params, inputs, state, **options), scanned(params, inputs, state, **options))


@pytest.mark.parametrize("name", AFFINE)
def test_gradients_in_parallel_equal_those_of_the_scan(name):
    cell = rnnjax.cell_named(name)(H)
    params, inputs = random_params(cell), random_inputs(STEPS, B, I)
    perturbation = jax.tree.map(lambda leaf: jnp.zeros((STEPS, *leaf.shape), leaf.dtype), random_state(cell, params))

    def loss(params, inputs, state, perturbation, method):
        _, outputs = rnnjax.unroll(cell, params, inputs, state, perturbation=perturbation, method=method)
        return jnp.sum(jnp.sin(outputs)) + jnp.sum(outputs[-1] ** 2)

    gradient = jax.jit(jax.grad(loss, argnums=(0, 1, 2, 3)), static_argnums=4)
    arguments = params, inputs, random_state(cell, params), perturbation
    assert_close(gradient(*arguments, "parallel"), gradient(*arguments, "scan"))


def test_a_recurrence_that_is_not_affine_is_refused_in_parallel():
    cell = rnnjax.stack(rnnjax.min_gru(H), rnnjax.gru(H))
    params = random_params(cell)
    with pytest.raises(ValueError, match=r"not affine in its state: expected one such as .* use method='scan'"):
        rnnjax.unroll(cell, params, random_inputs(), method="parallel")
    with pytest.raises(ValueError, match="unknown method 'paralel': did you mean 'parallel'"):
        rnnjax.unroll(cell, params, random_inputs(), method="paralel")


def test_a_reset_of_another_shape_or_dtype_is_named():
    cell = rnnjax.gru(H)
    params = random_params(cell)
    with pytest.raises(ValueError, match=r"reset has shape \(5,\): expected \(5, 2\)"):
        rnnjax.unroll(cell, params, random_inputs(), reset=jnp.zeros(5, bool))
    with pytest.raises(TypeError, match="reset has dtype float64: expected bool"):
        rnnjax.unroll(cell, params, random_inputs(), reset=jnp.zeros((5, B)))
