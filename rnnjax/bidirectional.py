"""Layers over whole sequences: two cells in opposite directions, and several layers after each other.

A cell sees one step at a time. What needs the whole sequence at once is a ``SequenceLayer``, two pure functions.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from rnnjax.cell import Cell, check_cell
from rnnjax.typing import Key, Params
from rnnjax.unroll import unroll


class SequenceLayer(NamedTuple):
    """A pure function of a sequence.

    Attributes:
        init: ``(key, input_size) -> params``.
        apply: ``(params, inputs (T, ..., I), mask=None) -> outputs (T, ..., O)``; with a boolean mask (T, ...), padding
            neither changes what is computed at real steps nor has outputs other than zero.
    """

    init: Callable[[Key, int], Params]
    apply: Callable[..., Array]


class BidirectionalParams(NamedTuple):
    forward: Any
    backward: Any


def bidirectional(forward: Cell, backward: Cell) -> SequenceLayer:
    """One cell from the first step to the last, another from the last to the first (Schuster & Paliwal, 1997).

        y_t = [forward h_t, backward h_t]

    With a mask the backward cell starts at each example's own last step.

    Raises:
        TypeError: if they are not cells.
    """
    for cell in (forward, backward):
        check_cell("bidirectional", cell, "bidirectional(lstm(64), lstm(64))")

    def init(key: Key, input_size: int) -> BidirectionalParams:
        forward_key, backward_key = jax.random.split(key)
        return BidirectionalParams(forward.init(forward_key, input_size), backward.init(backward_key, input_size))

    def apply(params: BidirectionalParams, inputs: Array, mask: Array | None = None) -> Array:
        _, ahead = unroll(forward, params.forward, inputs, mask=mask)
        _, behind = unroll(backward, params.backward, inputs, mask=mask, reverse=True)
        return jnp.concatenate([ahead, behind], axis=-1)

    return SequenceLayer(init, apply)


def chain(*layers: Cell | SequenceLayer | Any) -> SequenceLayer:
    """Layers one after the other over the whole sequence: cells, ``bidirectional`` and feed-forward ones between.

    Feed-forward layers are modules with flax's ``init(key, inputs)`` and ``apply(params, inputs)``, such as
    ``flax.linen.Dense(64)``; they act on each step by itself. Params are a tuple, one element a layer.

    Raises:
        ValueError: without layers.
        TypeError: for something that is none of these.
    """
    if not layers:
        raise ValueError("chain received no layers: expected at least one, as in chain(lstm(64), flax.linen.Dense(8))")
    parts = [_sequence_layer(layer) for layer in layers]

    def init(key: Key, input_size: int) -> tuple[Params, ...]:
        params: list[Params] = []
        size = input_size
        for number, part in enumerate(parts):
            params.append(part.init(jax.random.fold_in(key, number), size))
            inputs = jax.ShapeDtypeStruct((1, size), jax.tree.leaves(params[-1])[0].dtype)
            size = jax.eval_shape(part.apply, params[-1], inputs).shape[-1]
        return tuple(params)

    def apply(params: tuple[Params, ...], inputs: Array, mask: Array | None = None) -> Array:
        for part, layer_params in zip(parts, params, strict=True):
            inputs = part.apply(layer_params, inputs, mask)
        return inputs

    return SequenceLayer(init, apply)


def _sequence_layer(layer: Any) -> SequenceLayer:
    if isinstance(layer, SequenceLayer):
        return layer
    if isinstance(layer, Cell):
        return SequenceLayer(layer.init, lambda params, inputs, mask=None: unroll(layer, params, inputs, mask=mask)[1])
    if (
        not isinstance(layer, type)
        and callable(getattr(layer, "init", None))
        and callable(getattr(layer, "apply", None))
    ):
        return _feed_forward(layer)
    raise TypeError(
        f"chain received {getattr(layer, '__name__', type(layer).__name__)}: expected cells, sequence layers or flax "
        "modules, made with their sizes, as in chain(lstm(64), flax.linen.Dense(8))"
    )


def _feed_forward(module: Any) -> SequenceLayer:
    def apply(params: Params, inputs: Array, mask: Array | None = None) -> Array:
        outputs = module.apply(params, inputs)
        return outputs if mask is None else jnp.where(mask[..., None], outputs, jnp.zeros_like(outputs))

    return SequenceLayer(lambda key, input_size: module.init(key, jnp.zeros((1, input_size))), apply)
