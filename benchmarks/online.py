"""How long does one online step take, from state and input to new state and output, and what of it is the call?

    python -m benchmarks.online
    python -m benchmarks.online --quick
    python -m benchmarks.online --cells=lstm --hidden=64 --counts=1,50 --output=runs/benchmarks/online_lstm

B = 1, each step from where the last one ended, against PyTorch's cells under ``inference_mode`` and a step written in
NumPy, all with the same weights: the run fails unless the first outputs agree. Then k steps in one call by ``unroll``,
which tells what a call costs from what a step costs. "State donated" and "compiled ahead" differ by the latter alone;
"params constant" donates the state, too; "data from NumPy" is that with inputs from NumPy and outputs to it.

What to do for the lowest latency, and what it gave with H = 128 (microseconds for Elman, GRU and LSTM, two CPU cores):

- ``jax.jit`` the step: 420, 690 and 780 without, 10, 13 and 16 with it.
- ``jax.config.update("jax_cpu_enable_async_dispatch", False)`` before the first array: the program then runs in the
  thread that calls it. By default a program of some size is handed to another one, and a jitted step takes 100.
- Keep the state as JAX has it: 5 to 8 more where each step takes it to NumPy and back.
- Donate the state (``donate_argnums``): up to 1 less.
- Let the params be constants of the program, a closure instead of an argument: another 1 less. It is compiled anew
  where they change.
- ``.lower(...).compile()`` makes the first step as fast as the others, as does calling the jitted step once beforehand;
  no call is faster for it.
- Inputs from NumPy and outputs to NumPy cost 2 to 3.
- About 8 are the call, whatever is in it: where more inputs are there already, give them to one ``unroll``, which takes
  1.3, 3.4 and 5.2 a step. A step in NumPy has no such call: 4, 14 and 16.
"""

import functools
import itertools
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from absl import app, flags
from matplotlib.figure import Figure
from tabulate import tabulate
from tqdm import tqdm

import rnnjax
from benchmarks import command
from benchmarks.measure import UNSTEADY, Call, Worker, describe_machine, pooled_median, ratio, sample, serve
from rnnjax.adapters.torch import GATES, from_torch
from rnnjax.names import lookup

CELLS: dict[str, Callable[[int], rnnjax.Cell]] = {
    "elman": rnnjax.elman,
    "gru": functools.partial(rnnjax.gru, reset="after"),
    "lstm": rnnjax.lstm,
}
"""The cells that PyTorch has, too."""

LIBRARIES = {
    "rnnjax": "rnnjax, asynchronous",
    "synchronous": "rnnjax, synchronous",
    "torch": "PyTorch",
    "numpy": "NumPy",
}
STEP, STEPS = "one step", "steps by unroll"
PLAIN, BEST = ("rnnjax", "jitted"), ("synchronous", "params constant")
CHECKED = 5  # steps whose outputs are compared
TOLERANCE = 1e-5
QUICK = {"hidden": 8, "counts": ["1", "4"], "repeats": 20, "rounds": 2}

flags.DEFINE_list("cells", list(CELLS), "Of elman, gru and lstm.")
flags.DEFINE_integer("hidden", 128, "H, and the width of the inputs.", lower_bound=1)
flags.DEFINE_list("counts", ["1", "10", "100"], "k, steps in one call; two and more.")
flags.DEFINE_integer("repeats", 500, "Calls in each turn.", lower_bound=1)
flags.DEFINE_integer("rounds", 9, "Turns that each way of calling takes.", lower_bound=1)
command.define_flags("online", QUICK)
flags.DEFINE_string("worker", None, "Be the process of this library, answering the requests on standard input.")
FLAGS = flags.FLAGS

Record = dict[str, Any]
"""A cell and library: either ``skipped``, a reason, or a ``way`` of calling, its ``rounds`` of seconds, and so on."""

Step = Callable[[Any, Any], tuple[Any, Any]]
"""``(state, inputs) -> (new state, output)``."""

Weights = dict[str, np.ndarray]
"""The weights of one layer by the names that PyTorch gives them."""


class Programs(NamedTuple):
    calls: dict[str, Call]  # each goes on from where its last call ended, and returns the output
    context: Callable[[], AbstractContextManager[Any]] = nullcontext  # what they are called in


def main(argv: list[str]) -> None:
    if FLAGS.worker:
        work(FLAGS.worker)
        return
    command.apply_quick("online", QUICK)
    with command.refusals("online"):
        for cell in FLAGS.cells:
            lookup("cell", cell, CELLS)
        if not all(count.isdecimal() and int(count) for count in FLAGS.counts) or len(set(FLAGS.counts)) < 2:
            raise ValueError(
                f"--counts is {','.join(FLAGS.counts)}: expected two or more whole numbers, as in 1,10,100"
            )
        counts = sorted({int(count) for count in FLAGS.counts})
        output = command.output_folder(argv)

    machine = describe_machine(["rnnjax", "jax", "jaxlib", "numpy", "torch"])
    records = measure(FLAGS.cells, FLAGS.hidden, counts, FLAGS.rounds, FLAGS.repeats)
    machine["load_average_after"] = os.getloadavg()
    report(output, machine, records)


# The step in every library


def initial_weights(cell: str, hidden: int) -> Weights:
    """Drawn as PyTorch does, uniformly within 1 / sqrt(H)."""
    draw, bound, rows = np.random.default_rng(0), hidden**-0.5, GATES[cell] * hidden
    shapes = {
        "weight_ih_l0": (rows, hidden),
        "weight_hh_l0": (rows, hidden),
        "bias_ih_l0": (rows,),
        "bias_hh_l0": (rows,),
    }
    return {name: draw.uniform(-bound, bound, shape).astype(np.float32) for name, shape in shapes.items()}


def input_of_a_step(hidden: int) -> np.ndarray:
    """The input (1, I), the same at all steps."""
    return np.random.default_rng(1).standard_normal((1, hidden), np.float32)


def chained(step: Step, state: Any, inputs: Any) -> Call:
    """A call of the step, from the state where the last one ended; it returns the output."""

    def call() -> Any:
        nonlocal state
        state, output = step(state, inputs)
        return output

    return call


def build_rnnjax(cell: str, hidden: int, counts: list[int]) -> Programs:
    """The ways of calling ``cell.step``, and ``unroll`` of some numbers of steps."""
    network = CELLS[cell](hidden)
    (params,) = from_torch(initial_weights(cell, hidden), cell)
    inputs = input_of_a_step(hidden)
    here = jnp.asarray(inputs)
    fresh = functools.partial(network.initial_state, params, (1,))  # donated, a state cannot serve a second time

    jitted = jax.jit(network.step)
    donated = jax.jit(network.step, donate_argnums=1)
    compiled = donated.lower(params, fresh(), here).compile()
    constant = jax.jit(lambda state, inputs: network.step(params, state, inputs), donate_argnums=0)
    unrolled = jax.jit(lambda state, inputs: rnnjax.unroll(network, params, inputs, state), donate_argnums=0)

    def through_numpy(state: Any, inputs: Any) -> tuple[Any, Any]:
        state, output = jitted(params, state, inputs)
        return jax.tree.map(np.asarray, state), output

    def from_numpy(state: Any, inputs: Any) -> tuple[Any, Any]:
        state, output = constant(state, inputs)
        return state, np.asarray(output)

    steps: dict[str, Step] = {
        "not jitted": functools.partial(network.step, params),
        "jitted": functools.partial(jitted, params),
        "state through NumPy": through_numpy,
        "state donated": functools.partial(donated, params),
        "compiled ahead": functools.partial(compiled, params),
        "params constant": constant,
    }
    calls = {way: chained(finished(step), fresh(), here) for way, step in steps.items()}
    calls["data from NumPy"] = chained(from_numpy, fresh(), inputs)
    for count in counts:
        calls[several(count)] = chained(finished(unrolled), fresh(), jnp.stack([here] * count))
    return Programs(calls)


def finished(step: Step) -> Step:
    """The step with its output there when it returns, and so the state, which comes from the same program."""

    def finished_step(state: Any, inputs: Any) -> tuple[Any, Any]:
        state, output = step(state, inputs)
        return state, output.block_until_ready()

    return finished_step


def several(count: int) -> str:
    return f"{count} {STEPS}"


def build_torch(cell: str, hidden: int, counts: list[int]) -> Programs:
    """PyTorch's cell."""
    import torch

    module = {"elman": torch.nn.RNNCell, "gru": torch.nn.GRUCell, "lstm": torch.nn.LSTMCell}[cell](hidden, hidden)
    weights = initial_weights(cell, hidden)
    module.load_state_dict({name.removesuffix("_l0"): torch.from_numpy(weight) for name, weight in weights.items()})

    def step(state: Any, inputs: Any) -> tuple[Any, Any]:
        state = module(inputs, state)
        return state, state[0] if cell == "lstm" else state

    return Programs({STEP: chained(step, None, torch.from_numpy(input_of_a_step(hidden)))}, torch.inference_mode)


def build_numpy(cell: str, hidden: int, counts: list[int]) -> Programs:
    """The equations in NumPy."""
    weights = initial_weights(cell, hidden)
    W, U = (np.ascontiguousarray(weights[name].T) for name in ("weight_ih_l0", "weight_hh_l0"))
    b, c = weights["bias_ih_l0"], weights["bias_hh_l0"]
    both, zero = b + c, np.zeros((1, hidden), np.float32)

    def sigmoid(x: Any) -> Any:
        return 1 / (1 + np.exp(-x))

    def elman(h: Any, x: Any) -> tuple[Any, Any]:
        h = np.tanh(x @ W + h @ U + both)
        return h, h

    def gru(h: Any, x: Any) -> tuple[Any, Any]:
        from_x, from_h = (x @ W + b).reshape(3, 1, hidden), (h @ U + c).reshape(3, 1, hidden)
        r, z = sigmoid(from_x[:2] + from_h[:2])
        h = z * h + (1 - z) * np.tanh(from_x[2] + r * from_h[2])
        return h, h

    def lstm(state: Any, x: Any) -> tuple[Any, Any]:
        h, c = state
        i, f, g, o = (x @ W + h @ U + both).reshape(4, 1, hidden)  # for B = 1; np.split is slower
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        return (h, c), h

    step: Any = {"elman": elman, "gru": gru, "lstm": lstm}[cell]
    return Programs({STEP: chained(step, (zero, zero) if cell == "lstm" else zero, input_of_a_step(hidden))})


# Measuring


def work(library: str) -> None:
    """The worker: builds a library's calls for a cell, and times them on request."""
    if library == "synchronous":
        jax.config.update("jax_cpu_enable_async_dispatch", False)  # before the process's first array
    build = {"torch": build_torch, "numpy": build_numpy}.get(library, build_rnnjax)

    @functools.lru_cache(maxsize=1)
    def prepared(cell: str, hidden: int, counts: tuple[int, ...]) -> Programs:
        return build(cell, hidden, list(counts))

    def answer(cell: str, hidden: int, counts: list[int], way: str = "", repeats: int = 0) -> Record:
        try:
            programs = prepared(cell, hidden, tuple(counts))
        except ModuleNotFoundError as error:
            return {"skipped": f"not installed ({error}): run `make peers`"}
        with programs.context():
            if way:
                samples = sample({way: programs.calls[way]}, repeats)[way]
                return {"samples": [round(seconds, 8) for seconds in samples]}
            return {"outputs": {way: first_outputs(call, hidden) for way, call in programs.calls.items()}}

    serve(answer)


def first_outputs(call: Call, hidden: int) -> list[Any]:
    """The outputs of the first steps, whether a call takes one or several."""
    outputs: list[Any] = []
    while len(outputs) < CHECKED:
        outputs.extend(np.reshape(call(), (-1, hidden)).tolist())
    return outputs[:CHECKED]


def measure(cells: list[str], hidden: int, counts: list[int], rounds: int, repeats: int) -> list[Record]:
    """A record for each way of calling; the libraries take turns."""
    records: list[Record] = []
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker("benchmarks.online", library)) for library in LIBRARIES]
        for cell in tqdm(cells, desc="cells", disable=None):
            ask: dict[str, Any] = {"cell": cell, "hidden": hidden, "counts": counts}
            turns: list[tuple[Worker, Record]] = []
            outputs: list[Record] = []
            for worker in workers:
                label, answer = {"cell": cell, "library": worker.name}, worker.ask(**ask)
                if "skipped" in answer:
                    records.append(label | answer)
                    continue
                outputs.append(answer["outputs"])
                turns += [(worker, label | {"way": way, "rounds": []}) for way in answer["outputs"]]
            assert_equal_values(outputs)
            for _, (worker, record) in itertools.product(range(rounds), turns):
                record["rounds"].append(worker.ask(**ask, way=record["way"], repeats=repeats)["samples"])
            records += [summarize(record, [other for _, other in turns]) for _, record in turns]
    return records


def assert_equal_values(outputs: list[Record]) -> None:
    """Raises unless all ways in all libraries have the same outputs, up to rounding."""
    first = next(iter(outputs[0].values()))
    for way, values in itertools.chain.from_iterable(of_library.items() for of_library in outputs):
        np.testing.assert_allclose(values, first, rtol=0, atol=TOLERANCE, err_msg=f"{way}: other outputs")


def summarize(record: Record, case: list[Record]) -> Record:
    """The record with its median, its 99th percentile, and for a single step its ratios to PyTorch and NumPy."""
    record["median_seconds"] = pooled_median(record["rounds"])
    record["percentile_99_seconds"] = float(np.percentile(np.concatenate(record["rounds"]), 99))
    if not record["way"].endswith(STEPS):
        others = {other["library"]: other for other in case if other["way"] == STEP}
        record["ratio"] = {name: ratio(record["rounds"], other["rounds"]) for name, other in others.items()}
    return record


# Reporting


def report(output: Path, machine: dict[str, Any], records: list[Record]) -> None:
    """Prints the tables; writes them, results.json and the figure."""
    settings = {name: FLAGS[name].value for name in ("cells", *QUICK)}
    finding = find(records)
    results = {"finding": finding, "machine": machine, "settings": settings, "records": records}
    load = f"Load average {machine['load_average_before'][0]:.1f} at the start on {machine['cores']} cores."
    doubt = f"~ marks ratios whose quartiles over rounds are a factor of over {UNSTEADY} apart: too noisy to rely on."
    legend = "Microseconds of one step, median and 99th percentile:"
    reasons = dict.fromkeys(f"{LIBRARIES[r['library']]}: {r['skipped']}" for r in records if "skipped" in r)
    skips = "".join(f"Skipped: {reason}.\n" for reason in reasons)
    straight = "Microseconds of k steps in one call by unroll, and the line through the least and the greatest k:"
    tables = f"{legend}\n\n{table_of_steps(records)}\n\n{straight}\n\n{table_of_calls(records)}"
    text = f"{load} {doubt}\n{tables}\n\n{skips}{finding}\n"
    command.save(output, "online", results, text, draw(records, finding, machine))


def single(records: list[Record]) -> dict[tuple[str, str], dict[str, Record]]:
    """The records of single steps by library and way, then by cell."""
    found: dict[tuple[str, str], dict[str, Record]] = {}
    for record in (record for record in records if "ratio" in record):
        found.setdefault((record["library"], record["way"]), {})[record["cell"]] = record
    return found


def table_of_steps(records: list[Record]) -> str:
    rows = [
        [LIBRARIES[library], way, *itertools.chain.from_iterable(map(microseconds, cells.values()))]
        for (library, way), cells in single(records).items()
    ]
    heads = ["", "", *itertools.chain.from_iterable((cell, "99 %") for cell in FLAGS.cells)]
    return tabulate(rows, heads, colalign=["left", "left", *["right"] * (len(heads) - 2)], disable_numparse=True)


def microseconds(record: Record) -> tuple[str, str]:
    return f"{1e6 * record['median_seconds']:.1f}", f"{1e6 * record['percentile_99_seconds']:.0f}"


class Line(NamedTuple):
    """Microseconds of k steps in one call: ``call + k step``."""

    counts: list[int]
    times: list[float]
    call: float
    step: float


def lines(records: list[Record]) -> dict[tuple[str, str], Line]:
    """By library and cell, what k steps in one call take."""
    found = {}
    counts = sorted({int(count) for count in FLAGS.counts})
    by_way = {(r["library"], r["cell"], r["way"]): r["median_seconds"] for r in records if "way" in r}
    for library, cell in itertools.product((PLAIN[0], BEST[0]), FLAGS.cells):
        times = [1e6 * by_way[library, cell, several(count)] for count in counts]
        step = (times[-1] - times[0]) / (counts[-1] - counts[0])
        found[library, cell] = Line(counts, times, times[0] - counts[0] * step, step)
    return found


def table_of_calls(records: list[Record]) -> str:
    found = lines(records)
    rows = [
        [LIBRARIES[library], cell, *(f"{number:.1f}" for number in (*line.times, line.call, line.step))]
        for (library, cell), line in found.items()
    ]
    heads = ["", "cell", *(f"k = {count}" for count in next(iter(found.values())).counts), "a call", "a step"]
    return tabulate(rows, heads, colalign=["left", "left", *["right"] * (len(heads) - 2)], disable_numparse=True)


def find(records: list[Record]) -> str:
    """The lowest latency, how it stands to the others, and what of it is the call."""
    steps, found = single(records), lines(records)

    def medians(way: tuple[str, str]) -> str:
        return ", ".join(f"{cell} {microseconds(record)[0]}" for cell, record in steps[way].items())

    best = steps[BEST]
    ratios = [
        f"{', '.join(str(record['ratio'][library]) for record in best.values())} times {LIBRARIES[library]}'s time"
        for library in ("torch", "numpy")
        if library in next(iter(best.values()))["ratio"]
    ]
    calls, own = zip(*((found[BEST[0], cell].call, found[BEST[0], cell].step) for cell in best), strict=True)
    return (
        f"One step takes {medians(BEST)} microseconds (synchronous, params constant, state donated): "
        f"{'; '.join(ratios)}.\n"
        f"Merely jitted, dispatched asynchronously, it takes {medians(PLAIN)}. "
        f"Of a synchronous call {min(calls):.1f} to {max(calls):.1f} are the call, "
        f"{min(own):.1f} to {max(own):.1f} the step."
    )


def draw(records: list[Record], finding: str, machine: dict[str, Any]) -> Figure:
    """Left, each way of calling, from the median to the 99th percentile; right, k steps in one call against k."""
    mpl.use("Agg")
    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 6), width_ratios=(3, 2), layout="constrained")
    markers = dict(zip(CELLS, (("o", "white"), ("s", "0.6"), ("^", "black")), strict=True))
    steps = single(records)
    for row, cells in enumerate(steps.values()):
        for shift, (cell, record) in enumerate(cells.items()):
            draw_latency(left, row + 0.25 * (shift - 1), record, markers[cell], cell if row == 0 else None)
    left.set_yticks(range(len(steps)), [f"{LIBRARIES[library]}: {way}" for library, way in steps])
    left.invert_yaxis()
    left.set_xscale("log")
    left.xaxis.set_major_formatter("{x:g}")
    left.legend(frameon=False, ncols=len(markers), loc="lower left", bbox_to_anchor=(0, 1))
    left.set_xlabel("microseconds of one step: mark, median; end of line, 99th percentile")
    for (library, cell), line in lines(records).items():
        marker, face = markers[cell]
        style = {"marker": marker, "markerfacecolor": face, "linestyle": "-" if library == BEST[0] else ":"}
        right.plot(
            line.counts,
            line.times,
            color="black",
            label=f"{cell}, {LIBRARIES[library].removeprefix('rnnjax, ')}",
            **style,
        )
    right.set_xscale("log")
    right.set_yscale("log")
    right.set_xticks(line.counts, map(str, line.counts))
    right.minorticks_off()
    right.yaxis.set_major_formatter("{x:g}")
    right.legend(frameon=False)
    right.set_xlabel("k, steps in one call of unroll")
    right.set_ylabel("microseconds of the call (median)")
    for axis in (left, right):
        axis.grid(color="0.9")
        axis.set_axisbelow(True)
    shape = f"B = 1, H = I = {FLAGS.hidden}. {machine['processor']}, {machine['cores']} cores."
    figure.suptitle(f"{finding}\n{shape}", fontsize=9)
    return figure


def draw_latency(axis: Any, place: float, record: Record, marker: tuple[str, str], label: str | None) -> None:
    middle, high = 1e6 * record["median_seconds"], 1e6 * record["percentile_99_seconds"]
    axis.hlines(place, middle, high, color="0.5", linewidth=1)
    shape, face = marker
    axis.plot(middle, place, shape, color="black", markerfacecolor=face, markersize=5, label=label)


if __name__ == "__main__":
    app.run(main)
