"""The protocol that every cell keeps, a user's own included; the cells' equations; their initializers."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from experiments.common import checkpoint
from rnnjax import initializers
from rnnjax.engine.norms import is_inexact
from tests import reference
from tests.cases import (
    CELL_CASES,
    OF_ONE_PIECE,
    TYPICAL,
    B,
    H,
    I,
    T,
    random_inputs,
    random_like,
    random_params,
    random_state,
)

A = 3  # a second batch axis
PLATFORMS = ("cpu", "cuda", "tpu")


def assert_trees_close(received, expected, rtol=1e-6, atol=1e-6):
    assert jax.tree.structure(received) == jax.tree.structure(expected)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=rtol, atol=atol), received, expected)


def signature(tree):
    return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree)


def sum_of_squares(cell, params, inputs):
    return jnp.sum(rnnjax.unroll(cell, params, inputs)[1] ** 2)


# The protocol


def test_init_depends_on_its_key_alone(cell):
    first, again, other = (cell.init(jax.random.key(seed), I) for seed in (0, 0, 1))
    assert_trees_close(first, again, rtol=0, atol=0)
    assert any((a != b).any() for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(other), strict=True))


def test_one_unroll_equals_single_steps_and_a_scan_over_the_step(cell):
    params, inputs = random_params(cell), random_inputs()
    start = random_state(cell, params)
    final, outputs = jax.jit(partial(rnnjax.unroll, cell))(params, inputs, start)

    step, state, stepwise = jax.jit(cell.step), start, []
    for x in inputs:
        new_state, output = step(params, state, x)
        assert signature(new_state) == signature(state)
        state = new_state
        stepwise.append(output)
    assert_trees_close((state, jnp.stack(stepwise)), (final, outputs))

    scanned = jax.jit(lambda params: jax.lax.scan(partial(cell.step, params), start, inputs))(params)
    assert_trees_close(scanned, (final, outputs))


def test_leading_axes_are_independent_examples(x64, cell):
    params, x = random_params(cell), random_inputs(A, B, I)
    state = random_state(cell, params, (A, B))
    stepped = cell.step(params, state, x)  # operation by operation: most of them other cells need, too
    for index in (0, A - 1, (1, 1)):
        state_of_one, expected = jax.tree.map(lambda leaf, index=index: leaf[index], (state, stepped))
        assert_trees_close(cell.step(params, state_of_one, x[index]), expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("name", sorted({*OF_ONE_PIECE, *TYPICAL}))
def test_vmap_over_params_equals_one_after_the_other_and_gradients_are_finite_even_at_zero(name):
    cell = CELL_CASES[name]()
    inputs, several = random_inputs(), [random_params(cell, seed) for seed in (0, 1)]
    several.append(jax.tree.map(np.zeros_like, several[0]))

    def outputs_and_gradient(params):
        outputs, vjp = jax.vjp(lambda p: rnnjax.unroll(cell, p, inputs)[1], params)
        return outputs, vjp(outputs)

    outputs, gradients = jax.jit(jax.vmap(outputs_and_gradient))(jax.tree.map(lambda *p: np.stack(p), *several))
    unroll = jax.jit(partial(rnnjax.unroll, cell))
    for mine, params in zip(np.asarray(outputs), several, strict=True):
        np.testing.assert_allclose(mine, unroll(params, inputs)[1], rtol=1e-6, atol=1e-6)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


# That float64 stays float64 is seen where values and gradients of every cell have its digits.
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_dtype_of_params_is_the_dtype_of_everything(x64, cell, dtype):
    params = jax.tree.map(lambda leaf: leaf.astype(dtype), random_params(cell))
    inputs = random_inputs().astype(dtype)
    start = jax.eval_shape(lambda: cell.initial_state(params, (B,)))
    final, outputs = jax.eval_shape(partial(rnnjax.unroll, cell), params, inputs)
    assert signature(final) == signature(start)
    assert outputs.dtype == dtype
    stepped, output = jax.eval_shape(cell.step, params, start, inputs[0])
    assert signature(stepped) == signature(start)
    flow = jax.eval_shape(lambda p: rnnjax.gradient_flow(cell, p, inputs, jnp.sum), params)
    assert output.dtype == flow.loss.dtype == dtype
    # A complex state (lru) is complex64 at the least: there are no complex numbers of half precision.
    for leaf in filter(is_inexact, jax.tree.leaves(start)):
        assert leaf.dtype == (jnp.complex64 if jnp.iscomplexobj(leaf) else dtype)
    for norm in jax.tree.leaves((flow.state, flow.examples, flow.parameters)):
        assert norm.dtype == jnp.float32


def test_bfloat16_computes_what_float64_does_of_the_same_numbers(x64, cell):
    params = jax.tree.map(lambda leaf: (leaf / 2).astype(jnp.bfloat16), random_params(cell))
    inputs = random_inputs().astype(jnp.bfloat16)

    def outputs(params, inputs):  # operation by operation: little is compiled that other cells do not need, too
        state, outputs = cell.initial_state(params, (B,)), []
        for x in inputs:
            state = cell.advance(params, state, cell.project(params, x))
            outputs.append(cell.output(params, state))
        return jnp.stack(outputs)

    received = outputs(params, inputs)
    expected = outputs(*jax.tree.map(lambda leaf: leaf.astype(jnp.float64), (params, inputs)))
    # A rounding changes a number by 2^-8 of itself at most. With weights as small as these no step makes the errors
    # of the steps before it much larger, so that they add up: one for each of the T steps.
    error = jnp.abs(received.astype(jnp.float64) - expected).max()
    assert error < T * 2.0**-8 * jnp.abs(expected).max()


@pytest.mark.slow
def test_params_and_states_come_back_from_a_checkpoint_as_they_were(tmp_path):
    saved = {}
    for name, make in CELL_CASES.items():
        params = random_params(make())
        narrow = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params)
        saved[name] = {"params": params, "state": random_state(make(), narrow)}
    checkpoint.save(tmp_path, 1, saved, {})
    step, restored, _ = checkpoint.restore(tmp_path, jax.tree.map(jnp.zeros_like, saved))
    assert step == 1
    assert jax.tree.structure(restored) == jax.tree.structure(saved)
    assert signature(restored) == signature(saved)
    assert_trees_close(restored, saved, rtol=0, atol=0)


def test_forward_and_gradient_export_to_cpu_cuda_and_tpu(cell):
    params, inputs = random_params(cell), random_inputs()
    for function in (partial(rnnjax.unroll, cell), jax.grad(partial(sum_of_squares, cell))):
        exported = jax.export.export(jax.jit(function), platforms=PLATFORMS)(params, inputs)
        assert exported.platforms == PLATFORMS
        expected = jax.eval_shape(function, params, inputs)
        assert [a.shape for a in exported.out_avals] == [leaf.shape for leaf in jax.tree.leaves(expected)]


# Equations


@pytest.mark.parametrize("activation", sorted(rnnjax.ACTIVATIONS))
def test_elman_computes_its_equation(x64, activation):
    cell = rnnjax.elman(H, activation)
    params, inputs = random_params(cell), random_inputs()
    start = random_state(cell, params)
    final, outputs = rnnjax.unroll(cell, params, inputs, start)
    arrays = jax.tree.map(np.asarray, (tuple(params), inputs, start.hidden))
    expected = reference.elman_forward(*arrays, reference.ACTIVATIONS[activation])
    np.testing.assert_allclose(outputs, expected, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(final.hidden, expected[-1], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("make", [rnnjax.lstm, rnnjax.peephole_lstm])
def test_lstm_computes_its_equations(x64, make):
    cell = make(H)
    params, inputs = random_params(cell), random_inputs()
    start = random_state(cell, params)
    final, outputs = rnnjax.unroll(cell, params, inputs, start)
    weights = jax.tree.map(np.asarray, tuple(params))
    if make is rnnjax.lstm:
        weights = (*weights, np.zeros((3, H)))
    trace = reference.lstm_forward(weights, np.asarray(inputs), np.asarray(start.hidden), np.asarray(start.cell))
    np.testing.assert_allclose(outputs, trace.hidden, rtol=1e-12)
    np.testing.assert_allclose(final.hidden, trace.hidden[-1], rtol=1e-12)
    np.testing.assert_allclose(final.cell, trace.cell[-1], rtol=1e-12)


@pytest.mark.parametrize("reset", ["before", "after"])
def test_gru_computes_the_lecture_notes_equations_with_the_update_gates_signs_turned(x64, reset):
    cell = rnnjax.gru(H, reset)
    params, inputs = random_params(cell), random_inputs()
    start = random_state(cell, params)
    _, outputs = rnnjax.unroll(cell, params, inputs, start)
    weights = reference.with_update_gate_turned(jax.tree.map(np.asarray, tuple(params)))
    expected = reference.gru_forward(weights, np.asarray(inputs), np.asarray(start.hidden), reset)
    np.testing.assert_allclose(outputs, expected, rtol=1e-12)


def test_the_two_resets_are_different_cells_unless_the_reset_gate_is_open(x64):
    before, after = rnnjax.gru(H), rnnjax.gru(H, "after")
    params, inputs = random_params(before), random_inputs()

    def outputs(bias_of_reset):
        opened = params._replace(bias=params.bias.at[:H].set(bias_of_reset))
        with_c = jax.eval_shape(lambda: after.init(jax.random.key(0), I))._replace(
            **opened._asdict(), recurrent_bias=jnp.zeros(H)
        )
        return rnnjax.unroll(before, opened, inputs)[1], rnnjax.unroll(after, with_c, inputs)[1]

    np.testing.assert_allclose(*outputs(bias_of_reset=50.0), rtol=1e-12)
    assert np.abs(np.subtract(*outputs(bias_of_reset=0.0))).max() > 1e-2


def test_stack_feeds_each_layer_with_the_one_below(x64):
    cells = [rnnjax.lstm(H), rnnjax.elman(H - 1), rnnjax.gru(H)]
    params, inputs = random_params(rnnjax.stack(*cells)), random_inputs()
    layer_inputs, finals = inputs, []
    for cell, p in zip(cells, params, strict=True):
        final, layer_inputs = rnnjax.unroll(cell, p, layer_inputs)
        finals.append(final)
    final, outputs = rnnjax.unroll(rnnjax.stack(*cells), params, inputs)
    assert_trees_close((final, outputs), (tuple(finals), layer_inputs), rtol=1e-13, atol=0)


def test_skip_connections_show_the_input_to_all_layers_and_all_layers_to_the_output(x64):
    cells = [rnnjax.elman(H), rnnjax.elman(H - 1)]
    cell = rnnjax.stack(*cells, input_to_all=True, all_to_output=True)
    params, inputs = random_params(cell), random_inputs()
    arrays = jax.tree.map(np.asarray, [tuple(p) for p in params])
    first = reference.elman_forward(arrays[0], np.asarray(inputs), np.zeros((B, H)))
    second = reference.elman_forward(arrays[1], np.concatenate([inputs, first], axis=-1), np.zeros((B, H - 1)))
    _, outputs = rnnjax.unroll(cell, params, inputs)
    np.testing.assert_allclose(outputs, np.concatenate([first, second], axis=-1), rtol=1e-12)


def test_learned_initial_state_starts_at_zero_and_serves_every_example():
    plain = rnnjax.lstm(H)
    cell = rnnjax.learned_initial_state(plain)
    params, inputs = cell.init(jax.random.key(0), I), random_inputs()
    assert_trees_close(rnnjax.unroll(cell, params, inputs), rnnjax.unroll(plain, params.cell, inputs), rtol=0, atol=0)

    learned = params._replace(state=random_like(params.state, 4))
    start = jax.tree.map(lambda leaf: jnp.stack([leaf] * B), learned.state)
    expected = rnnjax.unroll(plain, params.cell, inputs, start)
    assert_trees_close(rnnjax.unroll(cell, learned, inputs), expected, rtol=0, atol=0)


@pytest.mark.parametrize("name", sorted(rnnjax.CELLS))
def test_cells_by_name_have_the_size_asked_for(name):
    cell = rnnjax.cell_named(name)(H)
    outputs = jax.eval_shape(lambda p: rnnjax.unroll(cell, p, random_inputs())[1], random_params(cell))
    assert outputs.shape == (T, B, H)


# Initial params


def test_recurrent_blocks_are_orthogonal_by_default(x64):
    for cell, blocks in [(rnnjax.elman(H), 1), (rnnjax.lstm(H), 4), (rnnjax.peephole_lstm(H), 4), (rnnjax.gru(H), 3)]:
        kernels = np.split(cell.init(jax.random.key(0), I).recurrent_kernel, blocks, axis=1)
        for kernel in kernels:
            np.testing.assert_allclose(kernel.T @ kernel, np.eye(H), atol=1e-14)
        assert all(np.abs(kernels[0] - other).max() > 1e-3 for other in kernels[1:])


@pytest.mark.parametrize("make", [rnnjax.lstm, rnnjax.peephole_lstm])
@pytest.mark.parametrize(("options", "forget_bias"), [({}, 1.0), ({"forget_bias": 5.0}, 5.0)])
def test_forget_bias_is_that_of_the_forget_gate_alone(make, options, forget_bias):
    bias = make(H, **options).init(jax.random.key(0), I).bias
    np.testing.assert_array_equal(bias.reshape(4, H), np.outer([0, forget_bias, 0, 0], np.ones(H)))


def test_irnn_starts_from_the_identity():
    init = initializers.identity()
    np.testing.assert_array_equal(init(jax.random.key(0), (H, H)), np.eye(H))
    np.testing.assert_array_equal(initializers.identity(0.5)(jax.random.key(0), (H, H)), np.eye(H) / 2)
    params = rnnjax.elman(H, "relu", recurrent_init=init).init(jax.random.key(0), I)
    np.testing.assert_array_equal(params.recurrent_kernel, np.eye(H))


@pytest.mark.parametrize("size", [1, 2, 7, 30])
@pytest.mark.parametrize("radius", [0.5, 1.0, 1.7])
def test_spectral_normal_has_the_largest_eigenvalue_modulus_asked_for(x64, size, radius):
    init = jax.jit(initializers.spectral_normal(radius), static_argnums=1)
    for seed in range(3):
        matrix = init(jax.random.key(seed), (size, size))
        np.testing.assert_allclose(np.abs(np.linalg.eigvals(matrix)).max(), radius, rtol=1e-9)


def test_spectral_normal_works_in_the_default_precision():
    matrix = initializers.spectral_normal(1.2)(jax.random.key(0), (H, H))
    assert matrix.dtype == jnp.float32
    np.testing.assert_allclose(np.abs(np.linalg.eigvals(matrix)).max(), 1.2, rtol=1e-5)


def test_spectral_radius_of_a_nilpotent_matrix_is_zero(x64):
    assert initializers.spectral_radius(jnp.triu(jnp.ones((4, 4)), 1)) == 0


@pytest.mark.slow
def test_spectral_normal_exports_to_cpu_cuda_and_tpu():
    init = jax.jit(lambda seed: initializers.spectral_normal(1.2)(jax.random.key(seed), (H, H)))
    assert jax.export.export(init, platforms=PLATFORMS)(0).platforms == PLATFORMS
