"""From what length on is computing all steps of a sequence at once faster than one after the other?

    python -m benchmarks.parallel
    python -m benchmarks.parallel --quick
    python -m benchmarks.parallel --cells=gru --steps=64,1024 --sizes=1x16 --output=runs/benchmarks/parallel_gru

Cells with an affine recurrence run by ``unroll(method="parallel")``, the others by ``newton_unroll`` with the full
Jacobian and with its diagonal, all against ``unroll``. Calls take turns in one process. See README.md in this folder.
"""

import os
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib as mpl
import matplotlib.pyplot as plt
from absl import app, flags
from matplotlib.figure import Figure
from tabulate import tabulate
from tqdm import tqdm

import rnnjax
from benchmarks.common import command
from benchmarks.common.measure import UNSTEADY, Call, Ratio, describe_machine, elapsed, pooled_median, ratio, sample
from benchmarks.unroll.peers import FORWARD, GRADIENT
from rnnjax import Cell

SCAN, AFFINE, FULL, DIAGONAL = "scan", "affine", "full", "diagonal"
MATRICES = 2**25  # numbers in the Jacobians of one layer, T B H^2, beyond which "full" is left out: 128 MiB a copy
SECONDS = 0.02  # how long the repeated calls of one program take in a round, at least one call
MOST = 20
LONG = 2.0  # seconds: a program that takes longer has two turns only
PROGRAMS = (FORWARD, GRADIENT)
QUICK = {
    "steps": ["8", "32"],
    "sizes": ["1x4"],
    "cells": ["min_gru", "elman"],
    "rounds": 2,
}

flags.DEFINE_list("cells", ["min_gru", "sru", "lru", "elman", "gru"], "Cells by rnnjax's names.")
flags.DEFINE_list("steps", ["64", "512", "4096", "16384"], "Lengths T.")
flags.DEFINE_list("sizes", ["1x8", "8x64"], "BxH: batch, and input and hidden width.")
flags.DEFINE_integer("rounds", 5, "Turns that each program takes.", lower_bound=1)
command.define_flags("parallel", QUICK)
FLAGS = flags.FLAGS

Record = dict[str, Any]
"""One cell, method, size and length: either ``skipped``, a reason, or ``rounds`` and ``ratio`` by program."""


class Size(NamedTuple):
    batch: int
    hidden: int

    def __str__(self) -> str:
        return f"{self.batch}x{self.hidden}"


def main(argv: list[str]) -> None:
    command.apply_quick("parallel", QUICK)
    with command.refusals("parallel"):
        cells = {name: rnnjax.cell_named(name) for name in FLAGS.cells}
        steps = sorted(whole_numbers("steps", text, 1)[0] for text in FLAGS.steps)
        sizes = [Size(*whole_numbers("sizes", text, 2)) for text in FLAGS.sizes]
        output = command.output_folder(argv)

    machine = describe_machine(["rnnjax", "jax", "jaxlib", "numpy"])
    machine["device"] = jax.devices()[0].device_kind
    cases = [(name, size, length) for name in cells for size in sizes for length in steps]
    records: list[Record] = []
    for name, size, length in tqdm(cases, desc="cells, sizes and lengths", unit="case", disable=None):
        label: Record = {"cell": name, "size": size, "steps": length}
        records += [label | record for record in measure(cells[name](size.hidden), size, length)]
    machine["load_average_after"] = os.getloadavg()
    report(output, machine, records)


def whole_numbers(flag: str, text: str, count: int) -> list[int]:
    """``8x64`` as whole numbers above 0."""
    numbers = [int(part) if part.isdecimal() else 0 for part in text.split("x")]
    if len(numbers) != count or min(numbers) < 1:
        example = "64,1024" if count == 1 else "1x8,8x64"
        raise ValueError(f"--{flag} received {text!r}: expected whole numbers above 0, as in --{flag}={example}")
    return numbers


# Measuring


def measure(cell: Cell, size: Size, steps: int) -> list[Record]:
    """One record for each way of running this cell in parallel."""
    scans = {program: build(cell, program, size, steps, SCAN) for program in PROGRAMS}
    records: list[Record] = []
    for method in [AFFINE] if cell.affine else [FULL, DIAGONAL]:
        numbers = steps * size.batch * size.hidden**2
        if method == FULL and numbers > MATRICES:
            reason = f"its Jacobians have {numbers:.1e} numbers, more than {MATRICES:.1e}"
            records.append({"method": method, "skipped": reason})
            continue
        calls = {program: build(cell, program, size, steps, method) for program in PROGRAMS}
        record: Record = {"method": method, "rounds": {}, "ratio": {}, "median_seconds": {}}
        for program in PROGRAMS:
            rounds = take_turns({SCAN: scans[program], method: calls[program]})
            record["rounds"][program] = rounds
            record["median_seconds"][program] = {name: pooled_median(samples) for name, samples in rounds.items()}
            record["ratio"][program] = ratio(rounds[method], rounds[SCAN])
        records.append(record | agreement(scans[FORWARD](), calls[FORWARD]()))
    return records


def take_turns(calls: dict[str, Call]) -> dict[str, list[list[float]]]:
    """Seconds of each call in each round; the first calls compile."""
    for call in calls.values():
        call()
    slowest = max(elapsed(call) for call in calls.values())
    repeats = min(MOST, max(1, round(SECONDS / slowest)))
    rounds: dict[str, list[list[float]]] = {name: [] for name in calls}
    for _ in range(FLAGS.rounds if slowest < LONG else min(2, FLAGS.rounds)):
        for name, seconds in sample(calls, repeats).items():
            rounds[name].append(seconds)
    return rounds


def build(cell: Cell, program: str, size: Size, steps: int, method: str) -> Call:
    """The call of one jitted program, which waits for its result; gradients are those of all params.

    Forward, the result is the outputs and, from Newton's method, the report.
    """
    params = cell.init(jax.random.key(0), size.hidden)
    inputs = jax.random.normal(jax.random.key(1), (steps, size.batch, size.hidden))

    def forward(params: Any, inputs: jax.Array) -> tuple[Any, ...]:
        if method == SCAN:
            return rnnjax.unroll(cell, params, inputs)[1:]
        if method == AFFINE:
            return rnnjax.unroll(cell, params, inputs, method="parallel")[1:]
        return rnnjax.newton_unroll(cell, params, inputs, jacobian="full" if method == FULL else "diagonal")[1:]

    def loss(params: Any, inputs: jax.Array) -> Any:
        return jnp.sum(forward(params, inputs)[0] ** 2)

    jitted = jax.jit(forward if program == FORWARD else jax.grad(loss))
    return lambda: jax.block_until_ready(jitted(params, inputs))


def agreement(scan: tuple[Any, ...], parallel: tuple[Any, ...]) -> Record:
    """How far the outputs are from those of the scan, and what the report of Newton's method says."""
    found: Record = {"largest_difference": float(jnp.max(jnp.abs(parallel[0] - scan[0])))}
    for report in parallel[1:]:
        found |= {"converged": bool(report.converged), "iterations": int(report.iterations)}
    return found


# Reporting


def report(output: Path, machine: dict[str, Any], records: list[Record]) -> None:
    """Prints the table; writes it, results.json and the figure."""
    finding = find(records)
    settings = {"rounds": FLAGS.rounds, "input_width": "that of the hidden state", "dtype": "float32"}
    results = {"finding": finding, "machine": machine, "settings": settings, "records": records}
    place = f"{machine['device']}: {machine['processor']}, {machine['cores']} cores"
    legend = "Time of all steps at once as a multiple of the scan's (above 1: slower), steady state."
    load = f"Load average {machine['load_average_before'][0]:.1f} at the start, {machine['load_average_after'][0]:.1f}"
    doubt = f"~ marks ratios whose quartiles over rounds are a factor of over {UNSTEADY} apart."
    text = f"{legend}\n{place}. {load} at the end. {doubt}\n\n{table(records)}\n\n{finding}\n"
    command.save(output, "parallel", results, text, draw(records, f"{finding}\n{place}"))


def find(records: list[Record]) -> str:
    """What the numbers say: how often all steps at once are faster, and the best case."""
    lines = []
    for kind, methods in (("Affine cells", [AFFINE]), ("Newton's method", [FULL, DIAGONAL])):
        measured = [record for record in records if record["method"] in methods and "ratio" in record]
        ratios = [(r["ratio"][program].value, describe(r, program)) for r in measured for program in PROGRAMS]
        if ratios:
            faster, (best, case) = sum(value < 1 for value, _ in ratios), min(ratios)
            score = f"all steps at once beat the scan in {faster} of {len(ratios)} cases"
            lines.append(f"{kind}: {score}, at best {best:.2g} x its time ({case}).")
    return "\n".join(lines)


def describe(record: Record, program: str) -> str:
    return f"{name_of(record)}, T {record['steps']}, BxH {record['size']}, {program}"


def table(records: list[Record]) -> str:
    """A row for each cell, method and size; ratios by length, forward / forward + backward."""
    lengths = sorted({record["steps"] for record in records})
    lines: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        lines.setdefault((name_of(record), str(record["size"])), []).append(record)
    heads = ["cell", "BxH", *(f"T = {length}" for length in lengths), "faster from T ="]
    body = []
    for key, line in lines.items():
        crossovers = " / ".join(crossover(line, program) for program in PROGRAMS)
        body.append([*key, *("too large" if "skipped" in r else cell_of_table(r) for r in line), crossovers])
    guide = "Forward / forward + backward; in brackets Newton's iterations, ! where they did not converge."
    alignment = ("left", "left", *("right" for _ in heads[2:]))
    return f"{guide}\n\n" + tabulate(body, heads, colalign=alignment, disable_numparse=True)


def crossover(line: list[Record], program: str) -> str:
    """The least length from which on all that were measured are faster than the scan."""
    found = "-"
    for record in reversed(line):
        if "skipped" not in record:
            if record["ratio"][program].value >= 1:
                break
            found = str(record["steps"])
    return found


def cell_of_table(record: Record) -> str:
    text = " / ".join(str(record["ratio"][program]) for program in PROGRAMS)
    if "iterations" not in record:
        return text
    return f"{text} ({record['iterations']}{'' if record['converged'] else '!'})"


def name_of(record: Record) -> str:
    return record["cell"] if record["method"] == AFFINE else f"{record['cell']}, {record['method']}"


def draw(records: list[Record], title: str) -> Figure:
    """The ratio against T on log axes, a panel for each size and program, a line for each cell and method."""
    mpl.use("Agg")
    sizes = list(dict.fromkeys(record["size"] for record in records))
    names = list(dict.fromkeys(map(name_of, records)))
    grid = {"sharex": True, "sharey": True, "squeeze": False, "layout": "constrained"}
    figure, axes = plt.subplots(len(sizes), len(PROGRAMS), figsize=(10, 1.5 + 3.2 * len(sizes)), **grid)
    for row, size in zip(axes, sizes, strict=True):
        for axis, program in zip(row, PROGRAMS, strict=True):
            for index, name in enumerate(names):
                its = [r for r in records if name_of(r) == name and r["size"] == size and "ratio" in r]
                draw_line(axis, [(r["steps"], r["ratio"][program]) for r in its], name, index, len(names))
            axis.axhline(1, color="black", linewidth=1)
            axis.set(xscale="log", yscale="log", title=f"{program}, batch {size.batch}, width {size.hidden}")
            axis.xaxis.set_major_formatter("{x:g}")
            axis.yaxis.set_major_formatter("{x:g}")
            axis.set_xticks(sorted({record["steps"] for record in records}))
            axis.minorticks_off()
        row[0].set_ylabel("time / scan's time\n(below 1: faster)")
    for axis in axes[-1]:
        axis.set_xlabel("T, time steps")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    figure.suptitle(title, fontsize=10)
    return figure


def draw_line(axis: Any, points: list[tuple[int, Ratio]], label: str, index: int, count: int) -> None:
    """One line with whiskers for the quartiles, told apart by marker, dashes and shade alike."""
    shade = str(0.65 * index / max(1, count - 1))
    style = {"marker": "osD^vP*X"[index % 8], "linestyle": ("-", "--", ":", "-.")[index % 4], "color": shade}
    lengths, values = [length for length, _ in points], [ratio.value for _, ratio in points]
    axis.plot(lengths, values, label=label, markersize=6, linewidth=1.4, **style)
    axis.vlines(lengths, [r.low for _, r in points], [r.high for _, r in points], color=shade, linewidth=1)


if __name__ == "__main__":
    app.run(main)
