"""A state of any cell as one flat real vector per example, and back.

The order is that of ``jax.tree.leaves(state)``: the fields of each layer, the layers from the input upwards, every leaf
in row-major order. A complex leaf gives its real parts, then its imaginary parts. Leaves without a derivative, counters
and random keys, are left out.
"""

import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from rnnjax.cell import Cell
from rnnjax.checks import check_advanced
from rnnjax.engine.norms import is_inexact
from rnnjax.engine.program import has_own_backward_pass, program_of
from rnnjax.typing import Drive, Params, State


class StateVectors(NamedTuple):
    """Functions between the states of a cell and their vectors, at any leading axes.

    Attributes:
        of_state: ``state -> vectors (..., S)``, in float32 or float64.
        to_state: ``(vectors, state) -> state``, which takes only leaves without a derivative from the given ``state``.
        size: S, the length of a vector.
        dtype: of the vectors.
    """

    of_state: Callable[[State], Array]
    to_state: Callable[[Array, State], State]
    size: int
    dtype: Any


def state_vectors(like: State, batch_rank: int) -> StateVectors:
    """The functions for states like this one, which has ``batch_rank`` batch axes.

    Raises:
        TypeError: if no leaf of the state has a derivative.
    """
    leaves, structure = jax.tree.flatten(like)
    moving = [leaf for leaf in leaves if is_inexact(leaf)]
    if not moving:
        raise TypeError(
            f"the state has the dtypes {sorted({str(leaf.dtype) for leaf in leaves})}: expected real or complex "
            "numbers among them, which have a derivative; use a cell with such a state"
        )
    shapes = [leaf.shape[batch_rank:] for leaf in moving]
    sizes = [math.prod(shape) for shape in shapes]
    widths = [size * (2 if jnp.iscomplexobj(leaf) else 1) for size, leaf in zip(sizes, moving, strict=True)]
    dtype = jnp.dtype(jnp.float64 if any(jnp.finfo(leaf.dtype).bits == 64 for leaf in moving) else jnp.float32)

    def of_state(state: State) -> Array:
        parts = []
        for leaf, shape in zip(filter(is_inexact, jax.tree.leaves(state)), shapes, strict=True):
            flat = leaf.reshape(*leaf.shape[: leaf.ndim - len(shape)], math.prod(shape))
            parts += [flat.real, flat.imag] if jnp.iscomplexobj(flat) else [flat]
        return jnp.concatenate([part.astype(dtype) for part in parts], axis=-1)

    def to_state(vectors: Array, state: State) -> State:
        parts = iter(jnp.split(vectors, list(itertools.accumulate(widths))[:-1], axis=-1))
        shape_of = iter(shapes)

        def leaf_of(old: Array) -> Array:
            if not is_inexact(old):
                return old
            part, shape = next(parts), next(shape_of)
            if jnp.iscomplexobj(old):
                part = jax.lax.complex(*(half.astype(old.real.dtype) for half in jnp.split(part, 2, axis=-1)))
            return part.astype(old.dtype).reshape(*vectors.shape[:-1], *shape)

        return jax.tree.unflatten(structure, [leaf_of(old) for old in jax.tree.leaves(state)])

    return StateVectors(of_state, to_state, sum(widths), dtype)


def advance_vectors(cell: Cell, params: Params, state: State, drive: Drive, vectors: StateVectors) -> Any:
    """One step as ``vector (..., S) -> (new vector, new state)``; leaves without a derivative come from ``state``."""

    def advance(vector: Array) -> tuple[Array, State]:
        new_state = cell.advance(params, vectors.to_state(vector, state), drive)
        check_advanced(state, new_state)
        return vectors.of_state(new_state), new_state

    return advance


def check_same_backward(receiver: str, cell: Cell, params: Params, state: State, inputs: Array) -> None:
    """Raise ``TypeError`` if the gradients of a step do not follow from its forward-mode derivative."""

    def advance(params: Params, state: State, inputs: Array) -> State:
        return cell.advance(params, state, cell.project(params, inputs))

    if has_own_backward_pass(program_of(advance, params, state, inputs)):
        raise TypeError(
            f"{receiver} received a cell with a backward pass of its own (jax.custom_vjp), such as clip_gradient_norm "
            "or mixed_precision makes: expected one whose gradients are those of its values; pass the cell without it"
        )
