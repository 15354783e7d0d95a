"""A recurrent network over the frames of a chorale, and the probability that it gives the next frame.

h_t = cell(h_{t-1}, x_t)        x_0 silent        p(x_{t+1} | x_1, ..., x_t) by an output layer, from h_t and x_t
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from ml_collections import ConfigDict

import rnnjax
from experiments.music.data import KEYS, Batch, Rows, Sizes, Stock, drawn_rows
from experiments.music.outputs import JOINT, SIGMOIDS, Output, make_output
from rnnjax.typing import Key, Params, State


class Model(NamedTuple):
    """The recurrent layers and the output."""

    cell: rnnjax.Cell
    output: Output


class Network(NamedTuple):
    """The params of a model."""

    recurrent: Params
    output: Params


class Noise(NamedTuple):
    """The dropout in training, as probabilities of being dropped."""

    notes: float = 0.0  # of an input note
    outputs: float = 0.0  # of an output of the recurrent layers
    recurrent: float = 0.0  # of what enters a recurrent product, for a whole row


def make_model(name: str, config: ConfigDict, most: int) -> Model:
    """A model by a name such as gru, or gru:joint.

    Args:
        name: the name of a cell, and after a colon that of an output; without a colon the output is sigmoids.
        config: a config with ``hidden_size``, ``layers`` and ``intervals``.
        most: the most notes in a frame.

    Raises:
        ValueError: for an unknown cell or output.
    """
    cell, _, output = name.partition(":")
    make = rnnjax.cell_named(cell)
    layers = [make(config.hidden_size) for _ in range(config.layers)]
    whole = rnnjax.stack(*layers) if config.layers > 1 else layers[0]
    return Model(whole, make_output(output or SIGMOIDS, config.intervals, most))


def is_joint(name: str) -> bool:
    """Whether a model's name says that it has a joint output."""
    return name.partition(":")[2] == JOINT


def init(model: Model, key: Key) -> Network:
    """The network before training."""
    recurrent_key, output_key = jax.random.split(key)
    recurrent = model.cell.init(recurrent_key, KEYS)
    outputs = jax.eval_shape(lambda: model.cell.output(recurrent, model.cell.initial_state(recurrent, ())))
    return Network(recurrent, model.output.init(output_key, outputs.shape[-1], KEYS))


def nats(
    model: Model, network: Network, notes: Array, unroll: Callable[..., Any] = rnnjax.unroll, **options: Any
) -> Array:
    """Losses (T - 1, B) of each next frame of notes (T, B, 88); options are those of ``unroll``, with T - 1 steps."""
    _, states = unroll(model.cell, network.recurrent, notes[:-1], **options)
    return model.output.nats(network.output, states, notes[:-1], notes[1:])


def mean_nats(model: Model, network: Network, batch: Batch) -> Array:
    """The loss in nats a frame, as a mean over all frames from the second one of each chorale on, as is published.

    The first frame has only silence before it. Chorales count by their lengths.
    """
    found = nats(model, network, batch.notes, mask=batch.mask[:-1])
    counted = batch.mask[2:]
    return jnp.where(counted, found[1:], 0.0).sum() / counted.sum(dtype=found.dtype)


def mean_nats_in_keys(model: Model, network: Network, batch: Batch, moves: Array) -> Array:
    """``mean_nats`` with ``logits_in_keys``."""
    found = optax.sigmoid_binary_cross_entropy(logits_in_keys(model, network, batch, moves), batch.notes[1:]).sum(-1)
    counted = batch.mask[2:]
    return jnp.where(counted, found[1:], 0.0).sum() / counted.sum(dtype=found.dtype)


def logits_in_keys(model: Model, network: Network, batch: Batch, moves: Array) -> Array:
    """Logits (T - 1, B, 88) of each next frame, as means over readings, each transposed by one of ``moves``.

    One network reads the chorales several times, and its logits are moved back. This is for sigmoids only.
    """
    if model.output.logits is None:
        raise ValueError("a joint output has no logits of single keys: expected sigmoids")
    of_keys = model.output.logits

    def moved(move: Array) -> Array:
        notes = jnp.roll(batch.notes, move, axis=-1)[:-1]
        _, states = rnnjax.unroll(model.cell, network.recurrent, notes, mask=batch.mask[:-1])
        return jnp.roll(of_keys(network.output, states, notes), -move, axis=-1)

    return jax.lax.map(moved, moves).mean(axis=0)


def training_loss(model: Model, noise: Noise, network: Network, rows: Rows, key: Key) -> Array:
    """The mean loss of rows in nats a frame with dropout, the first frame of each chorale included."""
    notes_key, outputs_key, recurrent_key = jax.random.split(key, 3)
    cell = model.cell
    if noise.recurrent:
        cell = rnnjax.variational_dropout(cell, noise.recurrent, recurrent_key)
    if noise.outputs:
        cell = rnnjax.dropout(cell, noise.outputs, outputs_key)
    read = rows.notes
    if noise.notes:
        read = jnp.where(jax.random.bernoulli(notes_key, noise.notes, read.shape), 0.0, read)
    _, states = rnnjax.unroll(cell, network.recurrent, read[:-1], reset=rows.reset[:-1])
    found = model.output.nats(network.output, states, read[:-1], rows.targets[1:])
    counted = rows.follows[:-1]
    return jnp.where(counted, found, 0.0).sum() / counted.sum(dtype=found.dtype)


def drawn_loss(model: Model, noise: Noise, sizes: Sizes, network: Network, stock: Stock, key: Key) -> Array:
    """``training_loss`` on random rows."""
    rows_key, loss_key = jax.random.split(key)
    return training_loss(model, noise, network, drawn_rows(stock, sizes, rows_key), loss_key)


def compose(model: Model, network: Network, primers: Batch, key: Key, frames: int, temperature: float) -> Array:
    """Frames (T, B, 88) after B primers; each frame is drawn and then read."""
    state, _ = rnnjax.unroll(model.cell, network.recurrent, primers.notes, mask=primers.mask)
    last = primers.mask.sum(axis=0) - 1
    before = jnp.take_along_axis(primers.notes, last[None, :, None], axis=0)[0]

    def step(carry: tuple[State, Array], number: Array) -> tuple[tuple[State, Array], Array]:
        state, before = carry
        outputs, drawn_key = model.cell.output(network.recurrent, state), jax.random.fold_in(key, number)
        notes = model.output.draw(network.output, outputs, before, drawn_key, temperature)
        state, _ = model.cell.step(network.recurrent, state, notes)
        return (state, notes), notes

    return jax.lax.scan(step, (state, before), jnp.arange(frames))[1]
