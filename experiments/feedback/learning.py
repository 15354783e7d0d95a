"""What is trained: the state with all that a step depends on, and a step on the likelihood of what is really there."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from ml_collections import ConfigDict

import rnnjax
from experiments.common.workdir import Record
from experiments.feedback import model
from experiments.feedback.data import draw
from experiments.feedback.feeding import Feeding
from experiments.feedback.model import Network
from rnnjax.typing import Key, Params


class TrainState(NamedTuple):
    """All that a training step depends on, but for the text."""

    params: Params  # of the network
    optimizer: Any
    discriminator: Any  # its params, and its optimizer's state; None without one
    step: Array
    key: Key


def make_optimizer(config: ConfigDict) -> optax.GradientTransformation:
    """Adam on a clipped gradient, at a rate that falls as a cosine to a tenth."""
    rate = optax.cosine_decay_schedule(config.learning_rate, config.train_steps, alpha=0.1)
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), optax.adam(rate))


def flags_of(key: Key, truth: Array, by_sequence: Array, shape: tuple[int, int]) -> Array:
    """(T, B), True where the truth is fed: a coin for each token, or one for all of a sequence."""
    each_key, all_key = jax.random.split(key)
    each, whole = jax.random.uniform(each_key, shape), jax.random.uniform(all_key, (1, shape[1]))
    return jnp.where(by_sequence, whole, each) < truth


def loss(
    network: Network, choice: str, params: Params, tokens: Array, truth: Array, by_sequence: Array, key: Key
) -> Array:
    """Mean nats a symbol, of a network that is fed by chance."""
    flag_key, choice_key = jax.random.split(key)
    flags = flags_of(flag_key, truth, by_sequence, (tokens.shape[0], tokens.shape[1]))
    cell = model.fed_back(network, choice, choice_key)
    _, logits = rnnjax.unroll(cell, params, model.flagged(network, tokens, flags))
    return model.nats(logits, tokens).mean()


def train_steps(
    network: Network,
    choice: str,
    config: ConfigDict,
    state: TrainState,
    feeding: Feeding,
    text: Array | None,
) -> tuple[TrainState, Record]:
    """Some training steps in one program, each on passages drawn anew: the state, and what was seen on the way."""
    optimizer = make_optimizer(config)

    def step(state: TrainState, truth: Array) -> tuple[TrainState, tuple[Array, Array]]:
        text_key, loss_key = jax.random.split(jax.random.fold_in(state.key, state.step))
        tokens = draw(text, text_key, config.length, config.batch_size)
        of_params = functools.partial(
            loss, network, choice, tokens=tokens, truth=truth, by_sequence=feeding.by_sequence, key=loss_key
        )
        value, gradient = jax.value_and_grad(of_params)(state.params)
        params, moments = moved(optimizer, state.params, state.optimizer, gradient)
        after = state._replace(params=params, optimizer=moments, step=state.step + 1)
        return after, (value, optax.tree.norm(gradient))

    state, (losses, norms) = jax.lax.scan(step, state, feeding.truth)
    truth = feeding.truth.mean()
    return state, {"loss": losses.mean(), "norm": norms.mean(), "largest_norm": norms.max(), "truth": truth}


def moved(optimizer: optax.GradientTransformation, params: Params, state: Any, gradient: Params) -> tuple[Params, Any]:
    """The params after an optimizer's step, and its state."""
    updates, state = optimizer.update(gradient, state, params)
    return optax.apply_updates(params, updates), state
