"""Dropout in its forms, zoneout, dropped weights: what is drawn, how often, for whom, and what that does to values.

Masks are read off the outputs of networks made for it: one whose outputs are all 1, one that counts its steps, one that
hands on what it gets. Keys are fixed, so that a test about chances has one outcome.
"""

from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from rnnjax.cells.elman import ElmanParams, ElmanState
from rnnjax.cells.lstm import LSTMState
from rnnjax.noise import NoisyState
from tests import reference
from tests.cases import B, H, I, T, random_inputs, random_like, random_params, random_state
from tests.test_errors import check

pytestmark = pytest.mark.usefixtures("x64")

RATE = 0.3
KEYS = 2000
DROPS = {
    "dropout": rnnjax.dropout,
    "dropout_of_sequences": partial(rnnjax.dropout, each="sequence"),
    "variational_dropout": rnnjax.variational_dropout,
    "zoneout": rnnjax.zoneout,
    "drop_connect": rnnjax.drop_connect,
}
LINEAR = rnnjax.elman(H, "identity")

assert_equal = partial(np.testing.assert_allclose, rtol=1e-12, atol=1e-13)


def linear_params(recurrent_kernel, bias):
    """h_t = h_{t-1} U + b, whatever the inputs are."""
    size = len(recurrent_kernel)
    return ElmanParams(np.zeros((I, size)), np.asarray(recurrent_kernel), np.full(size, float(bias)))


ONES = linear_params(np.zeros((H, H)), 1)  # h_t = 1
COUNTER = linear_params(np.eye(H), 1)  # h_t = h_{t-1} + 1
HANDS_ON = linear_params(np.eye(H), 0)  # h_t = h_{t-1}


def key(seed):
    return jax.random.key(seed)


def arrays(tree):
    return jax.tree.map(np.asarray, tree)


def words(tree):
    """The tree with the words of random keys, which can be compared, in their place."""
    return jax.tree.map(
        lambda leaf: jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf, tree
    )


def over_keys(function):
    """(KEYS, ...): what the function of a key gives, for many."""
    return np.asarray(jax.jit(jax.vmap(function))(jax.random.split(key(99), KEYS)))


def assert_mean(samples, expected):
    """Mean over keys within 4 standard errors of what is expected."""
    error = samples.std(axis=0) / np.sqrt(len(samples))
    assert (np.abs(samples.mean(axis=0) - expected) < 4 * error + 1e-12).all()


def assert_independent(draws, probability):
    """Draws (KEYS, ...) of steps, examples and units: no two of them go together more often than by chance."""
    centred = draws.reshape(KEYS, -1) - probability
    variance = probability * (1 - probability)
    covariance = centred.T @ centred / KEYS - variance * np.eye(centred.shape[1])
    assert np.abs(covariance[~np.eye(len(covariance), dtype=bool)]).max() < 5 * variance / np.sqrt(KEYS)


# Without a key


@pytest.mark.parametrize("drop", [rnnjax.dropout, rnnjax.variational_dropout, rnnjax.drop_connect])
def test_without_a_key_nothing_is_dropped(drop):
    cell = rnnjax.stack(rnnjax.lstm(H), rnnjax.gru(H))
    assert drop(cell, RATE) is cell


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


# With a key


@lru_cache
def two_counters(name):
    """A stack of two counters of 16 units, changed; ``run(key, inputs, state) -> unroll`` and single steps."""
    linear = rnnjax.elman(16, "identity")
    params = tuple(linear_params(np.eye(16), 1)._replace(kernel=jnp.zeros((width, 16))) for width in (I, 16))

    def cell(key):
        return DROPS[name](rnnjax.stack(linear, linear, all_to_output=True), 0.5, key)

    @jax.jit
    def run(key, inputs, state):
        return rnnjax.unroll(cell(key), params, inputs, state)

    @jax.jit
    def step_by_step(key, inputs, state):
        outputs = []
        for x in inputs:
            state, output = cell(key).step(params, state, x)
            outputs.append(output)
        return state, jnp.stack(outputs)

    return run, step_by_step, lambda key: cell(key).initial_state(params, (B,))


@pytest.mark.parametrize("name", DROPS)
def test_draws_depend_on_key_and_layer_and_example_and_go_on_where_a_state_is_carried_on(name):
    run, step_by_step, start = two_counters(name)
    inputs = jnp.zeros((6, B, I))

    middle, first = run(key(0), inputs[:3], start(key(0)))
    again, other = (run(key(seed), inputs[:3], start(key(seed)))[1] for seed in (0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert (first[..., :16] != first[..., 16:]).any()  # layer by layer
    alike = (first[:, 0] == first[:, 1]).all()
    assert alike == (name == "drop_connect")  # whose weights serve all examples

    final, second = run(key(0), inputs[3:], middle)
    stepped, stepwise = step_by_step(key(0), inputs, start(key(0)))
    assert_equal(stepwise, np.concatenate([first, second]))
    jax.tree.map(assert_equal, words(stepped), words(final))


@pytest.mark.parametrize("name", DROPS)
def test_a_rate_of_zero_changes_no_value(name):
    plain = rnnjax.gru(H)
    params, inputs = random_params(plain), random_inputs()
    cell = DROPS[name](plain, 0.0, key(0))
    np.testing.assert_array_equal(rnnjax.unroll(cell, params, inputs)[1], rnnjax.unroll(plain, params, inputs)[1])


@pytest.mark.parametrize("name", DROPS)
def test_keys_of_the_old_kind_are_the_same_keys(name):
    state = random_state(LINEAR, HANDS_ON)

    def one_step(key):
        cell = DROPS[name](LINEAR, 0.5, key)
        fresh = cell.initial_state(HANDS_ON, (B,))
        return cell.step(
            HANDS_ON, fresh._replace(cell=state) if isinstance(fresh, NoisyState) else state, jnp.zeros((B, I))
        )

    old, new = jax.random.PRNGKey(5), key(5)
    np.testing.assert_array_equal(one_step(old)[1], one_step(new)[1])


@pytest.mark.parametrize("name", DROPS)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_dtype_of_params_stays_the_dtype(name, dtype):
    cell = DROPS[name](rnnjax.lstm(H), RATE, key(0))
    params, inputs = jax.tree.map(lambda leaf: leaf.astype(dtype), (random_params(cell), random_inputs()))
    start = jax.eval_shape(lambda: cell.initial_state(params, (B,)))
    final, outputs = jax.eval_shape(partial(rnnjax.unroll, cell), params, inputs)
    assert outputs.dtype == dtype
    assert jax.tree.map(lambda leaf: leaf.dtype, final) == jax.tree.map(lambda leaf: leaf.dtype, start)


@pytest.mark.parametrize("name", DROPS)
def test_learned_initial_states_are_where_a_noisy_sequence_starts(name):
    plain = rnnjax.learned_initial_state(rnnjax.stack(rnnjax.lstm(H), rnnjax.gru(H)))
    params = random_params(plain)
    fresh = DROPS[name](plain, RATE, key(0)).initial_state(params, (B,))
    layers = [layer.cell if isinstance(layer, NoisyState) else layer for layer in fresh]
    jax.tree.map(np.testing.assert_array_equal, layers, list(plain.initial_state(params, (B,))))


def test_after_a_reset_the_draws_are_those_of_the_first_steps_again():
    cell = rnnjax.zoneout(LINEAR, 0.5, key(0))
    inputs = jnp.zeros((6, B, I))
    _, outputs = rnnjax.unroll(cell, COUNTER, inputs, reset=jnp.zeros((6, B), bool).at[3].set(True))
    np.testing.assert_array_equal(outputs[3:], outputs[:3])


def test_padding_draws_nothing():
    cell = rnnjax.dropout(LINEAR, 0.5, key(0))
    inputs, mask = jnp.zeros((6, B, I)), np.array([1, 0, 1, 0, 0, 1], bool)[:, None].repeat(B, axis=1)
    _, padded = rnnjax.unroll(cell, ONES, inputs, mask=mask)
    _, outputs = rnnjax.unroll(cell, ONES, inputs[:3])
    np.testing.assert_array_equal(padded[mask[:, 0]], outputs)


def test_gradients_under_a_fixed_key_are_the_slopes():
    cell = rnnjax.gru(H)
    for seed, drop in enumerate([*DROPS.values(), rnnjax.dropout]):
        cell = drop(cell, RATE, key(seed))
    params, inputs, weights = random_params(cell), random_inputs(), random_inputs(T, B, H, seed=8)

    @jax.jit
    def loss(params):
        return jnp.sum(weights * rnnjax.unroll(cell, params, inputs)[1])

    gradient = jax.jit(jax.grad(loss))(params)
    assert all((leaf != 0).any() for leaf in jax.tree.leaves(gradient))
    for seed in range(3):
        direction = random_like(params, 20 + seed)
        there, back = (loss(jax.tree.map(lambda p, d, h=h: p + h * d, params, direction)) for h in (1e-5, -1e-5))
        slope = sum(jnp.vdot(g, d) for g, d in zip(jax.tree.leaves(gradient), jax.tree.leaves(direction), strict=True))
        np.testing.assert_allclose((there - back) / 2e-5, slope, rtol=1e-6)


def test_noisy_gradients_export_to_cpu_cuda_and_tpu():
    params, inputs = random_params(LINEAR), random_inputs()

    def gradient(seed, params):
        cell = LINEAR
        for drop in DROPS.values():
            cell = drop(cell, RATE, key(seed))
        return jax.grad(lambda p: jnp.sum(rnnjax.unroll(cell, p, inputs)[1] ** 2))(params)

    platforms = ("cpu", "cuda", "tpu")
    assert jax.export.export(jax.jit(gradient), platforms=platforms)(0, params).platforms == platforms


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


# Zoneout


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
    kept = np.asarray(outputs == start.cell.hidden).all(axis=0)
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
    response = cell.step(params, zeros, jnp.eye(I))[1] - params.bias
    kept = np.abs(np.asarray(response)) > 1e-12
    assert_equal(response, np.where(kept, params.kernel / (1 - RATE), 0))
    assert 0 < kept.mean() < 1
    # And nothing else is dropped.
    undropped = cell.step(params, ElmanState(jnp.eye(H)), jnp.zeros((H, I)))[1] - params.bias
    assert_equal(undropped, params.recurrent_kernel)


# Errors

LSTM = rnnjax.lstm(H)


@pytest.mark.parametrize("name", DROPS)
def test_rates_that_are_none(name):
    for rate in (-0.1, 1.5, float("nan")):
        check(
            ValueError, ["rate is", "expected a number from 0 to 1"], lambda rate=rate: DROPS[name](LSTM, rate, key(0))
        )
    for rate in ("0.5", None, True):
        check(
            TypeError, ["rate is", repr(rate), "expected a number"], lambda rate=rate: DROPS[name](LSTM, rate, key(0))
        )


@pytest.mark.parametrize("name", [name for name in DROPS if name != "zoneout"])
def test_a_rate_that_leaves_nothing(name):
    check(ValueError, ["rate is 1", "expected less than 1"], lambda: DROPS[name](LSTM, 1.0))


@pytest.mark.parametrize("name", DROPS)
@pytest.mark.parametrize("bad", [0, "key", jnp.zeros(2), np.zeros(2)])
def test_keys_that_are_none(name, bad):
    parts = ["key is", "expected a random key", "jax.random.key(0)", "None to evaluate"]
    check(TypeError, parts, lambda: DROPS[name](LSTM, RATE, bad))


@pytest.mark.parametrize("name", DROPS)
@pytest.mark.parametrize("k", [None, 0])
def test_noise_in_something_else(name, k):
    receiver = name.removesuffix("_of_sequences")
    parts = [f"{receiver} received lstm", "expected cells", f"{receiver}(lstm(64), 0.1, key)"]
    check(TypeError, parts, lambda: DROPS[name](rnnjax.lstm, RATE, k if k is None else key(k)))


def test_dropout_each_of_something_else():
    parts = ["unknown each 'steps'", "did you mean 'step'", "valid names: sequence, step"]
    check(ValueError, parts, lambda: rnnjax.dropout(LSTM, RATE, key(0), each="steps"))


def run(cell):
    return lambda: rnnjax.unroll(cell, random_params(cell), random_inputs())


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


def test_drop_connect_from_params_without_such_names():
    parts = ["drop_connect found no recurrent_kernel or recurrent_weight", "(.kernel, .bias)", "names"]
    check(ValueError, parts, run(rnnjax.drop_connect(rnnjax.min_gru(H), RATE, key(0))))


@pytest.mark.parametrize("k", [None, 0])
def test_rates_of_zoneout_in_another_structure_than_the_state(k):
    cell = rnnjax.zoneout(rnnjax.gru(H), LSTMState(0.1, 0.5), k if k is None else key(k))
    check(ValueError, ["rate is LSTMState", "the state is a GRUState", "expected one number"], run(cell))
