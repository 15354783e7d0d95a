"""How soon does a recurrent network forget its inputs on the way forward, and what becomes of one that does not?

Run as ``python -m experiments.forward_memory``; config.py explains the settings.
"""

import functools
import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from ml_collections import ConfigDict

import rnnjax
from experiments.common import drawing, sweep
from experiments.common.compiling import jit
from experiments.common.errors import explained
from experiments.common.settings import names, require_least, require_positive
from experiments.common.workdir import Record, Workdir
from experiments.forward_memory import report
from experiments.networks import initializations
from rnnjax.cells.elman import ElmanParams
from rnnjax.engine.norms import norm
from rnnjax.names import lookup
from rnnjax.typing import Key, Params


class Program(NamedTuple):
    """What has to be compiled on its own: one program serves all seeds."""

    cell: str
    activation: str  # - where the cell has its own
    initialization: str


Run = sweep.SeededRun[Program]
"""One network at initialization, measured."""


class Measured(NamedTuple):
    """Along one long signal, and along the last ``lags`` steps of several."""

    sizes: Array  # (steps,), root mean squares of the outputs
    saturated: Array  # share of the units in the most saturated tanh; where there is none, gate
    forward: Array  # (lags, B), ||dh_T/dx_t||
    backward: Array  # (lags, B), ||dL/ds_t||, L the outputs of step T times random numbers


def main(config: ConfigDict, open_workdir: Callable[[], Workdir]) -> None:
    """Plans the runs, does those that are missing in the workdir, draws and prints."""
    with explained(ValueError):
        runs = plan(config)
    workdir = open_workdir()
    programs = sweep.by_program(runs, lambda program: program.cell != "elman")  # gated ones take longest
    work = functools.partial(execute, config=config)
    records = sweep.execute(programs, work, workdir, steps=1, threads=config.threads)
    if records is None:
        return
    found = f"{report.table(records)}\n\n{report.verdict(records)}"
    drawing.finish(workdir, report.FIGURES, records, report.summary(records), found)


def plan(config: ConfigDict) -> list[Run]:
    """Elman networks of every activation and spectral radius, gated ones of every forget bias, others as they are.

    Raises:
        ValueError: for a field that cannot be.
    """
    require_least(config, 1, "seeds", "hidden_size", "examples", "warm_up")
    require_least(config, 3, "lags")
    require_least(config, 0, "threads")
    require_positive(config, "amplitude")
    if config.steps < 2 * config.lags:
        raise ValueError(f"--config.steps is {config.steps}: expected at least twice the lags, {2 * config.lags}")
    for activation in names(config, "activations"):
        lookup("activation", activation, rnnjax.ACTIVATIONS)
    by_gate = [f"forget_bias:{bias}" for bias in names(config, "forget_biases")]
    by_radius = [f"orthogonal:{radius}" for radius in names(config, "radii")]
    programs = []
    for cell in names(config, "cells"):
        takes_activation = "activation" in inspect.signature(rnnjax.cell_named(cell)).parameters
        activations = names(config, "activations") if takes_activation else ["-"]
        taken = [k for k in (*by_gate, *by_radius) if initializations.is_taken(k, cell, config.hidden_size)]
        chosen = [kind for kind in taken if kind in by_gate] or taken or ["default"]
        programs += [Program(cell, activation, kind) for activation in activations for kind in chosen]
    return [Run(program, seed) for program in programs for seed in range(config.seeds)]


def make_cell(program: Program, hidden_size: int) -> rnnjax.Cell:
    """The cell of a program."""
    constructor = rnnjax.cell_named(program.cell)
    options = initializations.options(program.initialization, inspect.signature(constructor).parameters) or {}
    if program.activation != "-":
        options["activation"] = program.activation
    return constructor(hidden_size, **options)


def execute(runs: Sequence[Run], log_of: sweep.Logs[Run], *, config: ConfigDict) -> None:
    """Runs of one program, each network with one input that is uniform noise."""
    program, lags = runs[0].program, config.lags
    cell = make_cell(program, config.hidden_size)

    @jit
    def measure(params: Params, key: Key) -> Measured:
        signal_key, readout_key = jax.random.split(key)
        shape = (config.warm_up + config.steps, config.examples, 1)
        inputs = jax.random.uniform(signal_key, shape, minval=-config.amplitude, maxval=config.amplitude)
        _, outputs = rnnjax.unroll(cell, params, inputs[:, 0])
        readout = jax.random.normal(readout_key, outputs.shape[1:])
        state, _ = rnnjax.unroll(cell, params, inputs[: config.warm_up])
        window = inputs[config.warm_up : config.warm_up + lags]
        shares = rnnjax.saturation(cell, params, window, state)
        gates = shares.closed + shares.open
        flow = rnnjax.gradient_flow(cell, params, window, lambda outputs: jnp.sum(outputs[-1] @ readout), state)
        return Measured(
            sizes=norm(outputs, (1,)) / math.sqrt(outputs.shape[1]),
            saturated=jnp.max((shares.tanh if len(shares.tanh) else gates).mean(axis=1), initial=0),
            forward=rnnjax.forward_memory(cell, params, window, state, chunk=16),  # bounds its memory
            backward=functools.reduce(jnp.hypot, jax.tree.leaves(flow.examples)),
        )

    for run in runs:
        with log_of(run) as log:
            init_key, key, capacity_key = jax.random.split(jax.random.key(run.seed), 3)
            params = cell.init(init_key, 1)
            measured = jax.device_get(measure(params, key))
            log.write(_records(measured))
            if np.isfinite(measured.sizes).all():
                options = {"steps": config.steps, "warm_up": config.warm_up, "amplitude": config.amplitude}
                capacity = rnnjax.memory_capacity(cell, params, capacity_key, lags, **options)
                log.write([{"kind": "recall", "of": "measured", **capacity._asdict()}])
            if (program.cell, program.activation) == ("elman", "identity"):
                log.write(exact_memory(params, lags))
            log.progress(1)


def _records(measured: Measured) -> Iterator[Record]:
    steps = np.unique(np.geomspace(1, len(measured.sizes), 60).astype(int))
    yield {"kind": "size", "steps": steps, "sizes": measured.sizes[steps - 1], "saturated": measured.saturated}
    for of, norms in (("forward", measured.forward), ("backward", measured.backward)):
        typical = np.exp(rnnjax.example_norms(norms).mean_of_log)
        yield {"kind": "derivative", "of": of, "norms": np.where(np.isnan(typical), 0, typical)}


def exact_memory(params: ElmanParams, lags: int) -> Iterator[Record]:
    """What is known of a linear network h_t = x_t W + h_{t-1} U with one input, independent from step to step.

        ||dh_T/dx_{T-k}|| = ||W U^k||        R_k^2 = m_k C^{-1} m_k^T,  m_k = W U^k,  C = sum over k of m_k^T m_k

    C is the states' covariance (of inputs of variance 1), where they have one: where no eigenvalue of U reaches 1.
    """
    impulse, power = (np.asarray(leaf, np.float64) for leaf in (params.kernel, params.recurrent_kernel))
    responses = np.concatenate([impulse @ np.linalg.matrix_power(power, lag) for lag in range(lags)])
    yield {"kind": "derivative", "of": "exact", "norms": np.linalg.norm(responses, axis=-1)[::-1]}
    if np.abs(np.linalg.eigvals(power)).max() < 1 - 1e-6:
        covariance = impulse.T @ impulse
        while np.abs(power).max() > 1e-20:  # each time the sum is twice as long
            covariance, power = covariance + power.T @ covariance @ power, power @ power
        r_squared = np.einsum("ki,ij,kj->k", responses, np.linalg.pinv(covariance, 1e-12, hermitian=True), responses)
        yield {"kind": "recall", "of": "exact", "r_squared": r_squared, "capacity": r_squared.sum()}
