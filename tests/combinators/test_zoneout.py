"""Zoneout: a mixture of the old state and the new without a key, one or the other with a key.

Keys are fixed, so that a test about chances has one outcome.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from rnnjax.cells.elman import ElmanState
from rnnjax.cells.lstm import LSTMState
from tests import reference
from tests.cases import B, H, I, T, random_inputs, random_params, random_state
from tests.noise_cases import (
    COUNTER,
    LINEAR,
    RATE,
    arrays,
    assert_equal,
    assert_independent,
    assert_mean,
    key,
    over_keys,
    run,
)
from tests.test_errors import check

pytestmark = pytest.mark.usefixtures("x64")


def test_zoneout_without_a_key_mixes_old_and_new_by_its_rate():
    plain = rnnjax.elman(H)
    params, inputs = random_params(plain), arrays(random_inputs())
    start = random_state(plain, params)
    hidden, expected = np.asarray(start.hidden), []
    for x in inputs:
        hidden = RATE * hidden + (1 - RATE) * reference.elman_forward(arrays(tuple(params)), [x], hidden)[0]
        expected.append(hidden)
    assert_equal(rnnjax.unroll(rnnjax.zoneout(plain, RATE), params, inputs, start)[1], expected)


def test_zoneout_without_a_key_mixes_each_field_by_a_rate_of_its_own():
    plain = rnnjax.lstm(H)
    params, inputs = random_params(plain), arrays(random_inputs())
    start = random_state(plain, params)
    hidden, memory, expected = np.asarray(start.hidden), np.asarray(start.cell), []
    for x in inputs:
        trace = reference.lstm_forward((*arrays(tuple(params)), np.zeros((3, H))), x[None], hidden, memory)
        hidden, memory = 0.1 * hidden + 0.9 * trace.hidden[-1], 0.6 * memory + 0.4 * trace.cell[-1]
        expected.append(hidden)
    cell = rnnjax.zoneout(plain, LSTMState(hidden=0.1, cell=0.6))
    final, outputs = rnnjax.unroll(cell, params, inputs, start)
    assert_equal(outputs, expected)
    assert_equal(final.cell, memory)


def test_zoneout_leaves_each_unit_old_or_new_at_its_rate_and_on_the_mean_where_it_is_without_a_key():
    plain = rnnjax.elman(H)
    params, x = random_params(plain), random_inputs(B, I)
    old = random_state(plain, params)

    def state_of(key):
        cell = rnnjax.zoneout(plain, RATE, key)
        start = cell.initial_state(params, (B,))._replace(cell=old)
        return cell.step(params, start, x)[1]

    states = over_keys(state_of)
    (new, _), (expected, _) = plain.step(params, old, x), rnnjax.zoneout(plain, RATE).step(params, old, x)
    kept = states == np.asarray(old.hidden)
    assert_equal(states, np.where(kept, old.hidden, new.hidden))
    assert_mean(kept.astype(float), RATE)
    assert_mean(states, np.asarray(expected.hidden))


def test_zoneout_draws_anew_at_every_step_for_each_example_and_unit():
    def outputs_of(key):
        return rnnjax.unroll(rnnjax.zoneout(LINEAR, RATE, key), COUNTER, jnp.zeros((3, B, I)))[1]

    counts = over_keys(outputs_of)
    moved = np.diff(counts, axis=1, prepend=0)
    assert set(np.unique(moved)) == {0, 1}
    assert_mean(moved, 1 - RATE)
    assert_independent(moved, 1 - RATE)


def test_zoneout_keeps_each_field_at_a_rate_of_its_own():
    plain = rnnjax.lstm(H)
    params, x = random_params(plain), random_inputs(B, I)
    old = random_state(plain, params)

    def kept(key, rates):
        cell = rnnjax.zoneout(plain, rates, key)
        state, _ = cell.step(params, cell.initial_state(params, (B,))._replace(cell=old), x)
        return jnp.stack([state.cell.hidden == old.hidden, state.cell.cell == old.cell])

    assert_mean(
        over_keys(lambda key: kept(key, LSTMState(0.2, 0.6))).astype(float), np.array([0.2, 0.6])[:, None, None]
    )
    np.testing.assert_array_equal(kept(key(0), LSTMState(0, 1)), np.stack([np.zeros((B, H)), np.ones((B, H))]))


def test_gradients_flow_through_kept_units_undiminished():
    """h_t = x_t W + b has no past: what of dL/dh_0 arrives, arrives through units that were kept at every step."""
    cell = rnnjax.zoneout(LINEAR, 0.7, key(0))
    params, inputs = random_params(LINEAR)._replace(recurrent_kernel=jnp.zeros((H, H))), random_inputs()
    start = cell.initial_state(params, (B,))._replace(cell=random_state(LINEAR, params))

    def final(hidden):
        _, outputs = rnnjax.unroll(cell, params, inputs, start._replace(cell=ElmanState(hidden)))
        return jnp.sum(outputs[-1]), outputs

    gradient, outputs = jax.grad(final, has_aux=True)(start.cell.hidden)
    kept = np.asarray(outputs == start.cell.hidden[None]).all(axis=0)
    np.testing.assert_array_equal(gradient, kept)
    assert 0 < kept.mean() < 1


@pytest.mark.parametrize("number", [np.float32, np.float64, jnp.asarray])
def test_rates_may_be_numbers_of_any_kind(number):
    plain = rnnjax.lstm(H)
    params, x = random_params(plain), random_inputs(B, I)
    state = random_state(plain, params)
    received, expected = (rnnjax.zoneout(plain, rate).step(params, state, x) for rate in (number(0.5), 0.5))
    jax.tree.map(np.testing.assert_array_equal, received, expected)


def test_zoneout_leaves_a_clock_alone():
    plain = rnnjax.clockwork(H, (1, 2))
    params, inputs = random_params(plain), random_inputs()
    for k in (None, key(0)):
        final, _ = rnnjax.unroll(rnnjax.zoneout(plain, 0.5, k), params, inputs)
        final = final.cell if k is not None else final
        np.testing.assert_array_equal(final.step, np.full((B, 1), T % 2))


@pytest.mark.parametrize("k", [None, 0])
def test_rates_of_zoneout_in_another_structure_than_the_state(k):
    cell = rnnjax.zoneout(rnnjax.gru(H), LSTMState(0.1, 0.5), k if k is None else key(k))
    check(ValueError, ["rate is LSTMState", "the state is a GRUState", "expected one number"], run(cell))
