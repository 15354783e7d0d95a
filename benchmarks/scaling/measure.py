"""Calls of all sizes take turns in one process; compiling is timed by itself."""

import resource
import time
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

import rnnjax
from benchmarks.common.device import Device
from benchmarks.common.measure import Call, Ratio, ratio, sample
from benchmarks.common.workload import gradient_of, params_and_inputs


class Axis(NamedTuple):
    flag: str
    name: str
    target: int  # the greatest exponent that is aimed at


AXES = {"T": Axis("steps", "time steps", 1), "B": Axis("batch", "batch", 1), "H": Axis("hidden", "hidden width", 2)}
EMPTY = 2  # B and H of steps with next to nothing to compute; for 1, XLA makes the whole step one operation


class Size(NamedTuple):
    T: int
    B: int
    H: int

    def __str__(self) -> str:
        return ", ".join(f"{name} = {number}" for name, number in self._asdict().items())


class Fit(NamedTuple):
    """The law seconds = factor * value^exponent, fitted from the value ``start`` on."""

    start: int
    exponent: float
    factor: float


class Growth(NamedTuple):
    """Seconds of all calls at each value of one of T, B and H; power laws fitted to the least of them.

    ``fresh_bytes`` is the memory that the system gave anew to one call; it is known on a CPU only.
    """

    axis: str
    values: list[int]
    samples: list[list[float]]
    seconds: list[float]
    fresh_bytes: list[int] | None
    upper: Fit
    whole: Fit


class Compiling(NamedTuple):
    """Processor seconds to trace, lower and compile for each T, in every round; ``growth`` from least to last T."""

    steps: list[int]
    rounds: list[list[float]]
    growth: Ratio


def measure(
    cell: str, base: Size, ranges: dict[str, list[int]], device: Device, repeats: int, rounds: int
) -> tuple[list[Growth], Compiling, float]:
    """How time grows along every axis, how compiling does along T, and seconds of a step with B = H = 2."""
    compiling = compile_times(cell, [base._replace(T=steps) for steps in ranges["T"]], rounds)
    growths = [
        grow(cell, axis, values, base, device, repeats)
        for axis, values in tqdm(ranges.items(), unit="axis", disable=None)
    ]
    empty = min(sample({"": build(cell, base._replace(B=EMPTY, H=EMPTY))}, repeats)[""]) / base.T
    return growths, compiling, empty


def build(cell_name: str, size: Size) -> Call:
    cell = rnnjax.cell_named(cell_name)(size.H)
    gradient, (params, inputs) = gradient_of(cell), params_and_inputs(cell, *size)
    return lambda: jax.block_until_ready(gradient(params, inputs))


def compile_times(cell: str, sizes: Sequence[Size], rounds: int) -> Compiling:
    """Times all sizes in turns, so that noise meets them alike, after a first round that wakes the compiler."""
    taken = [[compile_seconds(cell, size) for size in sizes] for _ in range(rounds + 1)][1:]
    first, last = ([[seconds[place]] for seconds in taken] for place in (0, -1))
    return Compiling([size.T for size in sizes], taken, ratio(last, first))


def compile_seconds(cell_name: str, size: Size) -> float:
    cell = rnnjax.cell_named(cell_name)(size.H)
    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), size.H))
    inputs = jax.ShapeDtypeStruct(size, jnp.float32)
    jax.clear_caches()
    start = time.process_time()
    gradient_of(cell).lower(params, inputs).compile()
    return time.process_time() - start


def grow(cell: str, axis: str, values: list[int], base: Size, device: Device, repeats: int) -> Growth:
    """Time against one of T, B and H."""
    calls = {str(value): build(cell, base._replace(**{axis: value})) for value in values}
    samples = list(sample(calls, repeats).values())
    seconds = [min(each) for each in samples]
    fresh = [fresh_bytes(call) for call in calls.values()] if device.on_cpu else None
    half = min(len(values) // 2, len(values) - 2)
    return Growth(axis, values, samples, seconds, fresh, fit(values[half:], seconds[half:]), fit(values, seconds))


def fresh_bytes(call: Call) -> int:
    """How much memory the system gives anew to a second call, by its page faults."""
    call()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    call()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) * resource.getpagesize()


def fit(values: Sequence[int], seconds: Sequence[float]) -> Fit:
    """The power law whose logarithm fits those of the seconds best."""
    exponent, factor = np.polyfit(np.log(values), np.log(seconds), 1).tolist()
    return Fit(values[0], exponent, float(np.exp(factor)))
