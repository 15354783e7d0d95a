"""The scan and what computes all steps at once take turns in one process."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from tqdm import tqdm

import rnnjax
from benchmarks.common.device import Device
from benchmarks.common.measure import Call, elapsed, pooled_median, ratio, sample
from benchmarks.common.workload import FORWARD, GRADIENT, params_and_inputs, sum_of_squares
from rnnjax import Cell

SCAN, AFFINE, FULL, DIAGONAL = "scan", "affine", "full", "diagonal"
MATRICES = 2**25  # numbers in the Jacobians of one layer, T B H^2, beyond which "full" is left out: 128 MiB a copy
MATRICES_OF_ACCELERATOR = 2**29  # the same for a GPU or TPU: 2 GiB a copy
SECONDS = 0.02  # about how long the repeated calls of one program take in a round; one is always made
MOST = 20
LONG = 2.0  # seconds: a program that takes longer has two turns only
PROGRAMS = (FORWARD, GRADIENT)

Record = dict[str, Any]
"""One cell, method, size and length: either ``skipped``, a reason, or ``rounds`` and ``ratio`` by program."""


class Size(NamedTuple):
    batch: int
    hidden: int

    def __str__(self) -> str:
        return f"{self.batch}x{self.hidden}"


def measure(names: list[str], sizes: list[Size], lengths: list[int], device: Device, rounds: int) -> list[Record]:
    """One record for each way of running each cell in parallel, at every size and length."""
    most = MATRICES if device.on_cpu else MATRICES_OF_ACCELERATOR
    cases = [(name, size, length) for name in names for size in sizes for length in lengths]
    records: list[Record] = []
    for name, size, length in tqdm(cases, desc="cells, sizes and lengths", unit="case", disable=None):
        label: Record = {"cell": name, "size": size, "steps": length}
        cell = rnnjax.cell_named(name)(size.hidden)
        records += [label | record for record in measure_case(cell, size, length, most, rounds)]
    return records


def measure_case(cell: Cell, size: Size, steps: int, most: int, rounds: int) -> list[Record]:
    """One record for each way of running this cell in parallel; "full" only up to ``most`` numbers in its Jacobians."""
    scans = {program: build(cell, program, size, steps, SCAN) for program in PROGRAMS}
    records: list[Record] = []
    for method in [AFFINE] if cell.affine else [FULL, DIAGONAL]:
        numbers = steps * size.batch * size.hidden**2
        if method == FULL and numbers > most:
            reason = f"its Jacobians have {numbers:.1e} numbers, more than {most:.1e}"
            records.append({"method": method, "skipped": reason})
            continue
        calls = {program: build(cell, program, size, steps, method) for program in PROGRAMS}
        record: Record = {"method": method, "rounds": {}, "ratio": {}, "median_seconds": {}}
        for program in PROGRAMS:
            taken = take_turns({SCAN: scans[program], method: calls[program]}, rounds)
            record["rounds"][program] = taken
            record["median_seconds"][program] = {name: pooled_median(samples) for name, samples in taken.items()}
            record["ratio"][program] = ratio(taken[method], taken[SCAN])
        records.append(record | agreement(scans[FORWARD](), calls[FORWARD]()))
    return records


def take_turns(calls: dict[str, Call], most_rounds: int) -> dict[str, list[list[float]]]:
    """Seconds of each call in each round; the first calls compile."""
    for call in calls.values():
        call()
    slowest = max(elapsed(call) for call in calls.values())
    repeats = min(MOST, max(1, round(SECONDS / slowest)))
    rounds: dict[str, list[list[float]]] = {name: [] for name in calls}
    for _ in range(most_rounds if slowest < LONG else min(2, most_rounds)):
        for name, seconds in sample(calls, repeats).items():
            rounds[name].append(seconds)
    return rounds


def build(cell: Cell, program: str, size: Size, steps: int, method: str) -> Call:
    """The call of one jitted program, which waits for its result; gradients are those of all params.

    The result of the forward pass is the outputs and, from Newton's method, the report.
    """
    params, inputs = params_and_inputs(cell, steps, size.batch, size.hidden)

    def forward(params: Any, inputs: jax.Array) -> tuple[Any, ...]:
        if method == SCAN:
            return rnnjax.unroll(cell, params, inputs)[1:]
        if method == AFFINE:
            return rnnjax.unroll(cell, params, inputs, method="parallel")[1:]
        return rnnjax.newton_unroll(cell, params, inputs, jacobian="full" if method == FULL else "diagonal")[1:]

    def loss(params: Any, inputs: jax.Array) -> Any:
        return sum_of_squares(forward(params, inputs)[0])

    jitted = jax.jit(forward if program == FORWARD else jax.grad(loss))
    return lambda: jax.block_until_ready(jitted(params, inputs))


def agreement(scan: tuple[Any, ...], parallel: tuple[Any, ...]) -> Record:
    """How far the outputs are from those of the scan, and what the report of Newton's method says."""
    found: Record = {"largest_difference": float(jnp.max(jnp.abs(parallel[0] - scan[0])))}
    for report in parallel[1:]:
        found |= {"converged": bool(report.converged), "iterations": int(report.iterations)}
    return found
