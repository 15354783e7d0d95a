"""Truncated backpropagation through time: state carried for ever, gradient through the last few steps."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from rnnjax.cell import Cell
from rnnjax.checks import positive_integer
from rnnjax.sequence.unroll import prepare, unroll
from rnnjax.typing import Params, State


def truncated_gradient(
    cell: Cell,
    params: Params,
    inputs: Array,
    targets: Any,
    loss: Callable[[Array, Any], Array],
    *,
    every: int,
    through: int,
    state: State | None = None,
) -> tuple[State, Array, Params]:
    """The gradient of BPTT(k1, k2) (Williams & Peng, 1990): every k1 steps, of their loss, through the last k2.

    The state runs on over all windows as in the untruncated forward pass; where a window of k2 steps begins, it is a
    constant. With k2 >= T and k1 = T it is the full gradient.

    Args:
        cell: any cell.
        params: its params.
        inputs: (T, ..., I).
        targets: what ``loss`` compares with, a pytree of arrays (T, ...), cut into windows as the outputs are.
        loss: ``(outputs (k1, ..., O), targets of those steps) -> scalar``; the losses of all windows are added.
        every: k1, a divisor of T.
        through: k2 >= k1.
        state: s_0, by default ``cell.initial_state``.

    Returns:
        The state after the last step, the loss and its truncated gradient with respect to the params.

    Raises:
        ValueError: if k1 does not divide T or k2 < k1.
    """
    inputs, state = prepare(cell, params, inputs, state)
    steps, every, through = len(inputs), positive_integer("every", every), positive_integer("through", through)
    if steps % every:
        raise ValueError(f"every is {every}: expected a divisor of the {steps} steps of the inputs; pad or cut them")
    if through < every:
        raise ValueError(
            f"through is {through}: expected at least every = {every}, or some steps would have no gradient"
        )

    for leaf in jax.tree.leaves(targets):
        if jnp.shape(leaf)[:1] != (steps,):
            raise ValueError(
                f"targets have shape {jnp.shape(leaf)}: expected {steps} steps on axis 0, as many as the inputs have"
            )

    final, before = _trajectory(cell, params, inputs, state)
    starts = jnp.arange(every - through, steps - through + 1, every)  # below 0: the window reaches behind the beginning

    def window_loss(params: Params, start: Array) -> Array:
        at = start + jnp.arange(through)
        real = jnp.broadcast_to((at >= 0).reshape(-1, *(1,) * (inputs.ndim - 2)), (through, *inputs.shape[1:-1]))
        first = jax.tree.map(lambda states: states[jnp.maximum(start, 0)], before)
        _, outputs = unroll(cell, params, inputs[jnp.maximum(at, 0)], jax.lax.stop_gradient(first), mask=real)
        return loss(outputs[-every:], jax.tree.map(lambda target: target[at[-every:]], targets))

    def add_window(total: tuple[Array, Params], start: Array) -> tuple[tuple[Array, Params], None]:
        return jax.tree.map(jnp.add, total, jax.value_and_grad(window_loss)(params, start)), None

    shape = jax.eval_shape(window_loss, params, starts[0])
    nothing = jnp.zeros(shape.shape, shape.dtype), jax.tree.map(jnp.zeros_like, params)
    (value, gradient), _ = jax.lax.scan(add_window, nothing, starts)
    return final, value, gradient


def _trajectory(cell: Cell, params: Params, inputs: Array, state: State) -> tuple[State, State]:
    """The final state, and the state before each step (T, ...)."""

    def step(state: State, inputs: Array) -> tuple[State, State]:
        return cell.advance(params, state, cell.project(params, inputs)), state

    return jax.lax.scan(step, state, inputs)
