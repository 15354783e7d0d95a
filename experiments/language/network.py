"""What of language is trained: the cell, the optimizer, a state with all that a step depends on, the step."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from ml_collections import ConfigDict

import rnnjax
from experiments.common.workdir import Record
from experiments.language import model as language_model
from experiments.language.model import Dropout, LanguageParams
from rnnjax.names import lookup
from rnnjax.typing import Key, State


class TrainState(NamedTuple):
    """All that a training step depends on, but for the text."""

    params: LanguageParams
    average: LanguageParams  # of the weights over the last steps
    optimizer: Any
    carried: State  # (B, ...), from window to window
    step: Array
    key: Key


def make_cell(name: str, config: ConfigDict) -> rnnjax.Cell:
    """The stack of a config with a cell of that name."""
    return rnnjax.stack(*(rnnjax.cell_named(name)(config.hidden_size) for _ in range(config.layers)))


def make_optimizer(config: ConfigDict) -> optax.GradientTransformation:
    """The optimizer of a config, on gradients clipped to a norm.

    Raises:
        ValueError: for an unknown optimizer or schedule.
    """
    rate = _schedule(config)

    def is_matrix(params: LanguageParams) -> Any:
        return jax.tree.map(lambda leaf: leaf.ndim > 1, params)

    made = {
        "sgd": lambda: optax.sgd(rate),
        "momentum": lambda: optax.sgd(rate, momentum=0.9),
        "adam": lambda: optax.adam(rate),
        "adamw": lambda: optax.adamw(rate, weight_decay=config.weight_decay, mask=is_matrix),
        "rmsprop": lambda: optax.rmsprop(rate),
        "adagrad": lambda: optax.adagrad(rate, initial_accumulator_value=0.0, eps=1e-8),
    }
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), lookup("optimizer", config.optimizer, made)())


def _schedule(config: ConfigDict) -> optax.Schedule:
    high, steps, warm_up = config.learning_rate, config.train_steps, config.warm_up
    made = {
        "cosine": lambda: optax.cosine_decay_schedule(high, max(steps - warm_up, 1)),
        "constant": lambda: optax.constant_schedule(high),
    }
    after = lookup("schedule", config.schedule, made)()
    return optax.join_schedules([optax.linear_schedule(0.0, high, warm_up), after], [warm_up]) if warm_up else after


def initial_state(cell: rnnjax.Cell, config: ConfigDict, vocabulary_size: int, key: Key) -> TrainState:
    """Before training."""
    params_key, step_key = jax.random.split(key)
    params = language_model.init(cell, vocabulary_size, config.embedding_size, params_key)
    carried = cell.initial_state(params.recurrent, (config.batch_size,))
    average = jax.tree.map(jnp.copy, params)
    return TrainState(params, average, make_optimizer(config).init(params), carried, jnp.int32(0), step_key)


def train_steps(cell: rnnjax.Cell, config: ConfigDict, state: TrainState, streams: Array) -> tuple[TrainState, Record]:
    """Some training steps in one program, each on the next window of the streams (N, B): the state, the mean loss."""
    optimizer, length = make_optimizer(config), config.sequence_length
    windows = (len(streams) - 1) // length
    dropout = Dropout(
        config.embedding_dropout, config.output_dropout, config.recurrent_dropout, each=config.dropout_each
    )

    def step(state: TrainState, _: None) -> tuple[TrainState, Array]:
        place = state.step % windows * length
        window = jax.lax.dynamic_slice_in_dim(streams, place, length + 1)
        key = jax.random.fold_in(state.key, state.step)
        loss_of = functools.partial(
            language_model.window_loss, cell, window=window, state=state.carried, dropout=dropout, key=key
        )
        (loss, carried), gradients = jax.value_and_grad(loss_of, has_aux=True)(state.params)
        updates, optimizer_state = optimizer.update(gradients, state.optimizer, state.params)
        params = optax.apply_updates(state.params, updates)
        average = _averaged(state.average, params, state.step, config.averaged_over)
        return TrainState(params, average, optimizer_state, carried, state.step + 1, state.key), loss

    state, losses = jax.lax.scan(step, state, length=config.steps_a_call)
    return state, {"loss": losses.mean()}


def _averaged(average: LanguageParams, params: LanguageParams, step: Array, over: int) -> LanguageParams:
    """Exponentially, over about so many steps, and over all of them while there are fewer; the last where it is 0."""
    if not over:
        return params
    new = 1 / jnp.minimum(step.astype(jnp.float32) + 1, over)
    return jax.tree.map(lambda old, now: old + new.astype(old.dtype) * (now - old), average, params)
