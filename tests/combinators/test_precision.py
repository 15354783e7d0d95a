"""``mixed_precision``: products of rounded operands, everything else in full."""

from functools import partial

import jax
import jax.export
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

import rnnjax
from tests.cases import B, H, I, T, flow_of, random_inputs, random_params
from tests.test_errors import check

EPSILON = 2.0**-8  # half the distance of bfloat16 numbers, relative to them


def gradient_of(cell, params, inputs):
    return jax.grad(lambda params: jnp.sum(rnnjax.unroll(cell, params, inputs)[1] ** 2))(params)


def rounded(array):
    return np.asarray(array, np.float64).astype(ml_dtypes.bfloat16).astype(np.float64)


def test_elman_computes_its_equation_with_rounded_operands_forward_and_backward(x64):
    cell = rnnjax.mixed_precision(rnnjax.elman(H))
    params, inputs = random_params(cell), random_inputs()
    kernel, recurrent_kernel = map(rounded, (params.kernel, params.recurrent_kernel))
    hidden, states = np.zeros((B, H)), []
    for x in inputs:
        hidden = np.tanh(rounded(x) @ kernel + rounded(hidden) @ recurrent_kernel + np.asarray(params.bias))
        states.append(hidden)
    outputs = rnnjax.unroll(cell, params, inputs)[1]
    np.testing.assert_allclose(outputs, np.stack(states), rtol=1e-12)

    adjoint, d_kernel, d_recurrent = np.zeros((B, H)), np.zeros((I, H)), np.zeros((H, H))
    for t in reversed(range(T)):
        delta = (2 * states[t] + adjoint) * (1 - states[t] ** 2)
        d_kernel += rounded(inputs[t]).T @ rounded(delta)
        d_recurrent += rounded(states[t - 1] if t else np.zeros((B, H))).T @ rounded(delta)
        adjoint = rounded(delta) @ recurrent_kernel.T
    gradient = gradient_of(cell, params, inputs)
    np.testing.assert_allclose(gradient.kernel, d_kernel, rtol=1e-12)
    np.testing.assert_allclose(gradient.recurrent_kernel, d_recurrent, rtol=1e-12)


def test_the_derivative_forward_rounds_the_operands_of_its_products_too(x64):
    cell = rnnjax.mixed_precision(rnnjax.elman(H))
    params, inputs = random_params(cell), random_inputs()
    tangents = random_params(cell, seed=5), jnp.cos(inputs)
    kernel, recurrent_kernel = map(rounded, (params.kernel, params.recurrent_kernel))
    d_kernel, d_recurrent = (rounded(tangents[0].kernel), rounded(tangents[0].recurrent_kernel))
    hidden, d_hidden, derivatives = np.zeros((B, H)), np.zeros((B, H)), []
    for x, d_x in zip(inputs, tangents[1], strict=True):
        d_hidden = (
            rounded(d_x) @ kernel
            + rounded(x) @ d_kernel
            + rounded(d_hidden) @ recurrent_kernel
            + rounded(hidden) @ d_recurrent
            + np.asarray(tangents[0].bias)
        )
        hidden = np.tanh(rounded(x) @ kernel + rounded(hidden) @ recurrent_kernel + np.asarray(params.bias))
        d_hidden = d_hidden * (1 - hidden**2)
        derivatives.append(d_hidden)
    _, derivative = jax.jvp(lambda p, x: rnnjax.unroll(cell, p, x)[1], (params, inputs), tangents)
    np.testing.assert_allclose(derivative, np.stack(derivatives), rtol=1e-12)


def test_values_and_gradients_are_near_those_of_full_precision(x64, typical_cell):
    params = jax.tree.map(lambda leaf: leaf / 2, random_params(typical_cell))
    inputs, mixed = random_inputs(), rnnjax.mixed_precision(typical_cell)

    @partial(jax.jit, static_argnums=0)
    def both(cell, params):
        return rnnjax.unroll(cell, params, inputs)[1], gradient_of(cell, params, inputs)

    received, expected = both(mixed, params), both(typical_cell, params)
    for a, b in zip(jax.tree.leaves(received), jax.tree.leaves(expected), strict=True):
        assert a.dtype == b.dtype
        # Two roundings in a product, at most T products after each other, and twice that on the way back.
        assert jnp.abs(a - b).max() <= 4 * T * EPSILON * jnp.abs(b).max()


@pytest.mark.parametrize(("forget_bias", "least", "most"), [(1.0, 0.001, 0.006), (3.0, 0.005, 0.05), (5.0, 0.05, 0.5)])
def test_the_error_of_gradients_grows_with_what_is_left_of_them_far_back(forget_bias, least, most):
    """Of 64 units over 100 steps beside float64, as the docstring has it; float16 has three more binary digits."""
    cell = rnnjax.lstm(64, forget_bias=forget_bias)
    params, readout = cell.init(jax.random.key(0), 16), jax.random.normal(jax.random.key(2), (64,))
    inputs = jax.random.normal(jax.random.key(1), (100, 8, 16))

    def gradient(cell, dtype):
        arguments = jax.tree.map(lambda leaf: leaf.astype(dtype), (params, inputs, readout))
        found = jax.jit(jax.grad(lambda p, x, w: jnp.sum(rnnjax.unroll(cell, p, x)[1][-1] @ w)))(*arguments)
        return np.concatenate([np.asarray(leaf, np.float64).ravel() for leaf in jax.tree.leaves(found)])

    with jax.enable_x64(True):
        exact = gradient(cell, jnp.float64)
    errors = [
        np.linalg.norm(gradient(rnnjax.mixed_precision(cell, dtype), jnp.float32) - exact) / np.linalg.norm(exact)
        for dtype in (jnp.bfloat16, jnp.float16)
    ]
    assert least < errors[0] < most
    assert errors[1] < errors[0] / 2


def test_a_memory_adds_small_numbers_up_that_are_lost_in_a_state_of_bfloat16():
    cell, steps = rnnjax.indrnn(1, "identity", recurrent_init=jax.nn.initializers.ones), 2000
    params = cell.init(jax.random.key(0), 1)._replace(kernel=jnp.full((1, 1), 0.01))
    inputs = jnp.ones((steps, 1))
    final, _ = rnnjax.unroll(rnnjax.mixed_precision(cell), params, inputs)
    narrow, _ = rnnjax.unroll(cell, *jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), (params, inputs)))
    np.testing.assert_allclose(final.hidden, 0.01 * steps, rtol=EPSILON)
    assert narrow.hidden.astype(jnp.float32)[0] < 0.25 * 0.01 * steps


def test_gradients_of_a_kernel_are_summed_up_in_full_precision():
    cell, steps = rnnjax.mixed_precision(rnnjax.elman(1, "identity")), 4000
    params = jax.tree.map(jnp.zeros_like, cell.init(jax.random.key(0), 1))
    gradient = jax.grad(lambda p: jnp.sum(rnnjax.unroll(cell, p, jnp.ones((steps, 1)))[1]))(params)
    np.testing.assert_array_equal(gradient.kernel, steps)


def test_every_matrix_product_of_an_exported_program_takes_bfloat16_and_gives_float32():
    cell = rnnjax.mixed_precision(rnnjax.stack(rnnjax.lstm(H), rnnjax.gru(H)))
    params, inputs = random_params(cell), random_inputs()
    exported = jax.export.export(jax.jit(partial(gradient_of, cell)), platforms=["cpu", "cuda", "tpu"])(params, inputs)
    products = [line for line in exported.mlir_module().splitlines() if "= stablehlo.dot_general" in line]
    assert products
    for line in products:
        operands, result = line.split(" : ")[-1].split("->")
        assert operands.count("xbf16>") == 2
        assert result.count("xf32>") == 1


def test_gradient_flow_measures_it_too(x64):
    cell = rnnjax.lstm(H)
    params, inputs = random_params(cell), random_inputs()
    mixed, full = (flow_of(c, params, inputs, jnp.sum) for c in (rnnjax.mixed_precision(cell), cell))
    jax.tree.map(partial(np.testing.assert_allclose, rtol=4 * T * EPSILON), mixed, full)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: rnnjax.mixed_precision(rnnjax.lstm), TypeError, ["received lstm", "expected cells"]),
        (lambda: rnnjax.mixed_precision(rnnjax.lstm(2), jnp.int8), TypeError, ["int8", "expected a floating one"]),
    ],
)
def test_errors_of_mixed_precision(make, error, message):
    check(error, message, make)
