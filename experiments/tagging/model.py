"""A network from the words of a sentence to a tag for each: what a word is read as, a recurrent layer, a readout.

    x_t = w(word t) + sum of a(affix) over its affixes that are known / sqrt(2 n)
    y_t = of a cell from the first word to the last, from the last to the first, or both
    logits_t = y_t R + c

w(0) is the vector of all words that are not known. It is learned because words to train on are taken for unknown ones
at random, rare ones more often: one that occurs n times with probability a / (a + n) (Kiperwasser & Goldberg, 2016).
Their affixes have to do then.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax import Array

import rnnjax
from experiments.networks import sizing
from rnnjax.names import lookup
from rnnjax.typing import Key, Params

FORWARD, BACKWARD, BIDIRECTIONAL = "forward", "backward", "bidirectional"
DIRECTIONS = (FORWARD, BACKWARD, BIDIRECTIONAL)


_SCALE = 0.1
"""Of vectors of words and affixes before training: small, for what is seen once or twice stays about where it was."""


class Batch(NamedTuple):
    """B sentences of up to T words; numbers are those of a lexicon."""

    words: Array  # (T, B), 0 for one that is not known
    affixes: Array  # (T, B, 2 n), 0 for none
    mask: Array  # (T, B), True at words
    tags: Array  # (T, B), -1 in the padding, and for one that is not known


class Network(NamedTuple):
    words: Array  # (W + 1, E)
    affixes: Array  # (A + 1, E), of which the first counts for nothing
    recurrent: Params
    readout: Params  # of flax's Dense


class Layer(NamedTuple):
    """A cell, and which way it goes."""

    cell: rnnjax.Cell
    direction: str


class Sizes(NamedTuple):
    """Of what surrounds a layer."""

    words: int
    affixes: int
    embedding: int
    tags: int


class Noise(NamedTuple):
    """What disturbs training."""

    words: Array  # (W + 1,) probabilities that a word is taken for an unknown one
    outputs: float = 0.0  # probability that an output of the layer is dropped, for a whole sentence


def make_layer(direction: str, cell: str, hidden_size: int) -> Layer:
    """A cell by its name, of so many units, in one direction or two.

    Raises:
        ValueError: for an unknown cell or direction.
    """
    lookup("direction", direction, dict.fromkeys(DIRECTIONS))
    make = rnnjax.cell_named(cell)
    if direction == BIDIRECTIONAL:
        return Layer(rnnjax.bidirectional(make(hidden_size), make(hidden_size)), direction)
    return Layer(make(hidden_size), direction)


def sized_layer(direction: str, cell: str, hidden_size: int, sizes: Sizes) -> Layer:
    """Of two directions, with so many units in each; of one, with about as many params as that has in all.

    Raises:
        ValueError: as ``make_layer``.
    """
    both = make_layer(BIDIRECTIONAL, cell, hidden_size)
    if direction == BIDIRECTIONAL:
        return both
    target = count_params(both, sizes)

    def alone(size: int) -> Layer:
        return make_layer(direction, cell, size)

    widths = range(hidden_size, 2 * hidden_size + 1)
    return alone(sizing.nearest_width(widths, target, lambda size: count_params(alone(size), sizes)))


def count_params(layer: Layer, sizes: Sizes) -> int:
    """Of the whole network."""
    return sizing.count_numbers(jax.eval_shape(lambda: init(layer, sizes, jax.random.key(0))))


def init(layer: Layer, sizes: Sizes, key: Key) -> Network:
    """Before training; vectors of words and affixes are drawn from N(0, 0.1²)."""
    words_key, affixes_key, layer_key, readout_key = jax.random.split(key, 4)
    cell = layer.cell
    recurrent = cell.init(layer_key, sizes.embedding)
    outputs = cell.output(recurrent, cell.initial_state(recurrent, ()))
    return Network(
        _SCALE * jax.random.normal(words_key, (sizes.words + 1, sizes.embedding)),
        _SCALE * jax.random.normal(affixes_key, (sizes.affixes + 1, sizes.embedding)),
        recurrent,
        nn.Dense(sizes.tags).init(readout_key, outputs),
    )


def embed(network: Network, batch: Batch) -> Array:
    """(T, B, E)."""
    known = (batch.affixes > 0)[..., None]
    affixes = jnp.where(known, network.affixes[batch.affixes], 0.0).sum(axis=-2)
    return network.words[batch.words] + affixes / batch.affixes.shape[-1] ** 0.5


def logits(
    layer: Layer, network: Network, inputs: Array, mask: Array, unroll: Callable[..., Any] = rnnjax.unroll
) -> Array:
    """(T, B, K) of inputs (T, B, E)."""
    _, outputs = unroll(layer.cell, network.recurrent, inputs, mask=mask, reverse=layer.direction == BACKWARD)
    found: Array = nn.Dense(network.readout["params"]["bias"].shape[0]).apply(network.readout, outputs)
    return found


def losses(answers: Array, batch: Batch) -> Array:
    """(T, B) nats of each word's tag, 0 in the padding, and where the tag is not known."""
    counted = batch.mask & (batch.tags >= 0)
    found = optax.softmax_cross_entropy_with_integer_labels(answers, jnp.maximum(batch.tags, 0))
    return jnp.where(counted, found, 0.0)


def training_loss(layer: Layer, noise: Noise, network: Network, batch: Batch, key: Key) -> Array:
    """Mean nats a word of a batch, disturbed."""
    words_key, outputs_key = jax.random.split(key)
    cell = rnnjax.dropout(layer.cell, noise.outputs, outputs_key, each="sequence") if noise.outputs else layer.cell
    unknown = jax.random.bernoulli(words_key, noise.words[batch.words])
    disturbed = batch._replace(words=jnp.where(unknown, 0, batch.words))
    answers = logits(layer._replace(cell=cell), network, embed(network, disturbed), batch.mask)
    return losses(answers, batch).sum() / batch.mask.sum(dtype=answers.dtype)


def drawn_loss(layer: Layer, noise: Noise, count: int, network: Network, examples: Batch, key: Key) -> Array:
    """The same of so many sentences, drawn anew from all examples."""
    drawn_key, loss_key = jax.random.split(key)
    drawn = jax.random.randint(drawn_key, (count,), 0, examples.words.shape[1])
    return training_loss(layer, noise, network, Batch(*(leaf[:, drawn] for leaf in examples)), loss_key)
