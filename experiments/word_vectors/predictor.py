"""Networks that predict the next word from those before it, each word projected by one and the same matrix.

The TDNN of Bengio et al. (2003) sees a window of W words; a recurrent cell in its place sees all of them. Both read the
text in parallel streams, the state carried on: that of a TDNN is what its window holds.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from ml_collections import ConfigDict

import rnnjax
from experiments.common.workdir import Record
from rnnjax.typing import Key, Params, State

TDNN, DIRECT = "tdnn", "direct"

CHUNK = 256
"""Words of a held-out text that are looked at together."""


class Network(NamedTuple):
    """V words, projected to E numbers each."""

    projection: Array  # (V, E)
    layers: Params  # of ``make_cell``


class TrainState(NamedTuple):
    """All that a training step depends on, but for the text."""

    params: Network
    optimizer: Any
    carried: State  # (B, ...), from window to window
    step: Array
    key: Key


def make_cell(model: str, config: ConfigDict, vocabulary_size: int) -> rnnjax.Cell:
    """From projected words to logits: tdnn:W, direct:W, or the name of a cell, under a dense readout.

        x = [P w_{t-W+1}, ..., P w_t]
        logits = b + U tanh(d + H x)              direct: b + D x + U tanh(d + H x)

    Raises:
        ValueError: for an unknown cell, or a window that is no whole number from 1 on.
    """
    name, _, length = model.partition(":")
    if name not in (TDNN, DIRECT):
        return rnnjax.stack(rnnjax.cell_named(model)(config.hidden_size), rnnjax.dense(vocabulary_size))
    if not (length.isascii() and length.isdigit() and int(length) > 0):
        raise ValueError(f"--config.models has {model}: expected words of its window behind a colon, as in {name}:4")
    if name == TDNN:
        hidden = rnnjax.tdnn(config.hidden_size, int(length))
    else:
        seen = window(int(length), config.projection_size)
        hidden = rnnjax.stack(seen, rnnjax.dense(config.hidden_size, "tanh"), all_to_output=True)
    return rnnjax.stack(hidden, rnnjax.dense(vocabulary_size))


def window(length: int, input_size: int) -> rnnjax.Cell:
    """A cell without params whose output is the last inputs side by side, the newest first; zeros before the first."""

    def initial_state(params: Params, batch_shape: tuple[int, ...] = ()) -> Array:
        return jnp.zeros((*batch_shape, length * input_size))

    def advance(params: Params, state: Array, inputs: Array) -> Array:
        return jnp.concatenate([inputs, state[..., :-input_size]], axis=-1)

    return rnnjax.Cell(lambda key, input_size: (), initial_state, lambda params, inputs: inputs, advance)


def init(cell: rnnjax.Cell, vocabulary_size: int, projection_size: int, key: Key) -> Network:
    """Projected words of about unit length, and layers as their cells have them."""
    projection_key, layers_key = jax.random.split(key)
    projection = projection_size**-0.5 * jax.random.normal(projection_key, (vocabulary_size, projection_size))
    return Network(projection, cell.init(layers_key, projection_size))


def losses(cell: rnnjax.Cell, network: Network, words: Array, targets: Array, state: State) -> tuple[State, Array]:
    """Cross-entropies (T, B) in nats of the words after (T, B) others, and the state after them."""
    state, logits = rnnjax.unroll(cell, network.layers, network.projection[words], state)
    return state, optax.softmax_cross_entropy_with_integer_labels(logits, targets)


def make_optimizer(config: ConfigDict, steps: int) -> optax.GradientTransformation:
    """Adam on clipped gradients, at a rate that falls to nothing as a cosine."""
    rate = optax.cosine_decay_schedule(config.learning_rate, steps)
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), optax.adam(rate))


def initial_state(
    cell: rnnjax.Cell, optimizer: optax.GradientTransformation, config: ConfigDict, vocabulary_size: int, key: Key
) -> TrainState:
    """Before training."""
    params_key, step_key = jax.random.split(key)
    network = init(cell, vocabulary_size, config.projection_size, params_key)
    carried = cell.initial_state(network.layers, (config.batch_size,))
    return TrainState(network, optimizer.init(network), carried, jnp.int32(0), step_key)


def train_steps(
    cell: rnnjax.Cell,
    optimizer: optax.GradientTransformation,
    config: ConfigDict,
    state: TrainState,
    streams: Array,
) -> tuple[TrainState, Record]:
    """Some training steps in one program, each on the next window of the streams (N, B): the state, the mean loss."""
    length = config.sequence_length
    windows = (len(streams) - 1) // length

    def step(state: TrainState, _: None) -> tuple[TrainState, Array]:
        read = jax.lax.dynamic_slice_in_dim(streams, state.step % windows * length, length + 1)

        def loss_of(network: Network) -> tuple[Array, State]:
            carried, found = losses(cell, network, read[:-1], read[1:], state.carried)
            return found.mean(), carried

        (loss, carried), gradients = jax.value_and_grad(loss_of, has_aux=True)(state.params)
        updates, optimizer_state = optimizer.update(gradients, state.optimizer, state.params)
        params = optax.apply_updates(state.params, updates)
        return TrainState(params, optimizer_state, carried, state.step + 1, state.key), loss

    state, of_steps = jax.lax.scan(step, state, length=config.steps_a_call)
    return state, {"loss": of_steps.mean()}


class HeldOut(NamedTuple):
    """One text in chunks (C, T, 1), the last one filled up with what is not real."""

    words: Array
    targets: Array
    real: Array


def held_out(tokens: np.ndarray) -> HeldOut:
    """Every word but the first of a text (N,), after those before it."""
    count = -(-(len(tokens) - 1) // CHUNK) * CHUNK

    def chunks(values: np.ndarray) -> Array:
        return jnp.asarray(np.pad(values, (0, count - len(values))).reshape(-1, CHUNK, 1))

    return HeldOut(chunks(tokens[:-1]), chunks(tokens[1:]), chunks(np.ones(len(tokens) - 1, np.float32)))


def held_out_loss(cell: rnnjax.Cell, network: Network, text: HeldOut) -> Array:
    """Nats a word, read from the beginning on."""

    def read(state: State, chunk: HeldOut) -> tuple[State, Array]:
        state, found = losses(cell, network, chunk.words, chunk.targets, state)
        return state, jnp.where(chunk.real > 0, found, 0).sum()

    _, sums = jax.lax.scan(read, cell.initial_state(network.layers, (1,)), text)
    return sums.sum() / text.real.sum()
