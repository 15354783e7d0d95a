"""What combinators compute, and their layers without a memory: masks, resets, the parallel form, dL/ds_t.

That each keeps the protocol of a cell, and dL/ds_t by brute force, is in the tests over CELL_CASES and in test_nesting;
``stack`` and ``learned_initial_state`` themselves are in test_cells.
"""

from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from rnnjax import Cell
from rnnjax.combinators.compose import each_layer
from tests import reference
from tests.cases import B, H, I, T, random_inputs, random_like, random_params, unrolled

pytestmark = pytest.mark.usefixtures("x64")

assert_equal = partial(np.testing.assert_allclose, rtol=1e-11, atol=1e-13)


def assert_trees_equal(received, expected):
    assert jax.tree.structure(received) == jax.tree.structure(expected)
    jax.tree.map(assert_equal, received, expected)


def arrays(tree):
    return jax.tree.map(np.asarray, tree)


# Equations


def test_residual_adds_the_inputs_to_the_outputs():
    cell = rnnjax.residual(rnnjax.elman(I))
    params, inputs = random_params(cell), random_inputs()
    outputs = reference.elman_forward(arrays(tuple(params)), arrays(inputs), np.zeros((B, I)))
    final, received = rnnjax.unroll(cell, params, inputs)
    assert_equal(received, inputs + outputs)
    assert_trees_equal(arrays([final[0].hidden, final[1].hidden]), arrays([outputs[-1], inputs[-1]]))


def test_highway_mixes_inputs_and_outputs_by_its_gate():
    cell = rnnjax.highway(rnnjax.elman(I))
    params, inputs = random_params(cell), random_inputs()
    outputs = reference.elman_forward(arrays(tuple(params.cell)), arrays(inputs), np.zeros((B, I)))
    gate = reference.sigmoid(arrays(inputs) @ params.gate.kernel + params.gate.bias[None, None])
    final, received = rnnjax.unroll(cell, params, inputs)
    assert_equal(received, gate * outputs + (1 - gate) * inputs)
    assert_trees_equal(arrays([layer.hidden for layer in final]), arrays([outputs[-1], gate[-1], inputs[-1]]))


def test_highway_at_first_lets_most_of_the_inputs_through():
    params = rnnjax.highway(rnnjax.elman(I)).init(jax.random.key(0), I)
    np.testing.assert_array_equal(params.gate.bias, -2 * np.ones(I))
    params = rnnjax.highway(rnnjax.elman(I), bias=3).init(jax.random.key(0), I)
    np.testing.assert_array_equal(params.gate.bias, 3 * np.ones(I))


def test_layer_norm_standardizes_the_outputs_then_scales_them():
    cell = rnnjax.layer_norm(rnnjax.elman(H))
    params, inputs = random_params(cell), random_inputs()
    outputs = reference.elman_forward(arrays(tuple(params.cell)), arrays(inputs), np.zeros((B, H)))
    _, received = rnnjax.unroll(cell, params, inputs)
    mean, variance = outputs.mean(-1, keepdims=True), outputs.var(-1, keepdims=True)
    expected = np.asarray(params.norm.scale) * (outputs - mean) / np.sqrt(variance + 1e-5) + np.asarray(
        params.norm.bias
    )
    assert_equal(received, expected)


def test_layer_norm_is_that_of_flax():
    linen = pytest.importorskip("flax.linen")
    plain, cell = rnnjax.elman(H), rnnjax.layer_norm(rnnjax.elman(H))
    params, inputs = random_params(cell), random_inputs()
    _, outputs = rnnjax.unroll(plain, params.cell, inputs)
    norm = linen.LayerNorm(epsilon=1e-5, use_fast_variance=False, param_dtype=jnp.float64)
    with jax.numpy_dtype_promotion("standard"):  # flax widens what is already wide
        expected = norm.apply({"params": params.norm._asdict()}, outputs)
    assert_equal(rnnjax.unroll(cell, params, inputs)[1], expected)


def test_layer_norm_starts_with_scale_one_and_bias_zero():
    params = rnnjax.layer_norm(rnnjax.lstm(H)).init(jax.random.key(0), I)
    np.testing.assert_array_equal(params.norm.scale, np.ones(H))
    np.testing.assert_array_equal(params.norm.bias, np.zeros(H))


# Layers without a memory in a sequence


def deep_cell() -> Cell:
    return rnnjax.stack(rnnjax.elman(H), rnnjax.residual(rnnjax.layer_norm(rnnjax.highway(rnnjax.gru(H)))))


MASKS = np.array([[1, 1, 1, 0, 0], [0, 1, 1, 0, 1], [0, 0, 0, 0, 0]], bool).T  # (T, examples)


@lru_cache
def deep(reverse=False):
    cell = deep_cell()

    def loss(params, inputs, mask, reset):
        result = rnnjax.unroll(cell, params, inputs, mask=mask, reset=reset, reverse=reverse)
        return jnp.sum(result[1] ** 2 + result[1] ** 3), result

    @jax.jit
    def run(params, inputs, mask=None, reset=None):
        gradients, result = jax.grad(loss, argnums=(0, 1), has_aux=True)(params, inputs, mask, reset)
        return result, gradients

    return cell, random_params(cell), run


@pytest.mark.slow
@pytest.mark.parametrize("reverse", [False, True])
def test_masked_sequence_equals_the_sequence_without_its_padding(reverse):
    cell, params, run = deep(reverse)
    inputs, real = random_inputs(T, 3, I), MASKS.any(axis=0)
    padded = jnp.where(MASKS[..., None], inputs, np.nan)
    (final, outputs), (d_params, d_inputs) = run(params, padded, MASKS)
    assert (outputs[~MASKS] == 0).all()
    assert (d_inputs[~MASKS] == 0).all()

    def without_padding(sequences):
        return np.stack([sequences[MASKS[:, b], b] for b in np.flatnonzero(real)], axis=1)

    expected, (d_expected, d_inputs_expected) = run(params, without_padding(inputs))
    finals_of_real = jax.tree.map(lambda leaf: leaf[real], final)
    assert_trees_equal((finals_of_real, without_padding(outputs)), arrays(expected))
    assert_trees_equal((d_params, without_padding(d_inputs)), (d_expected, d_inputs_expected))
    assert_trees_equal(jax.tree.map(lambda leaf: leaf[~real], final), cell.initial_state(params, (1,)))


def test_reset_parts_a_sequence_in_two():
    _, params, run = deep()
    inputs, starts = random_inputs(6, 2, I), np.zeros((6, 2), bool)
    starts[3] = True
    (final, outputs), (_, d_inputs) = run(params, inputs, reset=starts)
    (_, first), (_, d_first) = run(params, inputs[:3])
    (expected, second), (_, d_second) = run(params, inputs[3:])
    assert_trees_equal(final, expected)
    assert_equal(outputs, np.concatenate([first, second]))
    assert_equal(d_inputs, np.concatenate([d_first, d_second]))


@pytest.mark.slow
def test_parallel_equals_scan_in_a_stack_of_all_combinators():
    layers = [
        rnnjax.min_gru(I),
        rnnjax.residual(rnnjax.learned_initial_state(rnnjax.min_gru(I))),
        rnnjax.highway(rnnjax.sru(I)),
        rnnjax.layer_norm(rnnjax.min_gru(H)),
    ]
    cell = rnnjax.stack(*layers, all_to_output=True)
    params, inputs = random_params(cell), random_inputs()
    mask = np.arange(T)[:, None] < np.array([T, 3])
    reset = np.eye(T, B, -2, dtype=bool)

    @jax.jit
    def run(params):
        def of(method):
            def loss(params):
                result = rnnjax.unroll(cell, params, inputs, mask=mask, reset=reset, reverse=True, method=method)
                return jnp.sum(result[1] ** 2), result

            return jax.grad(loss, has_aux=True)(params)

        return of("scan"), of("parallel")

    scan, parallel = run(params)
    assert_trees_equal(parallel, scan)


# dL/ds_t past a layer


def flow_through(layers):
    """dL/ds_t at the lowest and at the highest layer, all of whose weights are half the identity, none recurrent."""
    cell = rnnjax.stack(*layers)

    def halved(path, leaf):
        name = jax.tree_util.keystr(path[-1:], simple=True)
        return jnp.eye(H) / 2 if name == "kernel" and leaf.shape == (H, H) else jnp.zeros(leaf.shape)

    params = jax.tree_util.tree_map_with_path(halved, random_params(cell, input_size=H))
    flow = jax.jit(lambda params, inputs: rnnjax.gradient_flow(cell, params, inputs, jnp.sum))(
        params, random_inputs(T, H)
    )
    return flow.state[0].hidden, flow.state[-1]


@pytest.mark.slow
def test_past_residual_layers_the_gradient_does_not_shrink_as_it_does_through_a_plain_stack():
    depth = 4
    lowest, highest = flow_through([rnnjax.elman(H) for _ in range(1 + depth)])
    assert (lowest <= 0.5**depth * highest.hidden).all()
    lowest, highest = flow_through([rnnjax.elman(H), *(rnnjax.residual(rnnjax.elman(H)) for _ in range(depth))])
    # Each layer adds x to tanh(x / 2), and so multiplies the gradient by 1 to 1.5, unit by unit.
    assert (lowest >= highest[0].hidden).all()
    assert (lowest <= 1.5**depth * highest[0].hidden).all()


# Learned initial states


def test_learned_initial_state_enters_the_parallel_form():
    plain = rnnjax.min_gru(H)
    cell = rnnjax.learned_initial_state(plain)
    params, inputs = random_params(cell), random_inputs()
    start = jax.tree.map(lambda leaf: np.stack([leaf] * B), params.state)
    expected = unrolled(plain, params.cell, inputs, start)
    assert_trees_equal(unrolled(cell, params, inputs, method="parallel"), expected)


def test_random_keys_in_a_state_are_not_learned():
    noisy = rnnjax.dropout(rnnjax.lstm(H), 0.5, jax.random.key(0))
    cell = rnnjax.learned_initial_state(noisy)
    params = random_params(cell)
    assert params.state.key is None
    assert params.state.cell.hidden.shape == (H,)
    start, expected = cell.initial_state(params, (B,)), noisy.initial_state(params.cell, (B,))
    np.testing.assert_array_equal(jax.random.key_data(start.key), jax.random.key_data(expected.key))
    np.testing.assert_array_equal(start.cell.cell, np.stack([params.state.cell.cell] * B))


def test_the_count_of_a_clock_is_not_learned():
    cell = rnnjax.learned_initial_state(rnnjax.clockwork(H, (1, 2, 3)))
    params, inputs = cell.init(jax.random.key(0), I), random_inputs()
    gradient = jax.jit(jax.grad(lambda p: jnp.sum(rnnjax.unroll(cell, p, inputs)[1] ** 2)))(params)
    assert params.state.step is None
    assert (gradient.state.hidden != 0).all()


# Changes to every layer


def test_each_layer_changes_those_with_a_memory_wherever_they_lie_and_keeps_what_was_learned():
    inner = rnnjax.learned_initial_state(rnnjax.stack(rnnjax.gru(H), rnnjax.residual(rnnjax.elman(H))))
    cell = rnnjax.stack(rnnjax.layer_norm(rnnjax.lstm(H)), rnnjax.highway(inner))
    paths = []

    def halve(layer, path):
        paths.append(path)
        return layer._replace(advance=lambda *arguments: jax.tree.map(lambda leaf: leaf / 2, layer.advance(*arguments)))

    changed = each_layer(cell, halve)
    params = random_params(cell, input_size=H)
    assert_trees_equal(changed.initial_state(params, (B,)), cell.initial_state(params, (B,)))
    start = jax.tree.map(lambda leaf: random_like(leaf, 1), cell.initial_state(params, (B,)))
    state = changed.advance(params, start, changed.project(params, random_inputs(B, H)))
    assert set(paths) == {(0, 0), (1, 0, 0), (1, 0, 1, 0)}

    lowest = rnnjax.lstm(H)
    plain = lowest.advance(params[0].cell, start[0][0], lowest.project(params[0].cell, random_inputs(B, H)))
    assert_trees_equal(state[0][0], jax.tree.map(lambda leaf: leaf / 2, plain))
    # A layer without a memory is as it was: what highway passes on is the output of the layer below.
    np.testing.assert_array_equal(state[1][2].hidden, state[0][1].hidden)


# Functions of a composed cell that are replaced


COMPOSED = [
    rnnjax.stack(rnnjax.gru(I), rnnjax.elman(I)),
    rnnjax.repeat(rnnjax.elman(I), 2),
    rnnjax.residual(rnnjax.lstm(I)),
    rnnjax.stack(rnnjax.dense(I), rnnjax.dense(I)),
]


@pytest.mark.parametrize("cell", COMPOSED, ids=repr)
def test_a_function_that_replaces_one_of_a_composed_cell_runs(cell):
    params, inputs = random_params(cell), random_inputs()
    kept = cell._replace(advance=lambda params, state, drive: state)
    state, outputs = rnnjax.unroll(kept, params, inputs)
    assert_trees_equal(state, cell.initial_state(params, (B,)))
    assert_equal(outputs, np.stack([cell.output(params, state)] * T))
    doubled = cell._replace(output=lambda *arguments: 2 * cell.output(*arguments))
    assert_equal(rnnjax.unroll(doubled, params, inputs)[1], 2 * rnnjax.unroll(cell, params, inputs)[1])
    halved = cell._replace(project=lambda *arguments: cell.project(*arguments) / 2)
    assert_equal(rnnjax.unroll(halved, params, inputs)[1], rnnjax.unroll(cell, params, inputs / 2)[1])


def test_a_replaced_recurrence_is_no_longer_said_to_be_affine_or_without_a_memory():
    affine, memoryless = rnnjax.min_gru(H), rnnjax.dense(H)
    params, inputs = random_params(affine), random_inputs()
    kept = affine._replace(advance=lambda params, state, drive: state)
    with pytest.raises(ValueError, match="not affine"):
        rnnjax.unroll(kept, params, inputs, method="parallel")

    params = random_params(memoryless)
    summed = memoryless._replace(
        advance=lambda params, state, drive: type(state)(state.hidden + memoryless.advance(params, state, drive).hidden)
    )
    expected = np.cumsum(rnnjax.unroll(memoryless, params, inputs)[1], axis=0)
    assert_equal(rnnjax.unroll(summed, params, inputs)[1], expected)
