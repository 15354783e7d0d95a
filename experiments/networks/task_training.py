"""Trains a network on a task of ``rnnjax.tasks`` until it solves it, and tests it on the way."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax
from flax.training.train_state import TrainState
from jax import Array
from ml_collections import ConfigDict

import rnnjax
from experiments.common import training
from experiments.common.compiling import jit
from experiments.common.run_log import Log
from experiments.common.solving import ended, evaluated_at
from experiments.common.training import Evaluation
from experiments.common.workdir import Record
from experiments.networks.task_network import Network, gradient_norms, init, read
from rnnjax.tasks import Batch, Task
from rnnjax.typing import Key


class Programs(NamedTuple):
    """The programs that are compiled for a cell and a task, and serve all seeds.

    Attributes:
        initialize: ``(key) -> state``.
        train_steps: ``(state, key) -> (state, nothing to record)``, as many steps as there are between evaluations.
        test: ``(network, batch) -> loss and error``.
        measure: ``(network, batch) -> ||dL/ds_t|| (T,)``, L the loss at the last step.
    """

    initialize: Callable[[Key], TrainState]
    train_steps: Callable[[TrainState, Key], tuple[TrainState, Record]]
    test: Callable[[Network, Batch], Record]
    measure: Callable[[Network, Batch], Array]


def compiled(cell: rnnjax.Cell, task: Task, optimizer: optax.GradientTransformation, config: ConfigDict) -> Programs:
    """The programs, for batches of ``config.batch_size`` and evaluations every ``config.evaluate_every`` steps."""

    @jit
    def initialize(key: Key) -> TrainState:
        return TrainState.create(apply_fn=None, params=init(cell, task, key), tx=optimizer)

    @jit
    def train_steps(state: TrainState, key: Key) -> tuple[TrainState, Record]:
        def step(state: TrainState, _: None) -> tuple[TrainState, None]:
            batch = task.sample(jax.random.fold_in(key, state.step), config.batch_size)
            gradients = jax.grad(lambda network: task.loss(read(cell, network, batch), batch))(state.params)
            return state.apply_gradients(grads=gradients), None

        return jax.lax.scan(step, state, length=config.evaluate_every)[0], {}

    @jit
    def test(network: Network, batch: Batch) -> Record:
        readout = read(cell, network, batch)
        return {"loss": task.loss(readout, batch), "error": task.error(readout, batch).mean()}

    return Programs(initialize, train_steps, test, jit(functools.partial(gradient_norms, cell, task)))


def train(
    programs: Programs,
    task: Task,
    state: TrainState,
    key: Key,
    test_batch: Batch,
    log: Log,
    config: ConfigDict,
    **about: Any,
) -> tuple[TrainState, list[Record]]:
    """Trains until the task is solved, the test loss is not finite, or the steps are used up.

    Args:
        programs: the programs of the cell and the task.
        task: the task to be solved.
        state: the state before training.
        key: draws the sequences to train on; those of a step depend on it and on the step's number alone.
        test_batch: the sequences of every evaluation.
        log: the log of the run.
        config: has ``train_steps`` and ``evaluate_every``.
        **about: further numbers for the records of evaluations.

    Returns:
        The last state, and the evaluations.
    """

    def evaluate(state: TrainState, _: int) -> Evaluation:
        return Evaluation({**programs.test(state.params, test_batch), **about})

    return training.train(
        state,
        programs.train_steps,
        lambda _: key,
        evaluate,
        log,
        steps=config.train_steps,
        stride=config.evaluate_every,
        evaluate_at=evaluated_at(config),
        stop=functools.partial(ended, task=task),
    )
