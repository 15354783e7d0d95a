"""``repeat``: a stack of equal layers, with their params side by side."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from rnnjax import Cell
from tests.cases import H, I, T, flow_of, random_inputs, random_params, unrolled

LAYERS = 3
REPEATED: dict[str, Callable[[], Cell]] = {
    "stack": lambda: rnnjax.stack(rnnjax.elman(H - 1), rnnjax.residual(rnnjax.elman(H - 1)), rnnjax.gru(H)),
    "repeat": lambda: rnnjax.repeat(rnnjax.elman(H), 2),
}

assert_trees_close = partial(jax.tree.map, partial(np.testing.assert_allclose, rtol=1e-11, atol=1e-14))


def layer_of(params: Any, index: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[index], params)


def summed(outputs: jax.Array) -> jax.Array:
    return jnp.sum(jnp.sin(outputs) ** 2)


def test_gradient_flow_sees_the_layers_of_a_repeat_inside_other_cells(x64: None) -> None:
    cell = rnnjax.residual(rnnjax.repeat(rnnjax.elman(H), LAYERS))
    params, inputs = random_params(cell, input_size=H), random_inputs(T, 2, H)
    flow = flow_of(cell, params, inputs, summed)
    assert flow.parameters.bias.shape == (LAYERS, T)
    assert [layer.hidden.shape for layer in flow.state[0]] == [(T,)] * LAYERS
    # Of the last layer it is what the cell alone has, of a loss that adds the inputs.
    alone = flow_of(cell.wiring.layers(params)[0][0], params, inputs, lambda y: summed(inputs + y))
    assert_trees_close((flow.state[0], flow.parameters), (alone.state, alone.parameters))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(REPEATED))
def test_repeat_equals_a_stack_of_its_layers_in_outputs_states_and_gradient_flow(x64: None, name: str) -> None:
    cell, stack = rnnjax.repeat(REPEATED[name](), LAYERS), rnnjax.stack(*(REPEATED[name]() for _ in range(LAYERS)))
    params, inputs = random_params(cell, input_size=H), random_inputs(T, 2, H)
    separate = tuple(layer_of(params, index) for index in range(LAYERS))
    assert_trees_close(*(unrolled(c, p, inputs) for c, p in ((cell, params), (stack, separate))))

    flow, expected = (flow_of(c, p, inputs, summed) for c, p in ((cell, params), (stack, separate)))
    assert_trees_close(flow._replace(parameters=None), expected._replace(parameters=None))
    for index in range(LAYERS):
        assert_trees_close(layer_of(flow.parameters, index), expected.parameters[index])


def test_layers_start_from_weights_of_their_own() -> None:
    kernels = rnnjax.repeat(rnnjax.elman(H), LAYERS).init(jax.random.key(0), H).recurrent_kernel
    np.testing.assert_allclose(jnp.einsum("lij,lik->ljk", kernels, kernels), [np.eye(H)] * LAYERS, atol=1e-6)
    assert np.abs(kernels[0] - kernels[1]).max() > 1e-2


def test_noise_is_not_the_same_in_repeated_layers() -> None:
    cell = rnnjax.dropout(rnnjax.repeat(rnnjax.elman(H, "identity"), LAYERS), 0.5, jax.random.key(0))
    keys = jax.random.key_data(
        jnp.stack([state.key for state in cell.initial_state(random_params(cell, input_size=H))])
    )
    assert len(np.unique(keys, axis=0)) == LAYERS


def test_the_program_does_not_grow_with_the_layers() -> None:
    def operations(layers: int) -> int:
        cell = rnnjax.repeat(rnnjax.lstm(H), layers)
        gradient = jax.grad(lambda p: summed(rnnjax.unroll(cell, p, random_inputs(T, 2, H))[1]))
        text = jax.jit(gradient).lower(random_params(cell, input_size=H)).as_text()
        return text.count("stablehlo.dot_general")

    assert operations(2) == operations(8)


def test_errors_of_repeat() -> None:
    cell = rnnjax.repeat(rnnjax.lstm(H), 2)
    with pytest.raises(ValueError, match=r"repeat: .* width 3 .* width 4.*stack\(lstm\(64\), repeat"):
        cell.init(jax.random.key(0), I)
    with pytest.raises(TypeError, match="repeat received lstm: expected cells"):
        rnnjax.repeat(rnnjax.lstm, 2)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="times is 0: expected at least 1"):
        rnnjax.repeat(rnnjax.lstm(H), 0)
