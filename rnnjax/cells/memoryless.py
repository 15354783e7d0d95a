"""Layers without a memory: dense ones, and those that combinators add to a cell.

The output of such a layer is its whole state, so ``gradient_flow`` measures dL/d(outputs) of it like any dL/ds_t.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from rnnjax import units
from rnnjax.cell import Cell, output_like, zero_state
from rnnjax.cells.activations import activation_named
from rnnjax.checks import positive_integer
from rnnjax.origin import remembered
from rnnjax.typing import Activation, Initializer, Key, Params


class LayerState(NamedTuple):
    hidden: Array  # (..., O), what the layer gives at this step


class DenseParams(NamedTuple):
    kernel: Array  # (I, O)
    bias: Array  # (O,)


class NormParams(NamedTuple):
    scale: Array  # (O,)
    bias: Array  # (O,)


@remembered
def dense(
    output_size: int,
    activation: str | Activation = "identity",
    *,
    kernel_init: Initializer = jax.nn.initializers.lecun_normal(),
) -> Cell:
    """A dense layer, which sees one step alone: as a readout on top of a ``stack``, as an embedding, or in between.

        y_t = g(x_t W + b)

    It is a cell, so it can be a layer of a stack, and it runs over all time steps at once.

    Args:
        output_size: O, the number of outputs.
        activation: g, a name or any elementwise function, as for ``elman``.
        kernel_init: for W (I, O).

    Raises:
        ValueError: for an unknown activation, or output_size < 1.
        TypeError: if output_size is not a whole number.
    """
    size, g = positive_integer("output_size", output_size), activation_named(activation)

    def init(key: Key, input_size: int) -> DenseParams:
        kernel = kernel_init(key, (positive_integer("input_size", input_size), size))
        return DenseParams(kernel, jnp.zeros(size, kernel.dtype))

    def respond(params: DenseParams, inputs: Array) -> Array:
        return g(units.dense(inputs, params.kernel, params.bias))

    return _memoryless(init, respond, lambda params: params.bias)


def pass_on(cell: Cell, params: Params) -> Cell:
    """The cell y_t = x_t, without params, for inputs as wide as the outputs of ``cell`` with these params."""
    return _memoryless(lambda key, input_size: (), lambda _, inputs: inputs, lambda _: output_like(cell, params))


@remembered
def dense_gate(bias: float) -> Cell:
    """The cell y_t = sigmoid(x_t W + b), with outputs as wide as the inputs."""

    def init(key: Key, input_size: int) -> DenseParams:
        kernel = jax.nn.initializers.lecun_normal()(key, (input_size, input_size))
        return DenseParams(kernel, jnp.full(input_size, bias, kernel.dtype))

    def respond(params: DenseParams, inputs: Array) -> Array:
        return jax.nn.sigmoid(units.dense(inputs, params.kernel, params.bias))

    return _memoryless(init, respond, lambda params: params.bias)


@remembered
def normalization() -> Cell:
    """The cell y_t = ``normalized(x_t)``."""

    def init(key: Key, input_size: int) -> NormParams:
        return NormParams(jnp.ones(input_size), jnp.zeros(input_size))

    def respond(params: NormParams, inputs: Array) -> Array:
        return normalized(inputs, params.scale, params.bias)

    return _memoryless(init, respond, lambda params: params.bias)


def normalized(z: Array, scale: Array, bias: Array | None = None) -> Array:
    """An array with mean 0 and variance 1 over the last axis: scale * (z - mean z) / sqrt(var z + 1e-5) + bias."""
    centred = z - jnp.mean(z, axis=-1, keepdims=True)
    standard = centred * jax.lax.rsqrt(jnp.mean(centred**2, axis=-1, keepdims=True) + 1e-5)
    return units.beside(scale, z) * standard + (0 if bias is None else units.beside(bias, z))


def _memoryless(
    init: Callable[[Key, int], Params],
    respond: Callable[[Any, Array], Array],
    like: Callable[[Any], Any],
) -> Cell:
    """The cell y_t = respond(params, x_t), whose outputs have the shape and dtype of ``like(params)``."""

    def initial_state(params: Params, batch_shape: tuple[int, ...] = ()) -> LayerState:
        wanted = like(params)
        return LayerState(*zero_state(batch_shape, wanted.shape, wanted.dtype))

    def advance(params: Params, state: LayerState, drive: Array) -> LayerState:
        return LayerState(drive)

    return Cell(init, initial_state, project=respond, advance=advance, memoryless=True)
