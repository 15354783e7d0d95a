"""How much memory does a gradient through time need, plain, with recomputation, and truncated?

    python -m benchmarks.memory
    python -m benchmarks.memory --quick
    python -m benchmarks.memory --cell=gru --steps=1000,10000,100000 --batch=1 --hidden=128

The loss reads the final state, so that what grows with T beyond the inputs is what is kept for the backward pass. Each
point is a process of its own: XLA's own account of the temporary memory of the program, and the resident memory that
the process gained by running it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from absl import app, flags
from jax import Array
from matplotlib.figure import Figure
from tabulate import tabulate
from tqdm import tqdm

import rnnjax
from benchmarks import command
from benchmarks.measure import Worker, describe_machine, sample, serve

CHUNK = 100
QUICK = {"steps": ["100", "400"], "batch": 2, "hidden": 8}
MIB = 2**20

flags.DEFINE_string("cell", "lstm", "A cell by rnnjax's name.")
flags.DEFINE_list("steps", ["1000", "4000", "16000", "64000"], "T, several of them.")
flags.DEFINE_integer("batch", 8, "B.", lower_bound=1)
flags.DEFINE_integer("hidden", 64, "H, and the width of the inputs.", lower_bound=1)
command.define_flags("memory", QUICK)
flags.DEFINE_string("worker", None, "Be the process of this method, answering the requests on standard input.")
FLAGS = flags.FLAGS

Record = dict[str, Any]
"""One method at one length: ``temporary_bytes`` by XLA's account, ``resident_bytes`` gained, ``seconds``."""


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
    report(output, machine, [point(method, steps) for steps in tqdm(lengths, disable=None) for method in METHODS])


# Measuring


def of_unroll(cell: rnnjax.Cell, **options: Any) -> Callable[..., Any]:
    def loss(params: Any, inputs: Array) -> Array:
        state, _ = rnnjax.unroll(cell, params, inputs, **options)
        return sum((jnp.sum(leaf**2) for leaf in jax.tree.leaves(state)), start=jnp.zeros(()))

    return jax.grad(loss)


def truncated(cell: rnnjax.Cell) -> Callable[..., Any]:
    def gradient(params: Any, inputs: Array) -> Any:
        every = next(chunk for chunk in range(CHUNK, 0, -1) if len(inputs) % chunk == 0)
        loss = lambda outputs, _: jnp.sum(outputs[-1] ** 2)  # noqa: E731
        return rnnjax.truncated_gradient(cell, params, inputs, (), loss, every=every, through=every)[2]

    return gradient


METHODS: dict[str, Callable[[rnnjax.Cell], Callable[..., Any]]] = {
    "plain": of_unroll,
    f"remat={CHUNK}": lambda cell: of_unroll(cell, remat=CHUNK),
    "remat='sqrt'": lambda cell: of_unroll(cell, remat="sqrt"),
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
    params = network.init(jax.random.key(0), hidden)
    inputs = jax.random.normal(jax.random.key(1), (steps, batch, hidden))
    compiled = jax.jit(METHODS[method](network)).lower(params, inputs).compile()
    account = compiled.memory_analysis()
    assert account
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far (Linux)
    before = peak_resident()
    jax.block_until_ready(compiled(params, inputs))
    gained = peak_resident() - before
    seconds = sample({"gradient": lambda: jax.block_until_ready(compiled(params, inputs))}, 3)["gradient"]
    return {
        "temporary_bytes": account.temp_size_in_bytes,
        "resident_bytes": gained,
        "input_bytes": inputs.nbytes,
        "seconds": float(np.median(seconds)),
    }


def peak_resident() -> int:
    """The most bytes that this process has had in memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


# Reporting


def report(output: Path, machine: dict[str, Any], records: list[Record]) -> None:
    """Prints the table; writes it, results.json and the figure."""
    settings = {"cell": FLAGS.cell, "batch": FLAGS.batch, "hidden": FLAGS.hidden}
    finding = find(records)
    results = {"finding": finding, "machine": machine, "settings": settings, "records": records}
    heads = ["method", "T", "temporary MiB", "resident MiB gained", "microseconds a step"]
    rows = [
        [
            record["method"],
            record["steps"],
            f"{record['temporary_bytes'] / MIB:.2f}",
            f"{record['resident_bytes'] / MIB:.1f}",
            f"{1e6 * record['seconds'] / record['steps']:.1f}",
        ]
        for record in sorted(records, key=lambda record: list(METHODS).index(record["method"]))
    ]
    text = f"{tabulate(rows, heads, colalign=('left', *['right'] * 4), disable_numparse=True)}\n\n{finding}\n"
    command.save(output, "memory", results, text, draw(records, finding))


def find(records: list[Record]) -> str:
    """How memory grows with T: the slopes on doubly logarithmic axes, between the two greatest lengths."""
    parts = []
    for method in METHODS:
        ours = [record for record in records if record["method"] == method]
        if len(ours) > 1:
            (t, low), (u, high) = ((r["steps"], r["temporary_bytes"]) for r in ours[-2:])
            parts.append(f"{method}: T^{np.log(high / low) / np.log(u / t):.2f}")
    last = {record["method"]: record for record in records}
    plain, root = (last[method] for method in ("plain", "remat='sqrt'"))
    less = plain["temporary_bytes"] / root["temporary_bytes"]
    slower = root["seconds"] / plain["seconds"]
    return (
        f"At T = {plain['steps']}, recomputation in chunks of sqrt(T) needs 1/{less:.0f} of the memory "
        f"and {slower:.2f} times the time." + (f"\nMemory grows as: {', '.join(parts)}." if parts else "")
    )


def draw(records: list[Record], finding: str) -> Figure:
    """Memory against T, both on log axes, with the slopes of T and sqrt(T) to compare with."""
    mpl.use("Agg")
    figure, axis = plt.subplots(figsize=(7.5, 5))
    for (method, marker), style in zip(zip(METHODS, "os^D", strict=True), ("-", "--", "-.", ":"), strict=True):
        ours = [record for record in records if record["method"] == method]
        steps, sizes = ([record[key] for record in ours] for key in ("steps", "temporary_bytes"))
        axis.plot(steps, [size / MIB for size in sizes], marker=marker, linestyle=style, color="black", label=method)
    inputs = sorted({(record["steps"], record["input_bytes"] / MIB) for record in records})
    axis.plot(*zip(*inputs, strict=True), color="grey", linewidth=1, label="the inputs themselves")
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel("T, time steps")
    axis.set_ylabel("temporary memory of the gradient's program (MiB)")
    axis.legend(frameon=False)
    axis.set_title(f"{finding}\n{FLAGS.cell}, B = {FLAGS.batch}, H = {FLAGS.hidden}", fontsize=9)
    figure.tight_layout()
    return figure


if __name__ == "__main__":
    app.run(main)
