"""Products of all steps whose gradient copies an operand: derivatives of every kind, beside those of NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax.engine.products import at_all_steps
from tests.cases import random_inputs

T, B, K, N = 3, 2, 1024, 256  # a row of 256 doubles takes 2 KiB, all of them 2 MiB


@pytest.fixture(autouse=True)
def one_device(x64, monkeypatch):
    """As on a CPU that is one device to JAX."""
    monkeypatch.setattr(jax, "device_count", lambda: 1)


def multiplied(kernel, inputs):
    return at_all_steps(lambda kernel, inputs: inputs @ kernel, kernel, inputs)


def arrays():
    return random_inputs(K, N, seed=1), random_inputs(T, B, K, seed=2), random_inputs(T, B, N, seed=3)


def test_the_operand_is_copied_for_a_large_kernel_whose_rows_lie_a_multiple_of_2_kib_apart_and_for_no_other():
    program = jax.make_jaxpr(lambda kernel, inputs, above: jax.vjp(multiplied, kernel, inputs)[1](above))
    for rows, columns, copied in ((K, N, True), (K - 1, N, False), (2 * K, N - 16, False)):
        kernel, inputs, above = (random_inputs(*shape) for shape in ((rows, columns), (T, B, rows), (T, B, columns)))
        assert ("optimization_barrier" in str(program(kernel, inputs, above))) == copied


def test_value_and_gradients_are_those_of_the_product():
    kernel, inputs, above = arrays()
    value, pull = jax.jit(lambda *operands: jax.vjp(multiplied, *operands))(kernel, inputs)
    np.testing.assert_allclose(value, np.asarray(inputs) @ np.asarray(kernel), rtol=1e-12, atol=1e-11)
    expected = np.einsum("tbk,tbn->kn", inputs, above), np.asarray(above) @ np.asarray(kernel).T
    for found, wanted in zip(pull(above), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-11)


@pytest.mark.parametrize("moving", [("kernel",), ("inputs",), ("kernel", "inputs")])
def test_forward_derivatives_are_those_of_the_product_whatever_moves(moving):
    kernel, inputs, _ = arrays()
    d_kernel, d_inputs = random_inputs(K, N, seed=4), random_inputs(T, B, K, seed=5)
    still = {"kernel": kernel, "inputs": inputs}
    tangents = {name: d for name, d in (("kernel", d_kernel), ("inputs", d_inputs)) if name in moving}
    at = {name: still[name] for name in moving}
    _, found = jax.jvp(lambda at: multiplied(**(still | at)), (at,), (tangents,))
    expected = np.zeros((T, B, N))
    if "kernel" in moving:
        expected += np.asarray(inputs) @ np.asarray(d_kernel)
    if "inputs" in moving:
        expected += np.asarray(d_inputs) @ np.asarray(kernel)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-11)


def test_a_gradient_can_be_differentiated_and_mapped():
    kernel, inputs, above = arrays()
    directions = random_inputs(4, T, B, K, seed=6)

    def by_kernel(inputs):
        return jax.grad(lambda kernel: jnp.sum(above * multiplied(kernel, inputs) ** 2))(kernel)

    found = jax.jit(jax.vmap(lambda d: jax.jvp(by_kernel, (inputs,), (d,))[1]))(directions)
    for d, change in zip(np.asarray(directions), found, strict=True):
        product, moved = np.asarray(inputs) @ np.asarray(kernel), d @ np.asarray(kernel)
        expected = np.einsum("tbk,tbn->kn", d, 2 * above * product) + np.einsum(
            "tbk,tbn->kn", inputs, 2 * above * moved
        )
        np.testing.assert_allclose(change, expected, rtol=1e-11, atol=1e-9)
