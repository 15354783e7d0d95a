"""A network that estimates a position from what is seen of it: a recurrent cell and a dense readout of its outputs.

At step t it is asked for p_{t-d}: so that one program serves all delays, targets are moved, and not the outputs, as
``rnnjax.delayed`` does it. A network of both directions sees the whole sequence, and is asked for p_t.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

import rnnjax
from rnnjax.names import lookup
from rnnjax.typing import Key, Params, State

DENSE = "dense"

READOUT = nn.Dense(1, kernel_init=nn.initializers.zeros)
"""Zeros, so that an untrained network says the mean, and its error is the variance."""


class Network(NamedTuple):
    recurrent: Params
    readout: Params  # of flax's Dense


class Window(NamedTuple):
    """Which steps of a sequence count: not the first, where little has been seen, nor the last, which wrap around."""

    length: int  # of the sequence
    first: int
    end: int


def make_cell(name: str, hidden_size: int, *, whole: bool) -> rnnjax.Cell:
    """A cell by name, or one in each direction; as ``gru+dense`` with a dense layer of tanh above, for each step alone.

    Raises:
        ValueError: for an unknown one.
    """
    kind, plus, above = name.partition("+")
    make = rnnjax.cell_named(kind)
    cell = rnnjax.bidirectional(make(hidden_size), make(hidden_size)) if whole else make(hidden_size)
    if not plus:
        return cell
    lookup("layer above a cell", above, {DENSE: None})
    return rnnjax.stack(cell, rnnjax.tdnn(hidden_size, 1))


def init(cell: rnnjax.Cell, key: Key) -> Network:
    """Params for one number a step."""
    recurrent = cell.init(key, 1)
    outputs = cell.output(recurrent, cell.initial_state(recurrent, ()))
    return Network(recurrent, READOUT.init(key, outputs))


def estimates(
    cell: rnnjax.Cell, network: Network, observations: Array, unroll: Callable[..., Any] = rnnjax.unroll
) -> Array:
    """(T, B) of observations (T, B)."""
    _, outputs = unroll(cell, network.recurrent, observations[..., None])
    return read(network, outputs)


def read(network: Network, outputs: Array) -> Array:
    """Estimates (...) from a cell's outputs (..., O)."""
    found: Array = READOUT.apply(network.readout, outputs)
    return found[..., 0]


def step(cell: rnnjax.Cell, network: Network, state: State, observation: Array) -> tuple[State, Array]:
    """One step online: the state before and an observation (...), the state after and the estimate (...)."""
    state, output = cell.step(network.recurrent, state, observation[..., None])
    return state, read(network, output)


def loss(
    cell: rnnjax.Cell,
    draw: Callable[[Key, int, int], tuple[Array, Array]],
    window: Window,
    count: int,
    network: Network,
    delay: Array,
    key: Key,
) -> Array:
    """The mean squared error in a window of so many sequences that are drawn by the key."""
    positions, observations = draw(key, window.length, count)
    errors = estimates(cell, network, observations) - jnp.roll(positions, delay, axis=0)
    return jnp.square(errors)[window.first : window.end].mean()
