"""Next-character prediction: a recurrent cell over one-hot characters, and a dense readout."""

from typing import NamedTuple

import flax.linen as nn
import jax
import optax
from flax.training.train_state import TrainState
from jax import Array

import rnnjax
from rnnjax.typing import Key, Params


class CharacterParams(NamedTuple):
    recurrent: Params
    readout: Params


def init(cell: rnnjax.Cell, vocabulary_size: int, key: Key) -> CharacterParams:
    """Params of the cell and of the readout (O, V)."""
    cell_key, readout_key = jax.random.split(key)
    recurrent = cell.init(cell_key, vocabulary_size)
    outputs = cell.output(recurrent, cell.initial_state(recurrent, ()))
    return CharacterParams(recurrent, nn.Dense(vocabulary_size).init(readout_key, outputs))


def cross_entropy(readout: Params, outputs: Array, targets: Array) -> Array:
    """Mean cross-entropy in nats a character of outputs (..., O) against targets (...)."""
    vocabulary_size = readout["params"]["bias"].shape[0]
    logits = nn.Dense(vocabulary_size).apply(readout, outputs)
    return optax.softmax_cross_entropy_with_integer_labels(logits, targets).mean()


def one_hot(params: CharacterParams, tokens: Array) -> Array:
    """Tokens (...) as vectors (..., V)."""
    return jax.nn.one_hot(tokens, params.readout["params"]["bias"].shape[0])


def train_step(cell: rnnjax.Cell, state: TrainState, tokens: Array) -> tuple[TrainState, Array]:
    """One optimizer step on windows (T + 1, B), each character predicted from those before it; returns its loss too."""

    def loss_of(params: CharacterParams) -> Array:
        _, outputs = rnnjax.unroll(cell, params.recurrent, one_hot(params, tokens[:-1]))
        return cross_entropy(params.readout, outputs, tokens[1:])

    loss, gradients = jax.value_and_grad(loss_of)(state.params)
    return state.apply_gradients(grads=gradients), loss


def measure(cell: rnnjax.Cell, params: CharacterParams, tokens: Array, weights: Array) -> rnnjax.GradientFlow:
    """Gradient flow of predicting the characters of windows (T + 1, B), each step's loss with a weight (T,).

    With all weight on one step a lag is the distance from that step; weights of 1 / T give the loss of training.
    """

    def loss(outputs: Array) -> Array:
        of_steps = jax.vmap(cross_entropy, (None, 0, 0))(params.readout, outputs, tokens[1:])
        return weights @ of_steps

    return rnnjax.gradient_flow(cell, params.recurrent, one_hot(params, tokens[:-1]), loss)
