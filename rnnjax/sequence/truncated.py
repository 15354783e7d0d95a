"""Truncated backpropagation through time.

The state is carried on, and the gradient goes back a limited number of steps.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from rnnjax.cell import Cell
from rnnjax.checks import as_arrays, check_function, check_loss, positive_integer
from rnnjax.sequence.unroll import prepare, unroll
from rnnjax.typing import Params, State


def truncated_gradient(
    cell: Cell,
    params: Params,
    inputs: Array,
    targets: Any,
    loss: Callable[..., Array],
    *,
    every: int,
    through: int,
    state: State | None = None,
    head: Any = None,
) -> tuple[State, Array, Any]:
    """The gradient of BPTT(k1, k2): every k1 steps, the gradient of their loss through the last k2 steps.

    The method is that of Williams & Peng (1990). The state is carried over all windows as in the untruncated forward
    pass, but is treated as a constant at the beginning of each window of k2 steps. With k2 >= T and k1 = T the result
    is the full gradient. It needs the memory of one window, k2 steps.

    Args:
        cell: any cell.
        params: from ``cell.init``.
        inputs: (T, ..., I).
        targets: what ``loss`` compares the outputs with, a pytree of arrays (T, ...), cut into windows like the
            outputs.
        loss: ``(outputs (k1, ..., O), targets of those steps) -> scalar``, or with a head ``(outputs, targets, head) ->
            scalar``. The losses of all windows are added up.
        every: k1, a divisor of T.
        through: k2 >= k1.
        state: s_0, by default ``cell.initial_state``.
        head: any pytree of params that the loss uses on top of the cell, such as a readout's kernel and bias.

    Returns:
        The state after the last step, the loss, and its truncated gradient with respect to the params or, with a head,
        to ``(params, head)``.

    Raises:
        ValueError: if k1 does not divide T, k2 < k1, targets do not have T steps, or the loss is not a scalar.
        TypeError: if ``loss`` is not a function, or its value is not a real number.
    """
    check_function("loss", loss, "lambda outputs, targets: jnp.sum((outputs - targets) ** 2)")
    inputs, state = prepare(cell, params, inputs, state)
    steps, every, through = len(inputs), positive_integer("every", every), positive_integer("through", through)
    if steps % every:
        raise ValueError(f"every is {every}: expected a divisor of the {steps} steps of the inputs; pad or cut them")
    if through < every:
        raise ValueError(
            f"through is {through}: expected at least every = {every}, or some steps would have no gradient"
        )
    targets, head = as_arrays("targets", targets), as_arrays("head", head)
    for leaf in jax.tree.leaves(targets):
        if jnp.shape(leaf)[:1] != (steps,):
            raise ValueError(
                f"targets have shape {jnp.shape(leaf)}: expected {steps} steps on axis 0, as many as the inputs have"
            )

    def window_loss(weights: Any, first: State, start: Array) -> tuple[Array, tuple[State, State]]:
        params, *of_head = weights
        at = start + jnp.arange(through)  # below 0 where the window begins before the sequence: masked below
        real = jnp.broadcast_to(jnp.reshape(at >= 0, (-1, *(1,) * (inputs.ndim - 2))), (through, *inputs.shape[1:-1]))
        of_window = inputs[jnp.maximum(at, 0)]
        state, outputs = unroll(cell, params, of_window[:every], first, mask=real[:every])
        last, seen = state, at[:every]
        if through > every:
            last, later = unroll(cell, params, of_window[every:], state, mask=real[every:])
            outputs, seen = jnp.concatenate([outputs, later])[-every:], at[-every:]
        value = loss(outputs, jax.tree.map(lambda target: target[seen], targets), *of_head)
        check_loss(value)
        return value, (state, last)

    def add_window(carry: Any, start: Array) -> tuple[Any, None]:
        first, _, total = carry
        (value, (state, last)), gradient = jax.value_and_grad(window_loss, has_aux=True)(weights, first, start)
        return (state, last, jax.tree.map(jnp.add, total, (value, gradient))), None

    weights = (params,) if head is None else (params, head)
    starts = jnp.arange(every - through, steps - through + 1, every)
    value, _ = jax.eval_shape(window_loss, weights, state, starts[0])
    nothing = jnp.zeros(value.shape, value.dtype), jax.tree.map(jnp.zeros_like, weights)
    (_, final, (value, gradient)), _ = jax.lax.scan(add_window, (state, state, nothing), starts)
    return final, value, gradient[0] if head is None else gradient
