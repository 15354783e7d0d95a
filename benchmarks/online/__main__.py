"""How long does one online step take, from state and input to new state and output, and what of it is the call?

    python -m benchmarks.online
    python -m benchmarks.online --quick
    python -m benchmarks.online --cells=lstm --hidden=64 --counts=1,50 --output=runs/benchmarks/online_lstm

B = 1, each step from where the last one ended, against PyTorch's cells under ``inference_mode`` and a step written in
NumPy, all with the same weights: the run fails unless the first outputs agree. Then k steps in one call by ``unroll``,
which tells what a call costs from what a step costs. "State donated" and "compiled ahead" differ by the latter alone;
"params constant" donates the state, too; "data from NumPy" is that with inputs from NumPy and outputs to it.

What to do for the lowest latency, and what it gave with H = 128 (microseconds for Elman, GRU and LSTM, two CPU cores):

- ``jax.jit`` the step: 390, 720 and 710 without, 9, 13 and 14 with it.
- ``jax.config.update("jax_cpu_enable_async_dispatch", False)`` before the first array: the program then runs in the
  thread that calls it. By default a program of some size is handed to another one, and a jitted step takes 100.
- Keep the state as JAX has it: 5 to 8 more where each step takes it to NumPy and back.
- Donate the state (``donate_argnums``): up to 1 less.
- Let the params be constants of the program, a closure instead of an argument: another 1 less. It is compiled anew
  where they change.
- ``.lower(...).compile()`` makes the first step as fast as the others, as does calling the jitted step once beforehand;
  no call is faster for it.
- Inputs from NumPy and outputs to NumPy cost 2.
- About 8 are the call, whatever is in it: where more inputs are there already, give them to one ``unroll``, which takes
  0.9, 2.6 and 3.3 a step. A step in NumPy has no such call: 4, 13 and 15.
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
import numpy as np
from absl import app, flags
from tqdm import tqdm

import rnnjax
from benchmarks.common import command
from benchmarks.common.measure import UNSTEADY, Call, Worker, describe_machine, pooled_median, ratio, sample, serve
from benchmarks.online.report import LIBRARIES, STEP, STEPS, Record, draw, several, texts
from rnnjax.adapters.torch import GATES, from_torch
from rnnjax.names import lookup

CELLS: dict[str, Callable[[int], rnnjax.Cell]] = {
    "elman": rnnjax.elman,
    "gru": functools.partial(rnnjax.gru, reset="after"),
    "lstm": rnnjax.lstm,
}
"""The cells that PyTorch has, too."""

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
    report(output, machine, records, counts)


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


def report(output: Path, machine: dict[str, Any], records: list[Record], counts: list[int]) -> None:
    """Prints the tables; writes them, results.json and the figure."""
    tables, finding = texts(records, counts)
    settings = {name: FLAGS[name].value for name in ("cells", *QUICK)}
    results = {"finding": finding, "machine": machine, "settings": settings, "records": records}
    load = f"Load average {machine['load_average_before'][0]:.1f} at the start on {machine['cores']} cores."
    doubt = f"~ marks ratios whose quartiles over rounds are a factor of over {UNSTEADY} apart: too noisy to rely on."
    text = f"{load} {doubt}\n{tables}{finding}\n"
    shape = f"B = 1, H = I = {FLAGS.hidden}. {machine['processor']}, {machine['cores']} cores."
    command.save(output, "online", results, text, draw(records, counts, f"{finding}\n{shape}"))


if __name__ == "__main__":
    app.run(main)
