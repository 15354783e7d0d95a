"""The network: a GRU over the symbol said last, and a dense readout of what comes next. And what it says by itself.

Texts are (T, B) tokens. What comes first is told from no input at all, zeros.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

import rnnjax
from rnnjax.typing import Key, Params


class Network(NamedTuple):
    """A cell from one-hot symbols to logits; its params serve all ways to feed it."""

    cell: rnnjax.Cell
    hidden_size: int
    symbols: int


def make_network(hidden_size: int, symbols: int) -> Network:
    """Both layers in one cell."""
    return Network(rnnjax.stack(rnnjax.gru(hidden_size), rnnjax.dense(symbols)), hidden_size, symbols)


def previous(network: Network, tokens: Array) -> Array:
    """(T, B, V), at each step the symbol of the step before."""
    said = jax.nn.one_hot(tokens[:-1], network.symbols)
    return jnp.concatenate([jnp.zeros((1, *said.shape[1:])), said])


def forced(network: Network, params: Params, tokens: Array) -> Array:
    """Logits (T, B, V) of a network that is fed with the text itself."""
    return rnnjax.unroll(network.cell, params, previous(network, tokens))[1]


def flagged(network: Network, tokens: Array, flags: Array) -> Array:
    """What a ``feedback`` cell takes: the text, and flags (T, B) that say where it is to be fed."""
    said = previous(network, tokens)
    return jnp.concatenate([said, flags[..., None].astype(said.dtype)], axis=-1)


def fed_back(network: Network, choice: str, key: Key) -> rnnjax.Cell:
    """The network fed with its own choice; the key is for one that is drawn."""
    return rnnjax.feedback(network.cell, choice, key if choice == "sampled" else None)


def nats(logits: Array, tokens: Array) -> Array:
    """-ln p (T, B) of each token."""
    return optax.softmax_cross_entropy_with_integer_labels(logits, tokens)


def say(network: Network, params: Params, key: Key, length: int, after: Array) -> Array:
    """Texts (T, B) that the network draws freely after it has read those before, (S, B), of which S may be 0."""
    nothing = jnp.zeros((1, after.shape[1], network.symbols))
    read = jnp.concatenate([nothing, jax.nn.one_hot(after, network.symbols)])
    state, logits = rnnjax.unroll(network.cell, params, read)
    embed = functools.partial(jax.nn.one_hot, num_classes=network.symbols)
    start = network.cell, params, state, logits[-1], key
    return rnnjax.generate(*start, embed=embed, readout=lambda outputs: outputs, length=length).tokens


def nothing_before(count: int) -> Array:
    """(0, B), where a text begins."""
    return jnp.zeros((0, count), jnp.int32)
