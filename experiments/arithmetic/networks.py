"""What answers: a recurrent network, which reads a step at a time, and a fully connected one, which sees all at once.

Both give a logit for each step of a sequence; above 0 the answer is 1.
"""

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax import Array

import rnnjax
from experiments.arithmetic.problems import Questions
from experiments.networks import sizing
from experiments.networks.task_network import Network
from rnnjax.typing import Key, Params


class Model(NamedTuple):
    """Pure functions.

    Attributes:
        init: ``key -> params``.
        logits: ``(params, inputs (T, B, I)) -> (T, B)``.
    """

    init: Callable[[Key], Params]
    logits: Callable[[Params, Array], Array]


def recurrent(cell: rnnjax.Cell, input_size: int) -> Model:
    """A cell and a dense readout (H, 1) of its outputs."""

    def init(key: Key) -> Network:
        cell_key, readout_key = jax.random.split(key)
        params = cell.init(cell_key, input_size)
        outputs = cell.output(params, cell.initial_state(params, ()))
        return Network(params, nn.Dense(1).init(readout_key, outputs))

    def logits(network: Network, inputs: Array) -> Array:
        return readout(network, rnnjax.unroll(cell, network.recurrent, inputs)[1])

    return Model(init, logits)


def readout(network: Network, outputs: Array) -> Array:
    """Logits (T, B) of a cell's outputs (T, B, H)."""
    return nn.Dense(1).apply(network.readout, outputs)[..., 0]


def fully_connected(
    hidden_size: int, window: int, input_size: int, outputs: int, used: Array | int | None = None
) -> Model:
    """A hidden layer of tanh units over a window of so many steps; inputs that a sequence has no digits for are 0.

    With one output it is the answer of every step. Only the first ``used`` units are there; their number may be traced,
    so that networks of several sizes are one program.
    """
    used = hidden_size if used is None else used
    there = jnp.arange(hidden_size) < used
    into, out_of = nn.Dense(hidden_size), nn.Dense(outputs)

    def init(key: Key) -> list[Params]:
        keys = jax.random.split(key)
        hidden = into.init(keys[0], jnp.zeros(window * input_size))
        readout = out_of.init(keys[1], jnp.zeros(hidden_size))
        # As drawn for a layer of just the units that are there.
        wider = jnp.sqrt(hidden_size / jnp.asarray(used, float))
        return [hidden, {"params": {**readout["params"], "kernel": wider * readout["params"]["kernel"]}}]

    def logits(params: list[Params], inputs: Array) -> Array:
        steps, batch_size, _ = inputs.shape
        padded = jnp.pad(inputs[:window], ((0, max(window - steps, 0)), (0, 0), (0, 0)))
        hidden = jnp.tanh(into.apply(params[0], jnp.moveaxis(padded, 0, 1).reshape(batch_size, -1)))
        found = out_of.apply(params[1], jnp.where(there[None], hidden, 0)).T
        return jnp.broadcast_to(found, (steps, batch_size)) if outputs == 1 else found[:steps]

    return Model(init, logits)


def loss(logits: Array, questions: Questions) -> Array:
    """Mean cross-entropy of the answers that are asked for, in nats."""
    of_steps = optax.sigmoid_binary_cross_entropy(logits, questions.answers.astype(logits.dtype))
    return jnp.where(questions.asked, of_steps, 0).sum() / questions.asked.sum().astype(logits.dtype)


def wrong(logits: Array, questions: Questions) -> Array:
    """(T, B): True where an answer is asked for, and is not the network's."""
    return questions.asked & ((logits > 0) != (questions.answers > 0))


def count_weights(params: Params) -> int:
    """Of a network, biases included."""
    return sizing.count_numbers(params)
