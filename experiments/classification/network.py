"""What is trained: a state with all that a step depends on, the optimizer, the step."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from ml_collections import ConfigDict

from experiments.classification.model import Batch, Network
from experiments.common.workdir import Record
from rnnjax.typing import Key


class TrainState(NamedTuple):
    """All that a training step depends on, but for the data."""

    params: Network
    average: Network  # of the weights over the last steps
    optimizer: Any
    step: Array
    key: Key


def initial_state(params: Network, optimizer: optax.GradientTransformation, key: Key) -> TrainState:
    """Before training."""
    return TrainState(params, jax.tree.map(jnp.copy, params), optimizer.init(params), jnp.int32(0), key)


def make_optimizer(config: ConfigDict) -> optax.GradientTransformation:
    """AdamW on clipped gradients, at a rate that falls as a cosine; only matrices decay."""

    def is_matrix(params: Network) -> Any:
        return jax.tree.map(lambda leaf: leaf.ndim > 1, params)

    rate = optax.cosine_decay_schedule(config.learning_rate, config.train_steps)
    adam = optax.adamw(rate, weight_decay=config.weight_decay, mask=is_matrix)
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), adam)


def train_steps(
    loss: Callable[[Network, Batch, Key], Array],
    optimizer: optax.GradientTransformation,
    config: ConfigDict,
    state: TrainState,
    examples: Batch,
) -> tuple[TrainState, Record]:
    """Some training steps in one program, each on sequences drawn anew: the state, the mean loss."""

    def step(state: TrainState, _: None) -> tuple[TrainState, Array]:
        drawn_key, loss_key = jax.random.split(jax.random.fold_in(state.key, state.step))
        drawn = jax.random.randint(drawn_key, (config.batch_size,), 0, len(examples.labels))
        batch = Batch(examples.inputs[:, drawn], examples.mask[:, drawn], examples.labels[drawn])
        value, gradients = jax.value_and_grad(loss)(state.params, batch, loss_key)
        updates, optimizer_state = optimizer.update(gradients, state.optimizer, state.params)
        params = optax.apply_updates(state.params, updates)
        new = 1 / jnp.minimum(state.step.astype(jnp.float32) + 1, config.averaged_over)
        average = jax.tree.map(lambda old, now: old + new * (now - old), state.average, params)
        return TrainState(params, average, optimizer_state, state.step + 1, state.key), value

    state, losses = jax.lax.scan(step, state, length=config.steps_a_call)
    return state, {"loss": losses.mean()}
