"""The constant error carousel: against loops of gates, products of Jacobians, and half-lives that are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from tests.cases import B, H, I, T, random_inputs, random_params
from tests.test_errors import check


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def forget_gates(params, inputs):
    """f_t (T, B, H) of an LSTM by a plain loop."""
    hidden = memory = np.zeros((B, H))
    gates = []
    for x in np.asarray(inputs):
        i, f, g, o = np.split(x @ params.kernel + hidden @ params.recurrent_kernel + params.bias[None], 4, axis=1)
        memory = sigmoid(f) * memory + sigmoid(i) * np.tanh(g)
        hidden = sigmoid(o) * np.tanh(memory)
        gates.append(sigmoid(f))
    return np.array(gates)


def test_direct_way_is_the_product_of_the_forget_gates_of_later_steps(x64):
    cell = rnnjax.lstm(H)
    params, inputs = random_params(cell), random_inputs(T, B, I)
    found = jax.jit(lambda p: rnnjax.carousel(cell, p, inputs))(params)
    gates = forget_gates(params, inputs)
    expected = [np.prod(gates[t + 1 :], axis=0) for t in range(T)]
    np.testing.assert_allclose(found.direct, expected, rtol=1e-12)


@pytest.mark.parametrize("make", [rnnjax.lstm, rnnjax.peephole_lstm])
def test_total_is_the_diagonal_of_the_product_of_the_jacobians(x64, make):
    cell = make(H)
    params, inputs = random_params(cell), random_inputs(T, B, I)
    found = jax.jit(lambda p: rnnjax.carousel(cell, p, inputs))(params)
    jacobians = np.asarray(jax.jit(lambda p: rnnjax.state_jacobians(cell, p, inputs))(params))
    product = np.broadcast_to(np.eye(2 * H), (B, 2 * H, 2 * H))
    for t in reversed(range(T)):
        memory = product[:, H:, H:]  # the state is (hidden, cell)
        np.testing.assert_allclose(found.total[t], np.diagonal(memory, axis1=1, axis2=2), rtol=1e-10, atol=1e-14)
        product = product @ jacobians[t]
    assert np.abs(found.total - found.direct).max() > 1e-3


def test_both_ways_are_one_for_a_step_and_part_after_it(x64):
    cell = rnnjax.lstm(H)
    params, inputs = random_params(cell), random_inputs(T, B, I)
    found = jax.jit(lambda p: rnnjax.carousel(cell, p, inputs))(params)
    np.testing.assert_array_equal(found.total[-1], 1)
    np.testing.assert_allclose(found.total[-2:], found.direct[-2:], rtol=1e-14)
    assert (np.abs(found.total[-3] - found.direct[-3]) > 1e-6).all()


@pytest.mark.parametrize(
    ("forget_bias", "half_life"), [(0.0, 1.00), (1.0, 2.21), (2.0, 5.46), (3.0, 14.3), (5.0, 103.0)]
)
def test_without_recurrent_weights_all_ways_are_the_gates_and_halve_in_the_known_time(x64, forget_bias, half_life):
    cell = rnnjax.lstm(H, forget_bias=forget_bias, recurrent_init=jax.nn.initializers.zeros)
    params = cell.init(jax.random.key(0), I)
    found = jax.jit(lambda x: rnnjax.carousel(cell, params, x))(jnp.zeros((20, I)))
    np.testing.assert_array_equal(found.direct, found.total)
    np.testing.assert_allclose(rnnjax.decay(found.total[:, 0]).asymptotic_half_life, half_life, rtol=3e-3)


@pytest.mark.slow
def test_it_begins_at_the_given_state():
    cell = rnnjax.lstm(H)
    params, inputs = random_params(cell), random_inputs(T, B, I)
    middle, _ = rnnjax.unroll(cell, params, inputs[:2])
    of = jax.jit(lambda x, s: rnnjax.carousel(cell, params, x, s))
    late, whole = (of(x, s) for x, s in ((inputs[2:], middle), (inputs, cell.initial_state(params, (B,)))))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b[2:], rtol=1e-5), late, whole)


@pytest.mark.parametrize("cell", [rnnjax.gru(H), rnnjax.stack(rnnjax.lstm(H))])
def test_a_cell_without_a_memory_of_its_own_is_refused(cell):
    parts = ["carousel", "fields hidden and cell", "lstm(64)", "pass one of its layers"]
    check(TypeError, parts, lambda: rnnjax.carousel(cell, random_params(cell), random_inputs()))
