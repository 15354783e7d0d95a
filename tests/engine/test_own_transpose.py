"""A linear map with a transpose of its own: its tangents are the map's, its gradients those given."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax.engine.own_transpose import linear_with_own_transpose

A = np.arange(6.0).reshape(2, 3) - 2
assert_close = np.testing.assert_allclose


def product(x, kernel):
    """X W, whose gradient for x is thrice, and for W twice, what it should be."""

    def for_kernel(fixed, gradients):
        return [2 * jnp.outer(fixed[0], gradients[0])]

    def of_x(fixed, moving):
        return linear_with_own_transpose(lambda x, kernel: [x[0] @ kernel[0]], for_kernel, moving, fixed)

    return linear_with_own_transpose(of_x, lambda fixed, gradients: [3 * fixed[0] @ gradients[0]], [kernel], [x])[0]


X, KERNEL, G = np.array([1.0, -2.0]), A, np.array([1.0, 10.0, 100.0])


@pytest.mark.parametrize("run", [lambda f: f, jax.jit, jax.checkpoint], ids=["eager", "jit", "remat"])
def test_tangents_are_the_maps_and_gradients_those_given(x64, run):
    value, tangent = jax.jvp(run(product), (X, KERNEL), (2 * X, 5 * KERNEL))
    assert_close(value, X @ A)
    assert_close(tangent, 7 * X @ A)
    d_x, d_kernel = jax.vjp(run(product), X, KERNEL)[1](jnp.asarray(G))
    assert_close(d_x, 3 * A @ G)
    assert_close(d_kernel, 2 * np.outer(X, G))


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0), (1, 2)], ids=str)
def test_a_batch_is_its_examples_and_what_they_share_gets_the_sum(x64, axes):
    example = (X, A)
    examples = [
        [(n + 1) * a if axis is not None else a for n in range(4)] for a, axis in zip(example, axes, strict=True)
    ]
    stacked = [
        np.stack(several, axis) if axis is not None else several[0]
        for several, axis in zip(examples, axes, strict=True)
    ]
    values, back = jax.vjp(jax.vmap(product, axes), *stacked)
    assert_close(values, [x @ kernel for x, kernel in zip(*examples, strict=True)])
    d_x, d_kernel = back(jnp.tile(G, (4, 1)))
    each_x = [3 * kernel @ G for kernel in examples[1]]
    each_kernel = [2 * np.outer(x, G) for x in examples[0]]
    assert_close(d_x, np.stack(each_x, axes[0]) if axes[0] is not None else sum(each_x))
    assert_close(d_kernel, np.stack(each_kernel, axes[1]) if axes[1] is not None else sum(each_kernel))


def test_second_derivatives_are_those_of_the_gradient_that_is_given(x64):
    def squares(x):
        return jnp.sum(product(x, KERNEL) ** 2)

    gradient = jax.grad(squares)(X)
    assert_close(gradient, 3 * 2 * A @ (X @ A))
    hessian = 6 * A @ A.T
    assert_close(jax.jacfwd(jax.grad(squares))(X), hessian)
    # Backward, the product inside the gradient is mapped back by the transpose that is given, too.
    assert_close(jax.jacrev(jax.grad(squares))(X), 3 * hessian)
    # Forward twice nothing of it is seen.
    assert_close(jax.jacfwd(jax.jacfwd(squares))(X), 2 * A @ A.T)


def test_in_a_scan_gradients_are_mapped_back_at_every_step(x64):
    def run(x):
        return jax.lax.scan(lambda x, _: (product(x, jnp.eye(2)), None), x, length=4)[0]

    assert_close(jax.jacfwd(run)(X), np.eye(2))
    assert_close(jax.jacrev(run)(X), 3.0**4 * np.eye(2))


def test_a_transpose_that_is_not_linear_sees_each_example_alone(x64):
    def unit(x):
        def normalized(_, gradients):
            return [gradients[0] / jnp.linalg.norm(gradients[0])]

        return linear_with_own_transpose(lambda _, moving: moving, normalized, [], [x])[0]

    gradients = np.array([[3.0, 4.0], [0.0, -0.5]])
    (found,) = jax.vjp(jax.vmap(unit), np.ones((2, 2)))[1](jnp.asarray(gradients))
    assert_close(found, [[0.6, 0.8], [0.0, -1.0]])
