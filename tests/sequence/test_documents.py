"""Several documents in one sequence, with padding: each is computed, and differentiated, as by itself."""

from typing import Any

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

import rnnjax
from tests.cases import B, H, I, T, random_inputs, random_params, random_state

patterns = st.lists(st.booleans(), min_size=T * B, max_size=T * B).map(lambda bits: np.array(bits).reshape(T, B))

CELLS = {
    "gru": rnnjax.gru(H),
    "min_gru": rnnjax.min_gru(H),
    "with layers without a memory": rnnjax.stack(rnnjax.lstm(H), rnnjax.residual(rnnjax.layer_norm(rnnjax.gru(H)))),
    "learned": rnnjax.learned_initial_state(rnnjax.stack(rnnjax.gru(H), rnnjax.min_gru(H))),
}
STEPS = {name: jax.jit(cell.step) for name, cell in CELLS.items()}


def one_by_one(name: str, params: Any, inputs: Any, state: Any, mask: Any, reset: Any, reverse: bool) -> Any:
    """Outputs (T, B, O) of every document run alone, step by step; s_0 is for the first that is read."""
    cell, rows = CELLS[name], []
    for example in range(B):
        documents: list[list[int]] = [[]]
        for step in range(T):
            if reset[step, example]:
                documents.append([])
            if mask[step, example]:
                documents[-1].append(step)
        given = jax.tree.map(lambda leaf, example=example: leaf[example], state)
        row = [jnp.zeros(H)] * T
        for number, steps in enumerate(documents[::-1] if reverse else documents):
            current = given if number == 0 else cell.initial_state(params, ())
            for step in steps[::-1] if reverse else steps:
                current, row[step] = STEPS[name](params, current, inputs[step, example])
        rows.append(jnp.stack(row))
    return jnp.stack(rows, axis=1)


WAYS = {
    "scan": lambda cell, *arguments, **options: rnnjax.unroll(cell, *arguments, **options)[1],
    "remat": lambda cell, *arguments, **options: rnnjax.unroll(cell, *arguments, remat=2, **options)[1],
    "parallel": lambda cell, *arguments, **options: rnnjax.unroll(cell, *arguments, method="parallel", **options)[1],
    "newton": lambda cell, *arguments, **options: rnnjax.newton_unroll(cell, *arguments, **options)[1],
}


PAIRS = [
    *[("gru", way) for way in ("scan", "remat", "newton")],
    *[("min_gru", way) for way in ("scan", "parallel")],
    *[("with layers without a memory", "scan"), ("learned", "scan"), ("learned", "newton")],
]


@pytest.mark.parametrize(("name", "way"), PAIRS)
@pytest.mark.parametrize("reverse", [pytest.param(False, marks=pytest.mark.slow), True])
def test_each_document_is_computed_and_differentiated_as_by_itself(name: str, way: str, reverse: bool) -> None:
    cell = CELLS[name]
    params, inputs = random_params(cell), random_inputs(T, B, I)
    weights, state = random_inputs(T, B, H, seed=7), random_state(cell, params)

    @jax.jit
    def found(params: Any, inputs: Any, state: Any, mask: Any, reset: Any) -> Any:
        def loss(params: Any, inputs: Any, state: Any) -> Any:
            outputs = WAYS[way](cell, params, inputs, state, mask=mask, reset=reset, reverse=reverse)
            return jnp.sum(weights * outputs), outputs

        return jax.grad(loss, (0, 1, 2), has_aux=True)(params, inputs, state)

    @hypothesis.settings(max_examples=10)
    @hypothesis.given(mask=patterns, reset=patterns)
    @hypothesis.example(mask=np.eye(T, B, dtype=bool), reset=np.zeros((T, B), bool))
    @hypothesis.example(mask=np.arange(T * B).reshape(T, B) % 3 != 1, reset=np.arange(T * B).reshape(T, B) % 3 == 1)
    def check(mask: Any, reset: Any) -> None:
        def loss(params: Any, inputs: Any, state: Any) -> Any:
            outputs = one_by_one(name, params, inputs, state, mask, reset, reverse)
            return jnp.sum(weights * outputs), outputs

        gradients, outputs = jax.grad(loss, (0, 1, 2), has_aux=True)(params, inputs, state)
        seen_gradients, seen = found(params, inputs, state, mask, reset)
        np.testing.assert_allclose(seen, outputs, atol=2e-5)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-4), seen_gradients, gradients)

    check()


def test_two_directions_and_a_chain_part_the_same_documents() -> None:
    both = rnnjax.bidirectional(rnnjax.lstm(H), rnnjax.gru(H))
    chained = rnnjax.chain(both, rnnjax.min_gru(H))
    inputs, reset = random_inputs(T, B, I), jnp.zeros((T, B), bool).at[3].set(True)
    for layer in (both, chained):
        params = layer.init(jax.random.key(0), I)
        alone = [layer.apply(params, part) for part in (inputs[:3], inputs[3:])]
        np.testing.assert_allclose(layer.apply(params, inputs, reset=reset), jnp.concatenate(alone), atol=1e-6)


def test_what_cannot_take_resets_or_these_params_says_so() -> None:
    cell, inputs = rnnjax.lstm(H), random_inputs(T, B, I)
    params = cell.init(jax.random.key(0), I)
    with pytest.raises(ValueError, match="delayed received a reset: expected one document a sequence"):
        rnnjax.delayed(cell, 1).apply(params, inputs, reset=jnp.ones((T, B), bool))
    with pytest.raises(ValueError, match=r"params: received LSTMParams.*has BidirectionalParams"):
        rnnjax.bidirectional(cell, cell).apply(params, inputs)
    with pytest.raises(ValueError, match="params are 1 elements: expected a tuple of 2, one element for each layer"):
        rnnjax.chain(cell, rnnjax.gru(H)).apply((params,), inputs)
