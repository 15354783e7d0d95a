"""Dropout of outputs, of what enters recurrent products, and of weights: how often, for whom, and what values become.

Masks are read off the outputs of networks made for it, see tests/noise_cases.py. Keys are fixed, so that a test about
chances has one outcome.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from rnnjax.cells.elman import ElmanState
from tests import reference
from tests.cases import B, H, I, T, random_inputs, random_like, random_params, random_state
from tests.noise_cases import (
    COUNTER,
    HANDS_ON,
    LINEAR,
    ONES,
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


# Dropout


@pytest.mark.parametrize("each", ["step", "sequence"])
def test_dropout_keeps_outputs_at_its_rate_and_scales_them_so_that_their_mean_stays(each):
    def outputs_of(key):
        cell = rnnjax.dropout(LINEAR, RATE, key, each=each)
        return rnnjax.unroll(cell, ONES, jnp.zeros((3, B, I)))[1]

    outputs = over_keys(outputs_of)  # (KEYS, 3, B, H)
    kept = outputs != 0
    np.testing.assert_array_equal(outputs, np.where(kept, 1 / (1 - RATE), 0))
    assert_mean(outputs, 1)
    assert_mean(kept.astype(float), 1 - RATE)
    if each == "sequence":
        np.testing.assert_array_equal(kept, kept[:, :1].repeat(3, axis=1))
        kept = kept[:, :1]
    assert_independent(kept, 1 - RATE)


def test_dropout_drops_the_outputs_of_every_layer_and_nothing_of_what_recurs():
    plain = rnnjax.stack(LINEAR, LINEAR)
    params = COUNTER, COUNTER._replace(kernel=jnp.eye(H))
    cell = rnnjax.dropout(plain, 0.5, key(3))
    final, outputs = rnnjax.unroll(cell, params, jnp.zeros((T, B, I)))
    np.testing.assert_array_equal(final[0].cell.hidden, np.full((B, H), T))
    # The upper layer adds 1 and what comes up, 2 t or 0, to its own state, which is not dropped.
    hidden = final[1].cell.hidden
    assert ((hidden - T) % 2 == 0).all()
    assert (hidden != T + T * (T + 1) / 2).any()
    dropped = np.asarray(outputs[-1] == 0)
    np.testing.assert_array_equal(outputs[-1], np.where(dropped, 0, 2 * hidden))
    assert dropped.any()
    assert not dropped.all()


def test_dropout_spares_what_a_residual_connection_passes_on():
    inputs = random_inputs(T, B, H)
    params = ONES._replace(kernel=jnp.zeros((H, H)))
    _, outputs = rnnjax.unroll(rnnjax.dropout(rnnjax.residual(LINEAR), 0.5, key(0)), params, inputs)
    added = np.asarray(outputs - inputs)
    assert (np.isclose(added, 0) | np.isclose(added, 2)).all()
    assert 0 < np.isclose(added, 0).mean() < 1


def test_dropout_each_of_something_else():
    parts = ["unknown each 'steps'", "did you mean 'step'", "valid names: sequence, step"]
    check(ValueError, parts, lambda: rnnjax.dropout(rnnjax.lstm(H), RATE, key(0), each="steps"))


# Variational dropout


def scaled_masks(seed, steps=1):
    """Masks m / (1 - rate) as the product of ``HANDS_ON`` with the identity shows it, (steps, B, H)."""
    cell = rnnjax.variational_dropout(LINEAR, RATE, key(seed))
    fresh = cell.initial_state(HANDS_ON, (B,))
    states = []
    for _ in range(steps):
        fresh, _ = cell.step(HANDS_ON, fresh._replace(cell=ElmanState(jnp.ones((B, H)))), jnp.zeros((B, I)))
        states.append(fresh.cell.hidden)
    return np.stack(states)


def test_variational_dropout_draws_once_for_a_sequence_at_its_rate():
    def outputs_of(key):
        cell = rnnjax.variational_dropout(LINEAR, RATE, key)
        state = cell.initial_state(HANDS_ON, (B,))._replace(cell=ElmanState(jnp.ones((B, H))))
        return rnnjax.unroll(cell, HANDS_ON, jnp.zeros((2, B, I)), state)[1]

    outputs = over_keys(outputs_of)
    kept = outputs[:, 0] != 0
    np.testing.assert_array_equal(outputs[:, 0], np.where(kept, 1 / (1 - RATE), 0))
    assert_equal(outputs[:, 1], outputs[:, 0] ** 2)
    assert_mean(outputs[:, 0], 1)


def test_variational_dropout_of_an_elman_network_equals_a_loop_with_its_masks():
    plain = rnnjax.elman(H)
    params, inputs = random_params(plain), random_inputs()
    masks = scaled_masks(4, steps=3)
    np.testing.assert_array_equal(masks, np.stack([masks[0]] * 3))
    W, U, b = arrays(tuple(params))
    hidden, expected = np.zeros((B, H)), []
    for x in arrays(inputs):
        hidden = np.tanh(x @ W + (masks[0] * hidden) @ U + b)
        expected.append(hidden)
    assert_equal(rnnjax.unroll(rnnjax.variational_dropout(plain, RATE, key(4)), params, inputs)[1], expected)


def test_variational_dropout_of_an_lstm_drops_for_its_four_gates_alike_and_spares_the_memory():
    plain = rnnjax.lstm(H)
    params, inputs = random_params(plain), arrays(random_inputs())
    weights, masks = (*arrays(tuple(params)), np.zeros((3, H))), scaled_masks(4)[0]
    hidden = memory = np.zeros((B, H))
    expected = []
    for x in inputs:
        trace = reference.lstm_forward(weights, x[None], masks * hidden, memory)
        hidden, memory = trace.hidden[-1], trace.cell[-1]
        expected.append(hidden)
    assert_equal(rnnjax.unroll(rnnjax.variational_dropout(plain, RATE, key(4)), params, inputs)[1], expected)


def with_gru_biases(params, reset, update):
    return params._replace(bias=params.bias.at[:H].set(reset).at[H : 2 * H].set(update))


def test_variational_dropout_of_a_gru_drops_what_enters_its_two_products():
    plain = rnnjax.gru(H)
    cell, params, inputs = rnnjax.variational_dropout(plain, RATE, key(4)), random_params(plain), random_inputs()
    # With an open reset gate and a shut update gate the step shows the second product's mask.
    shown = with_gru_biases(params, 50, -50)._replace(
        recurrent_kernel=jnp.concatenate([jnp.zeros((H, 2 * H)), jnp.eye(H) / 8], axis=1), kernel=jnp.zeros((I, 3 * H))
    )
    shown = shown._replace(bias=shown.bias.at[2 * H :].set(0))
    start = cell.initial_state(params, (B,))
    state, _ = cell.step(shown, start._replace(cell=start.cell._replace(hidden=jnp.ones((B, H)))), jnp.zeros((B, I)))
    for_gates, for_candidate = scaled_masks(4)[0], np.round(8 * np.arctanh(state.cell.hidden), 9)
    assert (for_gates != for_candidate).any()
    np.testing.assert_allclose(np.unique(for_candidate), [0, 1 / (1 - RATE)], rtol=1e-8)

    (W_gates, W_n), (U_gates, U_n), (b_gates, b_n) = (
        np.split(np.asarray(weight), [2 * H], axis=-1) for weight in params
    )
    hidden, expected = np.zeros((B, H)), []
    for x in arrays(inputs):
        gates = reference.sigmoid(x @ W_gates + (for_gates * hidden) @ U_gates + b_gates)
        reset, update = np.split(gates, 2, axis=-1)
        candidate = np.tanh(x @ W_n + (for_candidate * reset * hidden) @ U_n + b_n)
        hidden = update * hidden + (1 - update) * candidate
        expected.append(hidden)
    np.testing.assert_allclose(rnnjax.unroll(cell, params, inputs)[1], expected, rtol=1e-8)


@pytest.mark.parametrize("reset", ["before", "after"])
def test_variational_dropout_of_a_gru_with_its_update_gate_open_forgets_nothing(reset):
    plain = rnnjax.gru(H, reset)
    params, inputs = with_gru_biases(random_params(plain), 0, 1e3), random_inputs()
    cell = rnnjax.variational_dropout(plain, 0.9, key(0))
    start = cell.initial_state(params, (B,))
    start = start._replace(cell=random_state(plain, params))
    final, _ = rnnjax.unroll(cell, params, inputs, start)
    np.testing.assert_array_equal(final.cell.hidden, start.cell.hidden)


@pytest.mark.parametrize(
    "product",
    [jnp.dot, lambda h, U: jnp.einsum("...h,hk->...k", h, U), lambda h, U: h @ jnp.asarray(U.T).T],
    ids=["dot", "einsum", "transposed_twice"],
)
def test_variational_dropout_finds_products_however_they_are_written(product):
    plain = rnnjax.elman(H)
    written = plain._replace(
        advance=lambda p, state, drive: ElmanState(jnp.tanh(drive + product(state.hidden, p.recurrent_kernel)))
    )
    params, inputs = random_params(plain), random_inputs()
    received, expected = (
        rnnjax.unroll(rnnjax.variational_dropout(cell, RATE, key(4)), params, inputs)[1] for cell in (written, plain)
    )
    assert_equal(received, expected)


def test_variational_dropout_spares_the_inputs_of_a_cell_that_does_all_in_its_recurrence():
    plain = rnnjax.elman(H)
    in_one = plain._replace(
        project=lambda p, inputs: inputs, advance=lambda p, state, x: plain.advance(p, state, plain.project(p, x))
    )
    params, inputs = random_params(plain), random_inputs()
    received, expected = (
        rnnjax.unroll(rnnjax.variational_dropout(cell, RATE, key(4)), params, inputs)[1] for cell in (in_one, plain)
    )
    assert_equal(received, expected)


def test_variational_dropout_finds_a_recurrent_matrix_that_is_no_param():
    reservoir = np.asarray(random_like(jax.ShapeDtypeStruct((H, H), jnp.float64), 5, 0.5))
    plain = rnnjax.elman(H)
    fixed = plain._replace(advance=lambda p, state, drive: ElmanState(jnp.tanh(drive + state.hidden @ reservoir)))
    params, inputs = random_params(plain), random_inputs()
    _, received = rnnjax.unroll(rnnjax.variational_dropout(fixed, RATE, key(4)), params, inputs)
    params = params._replace(recurrent_kernel=jnp.asarray(reservoir))
    assert_equal(received, rnnjax.unroll(rnnjax.variational_dropout(plain, RATE, key(4)), params, inputs)[1])


def test_variational_dropout_of_a_cell_without_a_recurrent_matrix():
    cell = rnnjax.variational_dropout(rnnjax.stack(rnnjax.gru(H), rnnjax.min_gru(H)), RATE, key(0))
    check(ValueError, ["no product", "recurrent matrices", "lstm or gru", "zoneout"], run(cell))


@pytest.mark.parametrize("nest", [jax.jit, jax.checkpoint])
def test_products_that_variational_dropout_cannot_reach_are_refused_not_skipped(nest):
    plain = rnnjax.elman(H)
    cell = plain._replace(advance=lambda p, s, d: plain.advance(p, nest(plain.advance)(p, s, d), d))
    noisy = rnnjax.variational_dropout(cell, 0.5, key(0))
    params = random_params(cell)
    parts = ["product with params that it cannot change", "x @ W", "jax.jit", "use dropout"]
    check(ValueError, parts, lambda: rnnjax.unroll(noisy, params, random_inputs()))


# DropConnect


def dropped_kernel(key, U, **options):
    """What the recurrent products are done with: the step's response to unit vectors, one an example."""
    cell = rnnjax.drop_connect(LINEAR, RATE, key, **options)
    return cell.step(HANDS_ON._replace(recurrent_kernel=U), ElmanState(jnp.eye(H)), jnp.zeros((H, I)))[1]


def test_drop_connect_drops_weights_at_its_rate_and_scales_them_so_that_their_mean_stays():
    U = random_params(LINEAR).recurrent_kernel
    kernels = over_keys(lambda key: dropped_kernel(key, U))
    kept = kernels != 0
    np.testing.assert_allclose(kernels, np.where(kept, U / (1 - RATE), 0), rtol=1e-15)
    assert_mean(kept.astype(float), 1 - RATE)
    assert_mean(kernels, np.asarray(U))


def test_drop_connect_is_the_plain_cell_with_a_thinned_kernel_the_same_at_all_steps_for_all_examples():
    plain = rnnjax.elman(H)
    params, inputs = random_params(plain), random_inputs()
    thinned = params._replace(recurrent_kernel=dropped_kernel(key(0), params.recurrent_kernel))
    assert (thinned.recurrent_kernel == 0).any()
    received = rnnjax.unroll(rnnjax.drop_connect(plain, RATE, key(0)), params, inputs)
    jax.tree.map(assert_equal, received, rnnjax.unroll(plain, thinned, inputs))


@pytest.mark.parametrize("names", ["kernel", ("kernel", "no_such_field")])
def test_drop_connect_drops_from_whatever_is_named_wherever_a_cell_uses_it(names):
    # The input's kernel is used in project, not in advance.
    cell = rnnjax.drop_connect(LINEAR, RATE, key(0), names)
    params = random_params(LINEAR)
    zeros = LINEAR.initial_state(params, (I,))
    response = cell.step(params, zeros, jnp.eye(I))[1] - params.bias[None]
    kept = np.abs(np.asarray(response)) > 1e-12
    assert_equal(response, np.where(kept, params.kernel / (1 - RATE), 0))
    assert 0 < kept.mean() < 1
    # And nothing else is dropped.
    undropped = cell.step(params, ElmanState(jnp.eye(H)), jnp.zeros((H, I)))[1] - params.bias[None]
    assert_equal(undropped, params.recurrent_kernel)


def test_drop_connect_from_params_without_such_names():
    parts = ["drop_connect found no recurrent_kernel or recurrent_weight", "(.kernel, .bias)", "names"]
    check(ValueError, parts, run(rnnjax.drop_connect(rnnjax.min_gru(H), RATE, key(0))))


@pytest.mark.slow
def test_drop_connect_in_layers_that_are_run_as_a_loop_has_the_gradients_that_gradient_flow_measures(x64):
    cell = rnnjax.drop_connect(rnnjax.repeat(rnnjax.stack(rnnjax.elman(H), rnnjax.elman(I)), 2), RATE, key(0))
    params, inputs = random_params(cell), random_inputs(1, B, I)  # of one step, whose share is all of the gradient

    def loss(outputs):
        return jnp.sum(outputs**2)

    flow = jax.jit(lambda params: rnnjax.gradient_flow(cell, params, inputs, loss))(params)
    gradient = jax.jit(jax.grad(lambda params: loss(rnnjax.unroll(cell, params, inputs)[1])))(params)
    for norms, leaf in zip(jax.tree.leaves(flow.parameters), jax.tree.leaves(gradient), strict=True):
        np.testing.assert_allclose(norms, np.linalg.norm(leaf.reshape(2, 1, -1), axis=-1), rtol=1e-10)
