"""How long does it take to compile the gradient of a deep network, by depth?

    python -m benchmarks.compile_time
    python -m benchmarks.compile_time --quick
    python -m benchmarks.compile_time --cell=gru --depths=2,4,8,16,32,64

Three ways of depth: ``stack`` of separate layers; ``repeat`` of all layers, which is scanned over them and needs inputs
as wide as the outputs; and ``stack`` of one layer and a ``repeat`` of the others, for inputs of any width. Time is that
of tracing, lowering and compiling, in processes that do nothing else and take turns, and the same as processor time,
which other programs hardly change; then the program runs, so that the price in steady state is seen, too.
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
from benchmarks.common import command
from benchmarks.common.measure import Ratio, Worker, describe_machine, ratio, sample, serve

WAYS = {
    "stack": "stack(cell, ..., cell)",
    "stack + repeat": "stack(cell, repeat(cell, n - 1))",
    "repeat": "repeat(cell, n)",
}
TARGET = 1.3  # times the time to compile of the least depth
QUICK = {"depths": ["2", "4"], "rounds": 1, "hidden": 8, "steps": 8}

flags.DEFINE_string("cell", "lstm", "A cell by rnnjax's name.")
flags.DEFINE_list("depths", ["2", "8", "32"], "Numbers of layers, 2 and more; compared with the first.")
flags.DEFINE_integer("hidden", 64, "H, and the width of the inputs.", lower_bound=1)
flags.DEFINE_integer("steps", 200, "T.", lower_bound=1)
flags.DEFINE_integer("batch", 16, "B.", lower_bound=1)
flags.DEFINE_integer("rounds", 3, "Fresh processes for each point.", lower_bound=1)
command.define_flags("compile_time", QUICK)
flags.DEFINE_string("worker", None, "Be the process of this way, answering the requests on standard input.")
FLAGS = flags.FLAGS

Record = dict[str, Any]
"""One way at one depth: seconds of every round to ``compile`` and to ``run``, and their ratios.

``compile_ratio`` is to the stack of the least depth, ``processor_ratio`` the same of processor time, ``compile_growth``
to the same way at that depth, ``run_ratio`` to the stack of the same depth.
"""


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
            "processor": [answer["processor"] for answer in answers[way, depth]],
            "run": [answer["run"] for answer in answers[way, depth]],
            "compile_ratio": ratio(seconds(way, depth, "compile"), seconds("stack", depths[0], "compile")),
            "processor_ratio": ratio(seconds(way, depth, "processor"), seconds("stack", depths[0], "processor")),
            "compile_growth": ratio(seconds(way, depth, "compile"), seconds(way, depths[0], "compile")),
            "run_ratio": ratio(seconds(way, depth, "run"), seconds("stack", depth, "run")),
        }
        for way, depth in points
    ]


def measure(way: str, cell: str, depth: int, hidden: int, steps: int, batch: int) -> Record:
    """The worker's side."""
    network = build(way, [rnnjax.cell_named(cell)(hidden) for _ in range(depth)])
    params = network.init(jax.random.key(0), hidden)
    inputs = jax.random.normal(jax.random.key(1), (steps, batch, hidden))
    jax.block_until_ready((params, inputs))  # or else making them goes on while the compiler is timed
    gradient = jax.jit(jax.grad(lambda p, x: jnp.sum(rnnjax.unroll(network, p, x)[1] ** 2)))
    start, processor_start = time.perf_counter(), time.process_time()
    compiled = gradient.lower(params, inputs).compile()
    to_compile, processor = time.perf_counter() - start, time.process_time() - processor_start
    samples = sample({"run": lambda: jax.block_until_ready(compiled(params, inputs))}, 5)["run"]
    return {"compile": to_compile, "processor": processor, "run": statistics.median(samples)}


def build(way: str, cells: list[rnnjax.Cell]) -> rnnjax.Cell:
    """A network of these cells, which are alike."""
    if way == "stack":
        return rnnjax.stack(*cells)
    if way == "repeat":
        return rnnjax.repeat(cells[0], len(cells))
    return rnnjax.stack(cells[0], rnnjax.repeat(cells[1], len(cells) - 1))


# Reporting


def report(output: Path, machine: dict[str, Any], records: list[Record]) -> None:
    """Prints the table; writes it, results.json and the figure."""
    names = ("cell", "hidden", "steps", "batch", "rounds")
    settings = {name: FLAGS[name].value for name in names}
    finding = find(records)
    results = {"finding": finding, "machine": machine, "settings": settings, "records": records}
    first = records[0]["depth"]
    ratios = [f"/ stack of {first}", "processor time", f"/ same way, {first}"]
    heads = ["way", "depth", "compile", *ratios, "run", "/ stack"]
    rows = [
        [
            WAYS[record["way"]],
            record["depth"],
            f"{statistics.median(record['compile']):.2f} s",
            str(record["compile_ratio"]),
            str(record["processor_ratio"]),
            str(record["compile_growth"]),
            f"{1e3 * statistics.median(record['run']):.1f} ms",
            str(record["run_ratio"]),
        ]
        for record in sorted(records, key=lambda record: list(WAYS).index(record["way"]))
    ]
    text = f"{tabulate(rows, heads, colalign=('left', *['right'] * 7), disable_numparse=True)}\n\n{finding}\n"
    command.save(output, "compile_time", results, text, draw(records, finding))


def find(records: list[Record]) -> str:
    """What the deepest networks take, and by which comparison the target is met."""
    first, depth = records[0]["depth"], records[-1]["depth"]
    stack, mixed, repeat = (next(r for r in records if (r["way"], r["depth"]) == (way, depth)) for way in WAYS)
    times, growth = repeat["compile_ratio"], repeat["compile_growth"]
    return (
        f"{depth} layers compile in {times} times the time of a stack of {first} with repeat "
        f"(processor time: {repeat['processor_ratio']}),\n"
        f"{mixed['compile_ratio']} with repeat on a cell, {stack['compile_ratio']} as a stack. "
        f"Target {TARGET}: {verdict(times)}; against a repeat of {first}, {growth}: {verdict(growth)}.\n"
        f"Running the gradient takes {repeat['run_ratio']} times as long with repeat as with stack."
    )


def verdict(times: Ratio) -> str:
    return "met" if times.value <= TARGET else "missed"


def draw(records: list[Record], finding: str) -> Figure:
    """Seconds to compile against depth."""
    mpl.use("Agg")
    figure, axis = plt.subplots(figsize=(7, 4.5))
    for (way, label), style in zip(WAYS.items(), ("o-", "s--", "^:"), strict=True):
        ours = [record for record in records if record["way"] == way]
        depths = [record["depth"] for record in ours]
        middle, low, high = ([f(record["compile"]) for record in ours] for f in (statistics.median, min, max))
        axis.plot(depths, middle, style, color="black", label=label)
        axis.vlines(depths, low, high, color="grey", linewidth=3, alpha=0.6)
    axis.set_xscale("log", base=2)
    axis.set_xticks(sorted({record["depth"] for record in records}))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.set_ylim(bottom=0)
    axis.set_xlabel("n, layers")
    axis.set_ylabel("seconds to trace and compile the gradient")
    axis.legend(frameon=False, loc="upper left")
    axis.set_title(f"{finding}\n{FLAGS.cell}, H = {FLAGS.hidden}. Bars: from the least to the most seen.", fontsize=9)
    figure.tight_layout()
    return figure


if __name__ == "__main__":
    app.run(main)
