"""A network whose length, or length and batch, stay open in an export, is the same at every size, gradients too."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

import rnnjax
from rnnjax import Cell
from tests.cases import B, H, I, random_inputs, random_params


def check(cell: Cell, shape: str, sizes: list[tuple[int, int]], reverse: bool = False) -> None:
    params = random_params(cell)

    def loss(params: Any, inputs: Any) -> Any:
        outputs = rnnjax.unroll(cell, params, inputs, reverse=reverse)[1]
        return jnp.sum(jnp.sin(outputs)), outputs

    run = jax.jit(jax.grad(loss, (0, 1), has_aux=True))
    exported = export.export(run)(params, jax.ShapeDtypeStruct(export.symbolic_shape(shape), jnp.float32)).call
    for steps, batch in sizes:
        inputs = random_inputs(steps, batch, I)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5),
            jax.tree.leaves(exported(params, inputs)),
            jax.tree.leaves(run(params, inputs)),
        )


def test_the_length_can_stay_open(typical_cell: Cell) -> None:
    check(typical_cell, f"t, {B}, {I}", [(7, B), (2, B)])


@pytest.mark.slow
@pytest.mark.parametrize("reverse", [False, True])
def test_length_and_batch_can_stay_open(reverse: bool) -> None:
    check(rnnjax.stack(rnnjax.lstm(H), rnnjax.gru(H)), f"t, b, {I}", [(7, 3), (2, 1)], reverse)
