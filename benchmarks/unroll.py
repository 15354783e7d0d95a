"""How fast is a recurrent layer here and elsewhere, and what does measuring its gradient flow cost?

    python -m benchmarks.unroll
    python -m benchmarks.unroll --quick
    python -m benchmarks.unroll --cells=lstm --shapes=100x32x128x128 --peers=scan,flax --output=runs/benchmarks/lstm

Each library runs in a process of its own, since the thread pools of XLA and PyTorch disturb each other, and the
processes take turns, so that a busy machine slows all of them alike. See README.md in this folder.
"""

import functools
import os
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from absl import app, flags
from matplotlib.figure import Figure
from tabulate import tabulate
from tqdm import tqdm

from benchmarks import command, peers
from benchmarks.measure import UNSTEADY, Ratio, Worker, describe_machine, elapsed, pooled_median, ratio, sample, serve
from benchmarks.peers import FLOW, FORWARD, GRADIENT, Programs, Shape
from rnnjax.names import lookup

PEERS = [name for name in peers.BUILDERS if name != "rnnjax"]
TITLES = {"scan": "plain scan", "torch": "PyTorch"}
FLOW_TARGET = 1.15
NOISE = 1.05  # times closer than this count as equal
QUICK = {
    "shapes": ["8x4x8x8"],
    "cells": ["elman", "lstm"],
    "repeats": 3,
    "rounds": 2,
}

flags.DEFINE_list("shapes", ["100x32x128x128", "200x16x64x64"], "TxBxIxH: time steps, batch, input and hidden width.")
flags.DEFINE_list("cells", list(peers.GATES), "Cells by rnnjax's names.")
flags.DEFINE_list("peers", PEERS, "Libraries to compare with.")
flags.DEFINE_integer("repeats", 5, "Calls of each program in each round.", lower_bound=1)
flags.DEFINE_integer("rounds", 9, "Turns that each library takes on each cell and shape.", lower_bound=1)
command.define_flags("unroll", QUICK)
flags.DEFINE_string("worker", None, "Be the process of this library, answering the requests on standard input.")
FLAGS = flags.FLAGS

Record = dict[str, Any]
"""One library on one cell and shape: either ``skipped``, a reason, or ``first_seconds`` and ``rounds`` by program."""


def main(argv: list[str]) -> None:
    if FLAGS.worker:
        work(FLAGS.worker)
        return
    command.apply_quick("unroll", QUICK)
    with command.refusals("unroll"):
        shapes = [parse_shape(text) for text in FLAGS.shapes]
        cells = known("cell", FLAGS.cells, peers.GATES)
        libraries = ["rnnjax", *known("peer", FLAGS.peers, PEERS)]
        output = command.output_folder(argv)

    machine = describe_machine(["rnnjax", "jax", "jaxlib", "numpy", *peers.PACKAGES.values()])
    records = measure(libraries, [(cell, shape) for shape in shapes for cell in cells], FLAGS.rounds, FLAGS.repeats)
    machine["load_average_after"] = os.getloadavg()
    report(output, libraries, machine, records)


def known(kind: str, names: list[str], valid: Iterable[str]) -> list[str]:
    """The names; a ``ValueError`` for one that is not valid."""
    return [lookup(kind, name, {name: name for name in valid}) for name in names]


def parse_shape(text: str) -> Shape:
    """``100x32x128x128`` as a shape."""
    sizes = [int(size) if size.isdecimal() else 0 for size in text.split("x")]
    if len(sizes) != 4 or min(sizes) < 1:
        raise ValueError(f"unknown shape {text!r}: expected TxBxIxH, four whole numbers such as 100x32x128x128")
    return Shape(*sizes)


# Measuring


def work(library: str) -> None:
    """The worker: builds a library's programs for a cell and shape, and times them on request."""

    @functools.lru_cache(maxsize=1)
    def prepared(cell: str, shape: Shape) -> tuple[Programs, dict[str, float]]:
        programs = peers.build(library, cell, shape)
        return programs, {name: elapsed(call) for name, call in programs.calls.items()}

    def answer(cell: str, shape: list[int], programs: list[str], repeats: int) -> Record:
        try:
            built, first_seconds = prepared(cell, Shape(*shape))
        except peers.UnavailableError as error:
            return {"skipped": str(error)}
        calls = {name: built.calls[name] for name in programs}
        return {"samples": sample(calls, repeats)} if calls else {"first_seconds": first_seconds}

    serve(answer)


def measure(libraries: list[str], cases: list[tuple[str, Shape]], rounds: int, repeats: int) -> list[Record]:
    """One record for each library on each case; the libraries take turns, program by program."""
    records: list[Record] = []
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker("benchmarks.unroll", library)) for library in libraries]
        for cell, shape in tqdm(cases, desc="cells and shapes", unit="case", disable=None):
            ask = {"cell": cell, "shape": shape, "repeats": repeats}
            label: Record = {"cell": cell, "shape": shape}
            case = {
                worker.name: label | {"library": worker.name} | worker.ask(programs=[], **ask) for worker in workers
            }
            able = [worker for worker in workers if "skipped" not in case[worker.name]]
            for worker in able:
                case[worker.name]["rounds"] = {FORWARD: [], GRADIENT: []}
            own = case["rnnjax"]
            own["flow_rounds"] = {GRADIENT: [], FLOW: []}
            for _ in range(rounds):
                for program in (FORWARD, GRADIENT):
                    for worker in able:
                        samples = worker.ask(programs=[program], **ask)["samples"]
                        case[worker.name]["rounds"][program].append(samples[program])
                for program, seconds in workers[0].ask(programs=[GRADIENT, FLOW], **ask)["samples"].items():
                    own["flow_rounds"][program].append(seconds)  # the two alternate call by call, in one process
            records.extend(summarize(record, own) for record in case.values())
    return records


def summarize(record: Record, reference: Record) -> Record:
    """The record with medians, ratios to rnnjax, compile times and, for rnnjax, gradient_flow's overhead."""
    if "skipped" in record:
        return record
    record |= {"median_seconds": {}, "ratio": {}}
    for program, rounds in record["rounds"].items():
        record["median_seconds"][program] = pooled_median(rounds)
        record["ratio"][program] = ratio(rounds, reference["rounds"][program])
    if "flow_rounds" in record:
        record["median_seconds"][FLOW] = pooled_median(record["flow_rounds"][FLOW])
        record["flow_overhead"] = ratio(record["flow_rounds"][FLOW], record["flow_rounds"][GRADIENT])
    if record["library"] not in peers.EAGER:
        steady = record["median_seconds"]
        record["compile_seconds"] = {name: record["first_seconds"][name] - steady[name] for name in steady}
    return record


# Reporting


def report(output: Path, libraries: list[str], machine: dict[str, Any], records: list[Record]) -> None:
    """Prints the table; writes it, results.json and the figure."""
    settings = {"rounds": FLAGS.rounds, "repeats": FLAGS.repeats, "flow_overhead_target": FLOW_TARGET}
    finding = find(records)
    results = {"finding": finding, "machine": machine, "settings": settings, "records": records}
    legend = "Steady state: rnnjax in ms; the others, and gradient_flow, as multiples of its time (above 1: slower)."
    load = f"Load average {machine['load_average_before'][0]:.1f} at the start on {machine['cores']} cores."
    doubt = f"~ marks ratios whose quartiles over rounds are a factor of over {UNSTEADY} apart: too noisy to rely on."
    text = f"{legend}\n{load} {doubt}\n\n{table(libraries, records)}\n\n{skips(records)}\n{finding}\n"
    command.save(output, "unroll", results, text, draw(libraries, records, finding, machine))


def find(records: list[Record]) -> str:
    """What the numbers say, in two sentences."""
    jax_libraries = [name for name in PEERS if name not in peers.EAGER]
    standings = [standing(records, jax_libraries, "other JAX programs"), standing(records, ["torch"], "PyTorch")]
    overheads = [record["flow_overhead"].value for record in records if record["library"] == "rnnjax"]
    kept = sum(overhead <= FLOW_TARGET for overhead in overheads)
    flow = f"gradient_flow takes {min(overheads):.2f} to {max(overheads):.2f} times as long as the gradient"
    return "".join(standings) + f"{flow}: at most {FLOW_TARGET} in {kept} of {len(overheads)} cases."


def standing(records: list[Record], rivals: list[str], name: str) -> str:
    """How rnnjax stands, forward and backward, to the fastest of these libraries in each case."""
    slowness = []
    for own in (record for record in records if record["library"] == "rnnjax"):
        case = [r for r in records if same_case(r, own) and r["library"] in rivals and "ratio" in r]
        if case:
            slowness.append(
                max((1 / r["ratio"][GRADIENT].value, title(r["library"]), own["cell"], dimensions(own)) for r in case)
            )
    if not slowness:
        return ""
    good = sum(times <= NOISE for times, *_ in slowness)
    times, library, cell, shape = max(slowness)
    return (
        f"Forward + backward against {name}: rnnjax is fastest or within 5 % in {good} of {len(slowness)} cases; "
        f"at worst {times:.2f} times {library}'s time ({cell} {shape}).\n"
    )


def same_case(record: Record, other: Record) -> bool:
    return (record["cell"], record["shape"]) == (other["cell"], other["shape"])


def table(libraries: list[str], records: list[Record]) -> str:
    """Milliseconds of rnnjax, and every other time as a multiple of it; then seconds to compile."""
    heads = ["cell", "TxBxIxH", "program", "rnnjax", *map(title, libraries[1:]), "gradient_flow"]
    rows, compile_rows = [], []
    for own in (record for record in records if record["library"] == "rnnjax"):
        case = {record["library"]: record for record in records if same_case(record, own)}
        others = [case[library] for library in libraries[1:]]
        for program in (FORWARD, GRADIENT):
            ratios = [str(r["ratio"][program]) if "ratio" in r else "-" for r in others]
            overhead = str(own["flow_overhead"]) if program == GRADIENT else ""
            time = f"{1e3 * own['median_seconds'][program]:.2f} ms"
            rows.append([own["cell"], dimensions(own), program, time, *ratios, overhead])
        seconds = [r["compile_seconds"][GRADIENT] if "compile_seconds" in r else None for r in (own, *others)]
        compiles = ["-" if s is None else f"{s:.2f} s" for s in (*seconds, own["compile_seconds"][FLOW])]
        compile_rows.append([own["cell"], dimensions(own), f"compile {GRADIENT}", *compiles])
    alignment = ("left", "left", "left", *("right" for _ in heads[3:]))
    return tabulate([*rows, *compile_rows], heads, colalign=alignment, disable_numparse=True)


def skips(records: list[Record]) -> str:
    """One line for each reason why a library was left out."""
    reasons = dict.fromkeys(f"{title(r['library'])}: {r['skipped']}" for r in records if "skipped" in r)
    return "".join(f"Skipped: {reason}.\n" for reason in reasons)


def draw(libraries: list[str], records: list[Record], finding: str, machine: dict[str, Any]) -> Figure:
    """Bars of time relative to rnnjax on a log axis, one panel a program, one group a cell and shape."""
    mpl.use("Agg")
    ours = [record for record in records if record["library"] == "rnnjax"]
    others = libraries[1:]
    width = max(7.0, 1.5 * len(ours) + 1)
    figure, axes = plt.subplots(3, 1, figsize=(width, 10), height_ratios=(3, 3, 2), sharex=True)
    for axis, program in zip(axes, (FORWARD, GRADIENT), strict=False):
        for index, library in enumerate(others):
            its = [record for record in records if record["library"] == library]
            bars(axis, [r["ratio"][program] if "ratio" in r else None for r in its], index, len(others), title(library))
        axis.set_yscale("log", base=2)
        axis.yaxis.set_major_formatter("{x:g}")
        axis.set_ylabel(f"{program}:\ntime / rnnjax's time")
        axis.axhline(1, color="black", linewidth=1)
    axes[0].legend(ncols=max(1, len(others)), loc="lower left", bbox_to_anchor=(0, 1), frameon=False)
    bars(axes[2], [record["flow_overhead"] for record in ours], 0, 1, "")
    axes[2].axhline(1, color="black", linewidth=1)
    axes[2].axhline(FLOW_TARGET, color="black", linewidth=1, linestyle="--")
    axes[2].text(1.005, FLOW_TARGET, f"target\n{FLOW_TARGET}", va="center", transform=axes[2].get_yaxis_transform())
    axes[2].set_ylabel("gradient_flow:\ntime / gradient's time")
    labels = [f"{r['cell']}\n{dimensions(r)}\n{1e3 * r['median_seconds'][GRADIENT]:.1f} ms" for r in ours]
    axes[2].set_xticks(range(len(ours)), labels)
    axes[2].set_xlabel("cell, TxBxIxH, and the time of forward + backward with rnnjax")
    place = f"{machine['processor']}, {machine['cores']} cores"
    guide = "Bars above 1: slower than rnnjax. Whiskers: quartiles over rounds. Gaps: the library has no such cell."
    figure.suptitle(f"{finding}\n{guide} {place}.", fontsize=10)
    figure.tight_layout()
    return figure


def bars(axis: Any, ratios: list[Ratio | None], index: int, count: int, label: str) -> None:
    """Bars from 1 to each ratio, the ``index``-th of ``count`` in each group, with whiskers for the quartiles."""
    width = 0.8 / max(2, count)
    shade, hatch = str(0.15 + 0.75 * index / max(1, count - 1)), ("", "///", "", "xxx", "")[index % 5]
    places = [i + (index - (count - 1) / 2) * width for i, ratio in enumerate(ratios) if ratio]
    found = [ratio for ratio in ratios if ratio]
    values = [ratio.value for ratio in found]
    heights = [value - 1 for value in values]
    axis.bar(places, heights, width, bottom=1, label=label, color=shade, hatch=hatch, edgecolor="black", linewidth=0.6)
    axis.vlines(places, [r.low for r in found], [r.high for r in found], color="black", linewidth=3)
    axis.vlines(places, [r.low for r in found], [r.high for r in found], color="white", linewidth=1)


def title(library: str) -> str:
    return TITLES.get(library, library)


def dimensions(record: Record) -> str:
    return str(record["shape"])


if __name__ == "__main__":
    app.run(main)
