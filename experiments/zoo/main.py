"""Which cell learns the classical tasks of memory, with as many params as the others and a learning rate of its own?

Run as ``python -m experiments.zoo``; config.py explains the settings.
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax.training.train_state import TrainState
from ml_collections import ConfigDict

import rnnjax
from experiments.common import drawing, sweep
from experiments.common.errors import explained
from experiments.common.run_log import Log
from experiments.common.settings import names, require_least, require_positive
from experiments.common.solving import count_evaluations, result
from experiments.common.workdir import Record, Workdir
from experiments.networks import task_training
from experiments.networks.task_network import test_set
from experiments.networks.task_training import Programs
from experiments.zoo import report, sizes
from rnnjax.tasks import Task, task_named

CHOOSING, COUNTED = 1, 0
"""What is folded into the key of a seed, so that seeds for choosing share no random numbers with those that count."""


class Run(NamedTuple):
    """A cell on a task, whose learning rate is chosen before it is trained from each seed."""

    task: str
    lag: int
    cell: str

    @property
    def program(self) -> "Run":
        return self

    @property
    def name(self) -> str:
        return f"{self.task}-{self.lag}-{self.cell}"

    def identity(self) -> Record:
        return self._asdict()


def main(config: ConfigDict, open_workdir: Callable[[], Workdir]) -> None:
    """Plans the runs, does those that the workdir lacks, draws the figures and prints the findings."""
    with explained(ValueError, ImportError):
        runs = plan(config)
    workdir = open_workdir()
    programs = sweep.by_program(runs, lambda run: run.lag)
    networks = len(learning_rates(config)) * config.choosing_seeds + config.seeds
    steps = networks * count_evaluations(config)
    work = functools.partial(execute, config=config)
    records = sweep.execute(programs, work, workdir, steps=steps, threads=config.threads)
    if records is None:
        return
    found = f"{report.table(records)}\n\n{report.verdict(records)}"
    drawing.finish(workdir, report.FIGURES, records, report.summary(records), found)


def plan(config: ConfigDict) -> list[Run]:
    """A run for every cell and task.

    Raises:
        ValueError: for a field with a wrong value.
        ImportError: for a task whose data are not installed.
    """
    require_least(config, 1, "seeds", "choosing_seeds", "params", "batch_size", "test_size", "train_steps")
    require_least(config, 1, "evaluate_every")
    require_least(config, 0, "threads")
    require_positive(config, "clip_norm")
    learning_rates(config)
    runs = [Run(task, lag, cell) for (task, lag), cell in itertools.product(problems(config), cells(config))]
    for run in runs:
        task_named(run.task)(run.lag)  # raises for a lag that the task cannot have
    return runs


def cells(config: ConfigDict) -> list[str]:
    """The names of the cells."""
    if config.cells == "all":
        return list(rnnjax.CELLS)
    chosen = names(config, "cells")
    for cell in chosen:
        rnnjax.cell_named(cell)
    return chosen


def problems(config: ConfigDict) -> list[tuple[str, int]]:
    """The tasks with their lags."""
    found = []
    for problem in names(config, "problems"):
        task, _, lag = problem.partition(":")
        if not lag.isdecimal():
            raise ValueError(f"--config.problems has {problem!r}: expected TASK:LAG, as in adding:50")
        task_named(task)
        found.append((task, int(lag)))
    return found


def learning_rates(config: ConfigDict) -> list[float]:
    """The learning rates to choose from."""
    rates = []
    for rate in names(config, "learning_rates"):
        try:
            rates.append(float(rate))
        except ValueError:
            rates.append(math.nan)
        if not 0 < rates[-1] < math.inf:
            raise ValueError(f"--config.learning_rates has {rate!r}: expected positive numbers, as in 0.001,0.01")
    return rates


def execute(runs: Sequence[Run], log_of: sweep.Logs[Run], *, config: ConfigDict) -> None:
    """Trains a cell on a task: networks for each learning rate, and then one for each seed at the best of these rates.

    A loss that overflows ends its network and not the sweep, because that a network explodes is a result, too.
    """
    for run in runs:
        task = task_named(run.task)(run.lag)
        width, params = sizes.as_wide_as(config.params, run.cell, task)
        programs = task_training.compiled(rnnjax.cell_named(run.cell)(width), task, make_optimizer(config), config)
        with log_of(run) as log:
            log.write([{"kind": "network", "hidden_size": width, "params": params}])
            trials = [
                {"learning_rate": rate, "seed": seed, **trained(programs, task, CHOOSING, seed, rate, log, config)}
                for rate in learning_rates(config)
                for seed in range(config.choosing_seeds)
            ]
            log.write([{**trial, "kind": "trial"} for trial in trials])
            rate = best_rate(trials)
            for seed in range(config.seeds):
                ended = trained(programs, task, COUNTED, seed, rate, log, config)
                log.write([{**ended, "learning_rate": rate, "seed": seed}])


def trained(programs: Programs, task: Task, part: int, seed: int, rate: float, log: Log, config: ConfigDict) -> Record:
    """How one network ended; the gradient's flow is recorded if the network counts."""
    key = jax.random.fold_in(jax.random.key(seed), part)
    init_key, train_key, test_key = jax.random.split(key, 3)
    test_batch = test_set(task, test_key, config.test_size)
    state = with_rate(programs.initialize(init_key), rate)
    about = {"seed": seed, "learning_rate": rate, "choosing": part}

    def measured(phase: str, state: TrainState) -> None:
        if part == COUNTED:
            norms = programs.measure(state.params, test_batch)
            log.write([{"kind": "state_gradient", "phase": phase, "seed": seed, "norms": norms}])

    measured("initialization", state)
    state, evaluations = task_training.train(programs, task, state, train_key, test_batch, log, config, **about)
    measured("trained", state)
    return result(evaluations, task)


def best_rate(trials: Iterable[Record]) -> float:
    """The learning rate with most networks that solved the task; ties are broken by the fewest steps, then by loss."""
    by_rate: dict[float, list[Record]] = {}
    for trial in trials:
        by_rate.setdefault(trial["learning_rate"], []).append(trial)

    def order(rate: float) -> tuple[float, float, float]:
        of_rate = by_rate[rate]
        steps = [trial["steps"] for trial in of_rate if trial["outcome"] == "solved"]
        losses = [trial["loss"] if math.isfinite(trial["loss"]) else math.inf for trial in of_rate]
        return -len(steps), sum(steps), sum(losses)

    return min(by_rate, key=order)


def make_optimizer(config: ConfigDict) -> optax.GradientTransformation:
    """Adam on clipped gradients, with the learning rate in its state, so that one program serves all rates."""
    adam = optax.inject_hyperparams(optax.adam)(learning_rate=1.0)
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), adam)


def with_rate(state: TrainState, rate: float) -> TrainState:
    """The state with another learning rate in its optimizer."""
    clipping, adam = state.opt_state
    known = adam.hyperparams["learning_rate"]
    hyperparams = {**adam.hyperparams, "learning_rate": jnp.asarray(rate, known.dtype)}
    return state.replace(opt_state=(clipping, adam._replace(hyperparams=hyperparams)))
