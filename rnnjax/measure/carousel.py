"""The constant error carousel: the gradient's path along an LSTM's memory."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from rnnjax.cell import Cell
from rnnjax.sequence.unroll import prepare, unroll
from rnnjax.typing import Drive, Params, State


class Carousel(NamedTuple):
    """The derivative of the last memory c_T by each unit of the earlier memory, (T, ..., H) each.

    Attributes:
        direct: along the memory alone, without a step through h: for an LSTM the product of the forget gates after step
            t.
        total: along all paths, also through h of the steps between.
    """

    direct: Array
    total: Array


def carousel(cell: Cell, params: Params, inputs: Array, state: State | None = None) -> Carousel:
    """The derivative of each memory unit's last value by its own earlier values, along the memory and in total.

        direct_t = prod over k = t+1, ..., T of f_k        total_t = diagonal of dc_T/dc_t        t = 1, ..., T

    The direct path with f = 1 is what Hochreiter & Schmidhuber (1997) called the constant error carousel. dc_T/dc_t is
    taken with h_t held fixed, as everywhere in this library, so both are equal for t >= T - 1, and for all t if the
    recurrent weights are zero. The total derivative takes one backward pass for each of the H units.

    Args:
        cell: a single layer, with ``cell`` and ``hidden`` among the fields of its state, such as ``lstm``.
        params: from ``cell.init``.
        inputs: (T, ..., I).
        state: s_0, by default ``cell.initial_state``.

    Raises:
        ValueError: for shapes that do not fit together.
        TypeError: if the state has no such fields.
    """
    inputs, state = prepare(cell, params, inputs, state)
    if not {"cell", "hidden"} <= set(getattr(state, "_fields", ())):
        raise TypeError(
            f"carousel received a cell whose state is {type(state).__name__}: expected one with the fields hidden and "
            "cell, such as lstm(64); for a stack, pass one of its layers with the inputs of that layer"
        )
    zeros = jax.tree.map(lambda leaf: jnp.zeros((len(inputs), *leaf.shape), leaf.dtype), state)

    def last_memory(cell: Cell, zeros: State) -> Array:
        return unroll(cell, params, inputs, state, perturbation=zeros)[0].cell

    def advance_along_memory(params: Params, state: State, drive: Drive) -> State:
        return cell.advance(params, state._replace(hidden=jax.lax.stop_gradient(state.hidden)), drive)

    memory, back = jax.vjp(partial(last_memory, cell._replace(advance=advance_along_memory)), zeros)
    direct = back(jnp.ones_like(memory))[0].cell  # unit by unit, since no memory unit depends on another one
    memory, back = jax.vjp(partial(last_memory, cell), zeros)

    def of_unit(unit: Array) -> Array:
        (gradient,) = back(jnp.broadcast_to(jax.nn.one_hot(unit, memory.shape[-1], dtype=memory.dtype), memory.shape))
        return jnp.take(gradient.cell, unit, axis=-1)

    total = jax.lax.map(of_unit, jnp.arange(memory.shape[-1]))
    return Carousel(direct, jnp.moveaxis(total, 0, -1))
