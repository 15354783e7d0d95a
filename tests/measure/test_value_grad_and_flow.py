"""A training step that logs: value and gradient are those of ``unroll``, norms those of ``gradient_flow``."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from tests.cases import B, H, I, T, random_inputs, random_params

pytestmark = pytest.mark.usefixtures("x64")

CELLS = {
    "lstm": rnnjax.lstm(H),
    "own backward pass": rnnjax.clip_gradient_norm(rnnjax.gru(H), 0.1),
    "parallel": rnnjax.lru(H),
    "counter in the state": rnnjax.clockwork(6),
    "stack": rnnjax.stack(rnnjax.lstm(H), rnnjax.residual(rnnjax.layer_norm(rnnjax.gru(H)))),
    "repeat": rnnjax.stack(rnnjax.gru(H), rnnjax.repeat(rnnjax.lstm(H), 2)),
    "learned state": rnnjax.learned_initial_state(rnnjax.stack(rnnjax.gru(H), rnnjax.min_gru(H))),
    "random keys in the state": rnnjax.zoneout(rnnjax.lstm(H), 0.3, jax.random.key(3)),
    "two directions": rnnjax.stack(rnnjax.bidirectional(rnnjax.gru(3), rnnjax.stack(rnnjax.lstm(H), rnnjax.gru(2)))),
}
MASK = np.arange(T)[:, None] < np.array([T, 3])
RESET = np.zeros((T, B), bool)
RESET[2, 0] = True
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "documents": {"mask": MASK, "reset": RESET},
    "reverse": {"mask": MASK, "reset": RESET, "reverse": True},
}


@pytest.mark.parametrize(
    "options",
    [pytest.param("plain", marks=pytest.mark.slow), "documents", pytest.param("reverse", marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("name", CELLS)
def test_value_and_gradient_are_those_of_unroll_and_norms_those_of_gradient_flow(name: str, options: str) -> None:
    cell, where, inputs = CELLS[name], OPTIONS[options], random_inputs()
    params: dict[str, Any] = {"cell": random_params(cell), "embedding": jnp.linspace(0.5, 1.5, I)}
    width = jax.eval_shape(lambda: rnnjax.unroll(cell, params["cell"], inputs)[1]).shape[-1]
    params["head"] = random_inputs(width, 2, seed=4)

    def loss(unroll: Any, params: Any, inputs: Any) -> Any:
        final, outputs = unroll(cell, params["cell"], inputs * params["embedding"][None, None], **where)
        floats = [leaf for leaf in jax.tree.leaves(final) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
        of_final = sum(jnp.sum(jnp.abs(leaf) ** 2) for leaf in floats)
        return jnp.sum(jnp.sin(outputs @ params["head"])) + 0.1 * of_final, final

    def without_final(unroll: Any, params: Any, inputs: Any) -> Any:
        _, outputs = unroll(cell, params["cell"], inputs * params["embedding"][None, None], **where)
        return jnp.sum(jnp.sin(outputs @ params["head"]))

    @jax.jit
    def measured(params: Any, inputs: Any) -> Any:  # one program, which takes less time to compile than four
        plain = jax.value_and_grad(lambda p, xs: loss(rnnjax.unroll, p, xs), has_aux=True)
        seen = inputs * params["embedding"][None, None]
        return (
            rnnjax.value_grad_and_flow(loss, has_aux=True)(params, inputs),
            plain(params, inputs),
            rnnjax.value_grad_and_flow(without_final)(params, inputs),
            rnnjax.gradient_flow(cell, params["cell"], seen, lambda y: jnp.sum(jnp.sin(y @ params["head"])), **where),
        )

    found, ((expected, its_final), its_gradient), (_, _, (flow,)), alone = measured(params, inputs)
    (value, final), gradient, flows = found
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    for a, b in zip(jax.tree.leaves(final), jax.tree.leaves(its_final), strict=True):
        if not jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            np.testing.assert_allclose(a, b, rtol=1e-12)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12), gradient, its_gradient)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-13), flow, alone)
    assert len(flows) == 1


@pytest.mark.slow
def test_each_call_of_unroll_has_a_flow() -> None:
    encoder, decoder, inputs = rnnjax.gru(H), rnnjax.gru(H), random_inputs()
    params = random_params(encoder, 0), random_params(decoder, 1)

    def loss(unroll: Any, params: Any, inputs: Any) -> Any:
        hidden, _ = unroll(encoder, params[0], inputs)
        _, outputs = unroll(decoder, params[1], inputs[:2], hidden)
        return jnp.sum(outputs**2)

    value, gradient, (first, second) = rnnjax.value_grad_and_flow(loss)(params, inputs)
    expected, its_gradient = jax.value_and_grad(lambda p: loss(rnnjax.unroll, p, inputs))(params)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10), gradient, its_gradient)
    assert first.state.hidden.shape == (T,)
    assert second.state.hidden.shape == (2,)

    def by_state(state: Any) -> Any:
        return jnp.sum(rnnjax.unroll(decoder, params[1], inputs[:2], state)[1] ** 2)

    hidden, _ = rnnjax.unroll(encoder, params[0], inputs)
    gradient_of_summary = jax.grad(by_state)(hidden).hidden
    np.testing.assert_allclose(first.state.hidden[-1], jnp.linalg.norm(gradient_of_summary), rtol=1e-10)


def test_norms_are_per_member_under_vmap_around_the_whole() -> None:
    cell, inputs = rnnjax.gru(H), random_inputs()
    step = rnnjax.value_grad_and_flow(lambda unroll, params, xs: jnp.sum(unroll(cell, params, xs)[1] ** 2))
    members = [random_params(cell, seed) for seed in range(3)]
    together = jax.vmap(step, (0, None))(jax.tree.map(lambda *leaves: jnp.stack(leaves), *members), inputs)
    for number, params in enumerate(members):
        alone = step(params, inputs)
        jax.tree.map(lambda a, b, n=number: np.testing.assert_allclose(a[n], b, rtol=1e-10), together, alone)


def test_losses_that_cannot_be_measured_are_refused() -> None:
    cell, inputs = rnnjax.gru(H), random_inputs()
    params = random_params(cell)
    with pytest.raises(ValueError, match="loss did not call the unroll that it received, its first argument"):
        rnnjax.value_grad_and_flow(lambda unroll, p: jnp.sum(p.kernel))(params)
    with pytest.raises(TypeError, match="loss is 'mse'"):
        rnnjax.value_grad_and_flow("mse")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"loss returned shape \(5, 2, 4\): expected a scalar"):
        rnnjax.value_grad_and_flow(lambda unroll, p: unroll(cell, p, inputs)[1])(params)
    with pytest.raises(TypeError, match=r"expected \(loss, anything\), as has_aux says"):
        rnnjax.value_grad_and_flow(lambda unroll, p: jnp.sum(unroll(cell, p, inputs)[1]), has_aux=True)(params)
