"""How well does a network track what it sees in noise, beside the best there is: ahead of time, at once or later?

Run as ``python -m experiments.tracking``; config.py explains the settings.
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from ml_collections import ConfigDict

import rnnjax
from experiments.common import checkpoint, drawing, sweep, training
from experiments.common.averaged import TrainState, initial_state, restored, train_steps
from experiments.common.compiling import jit
from experiments.common.errors import explained
from experiments.common.optimizer import make_optimizer
from experiments.common.settings import names, require_least, require_multiples, require_positive
from experiments.common.training import Evaluation
from experiments.common.workdir import Record, Workdir
from experiments.tracking import model, optimum, report
from experiments.tracking.model import Network, Window
from experiments.tracking.systems import SYSTEMS, System
from rnnjax.checks import number_between
from rnnjax.names import lookup
from rnnjax.typing import Key

LOOKED_BACK = 64
"""Test sequences over which it is measured how much an estimate hangs on what was seen before."""

STRETCH = 120
"""Steps of the first test sequence that are told one by one."""

TEST_KEY = 2**31 - 1
"""Of the test set, which no run is trained on."""


class Program(NamedTuple):
    """What has to be compiled on its own: one program serves all delays and seeds."""

    network: str
    whole: bool  # one in each direction


class Run(NamedTuple):
    """One network, trained once."""

    program: Program
    delay: int | None  # None: it sees the whole
    seed: int

    @property
    def name(self) -> str:
        return f"{self.program.network}-{delay_told(self.delay)}-seed{self.seed}"

    def identity(self) -> Record:
        return {"network": self.program.network, "delay": self.delay, "seed": self.seed}


def delay_told(delay: int | None) -> str:
    """As names of runs have it."""
    if delay is None:
        return "whole"
    return f"ahead{-delay}" if delay < 0 else f"delay{delay}"


def main(config: ConfigDict, open_workdir: Callable[[], Workdir]) -> None:
    """Plans the runs, does those that are missing in the workdir, draws and prints."""
    with explained(ValueError):
        runs = plan(config)
    workdir = open_workdir()
    programs = sweep.by_program(runs, lambda program: int(program.whole))
    calls = config.train_steps // config.steps_a_call + 1
    records = sweep.execute(
        programs, functools.partial(execute, config=config), workdir, steps=calls, threads=config.threads
    )
    if records is None:
        return
    found = f"{report.table(records)}\n\n{report.verdict(records)}"
    drawing.finish(workdir, report.FIGURES, records, report.summary(records, config), found)


def plan(config: ConfigDict) -> list[Run]:
    """A run for each network, delay and seed, and for each that sees the whole.

    Raises:
        ValueError: for a field that cannot be.
    """
    sizes = ("seeds", "hidden_size", "batch_size", "train_steps", "steps_a_call", "evaluate_every", "averaged_over")
    require_least(config, 1, *sizes, "test_sequences", "warm_up")
    require_least(config, 2, "lags")
    require_least(config, 0, "threads")
    require_positive(config, "learning_rate", "clip_norm", "period", "damping", "sensor_noise")
    require_multiples(config, "steps_a_call", "train_steps", "evaluate_every")
    number_between("--config.weight_decay", config.weight_decay, 0.0, math.inf)
    number_between("--config.jump_probability", config.jump_probability, 1e-6, 0.5)
    lookup("system", config.system, SYSTEMS)
    delays = delays_of(config)
    if config.warm_up < max(delays):
        raise ValueError(f"--config.warm_up is {config.warm_up}: expected at least the longest delay, {max(delays)}")
    for field in ("length", "test_length"):
        if config[field] < 3 * config.warm_up + ahead(delays):
            least = 3 * config.warm_up + ahead(delays)
            raise ValueError(f"--config.{field} is {config[field]}: expected three times warm_up or more, {least}")
    if config.warm_up + config.lags > config.test_length:
        room = config.test_length - config.warm_up
        raise ValueError(f"--config.lags is {config.lags}: expected at most test_length less warm_up, {room}")
    programs = [Program(name, whole=False) for name in names(config, "networks")]
    programs += [Program(name, whole=True) for name in (names(config, "whole") if config.whole.strip() else [])]
    for program in programs:
        model.make_cell(program.network, config.hidden_size, whole=program.whole)
    return [
        Run(program, delay, seed)
        for program in programs
        for delay, seed in itertools.product([None] if program.whole else delays, range(config.seeds))
    ]


def delays_of(config: ConfigDict) -> list[int]:
    """Whole numbers, which may be below 0.

    Raises:
        ValueError: for anything else.
    """
    found = names(config, "delays")
    if not all(name.isascii() and name.removeprefix("-").isdigit() for name in found):
        raise ValueError(f"--config.delays is {config.delays!r}: expected whole numbers separated by commas")
    return sorted({int(name) for name in found})


def ahead(delays: Sequence[int]) -> int:
    """How many steps before it comes a position is asked for at most."""
    return max(0, -min(delays))


def windows(config: ConfigDict, *, whole: bool) -> tuple[Window, Window]:
    """Which steps count in training, and which in the test."""
    margin = config.warm_up if whole else ahead(delays_of(config))
    training, test = (Window(length, config.warm_up, length - margin) for length in (config.length, config.test_length))
    return training, test


def execute(runs: Sequence[Run], log_of: sweep.Logs[Run], *, config: ConfigDict) -> None:
    """Runs of one program: trained on sequences that never come again, tested on others, beside the best estimates."""
    program, system = runs[0].program, SYSTEMS[config.system](config)
    cell, optimizer = model.make_cell(program.network, config.hidden_size, whole=program.whole), make_optimizer(config)
    counted, tested = windows(config, whole=program.whole)
    loss = functools.partial(model.loss, cell, system.draw, counted, config.batch_size)
    step = jit(functools.partial(train_steps, loss, optimizer, config))
    examine = jit(functools.partial(scores, cell, tested))
    estimate = jit(functools.partial(model.estimates, cell))
    look_back = jit(functools.partial(looked_back, cell))
    positions, observations = test_set(system, config)

    @jit
    def initialize(key: Key) -> TrainState:
        params_key, step_key = jax.random.split(key)
        return initial_state(model.init(cell, params_key), optimizer, step_key)

    def evaluate(state: TrainState, _: int, *, beside: tuple[Array, ...]) -> Evaluation:
        return Evaluation(examine(state.average, *beside))

    for delay, of_delay in itertools.groupby(runs, key=lambda run: run.delay):
        best = best_estimates(system, config, observations, delay)
        true = np.roll(positions, delay or 0, axis=0)
        beside = tuple(jnp.asarray(each, jnp.float32) for each in (observations, true, best))
        for run in of_delay:
            with log_of(run) as log:
                state, evaluations = training.train(
                    initialize(jax.random.key(run.seed)),
                    step,
                    functools.partial(asked_for, delay),
                    functools.partial(evaluate, beside=beside),
                    log,
                    steps=config.train_steps,
                    stride=config.steps_a_call,
                    evaluate_at={*range(0, config.train_steps, config.evaluate_every), config.train_steps},
                    checkpoint_every=config.train_steps,
                    about={"run": {**run.identity(), "whole": program.whole}, "config": config.to_dict()},
                )
                log.write([{"kind": "result", **evaluations[-1]}, known(system, config, best, true, run, tested)])
                if not program.whole:
                    back = look_back(state.average, beside[0][: config.warm_up + config.lags, :LOOKED_BACK])
                    log.write([*hangs_on(back, config.lags), optimal(system, config, observations, run)])
                if run.seed == 0:
                    said = np.asarray(estimate(state.average, beside[0]))
                    log.write([stretch(config, delay, positions, observations, said, best)])


def asked_for(delay: int | None, _: int) -> Array:
    """What every training step is given: which position is asked for; of the whole, that of the same step."""
    return jnp.int32(delay or 0)


def test_set(system: System, config: ConfigDict) -> tuple[np.ndarray, np.ndarray]:
    """Positions and observations (T, B), the same for all runs."""
    drawn = system.draw(jax.random.key(TEST_KEY), config.test_length, config.test_sequences)
    positions, observations = (np.asarray(each, np.float64) for each in drawn)
    return positions, observations


def best_estimates(system: System, config: ConfigDict, observations: np.ndarray, delay: int | None) -> np.ndarray:
    """(T, B), each at the step in which it is made; of the whole, that of p_t at step t.

    What comes more than ``warm_up`` steps later changes nothing that could be seen.
    """
    if delay is None:
        return np.roll(system.estimates(observations, config.warm_up), -config.warm_up, axis=0)
    return system.estimates(observations, delay)


def scores(
    cell: rnnjax.Cell, window: Window, network: Network, observations: Array, true: Array, best: Array
) -> Record:
    """Mean squares in the window: of the network's error, and of its distance from the best estimate.

    The error of a best estimate, a conditional mean, is independent of what was seen, hence  E (p - y)^2 =
    E (p - best)^2 + E (best - y)^2:  the distance is by how much the error exceeds the least one.
    """
    said, true, best = (
        each[window.first : window.end] for each in (model.estimates(cell, network, observations), true, best)
    )
    return {"error": jnp.square(said - true).mean(), "distance": jnp.square(said - best).mean()}


def known(system: System, config: ConfigDict, best: np.ndarray, true: np.ndarray, run: Run, window: Window) -> Record:
    """Least errors: of the best estimates on the test set, of the best linear ones in closed form, of one sample's."""
    delay = config.warm_up if run.delay is None else run.delay
    measured = np.square(best - true)[window.first : window.end].mean()
    linear = optimum.error(system.linear, delay)
    alone = optimum.error_of_one(system.linear, run.delay or 0)
    exact = linear if system.gaussian else None
    return {"kind": "known", "best": measured, "exact": exact, "linear": linear, "alone": alone}


class LookedBack(NamedTuple):
    """What the estimate at the last of T steps hangs on, in each of B sequences."""

    weights: Array  # (T, B), its derivative with respect to each observation
    norms: Array  # (T,), of that with respect to the state, of all sequences together


def looked_back(cell: rnnjax.Cell, network: Network, observations: Array) -> LookedBack:
    """Both in one backward pass."""

    def last(unroll: Callable[..., tuple[rnnjax.typing.State, Array]], observations: Array) -> Array:
        return model.estimates(cell, network, observations, unroll)[-1].sum()

    _, weights, (flow,) = rnnjax.value_grad_and_flow(last)(observations)
    return LookedBack(weights, functools.reduce(jnp.hypot, jax.tree.leaves(flow.state)))


def hangs_on(back: LookedBack, lags: int) -> Iterator[Record]:
    """Means over sequences by lag, and their standard deviations; norms with time forward."""
    weights = np.asarray(back.weights, np.float64)[::-1][:lags]
    yield {"kind": "weights", "mean": weights.mean(axis=1), "deviation": weights.std(axis=1)}
    yield {"kind": "state_gradient", "norms": back.norms[-lags:]}


def optimal(system: System, config: ConfigDict, observations: np.ndarray, run: Run) -> Record:
    """The same of the best estimates; norms and rate of the linear network that makes them, if it is one."""
    assert run.delay is not None
    seen = observations[: config.warm_up + config.lags, :LOOKED_BACK]
    found: Record = {"kind": "optimal", "mean": optimal_weights(system, seen, run.delay, config.lags).mean(axis=1)}
    if system.gaussian:
        norms = optimum.state_norms(optimum.as_network(system.linear, run.delay), config.lags)[::-1]
        found |= {"norms": norms, "rate": optimum.rate(system.linear)}
    return found


def optimal_weights(system: System, observations: np.ndarray, delay: int, lags: int) -> np.ndarray:
    """(lags, B), derivatives of the last best estimate with respect to each observation, by differences."""
    change, ends = 1e-4, []
    for sign in (1, -1):
        moved = np.repeat(observations[:, None], lags, axis=1)  # (T, lags, B)
        places = np.arange(lags)
        moved[len(observations) - 1 - places, places] += sign * change
        ends.append(system.estimates(moved.reshape(len(moved), -1), delay)[-1].reshape(lags, -1))
    return (ends[0] - ends[1]) / (2 * change)


def stretch(
    config: ConfigDict,
    delay: int | None,
    positions: np.ndarray,
    observations: np.ndarray,
    said: np.ndarray,
    best: np.ndarray,
) -> Record:
    """Some steps of a test sequence: where it was, what was seen, what was estimated of it, and what is best."""
    delays, late = delays_of(config), delay or 0
    first = config.warm_up + ahead(delays)
    count = min(STRETCH, config.test_length - first - max(*delays, config.warm_up))
    at, made = slice(first, first + count), slice(first + late, first + late + count)
    given = {"position": positions[at, 0], "seen": observations[at, 0], "said": said[made, 0], "best": best[made, 0]}
    return {"kind": "stretch", "first": first, **given}


class Tracker(NamedTuple):
    """A network that this experiment has trained."""

    cell: rnnjax.Cell
    network: Network
    delay: int | None  # None: it needs the whole sequence
    config: ConfigDict


def load(folder: str | Path) -> Tracker:
    """The network of a run as it is used, from a folder such as ``runs/tracking/checkpoints/gru-delay0-seed0``.

    Raises:
        ExperimentError: if there is no checkpoint, or it cannot be read.
    """
    folder = checkpoint.whole(folder)
    about = checkpoint.about(folder)
    config, run = ConfigDict(about["config"]), about["run"]
    cell = model.make_cell(run["network"], config.hidden_size, whole=run["whole"])
    network = restored(folder, functools.partial(model.init, cell), make_optimizer(config))
    return Tracker(cell, network, run["delay"], config)
