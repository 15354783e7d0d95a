"""Measures how much memory one gradient needs, and how long it takes, in a process that does nothing else."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from tqdm import tqdm

import rnnjax
from benchmarks.common.device import Device
from benchmarks.common.measure import sample
from benchmarks.common.worker import Answer, serve, workers
from benchmarks.common.workload import sum_of_squares

CHUNK = 100

Record = dict[str, Any]
"""One method at one length: mean ``seconds``, and bytes.

``temporary_bytes`` is XLA's account, ``peak_bytes`` what the function of that name gives, ``baseline_bytes`` the same
before there were inputs, ``input_bytes`` the size of the inputs.
"""


def of_unroll(loss: Callable[[Any, Array], Array], **options: Any) -> Callable[[rnnjax.Cell], Callable[..., Any]]:
    """A function from a cell to the gradient of ``loss(final state, outputs)``."""

    def gradient(cell: rnnjax.Cell) -> Callable[..., Any]:
        return jax.grad(lambda params, inputs: loss(*rnnjax.unroll(cell, params, inputs, **options)))

    return gradient


def final(state: Any, outputs: Array) -> Array:
    return sum((jnp.sum(leaf**2) for leaf in jax.tree.leaves(state)), start=jnp.zeros(()))


def all_outputs(state: Any, outputs: Array) -> Array:
    return sum_of_squares(outputs)


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


def measure(lengths: list[int], device: Device, **shape: Any) -> list[Record]:
    """Every method at every length, each in a fresh process; ``shape`` is the cell's name, batch and hidden width."""
    records = []
    for steps, method in tqdm([(steps, method) for steps in lengths for method in METHODS], disable=None):
        with workers("benchmarks.memory.measure", [method], device) as (worker,):
            records.append({"method": method, "steps": steps} | worker.ask(steps=steps, **shape))
    least = step_seconds(records[0])
    return [record | {"step_ratio": step_seconds(record) / least} for record in records]


def step_seconds(record: Record) -> float:
    seconds: float = record["seconds"] / record["steps"]
    return seconds


# The worker


def gradient(method: str, cell: str, steps: int, batch: int, hidden: int) -> Record:
    """The record of one method at one length, still without its comparisons with others."""
    network = rnnjax.cell_named(cell)(hidden)
    params = jax.block_until_ready(network.init(jax.random.key(0), hidden))
    baseline = peak_bytes()
    keys = jax.random.split(jax.random.key(1), steps)
    inputs = jax.lax.map(lambda key: jax.random.normal(key, (batch, hidden)), keys)  # needs no memory beyond their own
    compiled = jax.jit(METHODS[method](network)).lower(params, inputs).compile()
    account = compiled.memory_analysis()
    assert account
    repeats = max(2, 40_000 // steps)
    seconds = sample({"gradient": lambda: jax.block_until_ready(compiled(params, inputs))}, repeats)["gradient"]
    return {
        "temporary_bytes": account.temp_size_in_bytes,
        "peak_bytes": peak_bytes(),
        "baseline_bytes": baseline,
        "input_bytes": inputs.nbytes,
        "seconds": sum(seconds) / repeats,  # a median would leave out more of the noise where calls are short
    }


def peak_bytes() -> int:
    """The most bytes that the device has given out to this process; on a CPU, what the process has had resident.

    The latter is known on Linux. What ``getrusage`` gives as ``ru_maxrss`` would count the parent's memory, too, where
    that is more.
    """
    statistics = jax.devices()[0].memory_stats()
    if statistics:
        return int(statistics["peak_bytes_in_use"])
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def work(method: str, device: Device) -> Answer:
    return partial(gradient, method)


if __name__ == "__main__":
    serve(work)
