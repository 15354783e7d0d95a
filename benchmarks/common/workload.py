"""What is measured in most benchmarks: a layer over a sequence, and the gradient of the sum of its squared outputs."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

import rnnjax

FORWARD = "forward"
GRADIENT = "forward + backward"


def sum_of_squares(outputs: Array) -> Array:
    return jnp.sum(outputs**2)


def params_and_inputs(cell: rnnjax.Cell, steps: int, batch: int, width: int) -> tuple[Any, Array]:
    """Params from ``init`` and standard normal inputs (T, B, I), both computed when this returns."""
    inputs = jax.random.normal(jax.random.key(1), (steps, batch, width))
    return jax.block_until_ready((cell.init(jax.random.key(0), width), inputs))


def gradient_of(cell: rnnjax.Cell) -> Any:
    """The jitted gradient with respect to the params. Each call makes a new one, which is yet to be compiled."""
    return jax.jit(jax.grad(lambda params, inputs: sum_of_squares(rnnjax.unroll(cell, params, inputs)[1])))
