"""The norm of each param's gradient, whatever way the param is used in a step."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

import rnnjax
from rnnjax.contributions import norm, step_with_slots
from tests.cases import random_inputs, random_params


def slots_of(step: Callable[..., Array], params: Any, *arguments: Any) -> tuple[Any, Any, Any]:
    """The slots' cotangents, that of the arguments, and the gradient by jax.grad itself, for the sum of the outputs."""
    slots = jax.tree.map(lambda leaf: jnp.zeros((), leaf.dtype), params)

    def probed(slots: Any, *arguments: Any) -> Array:
        return jnp.sum(step_with_slots(step, params, slots, *arguments))

    def plain(params: Any, *arguments: Any) -> Array:
        return jnp.sum(step(params, *arguments))

    norms, to_arguments = jax.grad(probed, argnums=(0, 1))(slots, *arguments)
    gradients, expected = jax.grad(plain, argnums=(0, 1))(params, *arguments)
    np.testing.assert_allclose(to_arguments, expected, rtol=1e-12, atol=1e-14)
    return norms, to_arguments, gradients


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
def test_the_slot_receives_the_norm_of_the_gradient(x64: None, name: str) -> None:
    kernel, x = draw(5, 5), draw(3, 5, seed=1)
    norms, _, gradients = slots_of(STEPS[name], kernel, x)
    np.testing.assert_allclose(norms, jnp.linalg.norm(gradients), rtol=1e-12)


def test_contributions_that_cancel_keep_their_digits(x64: None) -> None:
    """Two examples that differ by a millionth, weighed against each other: the Gram sum alone would have few digits."""
    x = jnp.concatenate([draw(1, 40), draw(1, 40) + 1e-6 * draw(1, 40, seed=2)])
    norms, _, gradients = slots_of(lambda w, x: jnp.array([[1.0], [-1.0]]) * (x @ w), draw(40, 30), x)
    np.testing.assert_allclose(norms, jnp.linalg.norm(gradients), rtol=1e-9)
    assert 0 < norms < 1e-4


def test_contributions_that_cancel_wholly_are_zero() -> None:
    x = jnp.ones((2, 40))
    slots = jnp.zeros(())

    def loss(slots: Array) -> Array:
        kernel = jnp.ones((40, 30))
        signs = jnp.array([[1.0], [-1.0]])
        return jnp.sum(step_with_slots(lambda w, x: signs * (x @ w), kernel, slots, x))

    assert jax.grad(loss)(slots) == 0


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1e25])
def test_norms_survive_where_float32_squares_do_not(scale: float) -> None:
    kernel, x = draw(40, 30).astype(jnp.float32), draw(3, 40, seed=1).astype(jnp.float32)

    def loss(slots: Array, scale: float) -> Array:
        return jnp.sum(step_with_slots(lambda w, x: x @ w, kernel, slots, x)) * jnp.float32(scale)

    slot = jnp.zeros((), jnp.float32)
    np.testing.assert_allclose(jax.grad(loss)(slot, scale) / scale, jax.grad(loss)(slot, 1.0), rtol=1e-5)


def test_under_vmap_each_network_has_its_own_norms(x64: None) -> None:
    kernels, x = draw(4, 6, 5), draw(3, 6, seed=1)

    def norms(kernel: Array) -> Array:
        def loss(slot: Array) -> Array:
            return jnp.sum(jnp.tanh(step_with_slots(lambda w, x: x @ w, kernel, slot, x)))

        return jax.grad(loss)(jnp.zeros(()))

    together = jax.vmap(norms)(kernels)
    np.testing.assert_allclose(together, jnp.stack([norms(kernel) for kernel in kernels]), rtol=1e-12)


def test_norm_of_zero_infinity_and_the_smallest_numbers() -> None:
    rows = jnp.array([[0.0, 0.0], [3.0, 4.0], [jnp.inf, 1.0], [3e-30, 4e-30], [3e30, 4e30]])
    np.testing.assert_allclose(norm(rows, (1,)), [0.0, 5.0, np.inf, 5e-30, 5e30], rtol=1e-6)


@pytest.mark.parametrize("batch", [1, 8])
def test_gradient_flow_can_be_differentiated_in_its_turn(x64: None, batch: int) -> None:
    """Losses that speak of gradient norms need it; checked by finite differences along a random direction."""
    cell = rnnjax.elman(6)
    params, direction = random_params(cell, 0), random_params(cell, 1)
    inputs = random_inputs(5, batch, 3)

    @jax.jit
    def quantities(params: Any) -> Array:
        flow = rnnjax.gradient_flow(cell, params, inputs, lambda outputs: jnp.sum(outputs[-1] ** 2))
        return jnp.stack([flow.loss, *(leaf.sum() for leaf in jax.tree.leaves((flow.state, flow.parameters)))])

    jacobian = jax.jit(jax.jacrev(quantities))(params)
    slopes = sum(
        jnp.sum((a * b).reshape(len(a), -1), axis=1)
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

    low, full = flow(dtype), flow(jnp.float32)
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
    final, _ = rnnjax.unroll(cell, params, inputs)
    assert final.steps == 10
    flow = rnnjax.gradient_flow(cell, params, inputs, lambda outputs: jnp.sum(outputs[-1]))
    assert (flow.state.hidden > 0).all()
    assert (flow.state.steps == 0).all()
    assert (flow.parameters["stride"] == 0).all()
    assert (flow.parameters["kernel"] > 0).all()
