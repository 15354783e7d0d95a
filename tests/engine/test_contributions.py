"""The norm of each param's gradient, whatever way the param is used in a step."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

import rnnjax
from rnnjax.engine.contributions import contribution_norms
from rnnjax.engine.norms import norm
from tests.cases import flow_of, random_inputs, random_params, unrolled


def norm_and_gradient(step: Callable[..., Array], params: Array, *arguments: Array) -> tuple[Array, Array]:
    """The norm at a single step, and the gradient by jax.grad itself, for the sum of the results."""

    @jax.jit
    def both(params: Array, *arguments: Array) -> tuple[Array, Array]:
        cotangents = jnp.ones_like(step(params, *arguments))[None]
        at_one_step = tuple(argument[None] for argument in arguments)
        norms = contribution_norms(lambda *a: [step(*a)], params, at_one_step, [cotangents])
        assert norms.shape == (1,)
        return norms[0], jax.grad(lambda params: jnp.sum(step(params, *arguments)))(params)

    return both(params, *arguments)


def draw(*shape: int, seed: int = 0) -> Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


STEPS: dict[str, Callable[[Array, Array], Array]] = {
    "one product": lambda w, x: jnp.tanh(x @ w),
    "two products with the same kernel": lambda w, x: jnp.tanh(jnp.tanh(x @ w) @ w),
    "a product with the transposed kernel": lambda w, x: jnp.tanh(x @ w.T),
    "the kernel on the left": lambda w, x: jnp.tanh(w @ x.T),
    "a part of the kernel": lambda w, x: jnp.tanh(x @ w[:, :2]),
    "elementwise": lambda w, x: jnp.tanh(jnp.sum(x) * w),
    "inside a jitted function": jax.jit(lambda w, x: jax.nn.relu(x @ w)),
    "inside a loop": lambda w, x: jax.lax.fori_loop(0, 3, lambda _, y: jnp.tanh(y @ w), x),
    "returned, too": lambda w, x: jnp.sum(jnp.tanh(x @ w)) + w,
    "in a branch": lambda w, x: jax.lax.cond(jnp.sum(x) > 0, lambda: jnp.tanh(x @ w), lambda: x @ w),
    "with a batch of batches": lambda w, x: jnp.tanh(jnp.stack([x, 2.0 * x]) @ w),
    "one example": lambda w, x: jnp.tanh(x[0] @ w),
    "not at all": lambda w, x: jnp.tanh(x),
}


@pytest.mark.parametrize("name", STEPS)
def test_the_norm_is_that_of_the_gradient(x64: None, name: str) -> None:
    kernel, x = draw(5, 5), draw(3, 5, seed=1)
    received, gradient = norm_and_gradient(STEPS[name], kernel, x)
    np.testing.assert_allclose(received, np.linalg.norm(gradient), rtol=1e-12)


def test_contributions_that_cancel_keep_their_digits(x64: None) -> None:
    """Two examples differ by a millionth, with opposite weights: the Gram sum alone would have few correct digits."""
    x = jnp.concatenate([draw(1, 40), draw(1, 40) + 1e-6 * draw(1, 40, seed=2)])
    received, gradient = norm_and_gradient(lambda w, x: jnp.array([[1.0], [-1.0]]) * (x @ w), draw(40, 30), x)
    np.testing.assert_allclose(received, np.linalg.norm(gradient), rtol=1e-9)
    assert 0 < received < 1e-4


def test_contributions_that_cancel_wholly_are_zero() -> None:
    received, _ = norm_and_gradient(
        lambda w, x: jnp.array([[1.0], [-1.0]]) * (x @ w), jnp.ones((40, 30)), jnp.ones((2, 40))
    )
    assert received == 0


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1e25])
def test_norms_survive_where_float32_squares_do_not(scale: float) -> None:
    kernel, x = draw(40, 30).astype(jnp.float32), draw(3, 40, seed=1).astype(jnp.float32)
    scaled, plain = (norm_and_gradient(lambda w, x, s=s: (x @ w) * s, kernel, x)[0] for s in (jnp.float32(scale), 1))
    np.testing.assert_allclose(scaled / scale, plain, rtol=1e-5)


@pytest.mark.parametrize("size", [2, 60])
@pytest.mark.parametrize("step", [STEPS["one product"], STEPS["two products with the same kernel"]])
def test_each_step_and_under_vmap_each_network_has_its_own_norm(x64: None, step: Any, size: int) -> None:
    """Of small kernels all steps' gradients are formed at once, of large ones one after the other."""
    kernels, xs, cotangents = draw(2, size, size), draw(4, 3, size, seed=1), draw(4, 3, size, seed=2)
    cotangents = cotangents.at[2].multiply(1e-200)  # whose square is not in range

    def norms(kernel: Array) -> Array:
        return contribution_norms(lambda w, x: [step(w, x)], kernel, (xs,), [cotangents])

    @jax.jit
    def expected(kernel: Array, x: Array, cotangent: Array) -> Array:
        return norm(jax.vjp(lambda kernel: step(kernel, x), kernel)[1](cotangent)[0], (0, 1))

    by_hand = np.array([[expected(w, x, c) for x, c in zip(xs, cotangents, strict=True)] for w in kernels])
    np.testing.assert_allclose(jax.jit(jax.vmap(norms))(kernels), by_hand, rtol=1e-11)
    np.testing.assert_allclose(jax.jit(norms)(kernels[0]), by_hand[0], rtol=1e-11)


def test_a_kernel_in_parts_is_measured_without_forming_its_gradient(x64: None) -> None:
    def step(kernel: Array, x: Array) -> list[Array]:
        first, second = jnp.split(kernel, [40], axis=1)
        return [jnp.tanh(x @ first) @ jnp.ones((40, 60)) + jnp.tanh((x + 1.0) @ second)]

    kernel, xs, cotangents = draw(50, 100), draw(4, 3, 50, seed=1), draw(4, 3, 60, seed=2)
    received = jax.jit(partial(contribution_norms, step))(kernel, (xs,), [cotangents])
    pull_back = jax.jit(lambda x, cotangent: jax.vjp(lambda kernel: step(kernel, x)[0], kernel)[1](cotangent)[0])
    for t in range(4):
        np.testing.assert_allclose(received[t], np.linalg.norm(pull_back(xs[t], cotangents[t])), rtol=1e-12)
    program = str(jax.make_jaxpr(partial(contribution_norms, step))(kernel, (xs,), [cotangents]))
    assert "f64[4,50,40]" not in program
    assert "f64[4,50,60]" not in program


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "batch"), [(rnnjax.elman, 1), (rnnjax.elman, 8), (rnnjax.gru, 2), (rnnjax.peephole_lstm, 2)]
)
def test_gradient_flow_can_be_differentiated_in_its_turn(x64: None, make: Any, batch: int) -> None:
    """Losses that speak of gradient norms need it; checked by finite differences along a random direction."""
    cell = make(6)
    params, direction = random_params(cell, 0), random_params(cell, 1)
    inputs = random_inputs(5, batch, 3)

    @jax.jit
    def quantities(params: Any) -> Array:
        flow = rnnjax.gradient_flow(cell, params, inputs, lambda outputs: jnp.sum(outputs[-1] ** 2))
        return jnp.stack([flow.loss, *(leaf.sum() for leaf in jax.tree.leaves((flow.state, flow.parameters)))])

    jacobian = jax.jit(jax.jacrev(quantities))(params)
    slopes = sum(
        jnp.sum((a * b[None]).reshape(len(a), -1), axis=1)
        for a, b in zip(jax.tree.leaves(jacobian), jax.tree.leaves(direction), strict=True)
    )
    h = 1e-5
    ahead, behind = (quantities(jax.tree.map(lambda p, d, s=s: p + s * d, params, direction)) for s in (h, -h))
    np.testing.assert_allclose(slopes, (ahead - behind) / (2 * h), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_norms_of_low_precision_networks_are_in_float32(dtype: Any) -> None:
    cell = rnnjax.lstm(8)
    params = random_params(cell, 0)
    inputs = random_inputs(6, 2, 3)

    def flow(dtype: Any) -> Any:
        cast = jax.tree.map(lambda leaf: leaf.astype(dtype), params)
        return rnnjax.gradient_flow(cell, cast, inputs.astype(dtype), lambda outputs: jnp.sum(outputs[-1]))

    low, full = (jax.jit(flow, static_argnums=0)(each) for each in (dtype, jnp.float32))
    for a, b in zip(jax.tree.leaves(low), jax.tree.leaves(full), strict=True):
        assert a is low.loss or a.dtype == jnp.float32
        np.testing.assert_allclose(a.astype(jnp.float32), b, rtol=0.1, atol=0.02)


def test_counters_and_keys_in_state_and_params_have_no_gradient() -> None:
    class State(NamedTuple):
        hidden: Array
        steps: Array
        key: Array

    def advance(params: Any, state: State, drive: Array) -> State:
        key, _ = jax.random.split(state.key)
        return State(jnp.tanh(drive + params["scale"] * state.hidden), state.steps + params["stride"], key)

    cell = rnnjax.Cell(
        init=lambda key, size: {"kernel": jnp.ones((size, 4)), "scale": jnp.float32(0.5), "stride": jnp.int32(2)},
        initial_state=lambda params, batch: State(jnp.zeros((*batch, 4)), jnp.int32(0), jax.random.key(0)),
        project=lambda params, inputs: inputs @ params["kernel"],
        advance=advance,
    )
    params = cell.init(jax.random.key(0), 3)
    inputs = random_inputs(5, 2, 3)
    final, _ = unrolled(cell, params, inputs)
    assert final.steps == 10
    flow = flow_of(cell, params, inputs, lambda outputs: jnp.sum(outputs[-1]))
    assert (flow.state.hidden > 0).all()
    assert (flow.state.steps == 0).all()
    assert (flow.parameters["stride"] == 0).all()
    assert (flow.parameters["kernel"] > 0).all()
