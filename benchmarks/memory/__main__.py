"""How much memory does a gradient through time need, plain, with recomputation, and truncated?

    python -m benchmarks.memory
    python -m benchmarks.memory --quick
    python -m benchmarks.memory --cell=gru --steps=1000,4000,16000,64000 --batch=8 --hidden=64

Each point is a process of its own, which does nothing but compile and run one gradient: the most memory that it ever
had resident, what it had before the inputs were there, and XLA's own account of the program's temporary memory. The
loss reads the final state, so that what grows with T beyond the inputs is what is kept for the backward pass; once it
reads all outputs, to show what those add.
"""

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from jax import Array
from tabulate import tabulate
from tqdm import tqdm

import rnnjax
from benchmarks.common import command
from benchmarks.common.measure import Worker, describe_machine, sample, serve

CHUNK = 100
QUICK = {"steps": ["100", "400"], "batch": 2, "hidden": 8}
MB = 10**6
TARGET_MB = 600  # resident at most, with Python, jax and the inputs
TARGET_TIME = 1.4  # times the plain gradient's time per step at the least T

flags.DEFINE_string("cell", "lstm", "A cell by rnnjax's name.")
flags.DEFINE_list("steps", ["1000", "10000", "100000"], "T, several of them; times are compared with the least.")
flags.DEFINE_integer("batch", 1, "B.", lower_bound=1)
flags.DEFINE_integer("hidden", 128, "H, and the width of the inputs.", lower_bound=1)
command.define_flags("memory", QUICK)
flags.DEFINE_string("worker", None, "Be the process of this method, answering the requests on standard input.")
FLAGS = flags.FLAGS

Record = dict[str, Any]
"""One method at one length: mean ``seconds``, and bytes.

``temporary_bytes`` by XLA's account; ``peak_bytes``, the most resident in the process; ``baseline_bytes``, the most
before there were inputs; ``input_bytes``.
"""


def main(argv: list[str]) -> None:
    if FLAGS.worker:
        serve(lambda **request: measure(FLAGS.worker, **request))
        return
    command.apply_quick("memory", QUICK)
    with command.refusals("memory"):
        rnnjax.cell_named(FLAGS.cell)
        if not all(steps.isdecimal() and int(steps) >= CHUNK // 2 for steps in FLAGS.steps):
            raise ValueError(f"--steps is {','.join(FLAGS.steps)}: expected whole numbers of at least {CHUNK // 2}")
        lengths = sorted({int(steps) for steps in FLAGS.steps})
        output = command.output_folder(argv)

    machine = describe_machine(["rnnjax", "jax", "jaxlib", "numpy"])
    points = [(method, steps) for steps in lengths for method in METHODS]
    report(output, machine, [point(*each) for each in tqdm(points, disable=None)])


# Measuring


def of_unroll(loss: Callable[[Any, Array], Array], **options: Any) -> Callable[[rnnjax.Cell], Callable[..., Any]]:
    """From a cell, the gradient of ``loss(final state, outputs)``."""

    def gradient(cell: rnnjax.Cell) -> Callable[..., Any]:
        return jax.grad(lambda params, inputs: loss(*rnnjax.unroll(cell, params, inputs, **options)))

    return gradient


def final(state: Any, outputs: Array) -> Array:
    return sum((jnp.sum(leaf**2) for leaf in jax.tree.leaves(state)), start=jnp.zeros(()))


def all_outputs(state: Any, outputs: Array) -> Array:
    return jnp.sum(outputs**2)


def truncated(cell: rnnjax.Cell) -> Callable[..., Any]:
    def gradient(params: Any, inputs: Array) -> Any:
        every = next(chunk for chunk in range(CHUNK, 0, -1) if len(inputs) % chunk == 0)
        loss = lambda outputs, _: jnp.sum(outputs[-1] ** 2)  # noqa: E731
        return rnnjax.truncated_gradient(cell, params, inputs, (), loss, every=every, through=every)[2]

    return gradient


PLAIN, ROOT, ROOT_ALL = "plain", "remat='sqrt'", "remat='sqrt', loss of all outputs"
METHODS: dict[str, Callable[[rnnjax.Cell], Callable[..., Any]]] = {
    PLAIN: of_unroll(final),
    f"remat={CHUNK}": of_unroll(final, remat=CHUNK),
    ROOT: of_unroll(final, remat="sqrt"),
    ROOT_ALL: of_unroll(all_outputs, remat="sqrt"),
    f"truncated to {CHUNK}": truncated,
}


def point(method: str, steps: int) -> Record:
    """One measurement in a fresh process."""
    with Worker("benchmarks.memory", method) as worker:
        answer = worker.ask(cell=FLAGS.cell, steps=steps, batch=FLAGS.batch, hidden=FLAGS.hidden)
    return {"method": method, "steps": steps} | answer


def measure(method: str, cell: str, steps: int, batch: int, hidden: int) -> Record:
    """The worker's side."""
    network = rnnjax.cell_named(cell)(hidden)
    params = jax.block_until_ready(network.init(jax.random.key(0), hidden))
    baseline = peak_resident()
    keys = jax.random.split(jax.random.key(1), steps)
    inputs = jax.lax.map(lambda key: jax.random.normal(key, (batch, hidden)), keys)  # no more memory than their own
    compiled = jax.jit(METHODS[method](network)).lower(params, inputs).compile()
    account = compiled.memory_analysis()
    assert account
    repeats = max(2, 40_000 // steps)
    seconds = sample({"gradient": lambda: jax.block_until_ready(compiled(params, inputs))}, repeats)["gradient"]
    return {
        "temporary_bytes": account.temp_size_in_bytes,
        "peak_bytes": peak_resident(),
        "baseline_bytes": baseline,
        "input_bytes": inputs.nbytes,
        "seconds": sum(seconds) / repeats,  # a median would leave out more of the noise where calls are short
    }


def peak_resident() -> int:
    """The most bytes that this process has had in memory.

    On Linux; what ``getrusage`` gives as ``ru_maxrss`` would count the parent's memory, too, where that is more.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


# Reporting


def report(output: Path, machine: dict[str, Any], records: list[Record]) -> None:
    """Prints the table; writes it, results.json and the figure."""
    settings = {"cell": FLAGS.cell, "batch": FLAGS.batch, "hidden": FLAGS.hidden}
    records = [record | {"step_ratio": step_seconds(record) / step_seconds(records[0])} for record in records]
    finding = f"{judge(records)}\n{find(records)}"
    results = {"finding": finding, "machine": machine, "settings": settings, "records": records}
    text = f"Memory in MB (10^6 bytes).\n\n{table(records)}\n\n{finding}\n"
    command.save(output, "memory", results, text, draw(records, finding))


def step_seconds(record: Record) -> float:
    return record["seconds"] / record["steps"]


def table(records: list[Record]) -> str:
    heads = ["method", "T", "peak resident", "before inputs", "inputs", "temporary", "us a step", "/ plain, least T"]
    kinds = ("peak_bytes", "baseline_bytes", "input_bytes", "temporary_bytes")
    rows = [
        [
            record["method"],
            record["steps"],
            *(f"{record[kind] / MB:.{int(record[kind] < 100 * MB)}f}" for kind in kinds),
            f"{1e6 * step_seconds(record):.1f}",
            f"{record['step_ratio']:.2f}",
        ]
        for record in sorted(records, key=lambda record: list(METHODS).index(record["method"]))
    ]
    return tabulate(rows, heads, colalign=("left", *["right"] * 7), disable_numparse=True)


def judge(records: list[Record]) -> str:
    """Which methods meet the targets of memory and time at the greatest length."""
    least, greatest = records[0]["steps"], records[-1]["steps"]
    verdicts: dict[str, list[str]] = {"Met by": [], "Missed by": []}
    for record in (record for record in records if record["steps"] == greatest):
        met = record["peak_bytes"] < TARGET_MB * MB and record["step_ratio"] <= TARGET_TIME
        numbers = f"{record['peak_bytes'] / MB:.0f} MB, {record['step_ratio']:.2f}"
        verdicts["Met by" if met else "Missed by"].append(f"{record['method']} ({numbers})")
    goal = f"under {TARGET_MB} MB resident, a step at most {TARGET_TIME} times plain's at T = {least}"
    lines = [f"{verdict}: {'; '.join(methods)}." for verdict, methods in verdicts.items() if methods]
    return "\n".join([f"Target at T = {greatest}: {goal}.", *lines])


def find(records: list[Record]) -> str:
    """How memory grows with T: the slopes on doubly logarithmic axes, between the two greatest lengths."""
    slopes = []
    for method in METHODS:
        ours = [record for record in records if record["method"] == method]
        if len(ours) > 1:
            (t, low), (u, high) = ((r["steps"], r["temporary_bytes"]) for r in ours[-2:])
            slopes.append(f"{method} T^{np.log(high / low) / np.log(u / t):.2f}")
    last = {record["method"]: record for record in records}
    less = last[PLAIN]["temporary_bytes"] / last[ROOT]["temporary_bytes"]
    growth = f" Growth: {'; '.join(slopes)}." if slopes else ""
    return f"Temporary memory with remat='sqrt' is 1/{less:.0f} of plain's.{growth}"


def draw(records: list[Record], finding: str) -> Any:
    """The peak against T, with what all have in common; and the temporary memory, on log axes."""
    import matplotlib as mpl  # not above: the workers' memory is to hold nothing that a gradient does not need
    import matplotlib.pyplot as plt

    mpl.use("Agg")
    figure, (peak, temporary) = plt.subplots(1, 2, figsize=(11, 5.5), layout="constrained")
    for (method, marker), style in zip(zip(METHODS, "os^vD", strict=True), ("-", "--", "-.", ":", "-"), strict=True):
        ours = [record for record in records if record["method"] == method]
        for axis, key in ((peak, "peak_bytes"), (temporary, "temporary_bytes")):
            steps, sizes = [record["steps"] for record in ours], [record[key] / MB for record in ours]
            shade = "grey" if method == ROOT_ALL else "black"
            axis.plot(steps, sizes, marker=marker, linestyle=style, color=shade, markerfacecolor="white", label=method)
    inputs = sorted({(record["steps"], record["input_bytes"] / MB) for record in records})
    temporary.plot(*zip(*inputs, strict=True), color="grey", linewidth=1, label="the inputs themselves")
    peak.axhline(TARGET_MB, color="black", linewidth=1)
    peak.text(inputs[0][0], TARGET_MB, f"target {TARGET_MB}", va="bottom")
    baseline = float(np.median([record["baseline_bytes"] for record in records])) / MB
    peak.axhspan(0, baseline, color="0.9", label="Python, jax and params, before the inputs")
    peak.set(ylim=(0, None), ylabel="most memory resident in the process (MB)")
    temporary.set(yscale="log", ylabel="temporary memory of the gradient's program (MB)")
    for axis in (peak, temporary):
        axis.set(xscale="log", xlabel="T, time steps")
        axis.legend(frameon=False, fontsize=8)
    lines = f"{finding}\n{FLAGS.cell}, B = {FLAGS.batch}, H = {FLAGS.hidden}".splitlines()
    figure.suptitle("\n".join(textwrap.fill(line, 150) for line in lines), fontsize=9)
    return figure


if __name__ == "__main__":
    app.run(main)
