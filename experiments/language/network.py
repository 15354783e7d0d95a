"""What of language is trained: the cell, the optimizer, a state with all that a step depends on, the step."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.sharding import Mesh
from ml_collections import ConfigDict

import rnnjax
from experiments.common import host_devices
from experiments.common.workdir import Record
from experiments.language import model as language_model
from experiments.language.model import Dropout, LanguageParams
from experiments.networks import sizing
from rnnjax.names import lookup
from rnnjax.typing import Key, State

SHIFT = 37
"""Steps by which the windows of a pass are later than those of the pass before, modulo the room there is."""


class TrainState(NamedTuple):
    """All that a training step depends on, but for the text."""

    params: LanguageParams
    average: LanguageParams  # of the weights over the last steps
    optimizer: Any
    learning_rate: Array  # at its highest; of the state, so that one program serves all
    carried: State  # (B, ...), from window to window
    step: Array
    key: Key


def make_cell(name: str, config: ConfigDict, vocabulary_size: int) -> rnnjax.Cell:
    """The stack of a config with a cell of that name, as wide as the config says, or as its number of params allows."""
    if not config.params:
        return _stacked(name, config, config.hidden_size)
    widths = range(1, config.params + 1)  # of which none has fewer params than units

    def count(width: int) -> int:
        return count_params(_stacked(name, config, width), config, vocabulary_size)

    return _stacked(name, config, sizing.nearest_width(widths, config.params, count))


def _stacked(name: str, config: ConfigDict, width: int) -> rnnjax.Cell:
    layers = [rnnjax.cell_named(name)(width) for _ in range(config.layers)]
    if config.layer_norm:
        layers = [rnnjax.layer_norm(layer) for layer in layers]
    if config.residual:
        layers = [layers[0], *map(rnnjax.residual, layers[1:])]
    return rnnjax.stack(*layers)


def count_params(cell: rnnjax.Cell, config: ConfigDict, vocabulary_size: int) -> int:
    """How many numbers of a network are learned: embedding, cell and readout."""
    return sizing.count_numbers(_params_shapes(cell, config, vocabulary_size))


def _params_shapes(cell: rnnjax.Cell, config: ConfigDict, vocabulary_size: int) -> LanguageParams:
    return jax.eval_shape(lambda: language_model.init(cell, vocabulary_size, config.embedding_size, jax.random.key(0)))


def dropout_of(config: ConfigDict) -> Dropout:
    """What a config drops."""
    return Dropout(
        config.embedding_dropout,
        config.output_dropout,
        config.recurrent_dropout,
        config.drop_connect,
        config.zoneout,
        config.dropout_each,
    )


def make_optimizer(config: ConfigDict, name: str) -> optax.GradientTransformation:
    """An optimizer by its name, on gradients clipped to a norm, for a learning rate whose highest value is 1.

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
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), lookup("optimizer", name, made)())


def _schedule(config: ConfigDict) -> optax.Schedule:
    steps, warm_up = config.train_steps, config.warm_up
    made = {
        "cosine": lambda: optax.cosine_decay_schedule(1.0, max(steps - warm_up, 1)),
        "constant": lambda: optax.constant_schedule(1.0),
    }
    after = lookup("schedule", config.schedule, made)()
    return optax.join_schedules([optax.linear_schedule(0.0, 1.0, warm_up), after], [warm_up]) if warm_up else after


def initial_state(
    cell: rnnjax.Cell,
    optimizer: optax.GradientTransformation,
    learning_rate: float,
    config: ConfigDict,
    vocabulary_size: int,
    key: Key,
) -> TrainState:
    """Before training."""
    params_key, step_key = jax.random.split(key)
    params = language_model.init(cell, vocabulary_size, config.embedding_size, params_key)
    carried = cell.initial_state(params.recurrent, (config.batch_size,))
    average = jax.tree.map(jnp.copy, params)
    rate = jnp.float32(learning_rate)
    return TrainState(params, average, optimizer.init(params), rate, carried, jnp.int32(0), step_key)


def shardings(state: TrainState, mesh: Mesh) -> TrainState:
    """Where each array of a state lies: the carried states with their streams, all else on every device."""
    whole, divided = host_devices.whole(mesh), host_devices.divided(mesh, 0)
    everywhere: TrainState = jax.tree.map(lambda _: whole, state)
    return everywhere._replace(carried=jax.tree.map(lambda _: divided, state.carried))


def recurrent_kernel_bytes(cell: rnnjax.Cell, config: ConfigDict, vocabulary_size: int) -> int:
    """Of the largest matrix of the recurrent layers."""
    params = _params_shapes(cell, config, vocabulary_size)
    return host_devices.largest_recurrent_kernel(params.recurrent)


def train_steps(
    cell: rnnjax.Cell,
    optimizer: optax.GradientTransformation,
    config: ConfigDict,
    through: int,
    state: TrainState,
    streams: Array,
) -> tuple[TrainState, Record]:
    """Some training steps in one program, each on the next window of the streams (N, B): the state, the mean loss.

    The gradient goes back ``through`` so many steps, a divisor of the window's length.
    """
    length, dropout = config.sequence_length, dropout_of(config)
    windows, rest = divmod(len(streams) - 1, length)

    def step(state: TrainState, _: None) -> tuple[TrainState, Array]:
        # Each pass has its windows at other places: as far from the beginning as what is left at the end allows.
        shift = state.step // windows * SHIFT % (rest + 1)
        place = state.step % windows * length + shift
        window = jax.lax.dynamic_slice_in_dim(streams, place, length + 1)
        key = jax.random.fold_in(state.key, state.step)
        loss_of = functools.partial(
            language_model.window_loss,
            cell,
            window=window,
            state=state.carried,
            dropout=dropout,
            key=key,
            through=through,
        )
        (loss, carried), gradients = jax.value_and_grad(loss_of, has_aux=True)(state.params)
        updates, optimizer_state = optimizer.update(gradients, state.optimizer, state.params)
        params = jax.tree.map(lambda old, update: old + state.learning_rate * update, state.params, updates)
        average = _averaged(state.average, params, state.step, config.averaged_over)
        moved = {"params": params, "average": average, "optimizer": optimizer_state, "carried": carried}
        return state._replace(**moved, step=state.step + 1), loss

    state, losses = jax.lax.scan(step, state, length=config.steps_a_call)
    return state, {"loss": losses.mean()}


def _averaged(average: LanguageParams, params: LanguageParams, step: Array, over: int) -> LanguageParams:
    """Exponentially, over about so many steps, and over all of them while there are fewer; the last where it is 0."""
    if not over:
        return params
    new = 1 / jnp.minimum(step.astype(jnp.float32) + 1, over)
    return jax.tree.map(lambda old, now: old + new.astype(old.dtype) * (now - old), average, params)
