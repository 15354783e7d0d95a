"""Calls of all lengths take turns in one process, and a line is fitted to their times."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from tqdm import tqdm

import rnnjax
from benchmarks.common.measure import Call, sample
from benchmarks.common.workload import FORWARD, GRADIENT, sum_of_squares

BATCH = 1
PROGRAMS = {"forward": FORWARD, "gradient": GRADIENT}
"""Programs by their names as values of a flag."""

RNNJAX, SCAN = "rnnjax", "scan"
WAYS = {RNNJAX: "rnnjax.unroll", SCAN: "plain scan"}
"""Whose loops are timed: those of ``rnnjax.unroll``, or ``jax.lax.scan`` with the derivative that JAX makes of it."""

FITS = 0.1
"""A line fits if no time is further from it than this part of the time."""

Record = dict[str, Any]
"""A case, the seconds of its calls at each length, and the line that was fitted to the least of them."""


class Case(NamedTuple):
    cell: str
    program: str
    way: str
    hidden: int
    unrolled: int  # steps that one turn of the loop takes


class Line(NamedTuple):
    """The line seconds = call + step T, and how far a time is from it at most, as a part of that time."""

    call: float
    step: float
    deviation: float

    @property
    def fits(self) -> bool:
        return self.step > 0 and self.deviation <= FITS


def measure(cases: Sequence[Case], lengths: Sequence[int], repeats: int) -> list[Record]:
    """One record for each case."""
    records = []
    for case in tqdm(cases, desc="cells, widths and steps a turn", unit="case", disable=None):
        jax.clear_caches()  # what was traced for another case has other turns
        calls = {str(steps): build(case, steps) for steps in lengths}
        samples = list(sample(calls, repeats).values())
        seconds = [min(each) for each in samples]
        line = fit(lengths, seconds)
        records.append(
            case._asdict()
            | {"steps": list(lengths), "samples": samples, "seconds": seconds}
            | {"line": line._asdict() | {"fits": line.fits}}
        )
    return records


def build(case: Case, steps: int) -> Call:
    """The call of the compiled program, which waits for its result."""
    cell = rnnjax.cell_named(case.cell)(case.hidden)
    draws = np.random.default_rng(0).standard_normal((steps, BATCH, case.hidden), np.float32)
    params, inputs = cell.init(jax.random.key(0), case.hidden), jnp.asarray(draws)
    compiled = traced(cell, case, params, inputs).lower().compile()
    return lambda: jax.block_until_ready(compiled(params, inputs))


def traced(cell: rnnjax.Cell, case: Case, params: Any, inputs: Array) -> Any:
    """The program before it is compiled, with its loops unrolled as ``unroll=`` of ``jax.lax.scan`` does it."""
    outputs = functools.partial(by_scan if case.way == SCAN else by_rnnjax, cell)
    gradient = jax.grad(lambda params, inputs: sum_of_squares(outputs(params, inputs)))
    unrolling = functools.partial(jax.lax.scan, unroll=case.unrolled)
    with mock.patch.object(jax.lax, "scan", unrolling):  # rnnjax has no setting for it
        return jax.jit(outputs if case.program == FORWARD else gradient).trace(params, inputs)


def by_rnnjax(cell: rnnjax.Cell, params: Any, inputs: Array) -> Array:
    return rnnjax.unroll(cell, params, inputs)[1]


def by_scan(cell: rnnjax.Cell, params: Any, inputs: Array) -> Array:
    """What is computed for all steps at once comes before the loop here, too."""

    def step(state: Any, drive: Any) -> tuple[Any, Array]:
        state = cell.advance(params, state, drive)
        return state, cell.output(params, state)

    state = cell.initial_state(params, inputs.shape[1:-1])
    outputs: Array = jax.lax.scan(step, state, cell.project(params, inputs))[1]
    return outputs


def fit(lengths: Sequence[int], seconds: Sequence[float]) -> Line:
    """The line whose errors, each as a part of its time, have the least squares."""
    times = np.array(seconds)
    step, call = np.polyfit(lengths, times, 1, w=1 / times).tolist()
    return Line(call, step, float(np.abs((call + step * np.array(lengths)) / times - 1).max()))
