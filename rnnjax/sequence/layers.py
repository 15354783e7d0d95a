"""Layers over whole sequences, and outputs that come later than their inputs.

A cell sees one step at a time. A layer that needs the whole sequence at once is a ``SequenceLayer``, a pair of pure
functions. (``rnnjax.bidirectional`` needs it, too, but is a cell.)
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from rnnjax.cell import Cell, check_cell
from rnnjax.checks import positive_integer
from rnnjax.origin import remembered, remembering
from rnnjax.sequence.unroll import length_mask, prepare, unroll
from rnnjax.typing import Key, Params


@remembering
class SequenceLayer(NamedTuple):
    """A pure function of a sequence.

    Attributes:
        init: ``(key, input_size) -> params``.
        apply: ``(params, inputs (T, ..., I), mask=None, reset=None) -> outputs (T, ..., O)``. With a boolean mask
            (T, ...), padding does not change what is computed at real steps, and its outputs are zero. With resets
            (T, ...), as in ``unroll``, each document is computed as if it were alone.
    """

    init: Callable[[Key, int], Params]
    apply: Callable[..., Array]


@remembered
def chain(*layers: Cell | SequenceLayer | Any) -> SequenceLayer:
    """Layers that run one after the other over the whole sequence: cells, ``bidirectional`` and feed-forward modules.

    Feed-forward layers are modules with flax's ``init(key, inputs)`` and ``apply(params, inputs)``, such as
    ``flax.linen.Dense(64)``; they act on each step separately. Params are a tuple with one element for each layer.

    Raises:
        ValueError: if there are no layers.
        TypeError: if a layer is none of these.
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

    def apply(
        params: tuple[Params, ...], inputs: Array, mask: Array | None = None, reset: Array | None = None
    ) -> Array:
        if not isinstance(params, tuple | list) or len(params) != len(parts):
            received = f"{len(params)} elements" if isinstance(params, tuple | list) else type(params).__name__
            raise ValueError(
                f"params are {received}: expected a tuple of {len(parts)}, one element for each layer of the chain"
            )
        options = {} if reset is None else {"reset": reset}
        for part, layer_params in zip(parts, params, strict=True):
            inputs = part.apply(layer_params, inputs, mask, **options)
        return inputs

    return SequenceLayer(init, apply)


@remembered
def delayed(cell: Cell, steps: int) -> SequenceLayer:
    """A cell whose outputs are read some steps after their inputs, so that it can look ahead before it answers.

        s_t = f(s_{t-1}, x_t)        y_t = g(s_{t+d})        t = 1, ..., T;  x_t = 0 for t = T + 1, ..., T + d

    This is the target delay of Graves & Schmidhuber (2005). The network sees d steps of the future, where
    ``bidirectional`` sees all of it, and still runs in one direction. After the last input the cell runs on for d
    steps. Params are those of the cell. With a mask only real steps count, even if padding stands between them, and
    each example runs on after its last real step.

    Args:
        cell: any cell.
        steps: d; with 0 the outputs are those of the plain cell.

    Raises:
        ValueError: if ``steps`` < 0.
        TypeError: if ``cell`` is not a cell, or ``steps`` is not a whole number.
    """
    check_cell("delayed", cell, "delayed(lstm(64), 5)")
    delay = _delay(steps)

    def run(params: Params, inputs: Array, mask: Array | None = None) -> Array:
        running_on = jnp.zeros((delay, *inputs.shape[1:]), inputs.dtype)
        return unroll(cell, params, jnp.concatenate([inputs, running_on]), mask=mask)[1][delay:]

    def apply(params: Params, inputs: Array, mask: Array | None = None, reset: Array | None = None) -> Array:
        if reset is not None:
            raise ValueError("delayed received a reset: expected one document a sequence; put each in a row of its own")
        inputs, _ = prepare(cell, params, inputs, None, mask)
        if mask is None:
            return run(params, inputs)
        # Real steps are moved to the front in their order, so that all padding is at the end, and are moved back
        # afterwards.
        real_first = jnp.argsort(~mask, axis=0, stable=True)
        lengths = mask.sum(axis=0)
        outputs = run(
            params,
            jnp.take_along_axis(inputs, real_first[..., None], axis=0),
            length_mask(lengths + delay, len(inputs) + delay),
        )
        outputs = jnp.take_along_axis(outputs, jnp.argsort(real_first, axis=0)[..., None], axis=0)
        return jnp.where(mask[..., None], outputs, jnp.zeros_like(outputs))

    return SequenceLayer(cell.init, apply)


def _delay(steps: int) -> int:
    if isinstance(steps, int) and steps < 1:
        if steps < 0:
            raise ValueError(f"steps is {steps}: expected at least 0, the number of steps by which outputs are late")
        return 0
    return positive_integer("steps", steps)


def _sequence_layer(layer: Any) -> SequenceLayer:
    if isinstance(layer, SequenceLayer):
        return layer
    if isinstance(layer, Cell):
        return SequenceLayer(layer.init, functools.partial(_unrolled, layer))
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


def _unrolled(
    cell: Cell, params: Params, inputs: Array, mask: Array | None = None, reset: Array | None = None
) -> Array:
    return unroll(cell, params, inputs, mask=mask, reset=reset)[1]


def _feed_forward(module: Any) -> SequenceLayer:
    def apply(params: Params, inputs: Array, mask: Array | None = None, reset: Array | None = None) -> Array:
        outputs = module.apply(params, inputs)
        return outputs if mask is None else jnp.where(mask[..., None], outputs, jnp.zeros_like(outputs))

    return SequenceLayer(lambda key, input_size: module.init(key, jnp.zeros((1, input_size))), apply)
