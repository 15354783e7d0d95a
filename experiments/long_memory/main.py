"""Who learns to remember, and over how long a lag? Cells on the classical tasks of long-term dependency.

Run as ``python -m experiments.long_memory``; config.py explains the settings.
"""

import functools
import inspect
import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import optax
from jax import Array
from ml_collections import ConfigDict

import rnnjax
from experiments.common import drawing, sweep
from experiments.common.errors import explained
from experiments.common.settings import names, numbers, require_least, require_positive
from experiments.common.solving import count_evaluations, result
from experiments.common.workdir import Record, Workdir
from experiments.long_memory import report
from experiments.networks import sizing, task_training
from experiments.networks.task_network import Network, test_set
from rnnjax.tasks import task_named


class Program(NamedTuple):
    """What has to be compiled on its own: one program serves all seeds."""

    task: str
    lag: int
    cell: str


Run = sweep.SeededRun[Program]
"""One network, trained until it solves its task or its steps are used up."""


def main(config: ConfigDict, open_workdir: Callable[[], Workdir]) -> None:
    """Plans the runs, does those that are missing in the workdir, draws and prints."""
    with explained(ValueError, ImportError):
        runs = plan(config)
    workdir = open_workdir()
    programs = sweep.by_program(runs, lambda program: program.lag)
    work = functools.partial(execute, config=config)
    records = sweep.execute(programs, work, workdir, steps=count_evaluations(config), threads=config.threads)
    if records is None:
        return
    found = f"{report.table(records)}\n\n{report.verdict(records)}"
    drawing.finish(workdir, report.FIGURES, records, report.summary(records), found)


def plan(config: ConfigDict) -> list[Run]:
    """Every combination that the config names.

    Raises:
        ValueError: for a field that cannot be.
        ImportError: for a task whose data are not installed.
    """
    require_least(config, 1, "seeds", "hidden_size", "batch_size", "test_size", "train_steps", "evaluate_every")
    require_least(config, 0, "threads")
    require_positive(config, "learning_rate", "clip_norm")
    if config.cell_learning_rate is not None:
        require_positive(config, "cell_learning_rate")
    programs = []
    for task, lag, cell in itertools.product(names(config, "tasks"), numbers(config, "lags"), names(config, "cells")):
        rnnjax.cell_named(cell)
        task_named(task)(lag)  # raises for a lag that the task does not have
        programs.append(Program(task, lag, cell))
    return [Run(program, seed) for program in programs for seed in range(config.seeds)]


def execute(runs: Sequence[Run], log_of: sweep.Logs[Run], *, config: ConfigDict) -> None:
    """Runs of one program: trained, tested as they go, the gradient's flow measured before and after.

    A loss that overflows ends its run, not the sweep: that a network explodes is an answer, too.
    """
    program = runs[0].program
    task = task_named(program.task)(program.lag)
    programs = task_training.compiled(make_cell(program.cell, config), task, make_optimizer(config), config)
    for run in runs:
        with log_of(run) as log:
            init_key, train_key, test_key = jax.random.split(jax.random.key(run.seed), 3)
            test_batch = test_set(task, test_key, config.test_size)
            state = programs.initialize(init_key)
            log.write([_flow_record("initialization", programs.measure(state.params, test_batch))])
            state, evaluations = task_training.train(programs, task, state, train_key, test_batch, log, config)
            conditions = {"batch_size": config.batch_size, "settings": settings_of(config, state.params)}
            log.write([_flow_record("trained", programs.measure(state.params, test_batch))])
            log.write([{**result(evaluations, task), **conditions}])


def make_cell(name: str, config: ConfigDict) -> rnnjax.Cell:
    """The cell of that name, its forget gate, if it has one, biased as the config says, if it does."""
    constructor = rnnjax.cell_named(name)
    if config.forget_bias is not None and "forget_bias" in inspect.signature(constructor).parameters:
        constructor = functools.partial(constructor, forget_bias=config.forget_bias)
    return constructor(config.hidden_size)


def settings_of(config: ConfigDict, network: Network) -> str:
    """In words, to be set beside those of others."""
    weights = sizing.count_numbers(network)
    rates = f"{config.learning_rate:g}"
    if config.cell_learning_rate:
        rates += f" (cell {config.cell_learning_rate:g})"
    return f"{weights:,} weights, Adam, rate {rates}, batches of {config.batch_size}"


def make_optimizer(config: ConfigDict) -> optax.GradientTransformation:
    """Adam on clipped gradients, the cell at a learning rate of its own if the config has one."""
    readout_rate, cell_rate = config.learning_rate, config.cell_learning_rate
    rates = Network("cell", "readout")
    adam = {"cell": optax.adam(cell_rate or readout_rate), "readout": optax.adam(readout_rate)}
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), optax.partition(adam, rates))


def _flow_record(phase: str, norms: Array) -> Record:
    return {"kind": "state_gradient", "phase": phase, "norms": norms}
