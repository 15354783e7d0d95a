"""How fast is a recurrent layer here and elsewhere, and what does measuring its gradient flow cost?

    python -m benchmarks.unroll
    python -m benchmarks.unroll --quick
    python -m benchmarks.unroll --cells=lstm --shapes=100x32x128x128 --peers=scan,flax --output=runs/benchmarks/lstm

Each library runs in a process of its own, since the thread pools of XLA and PyTorch disturb each other, and the
processes take turns, so that a busy machine slows all of them alike. See README.md in this folder.
"""

import functools
import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from absl import app, flags
from tqdm import tqdm

from benchmarks.common import command
from benchmarks.common.measure import Worker, describe_machine, elapsed, sample, serve
from benchmarks.unroll import peers, report
from benchmarks.unroll.peers import FLOW, FORWARD, GRADIENT, Shape
from benchmarks.unroll.report import Record
from rnnjax.names import lookup

PEERS = [name for name in peers.BUILDERS if name != "rnnjax"]
SHAPES = ["100x32x128x128", "200x16x64x64", "50x50x512x512", "25x1x96x100", "1000x8x32x64"]
FEWEST_ROUNDS = 5  # however long they take
MOST_REPEATS = 20  # however short they are
QUICK = {
    "shapes": ["8x4x8x8"],
    "cells": ["elman", "lstm"],
    "rounds": 2,
    "seconds": 0.5,
}

flags.DEFINE_list("shapes", SHAPES, "TxBxIxH: time steps, batch, input and hidden width.")
flags.DEFINE_list("cells", list(peers.GATES), "Cells by rnnjax's names.")
flags.DEFINE_list("peers", PEERS, "Libraries and references to compare with.")
flags.DEFINE_integer("rounds", 9, "Turns that each library takes on each cell and shape.", lower_bound=1)
flags.DEFINE_float(
    "seconds",
    12,
    f"For each cell and shape, about. A turn repeats its call so that they suffice, 1 to {MOST_REPEATS} times; once "
    f"they are over, {FEWEST_ROUNDS} rounds will do.",
    lower_bound=0,
)
command.define_flags("unroll", QUICK)
flags.DEFINE_string("worker", None, "Be the process of this library, answering the requests on standard input.")
FLAGS = flags.FLAGS


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
    records = measure(libraries, [(cell, shape) for cell in cells for shape in shapes], FLAGS.rounds, FLAGS.seconds)
    machine["load_average_after"] = os.getloadavg()
    results: Record = {
        "finding": report.find(records),
        "targets": report.check_targets(records),
        "machine": machine,
        "settings": {"rounds": FLAGS.rounds, "seconds": FLAGS.seconds},
        "records": records,
    }
    command.save(output, "unroll", results, report.write(results), report.draw(results))


def known(kind: str, names: list[str], valid: Iterable[str]) -> list[str]:
    """The names; a ``ValueError`` for one that is not valid."""
    return [lookup(kind, name, {name: name for name in valid}) for name in names]


def parse_shape(text: str) -> Shape:
    """``100x32x128x128`` as a shape."""
    sizes = [int(size) if size.isdecimal() else 0 for size in text.split("x")]
    if len(sizes) != 4 or min(sizes) < 1:
        raise ValueError(f"unknown shape {text!r}: expected TxBxIxH, four whole numbers such as 100x32x128x128")
    return Shape(*sizes)


def work(library: str) -> None:
    """The worker: builds a library's programs for a cell and shape, and times them, as it is asked to."""
    built = functools.lru_cache(maxsize=1)(functools.partial(peers.build, library))
    steady: dict[str, float] = {}

    def build(cell: str, shape: Shape) -> Record:
        try:
            return {"programs": list(built(cell, shape).calls)}
        except peers.UnavailableError as error:
            return {"skipped": str(error)}

    def start(cell: str, shape: Shape) -> Record:
        calls = built(cell, shape).calls
        first = {name: elapsed(call) for name, call in calls.items()}
        steady.update({name: elapsed(call) for name, call in calls.items()})
        return {"first_seconds": first}

    def take_turn(cell: str, shape: Shape, programs: list[str], seconds: float) -> Record:
        calls = built(cell, shape).calls
        repeats = int(seconds / sum(steady[name] for name in programs))
        return {"samples": sample({name: calls[name] for name in programs}, min(max(1, repeats), MOST_REPEATS))}

    tasks: dict[str, Callable[..., Record]] = {"build": build, "start": start, "take_turn": take_turn}
    serve(lambda task, cell, shape, **settings: tasks[task](cell, Shape(*shape), **settings))


def measure(libraries: list[str], cases: list[tuple[str, Shape]], rounds: int, seconds: float) -> list[Record]:
    """One record for each library on each case."""
    records: list[Record] = []
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker("benchmarks.unroll", library)) for library in libraries]
        for cell, shape in tqdm(cases, desc="cells and shapes", unit="case", disable=None):
            case = prepare(workers, cell, shape)
            turns = turns_of(case)
            start = time.perf_counter()
            for done in range(rounds):
                if done >= FEWEST_ROUNDS and time.perf_counter() - start > seconds:
                    break
                take_turns(workers, case, turns, seconds / rounds / len(turns))
            records.extend(report.summarize(record, case["rnnjax"]) for record in case.values())
    return records


def prepare(workers: list[Worker], cell: str, shape: Shape) -> dict[str, Record]:
    """Has every library build its programs, several at a time, and call them first, one by one: records, no samples."""
    case: dict[str, Record] = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        builds = list(pool.map(lambda worker: worker.ask(task="build", cell=cell, shape=shape), workers))
    for worker, built in zip(workers, builds, strict=True):
        record = case[worker.name] = {"cell": cell, "shape": shape, "library": worker.name}
        if "skipped" in built:
            record["skipped"] = built["skipped"]
        else:
            record |= worker.ask(task="start", cell=cell, shape=shape)
            record["rounds"] = {program: [] for program in (FORWARD, GRADIENT) if program in built["programs"]}
    return case


def turns_of(case: dict[str, Record]) -> list[tuple[str, str, list[str]]]:
    """Who takes which turns in a round: the library, where its samples go, and the programs that alternate in it.

    Program by program, so that libraries meet the same noise; gradient and gradient_flow alternate call by call.
    """
    able = {library: record for library, record in case.items() if "skipped" not in record}
    turns = [
        (library, "rounds", [program])
        for program in (FORWARD, GRADIENT)
        for library, record in able.items()
        if program in record["rounds"]
    ]
    for library, record in able.items():
        if FLOW in record["first_seconds"]:
            programs = [program for program in (GRADIENT, FLOW) if program in record["first_seconds"]]
            record["flow_rounds"] = {program: [] for program in programs}
            turns.append((library, "flow_rounds", programs))
    return turns


def take_turns(
    workers: list[Worker], case: dict[str, Record], turns: list[tuple[str, str, list[str]]], seconds: float
) -> None:
    """One round: appends each turn's samples to its library's record."""
    by_name = {worker.name: worker for worker in workers}
    for library, place, programs in turns:
        record = case[library]
        label = {"cell": record["cell"], "shape": record["shape"]}
        answer = by_name[library].ask(task="take_turn", programs=programs, seconds=seconds, **label)
        for program, samples in answer["samples"].items():
            record[place][program].append(samples)


if __name__ == "__main__":
    app.run(main)
