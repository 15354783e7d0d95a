"""Calls a gradient without and with JAX's profiler, and finds the profiler's events in the program's text."""

import gzip
import json
import re
import resource
import statistics
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import jax

import rnnjax
from benchmarks.common.device import Device, UnavailableError
from benchmarks.common.measure import elapsed
from benchmarks.common.workload import gradient_of, params_and_inputs

PARTS = ("forward, products", "forward, the rest", "back, products", "back, the rest", "outside the loops")
"""The parts into which the time of a gradient is divided."""

PRODUCT = re.compile(r' dot\(|custom_call_target="__cublas')
"""A matrix product in a program's text; on a GPU it may be a call of a library."""

Record = dict[str, Any]
"""A cell and shape: ``seconds`` of a call and, under the profiler, ``profiled`` seconds and ``parts`` of these.

``skipped`` says why there are no parts; ``fresh_megabytes`` is what a call got anew from the system, on a CPU.
"""


class Loop(NamedTuple):
    """A loop over time in a compiled program: the names of its operations, and which of them are products."""

    operations: set[str]
    products: set[str]


Event = tuple[str, float, float]
"""An operation in the profiler's trace: its name, and its start and duration in seconds."""


def measure(cell: str, shape: list[int], device: Device, calls: int) -> Record:
    """The record of a gradient of the sum of squares, called without and with the profiler."""
    steps, batch, input_size, hidden_size = shape
    network = rnnjax.cell_named(cell)(hidden_size)
    params, inputs = params_and_inputs(network, steps, batch, input_size)
    compiled = gradient_of(network).lower(params, inputs).compile()

    def call() -> None:
        jax.block_until_ready(compiled(params, inputs))

    for _ in range(3):
        call()
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    seconds = [elapsed(call) for _ in range(calls)]
    pages = (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults) / calls
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            profiled = [elapsed(call) for _ in range(calls)]
        events = read_events(Path(folder))
    record: Record = {"cell": cell, "shape": shape, "seconds": seconds, "profiled": profiled}
    if device.on_cpu:
        record["fresh_megabytes"] = pages * resource.getpagesize() / 1e6
    try:
        loops = [spans(events, loop, calls) for loop in find_loops(compiled.as_text() or "")]
        return record | {"parts": divide(loops, statistics.median(profiled))}
    except UnavailableError as error:
        return record | {"skipped": str(error)}


def read_events(folder: Path) -> list[Event]:
    """The profiler's events in order of time, each once, by the names of operations where it knows them."""
    (file,) = folder.rglob("*.trace.json.gz")
    events = json.loads(gzip.decompress(file.read_bytes()))["traceEvents"]
    timed = [event for event in events if event.get("ph") == "X"]
    found = {(e.get("args", {}).get("hlo_op", e["name"]), e["ts"] / 1e6): e["dur"] / 1e6 for e in timed}
    return sorted(((name, start, lasted) for (name, start), lasted in found.items()), key=lambda event: event[1])


def find_loops(text: str) -> list[Loop]:
    """The loops of a program, forward and back, from its text: computations, each with a line for each operation."""
    bodies = {
        match[1]: match[2] for match in re.finditer(r"^(?:ENTRY )?%([\w.\-]+) \(.*?{\n(.*?)^}", text, re.M | re.S)
    }
    multiply = {name for name, body in bodies.items() if PRODUCT.search(body)}

    def loop(body: str) -> Loop:
        lines = re.findall(r"%([\w.\-]+) = (.*)", bodies[body])
        called = {name: set(re.findall(r"(?:calls|to_apply)=%([\w.\-]+)", line)) for name, line in lines}
        products = {name for name, line in lines if PRODUCT.search(line) or called[name] & multiply}
        return Loop({name for name, line in lines if " fusion(" in line} | products, products)

    return [loop(body) for body in re.findall(r" while\(.*body=%([\w.\-]+)", text)]


def spans(events: list[Event], loop: Loop, count: int) -> tuple[float, float]:
    """Median seconds, of so many calls, from the beginning of the loop to its end, and in its products."""
    ours = [event for event in events if event[0] in loop.operations]
    size = len(ours) // count
    if not size:
        raise UnavailableError("the profiler names no operation of a loop")
    calls = [ours[place * size : (place + 1) * size] for place in range(count)]
    whole = [max(start + lasted for _, start, lasted in call) - call[0][1] for call in calls]
    products = [sum(lasted for name, _, lasted in call if name in loop.products) for call in calls]
    return statistics.median(whole), statistics.median(products)


def divide(loops: list[tuple[float, float]], total: float) -> dict[str, float]:
    """Seconds of each of ``PARTS``."""
    if len(loops) != 2:
        raise UnavailableError(f"the program has {len(loops)} loops, not one forward and one back")
    parts: dict[str, float] = {}
    for direction, (whole, products) in zip(("forward", "back"), loops, strict=True):
        parts |= {f"{direction}, products": products, f"{direction}, the rest": whole - products}
    return parts | {"outside the loops": total - sum(parts.values())}
