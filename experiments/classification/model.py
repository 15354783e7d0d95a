"""A network from a sequence to a class: a recurrent layer, a pooling of its outputs over time, a dense readout.

last         p = y at the last step; of a layer of both directions, each at its own last step
mean         p = mean of y_t over the steps that are real
attention    p = sum of a_t y_t,   a = softmax over these of v . tanh(y_t W + b)        (Yang et al., 2016)

logits = p R + c
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax import Array

import rnnjax
from rnnjax.names import lookup
from rnnjax.typing import Key, Params

BIDIRECTIONAL, STEPS = "bidirectional", "steps"

Pooling = Literal["last", "mean", "attention"]
POOLINGS: dict[str, Pooling] = {"last": "last", "mean": "mean", "attention": "attention"}


class Batch(NamedTuple):
    """B sequences of up to T steps."""

    inputs: Array  # (T, B, I)
    mask: Array  # (T, B), True at real steps
    labels: Array  # (B,)


class Network(NamedTuple):
    recurrent: Params
    attention: tuple[Params, Params] | None  # of two of flax's Dense, W and b, and v, where attention pools
    readout: Params  # of flax's Dense


class Noise(NamedTuple):
    """What disturbs training, so that few examples are not learned by heart."""

    inputs: float = 0.0  # standard deviation of what is added to them
    recurrent: float = 0.0  # probability that a number that enters the recurrent products is dropped
    outputs: float = 0.0  # the same of an output, for the whole of a sequence
    smoothing: float = 0.0  # of the labels: so much of the probability is shared out among all classes


def make_layer(name: str, hidden_size: int) -> rnnjax.Cell:
    """A cell by name; two of them, as in ``bidirectional:gru``; or ``steps``, in which no step knows of any other.

    The last is a dense layer for each step alone, as wide as two cells.

    Raises:
        ValueError: for an unknown one.
    """
    if name == STEPS:
        return rnnjax.tdnn(2 * hidden_size, 1)
    kind, colon, cell = name.partition(":")
    if not colon:
        return rnnjax.cell_named(name)(hidden_size)
    lookup("layer", kind, {BIDIRECTIONAL: None})
    make = rnnjax.cell_named(cell)
    return rnnjax.bidirectional(make(hidden_size), make(hidden_size))


def init(layer: rnnjax.Cell, pooling: Pooling, input_size: int, classes: int, key: Key) -> Network:
    """Params for I inputs and K classes."""
    layer_key, hidden_key, score_key, readout_key = jax.random.split(key, 4)
    recurrent = layer.init(layer_key, input_size)
    outputs = layer.output(recurrent, layer.initial_state(recurrent, ()))
    attention = None
    if pooling == "attention":
        hidden, score = nn.Dense(outputs.size), nn.Dense(1, use_bias=False)
        attention = hidden.init(hidden_key, outputs), score.init(score_key, outputs)
    return Network(recurrent, attention, nn.Dense(classes).init(readout_key, outputs))


def logits(
    layer: rnnjax.Cell, pooling: Pooling, network: Network, batch: Batch, unroll: Callable[..., Any] = rnnjax.unroll
) -> Array:
    """(B, K)."""
    state, outputs = unroll(layer, network.recurrent, batch.inputs, mask=batch.mask)
    pools: dict[str, Callable[[], Array]] = {
        "last": lambda: layer.output(network.recurrent, state),
        "mean": lambda: outputs.sum(axis=0) / batch.mask.sum(axis=0, dtype=outputs.dtype)[:, None],
        "attention": lambda: (attention(network, outputs, batch.mask)[..., None] * outputs).sum(axis=0),
    }
    pooled = lookup("pooling", pooling, pools)()
    found: Array = nn.Dense(network.readout["params"]["bias"].shape[0]).apply(network.readout, pooled)
    return found


def attention(network: Network, outputs: Array, mask: Array) -> Array:
    """Weights (T, B) of the steps, 0 in the padding, 1 in sum."""
    if network.attention is None:
        raise ValueError("the network has no attention: expected one that was made for it")
    hidden, score = network.attention
    of_steps = jnp.tanh(nn.Dense(outputs.shape[-1]).apply(hidden, outputs))
    scores = nn.Dense(1, use_bias=False).apply(score, of_steps)[..., 0]
    return jax.nn.softmax(jnp.where(mask, scores, -jnp.inf), axis=0)


def training_loss(
    layer: rnnjax.Cell, pooling: Pooling, noise: Noise, network: Network, batch: Batch, key: Key
) -> Array:
    """Mean cross-entropy in nats of a batch, disturbed."""
    outputs_key, recurrent_key, added_key = jax.random.split(key, 3)
    if noise.recurrent:
        layer = rnnjax.variational_dropout(layer, noise.recurrent, recurrent_key)
    if noise.outputs:
        layer = rnnjax.dropout(layer, noise.outputs, outputs_key, each="sequence")
    inputs = batch.inputs + noise.inputs * jax.random.normal(added_key, batch.inputs.shape)
    answers = logits(layer, pooling, network, batch._replace(inputs=inputs))
    targets = optax.smooth_labels(jax.nn.one_hot(batch.labels, answers.shape[-1]), noise.smoothing)
    return optax.softmax_cross_entropy(answers, targets).mean()


def drawn_loss(
    layer: rnnjax.Cell, pooling: Pooling, noise: Noise, count: int, network: Network, examples: Batch, key: Key
) -> Array:
    """The same of so many sequences, drawn anew from all examples."""
    drawn_key, loss_key = jax.random.split(key)
    drawn = jax.random.randint(drawn_key, (count,), 0, len(examples.labels))
    batch = Batch(examples.inputs[:, drawn], examples.mask[:, drawn], examples.labels[drawn])
    return training_loss(layer, pooling, noise, network, batch, loss_key)
