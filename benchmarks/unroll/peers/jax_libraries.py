"""Other JAX libraries, each as its documentation would have it."""

import os
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from benchmarks.common.device import Device, UnavailableError
from benchmarks.common.workload import FORWARD
from benchmarks.unroll.peers.layer import (
    Programs,
    Shape,
    assert_close,
    inputs_of,
    jax_programs,
    same_cell,
    time_major,
)
from benchmarks.unroll.peers.own import rnnjax_layer
from rnnjax.adapters.torch import to_torch
from rnnjax.cells.lstm import LSTMParams


def build_flax(cell: str, shape: Shape, device: Device) -> Programs:
    """``flax.linen.RNN``."""
    from flax import linen

    cells = {"elman": "SimpleCell", "lstm": "OptimizedLSTMCell", "gru_reset_after": "GRUCell"}
    module = linen.RNN(getattr(linen, same_cell(cell, cells))(shape.hidden_size), time_major=True)
    inputs = inputs_of(shape)
    return jax_programs(module.apply, jax.jit(module.init)(jax.random.key(0), inputs), inputs)


def build_nnx(cell: str, shape: Shape, device: Device) -> Programs:
    """``flax.nnx.RNN``, split once into its graph and its weights."""
    from flax import nnx

    cells = {"elman": "SimpleCell", "lstm": "OptimizedLSTMCell", "gru_reset_after": "GRUCell"}
    make = getattr(nnx, same_cell(cell, cells))
    module = nnx.RNN(make(shape.input_size, shape.hidden_size, rngs=nnx.Rngs(0)), time_major=True)
    graph, params, rest = nnx.split(module, nnx.Param, ...)

    def outputs(params: Any, inputs: Array) -> Array:
        return nnx.merge(graph, params, rest, copy=True)(inputs)

    return jax_programs(outputs, params, inputs_of(shape))


def build_haiku(cell: str, shape: Shape, device: Device) -> Programs:
    """``haiku.dynamic_unroll``."""
    import haiku

    cells = {"elman": partial(haiku.VanillaRNN, double_bias=False), "lstm": haiku.LSTM, "gru": haiku.GRU}
    make = same_cell(cell, cells)

    def outputs(inputs: Array) -> Array:
        core = make(shape.hidden_size)
        return haiku.dynamic_unroll(core, inputs, core.initial_state(shape.batch))[0]

    transformed = haiku.without_apply_rng(haiku.transform(outputs))
    inputs = inputs_of(shape)
    return jax_programs(transformed.apply, jax.jit(transformed.init)(jax.random.key(0), inputs), inputs)


def build_equinox(cell: str, shape: Shape, device: Device) -> Programs:
    """``equinox.nn`` cells, made for one example, mapped over the batch inside ``lax.scan``."""
    import equinox

    cells = {"lstm": equinox.nn.LSTMCell, "gru_reset_after": equinox.nn.GRUCell}
    params = same_cell(cell, cells)(shape.input_size, shape.hidden_size, key=jax.random.key(0))
    zero = jnp.zeros((shape.batch, shape.hidden_size))

    def outputs(params: Any, inputs: Array) -> Array:
        def step(state: Any, x: Array) -> tuple[Any, Array]:
            state = jax.vmap(params)(x, state)
            return state, state[0] if cell == "lstm" else state

        return jax.lax.scan(step, (zero, zero) if cell == "lstm" else zero, inputs)[1]

    return jax_programs(outputs, params, inputs_of(shape))


def build_keras(cell: str, shape: Shape, device: Device) -> Programs:
    """Keras layers on its JAX backend, called statelessly.

    They take and return (batch, time, width); inputs and outputs are left in this order.
    """
    os.environ["KERAS_BACKEND"] = "jax"
    import keras

    layers = {
        "elman": keras.layers.SimpleRNN,
        "lstm": keras.layers.LSTM,
        "gru": partial(keras.layers.GRU, reset_after=False),
        "gru_reset_after": keras.layers.GRU,
    }
    layer = layers[cell](shape.hidden_size, return_sequences=True)
    inputs = inputs_of(shape).swapaxes(0, 1)
    layer.build(inputs.shape)
    params, fixed = ([v.value for v in of] for of in (layer.trainable_variables, layer.non_trainable_variables))

    def outputs(params: Any, inputs: Array) -> Array:
        return layer.stateless_call(params, fixed, inputs)[0]

    programs = jax_programs(outputs, params, inputs)
    matrices = [v.value for v in layer.trainable_variables if v.name != "bias"]  # the GRU's has two rows
    return time_major(programs)._replace(matrix_weights=sum(matrix.size for matrix in matrices))


def build_cudnn(cell: str, shape: Shape, device: Device) -> Programs:
    """CuDNN's LSTM, which ``jax.experimental.rnn`` calls; with rnnjax's weights it must have rnnjax's outputs.

    It takes and returns (batch, time, width); inputs and outputs are left in this order.
    """
    if not device.cuda:
        raise UnavailableError(f"cuDNN needs a GPU of NVIDIA, JAX found {device}")
    from jax.experimental import rnn

    lstm = same_cell(cell, {"lstm": rnn.lstm})
    _, ours, params, inputs = rnnjax_layer(cell, shape)
    _, batch, width, H = shape
    zero, lengths = jnp.zeros((1, batch, H)), jnp.full(batch, shape.steps, jnp.int32)

    def outputs(weights: Array, inputs: Array) -> Array:
        return lstm(inputs, zero, zero, weights, lengths, width, H, 1, 0.0, False)[0]

    weights = cudnn_weights(params)
    programs = jax_programs(outputs, weights, inputs.swapaxes(0, 1))
    assert_close(programs.calls[FORWARD]().swapaxes(0, 1), jax.jit(ours)(params, inputs))
    return time_major(programs)._replace(matrix_weights=weights.size - 2 * 4 * H)  # all but the two biases


def cudnn_weights(params: LSTMParams) -> Array:
    """The weights of one layer as one vector: W_ih, W_hh, b_ih, b_hh as PyTorch has them, row after row."""
    weights = to_torch(params)
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    return jnp.concatenate([jnp.ravel(jnp.asarray(weights[name])) for name in names])
