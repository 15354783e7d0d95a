"""Gradients by jax.grad through ``unroll``: equal to hand-derived backward passes and to finite differences."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from rnnjax.engine.norms import is_inexact
from tests import reference
from tests.cases import (
    CELL_CASES,
    OF_ONE_PIECE,
    TYPICAL,
    B,
    H,
    T,
    random_inputs,
    random_like,
    random_params,
    random_state,
)

pytestmark = pytest.mark.usefixtures("x64")


def assert_trees_close(received, expected, rtol=1e-11):
    for a, b in zip(jax.tree.leaves(received), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-13)


def squared_error_gradients(cell, params, inputs, state, targets):
    """dL/d(params, inputs, state) and dL/d epsilon_t of L = sum |y - target|^2 / 2, by jax.grad."""

    def loss(params, inputs, state, perturbation):
        _, outputs = rnnjax.unroll(cell, params, inputs, state, perturbation=perturbation)
        return jnp.sum((outputs - targets) ** 2) / 2

    perturbation = jax.tree.map(lambda leaf: jnp.zeros((T, *leaf.shape)), state)
    return jax.jit(jax.grad(loss, argnums=(0, 1, 2, 3)))(params, inputs, state, perturbation)


def numpy_tree(tree):
    return jax.tree.map(np.asarray, tree)


# Hand-derived backward passes


def test_gradient_of_elman_equals_the_lecture_notes_hand_derived_rule():
    cell = rnnjax.elman(H)
    params = random_params(cell)
    inputs, targets, state = random_inputs(), random_inputs(T, B, H, seed=7), random_state(cell, params)

    d_params, d_inputs, d_state, adjoints = squared_error_gradients(cell, params, inputs, state, targets)

    arrays = numpy_tree((params, inputs, state.hidden))
    hiddens = reference.elman_forward(*arrays)
    expected = reference.elman_backward(*arrays, hiddens, hiddens - np.asarray(targets))
    assert_trees_close((*d_params, d_inputs, d_state.hidden, adjoints.hidden), tuple(expected))


def test_loss_and_gradients_equal_those_of_karpathys_min_char_rnn():
    vocabulary, length = 6, 9
    random = np.random.default_rng(0)
    inputs, targets = random.integers(vocabulary, size=(2, length))
    Wxh, Whh, Why = (random.normal(size=s) for s in [(H, vocabulary), (H, H), (vocabulary, H)])
    bh, by, hprev = (random.normal(size=s) for s in [(H, 1), (vocabulary, 1), (H, 1)])
    weights = Wxh, Whh, Why, bh, by
    cell = rnnjax.elman(H)

    def loss(Wxh, Whh, Why, bh, by):
        params = cell.init(jax.random.key(0), vocabulary)._replace(kernel=Wxh.T, recurrent_kernel=Whh.T, bias=bh[:, 0])
        one_hot = jax.nn.one_hot(inputs, vocabulary, dtype=jnp.float64)
        final, hiddens = rnnjax.unroll(
            cell, params, one_hot, cell.initial_state(params, ())._replace(hidden=hprev[:, 0])
        )
        log_probabilities = jax.nn.log_softmax(hiddens @ Why.T + by.T)
        return -jnp.sum(log_probabilities[jnp.arange(length), targets]), final.hidden

    (value, last_hidden), gradients = jax.value_and_grad(loss, argnums=range(5), has_aux=True)(
        *map(jnp.asarray, weights)
    )

    expected_loss, expected, expected_hidden = reference.min_char_rnn(inputs, targets, hprev, *weights)
    np.testing.assert_allclose(value, expected_loss, rtol=1e-13)
    np.testing.assert_allclose(last_hidden, expected_hidden[:, 0], rtol=1e-12)
    assert_trees_close(gradients, tuple(expected))

    _, clipped, _ = reference.min_char_rnn(inputs, targets, hprev, *weights, clip=1.0)
    assert any((abs(g) > 1).any() for g in expected)
    assert_trees_close(jax.tree.map(lambda g: jnp.clip(g, -1, 1), gradients), tuple(clipped))


@pytest.mark.parametrize("make", [rnnjax.lstm, rnnjax.peephole_lstm])
def test_gradient_of_lstm_equals_the_lecture_notes_hand_derived_rule(make):
    cell = make(H)
    params = random_params(cell)
    inputs, targets, state = random_inputs(), random_inputs(T, B, H, seed=7), random_state(cell, params)

    d_params, d_inputs, d_state, adjoints = squared_error_gradients(cell, params, inputs, state, targets)

    weights = numpy_tree(tuple(params))
    if make is rnnjax.lstm:
        weights = (*weights, np.zeros((3, H)))
    start = numpy_tree((state.hidden, state.cell))
    trace = reference.lstm_forward(weights, np.asarray(inputs), *start)
    expected = reference.lstm_backward(weights, np.asarray(inputs), *start, trace, trace.hidden - np.asarray(targets))

    assert_trees_close(tuple(d_params), tuple(expected)[: len(d_params)])
    assert_trees_close((d_inputs, *d_state), (expected.inputs, expected.hidden_0, expected.cell_0))
    np.testing.assert_allclose(adjoints.hidden, expected.hidden, rtol=1e-11)
    # The perturbation of c_t leaves h_t as it is, so it sees what reaches the loss through c_{t+1}...
    np.testing.assert_allclose(adjoints.cell, expected.carried_cell, rtol=1e-11, atol=1e-14)
    # ... and the notes' dL/dc_t has in addition what goes through h_t = o_t tanh(c_t).
    p_o = weights[3][2]
    dh_dc = trace.o * (1 - np.tanh(trace.cell) ** 2) + np.tanh(trace.cell) * trace.o * (1 - trace.o) * p_o
    np.testing.assert_allclose(adjoints.cell + adjoints.hidden * dh_dc, expected.cell, rtol=1e-11)


# Finite differences, for every cell


def three_losses(outputs):
    """One a sum over all steps, one of the last step only, one of the sequence as a whole."""
    every_step = jnp.sum(jnp.sin(outputs) * (1 + outputs))
    last_step = jnp.sum(outputs[-1] ** 2 + outputs[-1])
    sequence = jax.nn.logsumexp(jnp.sum(outputs**2, axis=(1, 2))) + jnp.prod(1 + jnp.mean(outputs, axis=(1, 2)))
    return jnp.stack([every_step, last_step, sequence])


# Central differences of sixth order: f' = sum of c_k (f(kh) - f(-kh)) / h.
STENCIL = {1: 3 / 4, 2: -3 / 20, 3: 1 / 60}
STEP = 6e-3


def unit(tree):
    norm = math.sqrt(sum(np.sum(np.abs(leaf) ** 2) for leaf in jax.tree.leaves(tree)))
    return jax.tree.map(lambda leaf: leaf / norm, tree)


@pytest.mark.parametrize("index", range(3))
def test_hand_derived_rules_hold_for_any_loss_over_the_outputs(index):
    """The notes' rules take dL/dy_t of any divergence: summed over steps, of the last step, or of the sequence."""
    inputs = random_inputs()

    def by_jax(cell, params, state):
        def loss(params, inputs, state):
            return three_losses(rnnjax.unroll(cell, params, inputs, state)[1])[index]

        return jax.jit(jax.grad(loss, argnums=(0, 1, 2)))(params, inputs, state)

    def d_outputs(hiddens):
        return np.asarray(jax.grad(lambda y: three_losses(y)[index])(jnp.asarray(hiddens)))

    cell = rnnjax.elman(H)
    params, state = random_params(cell), random_state(cell, random_params(cell))
    arrays = numpy_tree((params, inputs, state.hidden))
    hiddens = reference.elman_forward(*arrays)
    expected = reference.elman_backward(*arrays, hiddens, d_outputs(hiddens))
    d_params, d_inputs, d_state = by_jax(cell, params, state)
    assert_trees_close((*d_params, d_inputs, d_state.hidden), tuple(expected)[:-1])

    cell = rnnjax.peephole_lstm(H)
    params, state = random_params(cell), random_state(cell, random_params(cell))
    arrays = (numpy_tree(tuple(params)), np.asarray(inputs), *numpy_tree((state.hidden, state.cell)))
    trace = reference.lstm_forward(*arrays)
    expected = reference.lstm_backward(*arrays, trace, d_outputs(trace.hidden))
    d_params, d_inputs, d_state = by_jax(cell, params, state)
    assert_trees_close(tuple(d_params), tuple(expected)[: len(d_params)])
    assert_trees_close((d_inputs, *d_state), (expected.inputs, expected.hidden_0, expected.cell_0))


@pytest.mark.parametrize("name", sorted({*OF_ONE_PIECE, *TYPICAL}))
def test_gradients_of_every_cell_equal_finite_differences(name):
    cell = CELL_CASES[name]()
    params, inputs = random_params(cell), random_inputs()

    @jax.jit
    def losses(arguments):
        params, inputs, shift = arguments
        start = cell.initial_state(params, (B,))
        state = jax.tree.map(lambda leaf, d: leaf + d if is_inexact(leaf) else leaf, start, shift)
        return three_losses(rnnjax.unroll(cell, params, inputs, state)[1])

    start = cell.initial_state(params, (B,))
    shift = random_like(jax.tree.map(lambda x: x if is_inexact(x) else jnp.zeros(x.shape), start), 5, 0.3)
    point = params, inputs, shift
    gradient = jax.jit(jax.jacrev(losses))(point)

    def shifted(direction, distance):
        return losses(jax.tree.map(lambda x, d: x + distance * d, point, direction))

    for which in range(3):  # the params, the inputs, the initial state
        direction = [jax.tree.map(jnp.zeros_like, argument) for argument in point]
        direction[which] = unit(random_like(point[which], 11 + which))
        direction = tuple(direction)

        by_differences = (
            sum(c * (shifted(direction, k * STEP) - shifted(direction, -k * STEP)) for k, c in STENCIL.items()) / STEP
        )
        by_grad = sum(
            np.tensordot(g, d, axes=d.ndim).real  # of a complex leaf jax's gradient is d/dreal - i d/dimaginary
            for g, d in zip(jax.tree.leaves(gradient), jax.tree.leaves(direction), strict=True)
        )
        # Relative to the whole gradient: along a random direction its component may be close to nothing.
        squares = (np.sum(np.abs(g) ** 2, axis=tuple(range(1, g.ndim))) for g in jax.tree.leaves(gradient[which]))
        error = np.abs(by_grad - by_differences)
        assert (error <= 1e-9 * np.sqrt(sum(squares))).all(), error
