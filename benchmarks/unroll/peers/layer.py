"""One recurrent layer in any library: its shape, its programs, and what timing them needs."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from benchmarks.common.device import UnavailableError
from benchmarks.common.measure import Call
from benchmarks.common.workload import FORWARD, GRADIENT, sum_of_squares

FLOW = "gradient_flow"

GATES = {"elman": 1, "lstm": 4, "gru": 3, "gru_reset_after": 3}
"""Cells by rnnjax's names, and how many blocks of weights each has."""


class Shape(NamedTuple):
    steps: int
    batch: int
    input_size: int
    hidden_size: int

    def __str__(self) -> str:
        return "x".join(map(str, self))


class Programs(NamedTuple):
    calls: dict[str, Call]  # by FORWARD and GRADIENT, FLOW, or all three
    output_shape: tuple[int, ...]
    matrix_weights: int  # how many weights stand in matrices: equal where the work is equal


def weights_in_matrices(cell: str, shape: Shape) -> int:
    """How many weights in matrices every library must have."""
    return GATES[cell] * shape.hidden_size * (shape.input_size + shape.hidden_size)


def inputs_of(shape: Shape) -> Array:
    """Standard normal inputs (T, B, I)."""
    return jax.random.normal(jax.random.key(1), shape[:3])


def same_cell(cell: str, cells: dict[str, Any]) -> Any:
    """The library's own cell of that kind; an ``UnavailableError`` if it has none."""
    other = {"gru": "gru_reset_after", "gru_reset_after": "gru"}.get(cell)
    if cell in cells:
        return cells[cell]
    if other in cells:
        where = "after" if cell == "gru" else "before"
        raise UnavailableError(f"its GRU resets {where} the recurrent product and is compared as {other}")
    raise UnavailableError(f"no {cell} cell")


def jax_programs(outputs: Callable[[Any, Array], Array], params: Any, inputs: Array) -> Programs:
    """The programs of a layer: forward, and its gradient with respect to all params."""
    calls = {
        FORWARD: call_of(jax.jit(outputs), params, inputs),
        GRADIENT: call_of(jax.jit(loss_and_gradient(outputs)), params, inputs),
    }
    weights = sum(leaf.size for leaf in jax.tree.leaves(params) if leaf.ndim == 2)
    return Programs(calls, jax.eval_shape(outputs, params, inputs).shape, weights)


def call_of(program: Callable[..., Any], *arguments: Any) -> Call:
    """A call of the program that waits for its result."""
    return lambda: jax.block_until_ready(program(*arguments))


def loss_and_gradient(outputs: Callable[[Any, Array], Array]) -> Callable[[Any, Array], Any]:
    return jax.value_and_grad(lambda params, inputs: sum_of_squares(outputs(params, inputs)))


def assert_close(actual: Array, expected: Array) -> None:
    """Raises unless the arrays are equal up to rounding."""
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5 * float(jnp.abs(expected).max()))


def time_major(programs: Programs) -> Programs:
    """The programs of a library whose outputs are (B, T, H), with the shape that those of others have."""
    batch, steps, width = programs.output_shape
    return programs._replace(output_shape=(steps, batch, width))
