"""How long does it take to compile the gradient of a deep network, by depth?

    python -m benchmarks.compile_time
    python -m benchmarks.compile_time --quick
    python -m benchmarks.compile_time --cell=gru --depths=2,4,8,16,32,64

Two ways of depth: ``stack`` of separate layers, and ``stack`` of one layer and a ``repeat`` of the others, which is
scanned over its layers. Time is that of tracing, lowering and compiling, in processes that do nothing else and take
turns; then the program runs, so that the price in steady state is seen, too.
"""

import statistics
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib as mpl
import matplotlib.pyplot as plt
from absl import app, flags
from matplotlib.figure import Figure
from tabulate import tabulate
from tqdm import tqdm

import rnnjax
from benchmarks import command
from benchmarks.measure import Ratio, Worker, describe_machine, ratio, sample, serve

WAYS = ("stack", "repeat")
QUICK = {"depths": ["2", "4"], "rounds": 1, "hidden": 8, "steps": 8}

flags.DEFINE_string("cell", "lstm", "A cell by rnnjax's name.")
flags.DEFINE_list("depths", ["2", "8", "32"], "Numbers of layers, 2 and more; compared with the first.")
flags.DEFINE_integer("hidden", 64, "H, and the width of the inputs.", lower_bound=1)
flags.DEFINE_integer("steps", 200, "T.", lower_bound=1)
flags.DEFINE_integer("batch", 16, "B.", lower_bound=1)
flags.DEFINE_integer("rounds", 5, "Fresh processes for each point.", lower_bound=1)
command.define_flags("compile_time", QUICK)
flags.DEFINE_string("worker", None, "Be the process of this way, answering the requests on standard input.")
FLAGS = flags.FLAGS

Record = dict[str, Any]
"""One way at one depth: seconds of every round to ``compile`` and to ``run``, and their ratios."""


def main(argv: list[str]) -> None:
    if FLAGS.worker:
        serve(lambda **request: measure(FLAGS.worker, **request))
        return
    command.apply_quick("compile_time", QUICK)
    with command.refusals("compile_time"):
        rnnjax.cell_named(FLAGS.cell)
        if not all(depth.isdecimal() and int(depth) >= 2 for depth in FLAGS.depths):
            raise ValueError(f"--depths is {','.join(FLAGS.depths)}: expected whole numbers from 2 on")
        output = command.output_folder(argv)

    machine = describe_machine(["rnnjax", "jax", "jaxlib", "numpy"])
    report(output, machine, records(sorted({int(depth) for depth in FLAGS.depths}), FLAGS.rounds))


# Measuring


def records(depths: list[int], rounds: int) -> list[Record]:
    """Every way at every depth; the points take turns, each time in a fresh process."""
    points = [(way, depth) for depth in depths for way in WAYS]
    answers: dict[tuple[str, int], list[Record]] = {point: [] for point in points}
    for way, depth in tqdm(points * rounds, disable=None):
        with Worker("benchmarks.compile_time", way) as worker:
            shape = {"hidden": FLAGS.hidden, "steps": FLAGS.steps, "batch": FLAGS.batch}
            answers[way, depth].append(worker.ask(cell=FLAGS.cell, depth=depth, **shape))

    def seconds(way: str, depth: int, what: str) -> list[list[float]]:
        return [[answer[what]] for answer in answers[way, depth]]

    return [
        {
            "way": way,
            "depth": depth,
            "compile": [answer["compile"] for answer in answers[way, depth]],
            "run": [answer["run"] for answer in answers[way, depth]],
            "compile_ratio": ratio(seconds(way, depth, "compile"), seconds("stack", depths[0], "compile")),
            "run_ratio": ratio(seconds(way, depth, "run"), seconds("stack", depth, "run")),
        }
        for way, depth in points
    ]


def measure(way: str, cell: str, depth: int, hidden: int, steps: int, batch: int) -> Record:
    """The worker's side."""
    make = rnnjax.cell_named(cell)
    if way == "stack":
        network = rnnjax.stack(*(make(hidden) for _ in range(depth)))
    else:
        network = rnnjax.stack(make(hidden), rnnjax.repeat(make(hidden), depth - 1))
    params = network.init(jax.random.key(0), hidden)
    inputs = jax.random.normal(jax.random.key(1), (steps, batch, hidden))
    gradient = jax.jit(jax.grad(lambda p, x: jnp.sum(rnnjax.unroll(network, p, x)[1] ** 2)))
    start = time.perf_counter()
    compiled = gradient.lower(params, inputs).compile()
    to_compile = time.perf_counter() - start
    samples = sample({"run": lambda: jax.block_until_ready(compiled(params, inputs))}, 5)["run"]
    return {"compile": to_compile, "run": statistics.median(samples)}


# Reporting


def report(output: Path, machine: dict[str, Any], records: list[Record]) -> None:
    """Prints the table; writes it, results.json and the figure."""
    names = ("cell", "hidden", "steps", "batch", "rounds")
    settings = {name: FLAGS[name].value for name in names}
    finding = find(records)
    results = {"finding": finding, "machine": machine, "settings": settings, "records": records}
    first = records[0]["depth"]
    heads = ["way", "depth", "compile", f"/ depth {first}", "run", "/ stack"]
    rows = [
        [
            record["way"],
            record["depth"],
            f"{statistics.median(record['compile']):.2f} s",
            str(record["compile_ratio"]),
            f"{1e3 * statistics.median(record['run']):.1f} ms",
            str(record["run_ratio"]),
        ]
        for record in sorted(records, key=lambda record: WAYS.index(record["way"]))
    ]
    text = f"{tabulate(rows, heads, colalign=('left', *['right'] * 5), disable_numparse=True)}\n\n{finding}\n"
    command.save(output, "compile_time", results, text, draw(records, finding))


def find(records: list[Record]) -> str:
    """What the deepest networks take."""
    first = records[0]["depth"]
    deepest: dict[str, Record] = {record["way"]: record for record in records}
    times = {way: Ratio(*record["compile_ratio"]) for way, record in deepest.items()}
    run = Ratio(*deepest["repeat"]["run_ratio"])
    return (
        f"{deepest['stack']['depth']} layers compile in {times['repeat']} times the time of {first} with repeat, "
        f"{times['stack']} without.\nRunning the gradient then takes {run} times as long."
    )


def draw(records: list[Record], finding: str) -> Figure:
    """Seconds to compile against depth."""
    mpl.use("Agg")
    figure, axis = plt.subplots(figsize=(7, 4.5))
    for way, style, label in zip(
        WAYS, ("o-", "s--"), ("stack(cell, ...)", "stack(cell, repeat(cell, n))"), strict=True
    ):
        ours = [record for record in records if record["way"] == way]
        depths = [record["depth"] for record in ours]
        middle, low, high = ([f(record["compile"]) for record in ours] for f in (statistics.median, min, max))
        axis.plot(depths, middle, style, color="black", label=label)
        axis.vlines(depths, low, high, color="grey", linewidth=3, alpha=0.6)
    axis.set_xscale("log", base=2)
    axis.xaxis.set_major_formatter("{x:g}")
    axis.set_ylim(bottom=0)
    axis.set_xlabel("layers")
    axis.set_ylabel("seconds to trace and compile the gradient")
    axis.legend(frameon=False)
    axis.set_title(f"{finding}\n{FLAGS.cell}, H = {FLAGS.hidden}. Bars: from the least to the most seen.", fontsize=9)
    figure.tight_layout()
    return figure


if __name__ == "__main__":
    app.run(main)
