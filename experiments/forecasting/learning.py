"""How a network is trained: on windows within the training parts of segments; the best by the validation parts is kept.

The loss is the mean square of the error of z, weighted by the square of the scale at the target: the error in the unit,
as far as a factor. The first steps of a window warm the state up, and are no part of it.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from ml_collections import ConfigDict

from experiments.common.workdir import Record
from experiments.forecasting.networks import Network
from experiments.forecasting.series import TRAIN, VALIDATION, Task, origins, starts
from rnnjax.typing import Key, Params

LEAST_WEIGHT = 0.02
"""Of a step, beside 1 on average: a network in closed loop should not go astray at night."""


class Batch(NamedTuple):
    """T steps of B sequences."""

    inputs: Array  # (T, B, I)
    known: Array  # (T, B), z
    weights: Array  # (T, B), of the error at that step
    counted: Array  # (T, B), True where a forecast that is made there counts


class Data(NamedTuple):
    """All of a task that training needs."""

    whole: Batch  # segments side by side, what is made in the validation part counts
    starts: Array  # (N, 2), of windows


class TrainState(NamedTuple):
    """All that a training step depends on, but for the data."""

    params: Params
    best: Params  # by the validation parts
    best_loss: Array
    optimizer: Any
    step: Array
    key: Key


def data_of(task: Task, length: int) -> Data:
    """What windows of that many origins are drawn from.

    Raises:
        ValueError: if the training part has no such window.
    """
    there = starts(task, length)
    train = task.scale[task.parts == TRAIN]
    weights = np.maximum(np.square(task.scale) / np.square(train).mean(), LEAST_WEIGHT)
    arrays = task.inputs, task.standardized, weights.astype(np.float32), origins(task, VALIDATION)
    # As many as there are steps, so that all folds have the same shapes: each start comes about equally often.
    return Data(Batch(*map(jnp.asarray, arrays)), jnp.asarray(np.resize(there, (task.parts.size, 2)), jnp.int32))


def initial_state(params: Params, optimizer: optax.GradientTransformation, key: Key) -> TrainState:
    """Before training."""
    best = jax.tree.map(jnp.copy, params)
    return TrainState(params, best, jnp.float32(jnp.inf), optimizer.init(params), jnp.int32(0), key)


def loss(network: Network, params: Params, batch: Batch) -> Array:
    """Weighted mean square of the errors of what counts, over the horizons that the network fits."""
    found = network.fitted(params, batch.inputs, batch.known)
    squares, total = jnp.float32(0), jnp.float32(0)
    for place, horizon in enumerate(network.fits):
        target, weights = (each[horizon:] for each in (batch.known, batch.weights))
        weights = jnp.where(batch.counted[:-horizon], weights, 0)
        squares += (weights * jnp.square(found[:-horizon, :, place] - target)).sum()
        total += weights.sum()
    return squares / total


def train_steps(
    network: Network,
    optimizer: optax.GradientTransformation,
    config: ConfigDict,
    farthest: int,
    state: TrainState,
    data: Data,
) -> tuple[TrainState, Record]:
    """Some training steps in one program, each on windows drawn anew; then the best params are kept."""
    whole, counted_from, counted_to = data.whole, config.warm_up, config.warm_up + config.window
    steps = jnp.arange(counted_to + farthest)[:, None]
    counted = jnp.broadcast_to((steps >= counted_from) & (steps < counted_to), (len(steps), config.batch_size))

    def step(state: TrainState, _: None) -> tuple[TrainState, Array]:
        key = jax.random.fold_in(state.key, state.step)
        first, segment = data.starts[jax.random.randint(key, (config.batch_size,), 0, len(data.starts))].T
        rows = first[None] + steps
        batch = Batch(whole.inputs[rows, segment], whole.known[rows, segment], whole.weights[rows, segment], counted)
        value, gradients = jax.value_and_grad(lambda params: loss(network, params, batch))(state.params)
        updates, optimizer_state = optimizer.update(gradients, state.optimizer, state.params)
        params = optax.apply_updates(state.params, updates)
        return state._replace(params=params, optimizer=optimizer_state, step=state.step + 1), value

    state, losses = jax.lax.scan(step, state, length=config.steps_a_call)
    validation = loss(network, state.params, whole)
    better = validation < state.best_loss
    best = jax.tree.map(lambda new, old: jnp.where(better, new, old), state.params, state.best)
    state = state._replace(best=best, best_loss=jnp.minimum(validation, state.best_loss))
    return state, {"loss": losses.mean(), "validation": validation}
