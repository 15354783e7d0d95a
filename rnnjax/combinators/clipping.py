"""Gradient clipping at every step of backpropagation through time.

Optimizers clip a gradient only at the end of it.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from rnnjax.cell import Cell, check_cell
from rnnjax.checks import positive_number
from rnnjax.combinators.compose import each_layer
from rnnjax.engine.norms import is_inexact, norm
from rnnjax.engine.own_transpose import linear_with_own_transpose
from rnnjax.origin import remembered
from rnnjax.typing import Drive, Params, State

Clip = Callable[[list[Array], list[int]], list[Array]]
"""``(gradients of the leaves of a state, how many batch axes each has) -> gradients``."""


@remembered
def clip_gradient_norm(cell: Cell, largest: float) -> Cell:
    """A cell whose recurrence limits the norm of each example's gradient to ``largest`` at every step back.

        (ds_t/ds_{t-1})^T dL/ds_t   becomes   itself * min(1, largest / its norm)

    The forward pass and forward-mode derivatives (``jax.jvp``) do not change. Gradients can then not explode through
    time, but they are no longer exactly those of the loss. Norms are over the whole state of one layer. Gradients that
    come in through the outputs are not clipped.

    Raises:
        TypeError: if ``cell`` is not a cell, or ``largest`` is not a number.
        ValueError: unless ``largest`` is positive and finite.
    """
    limit = positive_number("largest", largest)

    def clip(gradients: list[Array], batch_axes: list[int]) -> list[Array]:
        norms = [norm(g, tuple(range(axes, g.ndim))) for g, axes in zip(gradients, batch_axes, strict=True)]
        total = norm(jnp.stack(norms), (0,))
        factor = jnp.minimum(1, limit / jnp.maximum(total, limit))
        shapes = [factor.reshape(factor.shape + (1,) * (g.ndim - factor.ndim)) for g in gradients]
        return [g * f.astype(g.dtype) for g, f in zip(gradients, shapes, strict=True)]

    return _clipped("clip_gradient_norm", cell, clip)


@remembered
def clip_gradient_values(cell: Cell, largest: float) -> Cell:
    """A cell whose recurrence limits each component of the gradient to ``largest`` at every step back (Graves, 2013).

        (ds_t/ds_{t-1})^T dL/ds_t   becomes   its components, limited to [-largest, largest]

    Otherwise it is like ``clip_gradient_norm``. Graves clips the gradients of the sums inside the gates; here the
    gradient of the state is clipped. The real and the imaginary part of a complex state are two components.
    """
    limit = positive_number("largest", largest)

    def limited(gradient: Array) -> Array:
        if jnp.iscomplexobj(gradient):
            return jax.lax.complex(limited(gradient.real), limited(gradient.imag))
        return jnp.clip(gradient, -limit, limit)

    return _clipped("clip_gradient_values", cell, lambda gradients, _: [limited(g) for g in gradients])


def _clipped(receiver: str, cell: Cell, clip: Clip) -> Cell:
    check_cell(receiver, cell, f"{receiver}(lstm(64), 1.0)")

    def change(layer: Cell, path: tuple[int, ...]) -> Cell:
        def advance(params: Params, state: State, drive: Drive) -> State:
            return layer.advance(params, _with_clipped_gradient(clip, layer, params, state), drive)

        return layer._replace(advance=advance)

    return each_layer(cell, change)


def _with_clipped_gradient(clip: Clip, layer: Cell, params: Params, state: State) -> State:
    leaves, structure = jax.tree.flatten(state)
    of_one = jax.tree.leaves(jax.eval_shape(lambda p: layer.initial_state(p, ()), params))
    places = [place for place, leaf in enumerate(leaves) if is_inexact(leaf)]
    batch_axes = [leaves[place].ndim - of_one[place].ndim for place in places]
    moving = [leaves[place] for place in places]
    passed = linear_with_own_transpose(lambda _, same: same, lambda _, given: clip(given, batch_axes), [], moving)
    for place, leaf in zip(places, passed, strict=True):
        leaves[place] = leaf
    return jax.tree.unflatten(structure, leaves)
