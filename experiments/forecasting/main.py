"""How well are hours of sun and wind, and days of a stock index, forecast, and does a NARX network keep its gradient?

Run as ``python -m experiments.forecasting``; config.py explains the settings.
"""

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from ml_collections import ConfigDict

import rnnjax
from experiments.common import drawing, sweep, training
from experiments.common.compiling import jit
from experiments.common.errors import explained
from experiments.common.optimizer import make_optimizer
from experiments.common.settings import names, numbers, require_least, require_multiples, require_positive
from experiments.common.training import Evaluation
from experiments.common.workdir import Record, Workdir
from experiments.forecasting import baselines, findings, report, scoring
from experiments.forecasting.baselines import BASELINES, baseline
from experiments.forecasting.learning import TrainState, data_of, initial_state, train_steps
from experiments.forecasting.networks import BIDIRECTIONAL, NARX, TDNN, Network, make_network
from experiments.forecasting.series import TEST, Task, ahead, origins, split, task
from experiments.forecasting.skill import require_packages
from experiments.forecasting.stocks import folds, load_stocks
from experiments.forecasting.weather import UNITS, load_weather
from experiments.networks import sizing
from rnnjax.checks import number_between
from rnnjax.names import lookup
from rnnjax.typing import Key, Params

MEASURED = 64
"""Forecasts of the test parts whose gradients are measured, over so many steps back."""
RECALLED = 48


class Program(NamedTuple):
    """What has to be compiled on its own: one program serves all targets, folds and seeds."""

    model: str
    output_taps: int  # 0 of what has none
    input_taps: int


class Run(NamedTuple):
    """One model, fitted once."""

    program: Program
    target: str
    fold: int
    seed: int

    @property
    def name(self) -> str:
        model = self.program.model.replace(":", "-").replace(" ", "-")
        taps = f"-K{self.program.output_taps}-L{self.program.input_taps}" if self.program.input_taps else ""
        return f"{model}{taps}-{self.target}-fold{self.fold}-seed{self.seed}"

    def identity(self) -> Record:
        return {**self.program._asdict(), "target": self.target, "fold": self.fold, "seed": self.seed}


class Norms(NamedTuple):
    """By step, (RECALLED,): how much a forecast hangs on what was so long ago."""

    states: Array  # ||df/ds_t||, over all fields
    inputs: Array  # ||df/dx_t||


Tasks = dict[tuple[str, int], Task]
"""By target and fold."""


def main(config: ConfigDict, open_workdir: Callable[[], Workdir]) -> None:
    """Plans the runs, does those that are missing in the workdir, draws and prints."""
    with explained(ValueError, OSError, ImportError):
        runs = plan(config)
        tasks = load(config)
        for each in tasks.values():
            data_of(each, config.warm_up + config.window)
    workdir = open_workdir()
    programs = sweep.by_program(runs, lambda program: int(program.model not in BASELINES))
    work = functools.partial(execute, config=config, tasks=tasks)
    calls = config.train_steps // config.steps_a_call + 1
    records = sweep.execute(programs, work, workdir, steps=calls, threads=config.threads)
    if records is None:
        return
    found = f"{findings.table(records)}\n\n{findings.verdict(records)}"
    drawing.finish(workdir, report.FIGURES, records, report.summary(records), found)


def plan(config: ConfigDict) -> list[Run]:
    """A run for each model, with each number of taps if it has any, target, fold and seed.

    Raises:
        ValueError: for a field that cannot be.
    """
    sizes = ("seeds", "folds", "hidden_size", "batch_size", "train_steps", "steps_a_call", "window", "block_days")
    require_least(config, 1, *sizes)
    require_least(config, 0, "threads", "warm_up")
    require_positive(config, "learning_rate", "clip_norm")
    require_multiples(config, "steps_a_call", "train_steps")
    number_between("--config.weight_decay", config.weight_decay, 0.0, math.inf)
    data = lookup("data", config.data, DATA)
    runs = []
    for model in names(config, "models"):
        for program in _programs(model, config):
            seeds = 1 if model in BASELINES else config.seeds
            every = itertools.product(data.targets(config), range(config.folds), range(seeds))
            runs += [Run(program, target, fold, seed) for target, fold, seed in every]
    models = names(config, "models")
    if config.reference not in models:
        raise ValueError(
            f"--config.reference is {config.reference!r}: expected one of --config.models, over which skill is told"
        )
    lookup("reference", config.reference, BASELINES)
    if not set(models) - {config.reference, BIDIRECTIONAL}:
        raise ValueError(f"--config.models is {config.models!r}: expected a forecaster beside {config.reference}")
    return runs


def _programs(model: str, config: ConfigDict) -> list[Program]:
    """With each number of taps that a model has; raises ``ValueError`` for an unknown one."""
    if model in BASELINES:
        return [Program(model, 0, 0)]
    if model.partition(":")[0] not in (NARX, TDNN):
        make_network(model, 1, 1, 1, (1,), 0)
        return [Program(model, 0, 0)]
    outputs = numbers(config, "output_taps") if model != TDNN else [0]
    found = [Program(model, *taps) for taps in itertools.product(outputs, numbers(config, "input_taps"))]
    for program in found:
        make_network(model, 1, max(program.output_taps, 1), program.input_taps, (1,), 0)
    return found


class Source(NamedTuple):
    """Where a data set's tasks come from."""

    targets: Callable[[ConfigDict], list[str]]
    tasks: Callable[[ConfigDict, tuple[int, ...]], Tasks]


def weather_tasks(config: ConfigDict, horizons: tuple[int, ...]) -> Tasks:
    """One fold: a part of every segment is to test on."""
    if config.folds != 1:
        raise ValueError(f"--config.folds is {config.folds}: expected 1, since each month is split in itself")
    loaded = {target: load_weather(target, config.site) for target in _targets(config)}
    return {(name, 0): task(series, split(series.segments), horizons) for name, series in loaded.items()}


def stock_tasks(config: ConfigDict, horizons: tuple[int, ...]) -> Tasks:
    """A task for each fold."""
    series = load_stocks()
    every = folds(len(series.values), config.folds)
    return {(STOCKS, fold): task(series, parts, horizons) for fold, parts in enumerate(every)}


def _targets(config: ConfigDict) -> list[str]:
    return [lookup("target", name, {each: each for each in UNITS}) for name in names(config, "targets")]


STOCKS = "returns"

DATA = {"weather": Source(_targets, weather_tasks), "stocks": Source(lambda config: [STOCKS], stock_tasks)}


def load(config: ConfigDict) -> Tasks:
    """The tasks that the config names.

    Raises:
        ValueError: for data that are damaged or too short, or horizons that do not begin with 1.
        OSError: for data that cannot be read.
        ModuleNotFoundError: where a package of the extra is not installed.
    """
    require_packages()
    horizons = tuple(sorted(numbers(config, "horizons")))
    if horizons[0] != 1:
        raise ValueError(f"--config.horizons is {config.horizons!r}: expected 1 among them")
    return DATA[config.data].tasks(config, horizons)


def execute(runs: Sequence[Run], log_of: sweep.Logs[Run], *, config: ConfigDict, tasks: Tasks) -> None:
    """Runs of one program: fitted, and scored on what comes after."""
    program = runs[0].program
    if program.model in BASELINES:
        for run in runs:
            with log_of(run) as log:
                each = tasks[run.target, run.fold]
                log.write([_about(each, config)])
                log.write(scoring.records(each, baseline(program.model, each), drawn=run.fold == 0))
        return
    train(runs, log_of, config=config, tasks=tasks)


def train(runs: Sequence[Run], log_of: sweep.Logs[Run], *, config: ConfigDict, tasks: Tasks) -> None:
    """Networks: trained for so many steps; the params that were best in the validation parts are scored on the test."""
    program, some = runs[0].program, next(iter(tasks.values()))
    network = make_network(
        program.model,
        config.hidden_size,
        max(program.output_taps, 1),
        max(program.input_taps, 1),
        some.horizons,
        some.held,
    )
    optimizer = make_optimizer(config)
    step = jit(functools.partial(train_steps, network, optimizer, config, max(some.horizons)))
    forecast = jit(network.forecasts)
    measure = jit(functools.partial(gradients, network, config.warm_up)) if network.recalled else None

    @jit
    def initialize(key: Key) -> TrainState:
        params_key, step_key = jax.random.split(key)
        return initial_state(network.init(params_key, some.inputs.shape[-1]), optimizer, step_key)

    for run in runs:
        with log_of(run) as log:
            each = tasks[run.target, run.fold]
            data = data_of(each, config.warm_up + config.window)
            state = initialize(jax.random.key(run.seed))
            size = sizing.count_numbers(state.params)
            log.write([_about(each, config), {"kind": "network", "params": size}])
            windows = measured(each, config.warm_up + RECALLED)

            if measure and windows[0].size:
                log.write([_flow("initialization", measure(state.params, *windows))])
            state, _ = training.train(
                state,
                lambda state, _, data=data: step(state, data),  # type: ignore[misc]
                lambda _: None,
                lambda state, _: Evaluation({"validation": state.best_loss}),
                log,
                steps=config.train_steps,
                stride=config.steps_a_call,
                evaluate_at={config.train_steps},
            )
            found = np.asarray(forecast(state.best, data.whole.inputs, data.whole.known), np.float64)
            drawn = run.seed == 0 and run.fold == 0
            log.write(scoring.records(each, baselines.in_unit(each, found), drawn=drawn))
            if measure and windows[0].size:
                log.write([_flow("trained", measure(state.best, *windows))])


def _flow(phase: str, norms: Norms) -> Record:
    return {"kind": "state_gradient", "phase": phase, "norms": norms.states, "inputs": norms.inputs}


def _about(each: Task, config: ConfigDict) -> Record:
    """What a run's scores were made from, and how sure they are to be told."""
    lengths = {f"{name}_hours": int((each.parts == part).sum()) for part, name in enumerate(("train", "validation"))}
    tested = origins(each, TEST)
    days = np.unique(each.times[tested].astype("datetime64[D]"))
    about = {
        "step": each.step,
        "tested": int(tested.sum()),
        "days": len(days),
        "segments": each.parts.shape[1],
        "name": each.name,
    }
    span = {"from": str(days.min()), "to": str(days.max())}
    return {"kind": "task", **lengths, **about, **span, "reference": config.reference, "block_days": config.block_days}


def measured(each: Task, length: int) -> tuple[Array, Array]:
    """Inputs (T, B, I) and values (T, B) up to test origins, as far apart as there is room; B = 0 if there are none."""
    there = origins(each, TEST) & (ahead(each.scale, 1) > 0)
    there[: length - 1] = False
    places = np.argwhere(there)
    places = places[np.linspace(0, len(places) - 1, min(MEASURED, len(places))).round().astype(int)]
    rows = places[:, 0] + np.arange(1 - length, 1)[:, None]
    return jnp.asarray(each.inputs[rows, places[:, 1]]), jnp.asarray(each.standardized[rows, places[:, 1]])


def gradients(network: Network, warm_up: int, params: Params, inputs: Array, known: Array) -> Norms:
    """Of the forecasts one step ahead that are made at the last step, added up."""
    recalled = network.recalled
    if recalled is None:
        raise ValueError("the network recalls nothing: expected one whose gradient goes back in time")

    def forecast(unroll: Callable[..., tuple[object, Array]], inputs: Array) -> Array:
        return recalled(unroll, params, inputs, known, warm_up).sum()

    _, of_inputs, (flow,) = rnnjax.value_grad_and_flow(forecast)(inputs)
    squares = jnp.stack([jnp.square(norms) for norms in jax.tree.leaves(flow.state)])
    return Norms(jnp.sqrt(squares.sum(axis=0)), jnp.linalg.norm(of_inputs[warm_up:], axis=(1, 2)))
