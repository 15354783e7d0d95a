"""Any nesting of combinators around any cells keeps the protocol of a cell, noise and clipped gradients included."""

from functools import partial
from typing import NamedTuple

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from rnnjax import Cell
from tests.cases import B, I, own_cell, random_inputs, random_like, random_params

T = 3

CELLS = {
    "elman": rnnjax.elman,
    "lstm": rnnjax.lstm,
    "gru": rnnjax.gru,
    "min_gru": rnnjax.min_gru,
    "clockwork": partial(rnnjax.clockwork, periods=(1, 2)),
    "own_cell": own_cell,
}


class Nest(NamedTuple):
    text: str  # how it is made, for whoever reads a failure
    cell: Cell
    width: int  # of its outputs
    diagonal: bool  # whether a layer is linear and diagonal: it has no recurrent matrix


ANYWHERE = {
    "layer_norm": rnnjax.layer_norm,
    "learned_initial_state": rnnjax.learned_initial_state,
    "dropout": lambda cell: rnnjax.dropout(cell, 0.3, jax.random.key(1)),
    "dropout_of_sequences": lambda cell: rnnjax.dropout(cell, 0.3, jax.random.key(2), each="sequence"),
    "zoneout": lambda cell: rnnjax.zoneout(cell, 0.3, jax.random.key(3)),
    "expected_zoneout": lambda cell: rnnjax.zoneout(cell, 0.3),
    "clip_gradient_norm": lambda cell: rnnjax.clip_gradient_norm(cell, 0.5),
    "clip_gradient_values": lambda cell: rnnjax.clip_gradient_values(cell, 0.1),
}
# These need a recurrent matrix in every layer, which min_gru has not: test_noise has their errors.
OF_MATRICES = {
    "variational_dropout": lambda cell: rnnjax.variational_dropout(cell, 0.3, jax.random.key(4)),
    "drop_connect": lambda cell: rnnjax.drop_connect(cell, 0.3, jax.random.key(5), ("recurrent_kernel", "recurrent")),
}
# These need outputs as wide as the inputs.
OF_EQUAL_WIDTHS = {
    "residual": rnnjax.residual,
    "highway": rnnjax.highway,
    "repeat": lambda cell: rnnjax.repeat(cell, 2),
}


def in_a_stack(nests, **skips):
    widths = [nest.width for nest in nests]
    text = ", ".join([*(nest.text for nest in nests), *(name for name, on in skips.items() if on)])
    cell = rnnjax.stack(*(nest.cell for nest in nests), **skips)
    width = sum(widths) if skips.get("all_to_output") else widths[-1]
    return Nest(f"stack({text})", cell, width, any(nest.diagonal for nest in nests))


@st.composite
def nests(draw, input_size, depth):
    """Combinators around a cell or a stack of cells, for inputs of this width."""
    if depth == 0:
        name, size = draw(st.sampled_from(sorted(CELLS))), draw(st.sampled_from([2, input_size]))
        return Nest(f"{name}({size})", CELLS[name](size), size, name == "min_gru")
    wrap = draw(st.sampled_from(["stack", *ANYWHERE, *OF_MATRICES, *OF_EQUAL_WIDTHS]))
    below = draw(nests(input_size, depth - 1))
    if wrap == "stack":
        input_to_all, all_to_output = draw(st.booleans()), draw(st.booleans())
        above = draw(nests(below.width + input_to_all * input_size, depth=0))
        return in_a_stack([below, above], input_to_all=input_to_all, all_to_output=all_to_output)
    if wrap in OF_MATRICES and below.diagonal:
        wrap = "zoneout"
    if wrap in OF_EQUAL_WIDTHS and below.width != input_size:
        below = in_a_stack([below, Nest(f"elman({input_size})", rnnjax.elman(input_size), input_size, False)])
    cell = (ANYWHERE | OF_MATRICES | OF_EQUAL_WIDTHS)[wrap](below.cell)
    return Nest(f"{wrap}({below.text})", cell, below.width, below.diagonal)


def has_gradient(leaf):
    return jnp.issubdtype(leaf.dtype, jnp.inexact)


def comparable(tree):
    """The tree with the words of random keys, which can be compared, in their place."""
    return jax.tree.map(
        lambda leaf: jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf, tree
    )


def norms(leaf):
    return np.sqrt((np.asarray(leaf) ** 2).sum(axis=tuple(range(1, leaf.ndim))))


@pytest.mark.slow
@hypothesis.settings(max_examples=7)
@hypothesis.given(data=st.data())
def test_any_nesting_is_a_cell(x64, data):
    nest = data.draw(nests(I, data.draw(st.integers(2, 3))))
    hypothesis.note(nest.text)
    check_protocol(nest.cell, nest.width)


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [
        lambda inner: rnnjax.residual(rnnjax.zoneout(rnnjax.variational_dropout(inner, 0.2, jax.random.key(6)), 0.1)),
        lambda inner: rnnjax.dropout(
            rnnjax.clip_gradient_norm(rnnjax.highway(rnnjax.layer_norm(inner)), 1.0), 0.2, jax.random.key(6)
        ),
    ],
    ids=["regularized", "deep"],
)
def test_nestings_as_people_use_them_are_cells(x64, make):
    inner = rnnjax.learned_initial_state(rnnjax.stack(rnnjax.lstm(2), rnnjax.gru(I)))
    check_protocol(make(inner), I)


def check_protocol(cell, width):
    params, inputs = random_params(cell), random_inputs(T, B, I)
    lengths = np.array([T, 1])
    mask = np.arange(T)[:, None] < lengths
    padded = jnp.where(mask[..., None], inputs, 1e30)
    fresh = jax.jit(cell.initial_state, static_argnums=1)(params, (B,))
    start = jax.tree.map(lambda leaf: random_like(leaf, 3, 0.5) if has_gradient(leaf) else leaf, fresh)
    perturbation = jax.tree.map(
        lambda leaf: jnp.zeros((T, *leaf.shape), leaf.dtype if has_gradient(leaf) else None), start
    )

    def loss(outputs):
        return jnp.sum(jnp.sin(outputs) ** 2)

    def loss_of(params, perturbation):
        result = rnnjax.unroll(cell, params, inputs, start, perturbation=perturbation)
        return loss(result[1]), result

    @jax.jit
    def run(params):
        (value, result), gradients = jax.value_and_grad(loss_of, argnums=(0, 1), has_aux=True)(params, perturbation)
        state, steps = start, []
        for x in inputs:
            state, output = cell.step(params, state, x)
            steps.append((state, output))
        masked = rnnjax.unroll(cell, params, padded, start, mask=mask)
        flow = rnnjax.gradient_flow(cell, params, inputs, loss, start)
        return value, result, gradients, steps, masked, flow

    value, (final, outputs), (d_params, d_states), steps, (masked_final, masked_outputs), flow = run(params)
    assert_equal = partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-12)
    assert_trees_equal = partial(jax.tree.map, assert_equal)

    # Single steps are the sequence, and a state is like the one before in structure, shapes and dtypes.
    assert outputs.shape == (T, B, width)
    assert outputs.dtype == jnp.float64
    for state, _ in steps:
        assert jax.tree.structure(state) == jax.tree.structure(start)
        assert jax.tree.map(jnp.shape, state) == jax.tree.map(jnp.shape, start)
        assert jax.tree.map(lambda leaf: leaf.dtype, state) == jax.tree.map(lambda leaf: leaf.dtype, start)
    assert_equal(outputs, np.stack([output for _, output in steps]))
    assert_trees_equal(comparable(final), comparable(steps[-1][0]))

    # Padding changes nothing at the real steps, gives zero, and leaves the state of the last real step.
    assert_equal(masked_outputs, np.where(mask[..., None], outputs, 0))
    for b, length in enumerate(lengths):
        ours, plain = (jax.tree.map(lambda leaf, b=b: leaf[b], s) for s in (masked_final, steps[length - 1][0]))
        assert_trees_equal(comparable(ours), comparable(plain))

    # Gradients are finite, and dL/ds_t is the gradient with respect to a perturbation.
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves((d_params, d_states)))
    assert any((leaf != 0).any() for leaf in jax.tree.leaves(d_params))
    assert_equal(flow.loss, value)
    assert jax.tree.structure(flow.state) == jax.tree.structure(start)
    assert jax.tree.structure(flow.parameters) == jax.tree.structure(params)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(flow.parameters))
    assert_trees_equal(flow.state, jax.tree.map(norms, d_states))
