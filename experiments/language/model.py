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
    """What is dropped in training, each with a probability: embeddings, outputs of every layer, recurrent inputs."""

    embedding: float = 0.0
    outputs: float = 0.0
    recurrent: float = 0.0
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
    cell: rnnjax.Cell, params: LanguageParams, window: Array, state: State, dropout: Dropout, key: Key
) -> tuple[Array, State]:
    """Mean cross-entropy in nats a token of a window (T + 1, B) read from a state on, and the state after it."""
    noisy, fresh = _with_dropout(cell, params, window.shape[1:], dropout, key)
    inputs = _dropped(embed(params, window[:-1]), dropout, jax.random.fold_in(key, 1))
    # Keys of what is dropped are new in every window, the rest of the state is carried on.
    started = jax.tree.map(_carried, fresh, state, is_leaf=_is_noisy)
    state, outputs = rnnjax.unroll(noisy, params.recurrent, inputs, started)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits(params, outputs), window[1:])
    return losses.mean(), jax.tree.map(_plain, state, is_leaf=_is_noisy)


def token_losses(cell: rnnjax.Cell, params: LanguageParams, window: Array, state: State) -> tuple[Array, State]:
    """Cross-entropies (T, B) in nats of a window (T + 1, B), nothing dropped, and the state after it."""
    state, outputs = rnnjax.unroll(cell, params.recurrent, embed(params, window[:-1]), state)
    return optax.softmax_cross_entropy_with_integer_labels(logits(params, outputs), window[1:]), state


def gradient_norms(cell: rnnjax.Cell, params: LanguageParams, window: Array, state: State) -> Array:
    """||dL/ds_t|| (T,) over all fields and layers, L the loss of the window's last token, from a state on."""

    def loss(outputs: Array) -> Array:
        return optax.softmax_cross_entropy_with_integer_labels(logits(params, outputs[-1]), window[-1]).mean()

    flow = rnnjax.gradient_flow(cell, params.recurrent, embed(params, window[:-1]), loss, state)
    return jnp.sqrt(sum(jnp.square(leaf) for leaf in jax.tree.leaves(flow.state)))


def _with_dropout(
    cell: rnnjax.Cell, params: LanguageParams, batch: tuple[int, ...], dropout: Dropout, key: Key
) -> tuple[rnnjax.Cell, State]:
    outputs_key, recurrent_key = jax.random.split(key)
    if dropout.recurrent:
        cell = rnnjax.variational_dropout(cell, dropout.recurrent, recurrent_key)
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
