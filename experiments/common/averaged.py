"""Training that also averages the weights over the last steps: its state, and its training steps."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from ml_collections import ConfigDict

from experiments.common import checkpoint
from experiments.common.workdir import Record
from rnnjax.typing import Key, Params


class TrainState(NamedTuple):
    """All that a training step depends on, except for the data."""

    params: Params
    average: Params  # a running mean of the params over about the last ``config.averaged_over`` steps
    optimizer: Any
    step: Array
    key: Key


def initial_state(params: Params, optimizer: optax.GradientTransformation, key: Key) -> TrainState:
    """The state before training."""
    return TrainState(params, jax.tree.map(jnp.copy, params), optimizer.init(params), jnp.int32(0), key)


def restored(folder: Path, init: Callable[[Key], Params], optimizer: optax.GradientTransformation) -> Params:
    """The averaged weights of a checkpoint; ``init`` and the optimizer tell what is in it.

    Raises:
        ExperimentError: if it cannot be read.
    """
    like = jax.eval_shape(lambda key: initial_state(init(key), optimizer, key), jax.random.key(0))
    found: Params = checkpoint.restore(folder, like).tree.average
    return found


def train_steps(
    loss: Callable[[Params, Any, Key], Array],
    optimizer: optax.GradientTransformation,
    config: ConfigDict,
    state: TrainState,
    data: Any,
) -> tuple[TrainState, Record]:
    """Takes ``config.steps_a_call`` training steps and returns the new state and their mean loss.

    ``loss(params, data, key)`` draws the batch of a step from the data, by a key that each step has of its own.
    """

    def step(state: TrainState, _: None) -> tuple[TrainState, Array]:
        key = jax.random.fold_in(state.key, state.step)
        value, gradients = jax.value_and_grad(loss)(state.params, data, key)
        updates, optimizer_state = optimizer.update(gradients, state.optimizer, state.params)
        params = optax.apply_updates(state.params, updates)
        new = 1 / jnp.minimum(state.step.astype(jnp.float32) + 1, config.averaged_over)
        average = jax.tree.map(lambda old, now: old + new * (now - old), state.average, params)
        return TrainState(params, average, optimizer_state, state.step + 1, state.key), value

    state, losses = jax.lax.scan(step, state, length=config.steps_a_call)
    return state, {"loss": losses.mean()}
