"""A network that predicts the next token: an embedding or one-hot vectors, a recurrent cell, a dense readout."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax import Array

import rnnjax
from rnnjax.combinators.noise import NoisyState
from rnnjax.typing import Key, Params, State


class LanguageParams(NamedTuple):
    embedding: Params | None  # of flax's Embed, None for one-hot inputs
    recurrent: Params
    readout: Params  # of flax's Dense


class Dropout(NamedTuple):
    """What is dropped in training, each with a probability."""

    embedding: float = 0.0  # numbers of an embedding
    outputs: float = 0.0  # outputs of every layer
    recurrent: float = 0.0  # what enters the recurrent products (variational dropout)
    weights: float = 0.0  # recurrent weights (drop connect)
    states: float = 0.0  # new states, whose units keep their old ones (zoneout)
    each: str = "sequence"  # or "step": how long a drop lasts, of embeddings and outputs


def init(cell: rnnjax.Cell, vocabulary_size: int, embedding_size: int, key: Key) -> LanguageParams:
    """Params for V tokens, embedded in E numbers each, or one-hot where E is 0."""
    embedding_key, cell_key, readout_key = jax.random.split(key, 3)
    embedding = None
    if embedding_size:
        embedding = nn.Embed(vocabulary_size, embedding_size).init(embedding_key, jnp.zeros(1, jnp.int32))
    recurrent = cell.init(cell_key, embedding_size or vocabulary_size)
    outputs = cell.output(recurrent, cell.initial_state(recurrent, ()))
    return LanguageParams(embedding, recurrent, nn.Dense(vocabulary_size).init(readout_key, outputs))


def embed(params: LanguageParams, tokens: Array) -> Array:
    """Tokens (...) as inputs (..., E), or (..., V)."""
    if params.embedding is None:
        return jax.nn.one_hot(tokens, params.readout["params"]["bias"].shape[0])
    embedded: Array = nn.Embed(*params.embedding["params"]["embedding"].shape).apply(params.embedding, tokens)
    return embedded


def logits(params: LanguageParams, outputs: Array) -> Array:
    """Outputs (..., O) as logits (..., V)."""
    found: Array = nn.Dense(params.readout["params"]["bias"].shape[0]).apply(params.readout, outputs)
    return found


def window_loss(
    cell: rnnjax.Cell,
    params: LanguageParams,
    window: Array,
    state: State,
    dropout: Dropout,
    key: Key,
    through: int | None = None,
) -> tuple[Array, State]:
    """Mean cross-entropy in nats a token of a window (T + 1, B) read from a state on, and the state after it.

    The gradient goes back through the window, or, where ``through`` says so, through parts of so many steps.
    """
    noisy, fresh = _with_dropout(cell, params, window.shape[1:], dropout, key)
    inputs = _dropped(embed(params, window[:-1]), dropout, jax.random.fold_in(key, 1))
    # Keys of what is dropped are new in every window, the rest of the state is carried on.
    started = jax.tree.map(_carried, fresh, state, is_leaf=_is_noisy)
    state, outputs = _unrolled_in_parts(noisy, params.recurrent, inputs, started, through or len(inputs))
    losses = optax.softmax_cross_entropy_with_integer_labels(logits(params, outputs), window[1:])
    return losses.mean(), jax.tree.map(_plain, state, is_leaf=_is_noisy)


def token_losses(cell: rnnjax.Cell, params: LanguageParams, window: Array, state: State) -> tuple[Array, State]:
    """Cross-entropies (T, B) in nats of a window (T + 1, B), nothing dropped, and the state after it."""
    state, outputs = rnnjax.unroll(cell, params.recurrent, embed(params, window[:-1]), state)
    return optax.softmax_cross_entropy_with_integer_labels(logits(params, outputs), window[1:]), state


def _unrolled_in_parts(
    cell: rnnjax.Cell, params: Params, inputs: Array, state: State, through: int
) -> tuple[State, Array]:
    """As ``unroll``; between parts of so many steps the state is carried on, and is a constant to the gradient."""
    if through == len(inputs):
        return rnnjax.unroll(cell, params, inputs, state)

    def part(state: State, inputs: Array) -> tuple[State, Array]:
        return rnnjax.unroll(cell, params, inputs, jax.lax.stop_gradient(state))

    state, outputs = jax.lax.scan(part, state, inputs.reshape(-1, through, *inputs.shape[1:]))
    return state, outputs.reshape(-1, *outputs.shape[2:])


class FlowNorms(NamedTuple):
    """||dL/ds_t|| (T,) over all fields and layers, L the loss of a window's last token."""

    whole: Array  # of the mean loss of all streams: the streams with large gradients decide
    typical: Array  # of each stream's own loss, their geometric mean: what an example is like


def gradient_norms(cell: rnnjax.Cell, params: LanguageParams, window: Array, state: State) -> FlowNorms:
    """Of a window (T + 1, B) that is read from a state on."""

    def loss(outputs: Array) -> Array:
        return optax.softmax_cross_entropy_with_integer_labels(logits(params, outputs[-1]), window[-1]).mean()

    flow = rnnjax.gradient_flow(cell, params.recurrent, embed(params, window[:-1]), loss, state)
    whole, examples = (jnp.sqrt(sum(map(jnp.square, jax.tree.leaves(tree)))) for tree in (flow.state, flow.examples))
    # Of its own loss: the mean has 1 / B of it.
    return FlowNorms(whole, examples.shape[1] * jnp.exp(jnp.log(examples).mean(axis=1)))


def without_draws(cell: rnnjax.Cell, dropout: Dropout) -> rnnjax.Cell:
    """The cell as it is used after training: what zoneout keeps is its expectation, all else is not dropped."""
    return rnnjax.zoneout(cell, dropout.states) if dropout.states else cell


def _with_dropout(
    cell: rnnjax.Cell, params: LanguageParams, batch: tuple[int, ...], dropout: Dropout, key: Key
) -> tuple[rnnjax.Cell, State]:
    outputs_key, recurrent_key, weights_key, states_key = jax.random.split(key, 4)
    if dropout.weights:
        cell = rnnjax.drop_connect(cell, dropout.weights, weights_key)
    if dropout.recurrent:
        cell = rnnjax.variational_dropout(cell, dropout.recurrent, recurrent_key)
    if dropout.states:
        cell = rnnjax.zoneout(cell, dropout.states, states_key)
    if dropout.outputs:
        cell = rnnjax.dropout(cell, dropout.outputs, outputs_key, each=dropout.each)  # type: ignore[arg-type]
    return cell, cell.initial_state(params.recurrent, batch)


def _dropped(inputs: Array, dropout: Dropout, key: Key) -> Array:
    if not dropout.embedding:
        return inputs
    shape = inputs.shape if dropout.each == "step" else (1, *inputs.shape[1:])
    kept = jax.random.bernoulli(key, 1 - dropout.embedding, shape)
    return jnp.where(kept, inputs / (1 - dropout.embedding), 0.0)


def _is_noisy(state: Any) -> bool:
    return isinstance(state, NoisyState)


def _plain(state: Any) -> Any:
    """The state of the cell itself, however many things are dropped."""
    return jax.tree.map(_plain, state.cell, is_leaf=_is_noisy) if _is_noisy(state) else state


def _carried(fresh: Any, before: Any) -> Any:
    """The state from before, with the fresh key where something is dropped."""
    if not _is_noisy(fresh):
        return before
    inner = jax.tree.map(_carried, fresh.cell, before, is_leaf=_is_noisy)
    return NoisyState(inner, fresh.key)
