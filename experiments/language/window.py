"""Networks that see a window of words and predict the next: a fully connected one, a recurrent one; their training.

The fully connected one takes the words of the window as one-hot vectors, side by side, into a hidden layer and a
softmax. It is the neural model of Bengio et al. (2003) without the projection that all places of the window share
there: each place has a row of its own for each word.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from ml_collections import ConfigDict

import rnnjax
from experiments.common.workdir import Record
from experiments.language import model as language_model
from rnnjax.data import sliding_windows
from rnnjax.typing import Key, Params
from rnnjax.units import beside

_CHUNK = 1024  # windows of a text that are looked at together


class Examples(NamedTuple):
    """Windows (N, W) and the word (N,) that comes after each."""

    windows: Array
    targets: Array

    def after_first(self) -> "Examples":
        """All but the first word of the text, which has nothing before it."""
        return Examples(self.windows[1:], self.targets[1:])


class Network(NamedTuple):
    """Params from a key, and logits (B, V) from params and windows (B, W)."""

    init: Callable[[Key], Any]
    logits: Callable[[Any, Array], Array]


class ConnectedParams(NamedTuple):
    """V words, windows of W, a hidden layer of H."""

    hidden: Params  # of a Dense: kernel (W V, H), V rows for each place in the window, and bias (H,)
    readout: Params  # of flax's Dense


class TrainState(NamedTuple):
    """All that a training step depends on, but for the text."""

    params: Any
    optimizer: Any
    step: Array
    key: Key


def examples(tokens: np.ndarray, length: int, padding: int) -> Examples:
    """Every word of a text after the ``length`` words before it."""
    windows, targets = sliding_windows(tokens, length, padding)
    return Examples(jnp.asarray(windows), jnp.asarray(targets))


def connected(length: int, vocabulary_size: int, hidden_size: int) -> Network:
    """One-hot words side by side, a tanh layer, a dense readout: W V H + H + H V + V params."""

    def init(key: Key) -> ConnectedParams:
        hidden_key, readout_key = jax.random.split(key)
        # Of the W V inputs W are one and all others zero: that many products are summed.
        kernel = length**-0.5 * jax.random.normal(hidden_key, (length * vocabulary_size, hidden_size))
        readout = nn.Dense(vocabulary_size).init(readout_key, jnp.zeros((1, hidden_size)))
        return ConnectedParams({"params": {"kernel": kernel, "bias": jnp.zeros(hidden_size)}}, readout)

    def logits(params: ConnectedParams, windows: Array) -> Array:
        hidden = params.hidden["params"]
        # One-hot vectors times a kernel: a row of it for each.
        rows = windows + beside(vocabulary_size * jnp.arange(length), windows)
        product = hidden["kernel"][rows].sum(axis=-2)
        outputs = jnp.tanh(product + beside(hidden["bias"], product))
        found: Array = nn.Dense(vocabulary_size).apply(params.readout, outputs)
        return found

    return Network(init, logits)


def recurrent(cell: rnnjax.Cell, vocabulary_size: int, embedding_size: int) -> Network:
    """The network that reads streams, here from a fresh state at the beginning of each window."""

    def init(key: Key) -> language_model.LanguageParams:
        return language_model.init(cell, vocabulary_size, embedding_size, key)

    def logits(params: language_model.LanguageParams, windows: Array) -> Array:
        _, outputs = rnnjax.unroll(cell, params.recurrent, language_model.embed(params, windows.T))
        return language_model.logits(params, outputs[-1])

    return Network(init, logits)


def initial_state(network: Network, optimizer: optax.GradientTransformation, key: Key) -> TrainState:
    """Before training."""
    params_key, step_key = jax.random.split(key)
    params = network.init(params_key)
    return TrainState(params, optimizer.init(params), jnp.int32(0), step_key)


def train_steps(
    network: Network,
    optimizer: optax.GradientTransformation,
    config: ConfigDict,
    state: TrainState,
    examples: Examples,
) -> tuple[TrainState, Record]:
    """Some training steps in one program, each on as many random examples as one in streams has words."""
    count = config.batch_size * config.sequence_length

    def loss_of(params: Any, drawn: Examples) -> Array:
        return _losses(network, params, drawn).mean()

    def step(state: TrainState, _: None) -> tuple[TrainState, Array]:
        key = jax.random.fold_in(state.key, state.step)
        chosen = jax.random.randint(key, (count,), 0, len(examples.targets))
        drawn = jax.tree.map(lambda each: each[chosen], examples)
        loss, gradients = jax.value_and_grad(loss_of)(state.params, drawn)
        updates, optimizer_state = optimizer.update(gradients, state.optimizer, state.params)
        params = jax.tree.map(lambda old, update: old + config.learning_rate * update, state.params, updates)
        return TrainState(params, optimizer_state, state.step + 1, state.key), loss

    state, losses = jax.lax.scan(step, state, length=config.steps_a_call)
    return state, {"loss": losses.mean()}


def held_out_loss(network: Network, params: Any, examples: Examples) -> Array:
    """Nats a word."""

    def loss_of(one: Examples) -> Array:
        return _losses(network, params, jax.tree.map(lambda each: each[None], one))[0]

    return jax.lax.map(loss_of, examples, batch_size=_CHUNK).mean()


def _losses(network: Network, params: Any, examples: Examples) -> Array:
    logits = network.logits(params, examples.windows)
    return optax.softmax_cross_entropy_with_integer_labels(logits, examples.targets)
