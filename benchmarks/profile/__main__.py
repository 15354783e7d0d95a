"""Where does the time of a gradient go: into the loops forward and back, their products, or what is outside of them?

    python -m benchmarks.profile
    python -m benchmarks.profile --quick
    python -m benchmarks.profile --cells=gru --shapes=100x32x128x128

JAX's profiler tells when each operation of the compiled program began and ended; the program's text tells which of
them are matrix products, and in which loop they stand. Times are on one device, medians over calls. The profiler makes
small operations take longer: how much, the table says, and where it is much, shares of the loops are too large.
"""

import gzip
import json
import re
import resource
import statistics
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib as mpl
import matplotlib.pyplot as plt
from absl import app, flags
from matplotlib.figure import Figure
from tabulate import tabulate

import rnnjax
from benchmarks.common import command
from benchmarks.common.measure import describe_machine, elapsed

PARTS = {
    "forward, products": "0.15",
    "forward, the rest": "0.45",
    "back, products": "0.6",
    "back, the rest": "0.78",
    "outside the loops": "0.95",
}
"""What a gradient's time is divided into, with shades of grey."""
QUICK = {"shapes": ["5x2x3x4"], "cells": ["lstm"], "calls": 2}

flags.DEFINE_list("cells", ["elman", "lstm", "gru", "gru_reset_after"], "Cells by rnnjax's names.")
flags.DEFINE_list("shapes", ["100x32x128x128", "200x16x64x64", "50x50x512x512", "1000x8x32x64"], "TxBxIxH.")
flags.DEFINE_integer("calls", 7, "Calls to measure.", lower_bound=1)
command.define_flags("profile", QUICK)
FLAGS = flags.FLAGS

Record = dict[str, Any]
"""A cell and shape: ``seconds`` of a call and, under the profiler, ``profiled`` seconds and ``parts`` of these."""


class Loop(NamedTuple):
    """A loop over time in a compiled program: the names of its operations, and which of them are products."""

    operations: set[str]
    products: set[str]


Event = tuple[str, float, float]
"""What the profiler tells of an operation: name, start, duration, in seconds."""


def main(argv: list[str]) -> None:
    command.apply_quick("profile", QUICK)
    with command.refusals("profile"):
        shapes = [_shape(text) for text in FLAGS.shapes]
        for cell in FLAGS.cells:
            rnnjax.cell_named(cell)
        output = command.output_folder(argv)

    machine = describe_machine(["rnnjax", "jax", "jaxlib", "numpy"])
    report(output, machine, [measure(cell, shape) for cell in FLAGS.cells for shape in shapes])


def _shape(text: str) -> list[int]:
    sizes = text.split("x")
    if len(sizes) != 4 or not all(size.isdecimal() and int(size) > 0 for size in sizes):
        raise ValueError(f"--shapes has {text!r}: expected TxBxIxH in whole numbers, as in 100x32x128x128")
    if int(sizes[0]) < 2:
        raise ValueError(f"--shapes has {text!r}: expected at least two steps, for one is no loop")
    return [int(size) for size in sizes]


# Measuring


def measure(cell: str, shape: list[int]) -> Record:
    """A gradient of the sum of squares, called without and with the profiler."""
    steps, batch, input_size, hidden_size = shape
    network = rnnjax.cell_named(cell)(hidden_size)
    params = network.init(jax.random.key(0), input_size)
    inputs = jax.random.normal(jax.random.key(1), (steps, batch, input_size))
    gradient = jax.jit(jax.grad(lambda p, x: jnp.sum(rnnjax.unroll(network, p, x)[1] ** 2)))
    compiled = gradient.lower(params, inputs).compile()

    def call() -> None:
        jax.block_until_ready(compiled(params, inputs))

    for _ in range(3):
        call()
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    seconds = [elapsed(call) for _ in range(FLAGS.calls)]
    pages = (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults) / FLAGS.calls
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            profiled = [elapsed(call) for _ in range(FLAGS.calls)]
        events = read_events(Path(folder))
    loops = find_loops(compiled.as_text() or "")
    parts = divide([spans(events, loop) for loop in loops], statistics.median(profiled))
    return {
        "cell": cell,
        "shape": shape,
        "seconds": seconds,
        "profiled": profiled,
        "parts": parts,
        "fresh_megabytes": pages * resource.getpagesize() / 1e6,
    }


def read_events(folder: Path) -> list[Event]:
    """The profiler's events in the order of time."""
    (file,) = folder.rglob("*.trace.json.gz")
    events = json.loads(gzip.decompress(file.read_bytes()))["traceEvents"]
    timed = [(e["name"], e["ts"] / 1e6, e["dur"] / 1e6) for e in events if e.get("ph") == "X"]
    return sorted(timed, key=lambda event: event[1])


def find_loops(text: str) -> list[Loop]:
    """The loops of a program, forward and back, from its text: computations, each with a line for each operation."""
    bodies = {
        match[1]: match[2] for match in re.finditer(r"^(?:ENTRY )?%([\w.\-]+) \(.*?{\n(.*?)^}", text, re.M | re.S)
    }
    multiply = {name for name, body in bodies.items() if " dot(" in body}

    def loop(body: str) -> Loop:
        lines = re.findall(r"%([\w.\-]+) = (.*)", bodies[body])
        called = {name: set(re.findall(r"(?:calls|to_apply)=%([\w.\-]+)", line)) for name, line in lines}
        products = {name for name, line in lines if " dot(" in line or called[name] & multiply}
        return Loop({name for name, line in lines if " fusion(" in line} | products, products)

    return [loop(body) for body in re.findall(r" while\(.*body=%([\w.\-]+)", text)]


def spans(events: list[Event], loop: Loop) -> tuple[float, float]:
    """Median seconds of a call from the beginning of the loop to its end, and in its products."""
    ours = [event for event in events if event[0] in loop.operations]
    size = len(ours) // FLAGS.calls
    calls = [ours[place * size : (place + 1) * size] for place in range(FLAGS.calls)]
    whole = [max(start + lasted for _, start, lasted in call) - call[0][1] for call in calls]
    products = [sum(lasted for name, _, lasted in call if name in loop.products) for call in calls]
    return statistics.median(whole), statistics.median(products)


def divide(loops: list[tuple[float, float]], total: float) -> dict[str, float]:
    """Seconds of each of ``PARTS``."""
    parts: dict[str, float] = {}
    for direction, (whole, products) in zip(("forward", "back"), loops, strict=True):
        parts |= {f"{direction}, products": products, f"{direction}, the rest": whole - products}
    return parts | {"outside the loops": total - sum(parts.values())}


# Reporting


def report(output: Path, machine: dict[str, Any], records: list[Record]) -> None:
    """Prints the table; writes it, results.json and the figure."""
    finding = find(records)
    settings = {name: FLAGS[name].value for name in ("cells", "shapes", "calls")}
    results = {"finding": finding, "machine": machine, "settings": settings, "records": records}
    heads = ["cell", "TxBxIxH", "a call", "profiled", *PARTS, "fresh MB"]
    rows = [
        [
            record["cell"],
            "x".join(map(str, record["shape"])),
            f"{1e3 * statistics.median(record['seconds']):.2f} ms",
            f"{statistics.median(record['profiled']) / statistics.median(record['seconds']):.2f}",
            *(f"{share(record, part):.0%}" for part in PARTS),
            f"{record['fresh_megabytes']:.1f}",
        ]
        for record in records
    ]
    table = tabulate(rows, heads, colalign=("left", "left", *["right"] * (len(heads) - 2)), disable_numparse=True)
    notes = (
        "profiled: times as long under the profiler, of which the parts are shares.\n"
        "fresh MB: memory that a call got from the system anew, and touched for the first time."
    )
    command.save(output, "profile", results, f"{table}\n\n{notes}\n\n{finding}\n", draw(records, finding))


def share(record: Record, part: str) -> float:
    return float(record["parts"][part] / statistics.median(record["profiled"]))


def find(records: list[Record]) -> str:
    """What takes the most, on the whole."""
    means = {part: statistics.mean(share(record, part) for record in records) for part in PARTS}
    in_loops = sum(mean for part, mean in means.items() if "," in part)
    products = sum(mean for part, mean in means.items() if part.endswith("products"))
    return (
        f"The loops take {in_loops:.0%} of a gradient's time in the mean, {products:.0%} in their products;\n"
        f"{means['outside the loops']:.0%} is outside: all steps at once, and the program's memory."
    )


def draw(records: list[Record], finding: str) -> Figure:
    """One bar a case, divided into its parts."""
    mpl.use("Agg")
    figure, axis = plt.subplots(figsize=(8, 1.8 + 0.3 * len(records)), layout="constrained")
    names = [f"{record['cell']}  {'x'.join(map(str, record['shape']))}" for record in records]
    left = [0.0] * len(records)
    for part, shade in PARTS.items():
        shares = [100 * share(record, part) for record in records]
        axis.barh(names, shares, left=left, color=shade, edgecolor="black", linewidth=0.5, label=part)
        left = [a + b for a, b in zip(left, shares, strict=True)]
    axis.invert_yaxis()
    axis.set_xlabel("per cent of a gradient's time, under the profiler")
    axis.set_xlim(0, 100)
    figure.legend(*axis.get_legend_handles_labels(), ncols=3, frameon=False, loc="outside lower center", fontsize=8)
    axis.set_title(finding, fontsize=9)
    return figure


if __name__ == "__main__":
    app.run(main)
