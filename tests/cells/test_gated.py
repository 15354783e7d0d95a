"""Variants of LSTM and GRU: their equations, what each was made for, their initial params, their errors."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from tests import reference, reference_gated
from tests.cases import B, H, I, T, random_inputs, random_params, random_state
from tests.test_errors import check


def numpy_tree(tree):
    return jax.tree.map(np.asarray, tree)


def without_recurrent_weights(params):
    return params._replace(recurrent_kernel=jnp.zeros_like(params.recurrent_kernel))


# Equations


@pytest.mark.parametrize("name", ["cifg_lstm", "lstm_1997", "layer_norm_lstm"])
def test_lstm_variants_compute_their_equations(x64, name):
    cell = getattr(rnnjax, name)(H)
    params, inputs = random_params(cell), random_inputs()
    start = random_state(cell, params)
    final, outputs = rnnjax.unroll(cell, params, inputs, start)
    hiddens, cells = getattr(reference_gated, name)(*numpy_tree((tuple(params), inputs)), *numpy_tree(tuple(start)))
    np.testing.assert_allclose(outputs, hiddens, rtol=1e-11)
    np.testing.assert_allclose(final.hidden, hiddens[-1], rtol=1e-11)
    np.testing.assert_allclose(final.cell, cells[-1], rtol=1e-11)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("janet", {}),
        ("janet", {"beta": 0.3}),
        ("minimal_gated_unit", {}),
        ("ugrnn", {}),
        ("recurrent_highway", {}),
        ("recurrent_highway", {"depth": 1}),
        ("recurrent_highway", {"depth": 5}),
    ],
)
def test_cells_of_one_state_compute_their_equations(x64, name, options):
    cell = getattr(rnnjax, name)(H, **options)
    params, inputs = random_params(cell), random_inputs()
    start = random_state(cell, params)
    final, outputs = rnnjax.unroll(cell, params, inputs, start)
    arguments = {"beta": options["beta"]} if "beta" in options else {}
    loop = partial(getattr(reference_gated, name), **arguments)
    expected = loop(*numpy_tree((tuple(params), inputs, start.hidden)))
    np.testing.assert_allclose(outputs, expected, rtol=1e-11)
    np.testing.assert_allclose(final.hidden, expected[-1], rtol=1e-11)


# sLSTM: the stabilizer


def test_slstm_equals_its_unstabilized_form_where_that_does_not_overflow(x64):
    cell = rnnjax.slstm(H)
    params, inputs = random_params(cell), random_inputs()
    final, outputs = rnnjax.unroll(cell, params, inputs)
    zeros = np.zeros((B, H))
    hiddens, memories, normalizers = reference_gated.slstm_unstabilized(
        *numpy_tree((tuple(params), inputs)), zeros, zeros, zeros
    )
    np.testing.assert_allclose(outputs, hiddens, rtol=1e-11)
    np.testing.assert_allclose(final.cell * np.exp(final.stabilizer), memories[-1], rtol=1e-11)
    np.testing.assert_allclose(final.normalizer * np.exp(final.stabilizer), normalizers[-1], rtol=1e-11)


def test_slstm_goes_on_from_a_given_state_as_its_unstabilized_form_does(x64):
    cell = rnnjax.slstm(H)
    params, inputs = random_params(cell), random_inputs()
    start = random_state(cell, params)
    start = start._replace(normalizer=jnp.exp(start.normalizer))
    _, outputs = rnnjax.unroll(cell, params, inputs, start)
    hidden, memory, normalizer, stabilizer = numpy_tree(tuple(start))
    unit = np.exp(stabilizer)
    expected = reference_gated.slstm_unstabilized(
        *numpy_tree((tuple(params), inputs)), hidden, memory * unit, normalizer * unit
    )
    np.testing.assert_allclose(outputs, expected[0], rtol=1e-11)


@pytest.mark.parametrize("input_bias", [-1000.0, 1000.0])
def test_slstm_is_finite_and_right_where_the_unstabilized_form_is_not(input_bias):
    cell = rnnjax.slstm(H)
    params, inputs = random_params(cell), random_inputs()
    far = params._replace(bias=params.bias.at[:H].set(input_bias))

    @jax.jit
    def outputs_and_gradient(params):
        outputs, vjp = jax.vjp(lambda params: rnnjax.unroll(cell, params, inputs)[1], params)
        return outputs, vjp(outputs)

    with np.errstate(all="ignore"):
        zeros = np.zeros((B, H), np.float32)
        overflown = reference_gated.slstm_unstabilized(*numpy_tree((tuple(far), inputs)), zeros, zeros, zeros)[0]
    assert not np.isfinite(overflown).all()

    outputs, gradient = outputs_and_gradient(far)
    for leaf in jax.tree.leaves((outputs, gradient)):
        assert np.isfinite(leaf).all()
    # A factor common to all input gates cancels in c / n.
    expected, _ = outputs_and_gradient(params._replace(bias=params.bias.at[:H].set(0)))
    np.testing.assert_allclose(outputs, expected, rtol=2e-3, atol=1e-4)


def test_slstms_first_step_is_its_candidate_alone(x64):
    cell = rnnjax.slstm(H)
    params, inputs = random_params(cell), random_inputs()
    final, outputs = rnnjax.unroll(cell, params, inputs[:1])
    i, _, g, o = np.split(inputs[0] @ params.kernel + params.bias[None], 4, axis=-1)
    np.testing.assert_allclose(outputs[0], reference.sigmoid(o) * np.tanh(g), rtol=1e-13)
    np.testing.assert_array_equal(final.normalizer, np.ones((B, H)))
    np.testing.assert_allclose(final.stabilizer, i, rtol=1e-13)


def test_slstm_revises_its_memory_when_one_input_gate_is_large(x64):
    cell = rnnjax.slstm(H)
    params = without_recurrent_weights(random_params(cell))
    history = [random_inputs(T, I, seed=seed) for seed in (1, 2)]
    opened = params._replace(bias=params.bias.at[:H].add(60.0))
    ends = []
    for inputs in history:
        state, _ = rnnjax.unroll(cell, params, inputs)
        ends.append(cell.step(opened, state, jnp.ones(I))[1])
    np.testing.assert_allclose(*ends, rtol=1e-12)


# LSTM variants: what each is


def test_cifg_is_an_lstm_whose_input_gate_is_one_minus_its_forget_gate(x64):
    # 1 - sigmoid(a) = sigmoid(-a)
    cell, plain = rnnjax.cifg_lstm(H), rnnjax.lstm(H)
    params, inputs = random_params(cell), random_inputs()

    def with_input_gate(weight):
        f, g, o = np.split(weight, 3, axis=-1)
        return jnp.concatenate([-f, f, g, o], axis=-1)

    expanded = type(random_params(plain))(*map(with_input_gate, params))
    received, expected = rnnjax.unroll(cell, params, inputs), rnnjax.unroll(plain, expanded, inputs)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-11), received, expected)


def test_cifgs_memory_is_an_average_that_stays_within_one():
    cell = rnnjax.cifg_lstm(H)
    params = jax.tree.map(lambda leaf: 5 * leaf, random_params(cell))
    final, _ = rnnjax.unroll(cell, params, 10 * random_inputs(50, B, I))
    assert (jnp.abs(final.cell) <= 1).all()


def test_memory_of_the_1997_lstm_neither_fades_nor_grows(x64):
    cell = rnnjax.lstm_1997(H)
    params, inputs = without_recurrent_weights(random_params(cell)), random_inputs(T, I)
    zeros = cell.initial_state(params, (T,))
    jacobian = jax.jit(jax.jacrev(lambda p: rnnjax.unroll(cell, params, inputs, perturbation=p)[0].cell))(zeros).cell
    for t in range(T):  # dc_T / dc_t
        np.testing.assert_array_equal(jacobian[:, t], np.eye(H))


def test_the_1997_papers_squashing_functions_are_the_same_cell_with_half_the_candidates_weights(x64):
    cell = rnnjax.lstm_1997(H)
    params, inputs = random_params(cell), random_inputs()
    paper, zeros = numpy_tree(tuple(params)), np.zeros((B, H))
    hiddens, cells = reference_gated.lstm_1997(
        paper,
        np.asarray(inputs),
        zeros,
        zeros,
        lambda a: 4 * reference.sigmoid(a) - 2,
        lambda c: 2 * reference.sigmoid(c) - 1,
    )
    halved = jax.tree.map(lambda leaf: leaf.at[..., H : 2 * H].multiply(0.5), params)
    final, outputs = rnnjax.unroll(cell, halved, inputs)
    np.testing.assert_allclose(outputs, hiddens, rtol=1e-11)
    np.testing.assert_allclose(2 * final.cell, cells[-1], rtol=1e-11)


def test_janet_writes_more_than_it_forgets_unless_beta_is_zero(x64):
    params = random_params(rnnjax.janet(H))
    saturated = without_recurrent_weights(params)._replace(
        kernel=jnp.zeros((I, 2 * H)), bias=jnp.concatenate([jnp.full(H, 0.7), jnp.full(H, 50.0)])
    )
    inputs = jnp.zeros((300, I))  # the candidate is 1: h settles where forgetting and writing balance
    for beta in (0.0, 1.0):
        final, _ = rnnjax.unroll(rnnjax.janet(H, beta=beta), saturated, inputs)
        lost, written = reference.sigmoid(-0.7), reference.sigmoid(beta - 0.7)
        np.testing.assert_allclose(final.hidden, written / lost, rtol=1e-12)


def test_janet_without_beta_and_ugrnn_are_the_same_cell(x64):
    params, inputs = random_params(rnnjax.janet(H)), random_inputs()
    _, outputs = rnnjax.unroll(rnnjax.janet(H, beta=0), params, inputs)
    other = type(random_params(rnnjax.ugrnn(H)))(*params)
    np.testing.assert_allclose(outputs, rnnjax.unroll(rnnjax.ugrnn(H), other, inputs)[1], rtol=1e-12)


def test_layer_norm_does_not_see_the_weights_scale_nor_their_columns_common_part(x64):
    # A large scale: beside it the 1e-5 under the root vanishes.
    cell = rnnjax.layer_norm_lstm(H)
    params, inputs = random_params(cell), 1e4 * random_inputs()
    other = params._replace(kernel=3 * params.kernel + jnp.ones((I, 1)), recurrent_kernel=params.recurrent_kernel)
    start = random_state(cell, params)
    received, expected = rnnjax.unroll(cell, params, inputs, start)[1], rnnjax.unroll(cell, other, inputs, start)[1]
    np.testing.assert_allclose(received, expected, rtol=1e-8)


def test_layer_norm_gives_every_example_mean_zero_and_variance_one(x64):
    cell = rnnjax.layer_norm_lstm(64)
    params = cell.init(jax.random.key(0), I)._replace(bias=jnp.zeros(256))
    drive = jnp.concatenate(cell.project(params, 1e3 * random_inputs()), axis=-1)
    np.testing.assert_allclose(drive.mean(-1), 0, atol=1e-12)
    np.testing.assert_allclose(drive.var(-1), 1, rtol=1e-7)
    # And the memory on its way out: h = sigmoid(0) tanh(N(c)).
    opened = params._replace(kernel=jnp.zeros((I, 256)), recurrent_kernel=jnp.zeros((64, 256)))
    state = cell.initial_state(params, (B,))._replace(cell=1e3 * random_inputs(B, 64))
    normalized = jnp.arctanh(2 * cell.step(opened, state, jnp.zeros((B, I)))[1])
    np.testing.assert_allclose(normalized.mean(-1), 0, atol=1e-12)
    np.testing.assert_allclose(normalized.var(-1), 1, rtol=1e-7)


# GRU variants: what each is


@pytest.mark.slow
def test_where_all_is_zero_layer_norm_multiplies_gradients_by_316_for_each_norm(x64):
    """Through the recurrent norm, the candidate and the memory's norm: half-open gates, and 1 / sqrt(1e-5) twice."""
    cell = rnnjax.layer_norm_lstm(H)
    params = cell.init(jax.random.key(0), I)
    zero = cell.initial_state(params, ())

    def next_hidden(hidden):
        return cell.step(params, zero._replace(hidden=hidden), jnp.zeros(I))[0].hidden

    centred = params.recurrent_kernel - params.recurrent_kernel.mean(1, keepdims=True)
    candidate = centred[:, 2 * H : 3 * H]
    expected = 0.5 * 0.5 * 1e5 * (candidate - candidate.mean(1, keepdims=True)).T
    np.testing.assert_allclose(jax.jacobian(next_hidden)(zero.hidden), expected, rtol=1e-6, atol=1e-6)


def test_minimal_gated_unit_is_a_gru_with_its_gates_tied(x64):
    cell, plain = rnnjax.minimal_gated_unit(H), rnnjax.gru(H)
    params, inputs = random_params(cell), random_inputs()

    def untied(weight):
        f, n = np.split(weight, 2, axis=-1)
        return jnp.concatenate([f, -f, n], axis=-1)  # gru's z is the share that is kept

    expanded = type(random_params(plain))(*map(untied, params))
    np.testing.assert_allclose(
        rnnjax.unroll(cell, params, inputs)[1], rnnjax.unroll(plain, expanded, inputs)[1], rtol=1e-11
    )


def test_ugrnn_is_an_elman_network_when_its_gate_is_shut_to_the_past(x64):
    cell, plain = rnnjax.ugrnn(H), rnnjax.elman(H)
    params, inputs = random_params(cell), random_inputs()
    shut = params._replace(bias=params.bias.at[:H].set(-1000.0))
    candidate = type(random_params(plain))(*(leaf[..., H:] for leaf in params))
    np.testing.assert_allclose(
        rnnjax.unroll(cell, shut, inputs)[1], rnnjax.unroll(plain, candidate, inputs)[1], rtol=1e-12
    )


def test_recurrent_highway_carries_the_state_unchanged_where_its_transform_gates_are_shut(x64):
    cell = rnnjax.recurrent_highway(H, depth=4)
    params = random_params(cell)
    shut = params._replace(bias=params.bias.at[:, H:].set(-1000.0))
    start = random_state(cell, params)
    final, _ = rnnjax.unroll(cell, shut, random_inputs(), start)
    np.testing.assert_array_equal(final.hidden, start.hidden)


def test_recurrent_highways_input_enters_its_first_layer_only(x64):
    cell = rnnjax.recurrent_highway(H, depth=2)
    params = random_params(cell)
    assert params.kernel.shape == (I, 2 * H)
    # The second layer's gate wide open, without recurrent weights: nothing of the first layer, so nothing of the input.
    bias = params.bias.at[1, H:].set(1000.0)
    params = params._replace(recurrent_kernel=params.recurrent_kernel.at[1].set(0), bias=bias)
    _, outputs = rnnjax.unroll(cell, params, random_inputs())
    np.testing.assert_allclose(outputs, np.broadcast_to(np.tanh(bias[1, :H]), outputs.shape), rtol=1e-13)


# Initial params


@pytest.mark.parametrize(
    ("name", "options", "bias"),
    [
        ("cifg_lstm", {}, [1, 0, 0]),
        ("cifg_lstm", {"forget_bias": 5.0}, [5, 0, 0]),
        ("lstm_1997", {}, [0, 0, 0]),
        ("janet", {"forget_bias": 2.0}, [2, 0]),
        ("layer_norm_lstm", {}, [0, 1, 0, 0]),
        ("slstm", {"forget_bias": 3.0}, [0, 3, 0, 0]),
        ("minimal_gated_unit", {}, [0, 0]),
        ("ugrnn", {"update_bias": 2.0}, [2, 0]),
        ("recurrent_highway", {"depth": 1}, [0, -2]),
        ("recurrent_highway", {"depth": 1, "transform_bias": -4.0}, [0, -4]),
    ],
)
def test_biases_start_at_zero_but_the_one_that_is_asked_for(name, options, bias):
    params = getattr(rnnjax, name)(H, **options).init(jax.random.key(0), I)
    np.testing.assert_array_equal(params.bias.reshape(-1, H), np.outer(bias, np.ones(H)))


@pytest.mark.parametrize("name", ["cifg_lstm", "lstm_1997", "janet", "layer_norm_lstm", "slstm", "recurrent_highway"])
def test_recurrent_blocks_are_orthogonal_and_different(x64, name):
    kernel = getattr(rnnjax, name)(H).init(jax.random.key(0), I).recurrent_kernel
    blocks = np.asarray(kernel).reshape(-1, H, kernel.shape[-1] // H, H).swapaxes(1, 2).reshape(-1, H, H)
    for block in blocks:
        np.testing.assert_allclose(block.T @ block, np.eye(H), atol=1e-14)
    assert all(np.abs(blocks[0] - other).max() > 1e-3 for other in blocks[1:])


# Errors

NAMES = [
    "cifg_lstm",
    "lstm_1997",
    "janet",
    "layer_norm_lstm",
    "slstm",
    "minimal_gated_unit",
    "ugrnn",
    "recurrent_highway",
]


@pytest.mark.parametrize("name", NAMES)
def test_sizes_that_are_none(name):
    make = getattr(rnnjax, name)
    check(ValueError, ["hidden_size is 0", "at least 1"], lambda: make(0))
    check(TypeError, ["hidden_size is 2.0 (float)", "whole number"], lambda: make(2.0))
    check(ValueError, ["input_size is 0", "at least 1"], lambda: make(H).init(jax.random.key(0), 0))


def test_depths_that_are_none():
    check(ValueError, ["depth is 0", "at least 1"], lambda: rnnjax.recurrent_highway(H, 0))
    check(TypeError, ["depth is 1.5 (float)", "whole number"], lambda: rnnjax.recurrent_highway(H, depth=1.5))


def test_betas_that_are_no_numbers():
    check(ValueError, ["beta is inf", "finite"], lambda: rnnjax.janet(H, beta=float("inf")))
    check(TypeError, ["beta is 'one' (str)", "expected a number"], lambda: rnnjax.janet(H, beta="one"))
