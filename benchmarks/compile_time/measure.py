"""Each depth is compiled and run in a fresh process, which does nothing else."""

import statistics
import time
from functools import partial
from typing import Any

import jax
from tqdm import tqdm

import rnnjax
from benchmarks.common.device import Device
from benchmarks.common.measure import ratio, sample
from benchmarks.common.worker import Answer, serve, workers
from benchmarks.common.workload import gradient_of, params_and_inputs

WAYS = {
    "stack": "stack(cell, ..., cell)",
    "stack + repeat": "stack(cell, repeat(cell, n - 1))",
    "repeat": "repeat(cell, n)",
}

Record = dict[str, Any]
"""One way of making a network at one depth: seconds of every round to ``compile`` and to ``run``, and their ratios.

``compile_ratio`` compares with the stack of the least depth, ``processor_ratio`` does so by processor time,
``compile_growth`` compares with the same way at the least depth, ``run_ratio`` with the stack of the same depth.
"""


def measure(depths: list[int], device: Device, rounds: int, **shape: Any) -> list[Record]:
    """A record for every way at every depth, which are measured in turns. ``shape`` is the cell's name, T, B and H."""
    points = [(way, depth) for depth in depths for way in WAYS]
    answers: dict[tuple[str, int], list[Record]] = {point: [] for point in points}
    for way, depth in tqdm(points * rounds, disable=None):
        with workers("benchmarks.compile_time.measure", [way], device) as (worker,):
            answers[way, depth].append(worker.ask(depth=depth, **shape))

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


# The worker


def compile_and_run(way: str, cell: str, depth: int, hidden: int, steps: int, batch: int) -> Record:
    """Seconds to trace, lower and compile a gradient, by the clock and of processor time, and seconds to run it."""
    network = build(way, [rnnjax.cell_named(cell)(hidden) for _ in range(depth)])
    params, inputs = params_and_inputs(network, steps, batch, hidden)
    start, processor_start = time.perf_counter(), time.process_time()
    compiled = gradient_of(network).lower(params, inputs).compile()
    to_compile, processor = time.perf_counter() - start, time.process_time() - processor_start
    samples = sample({"run": lambda: jax.block_until_ready(compiled(params, inputs))}, 5)["run"]
    return {"compile": to_compile, "processor": processor, "run": statistics.median(samples)}


def build(way: str, cells: list[rnnjax.Cell]) -> rnnjax.Cell:
    """A network of these cells, which are all the same."""
    if way == "stack":
        return rnnjax.stack(*cells)
    if way == "repeat":
        return rnnjax.repeat(cells[0], len(cells))
    return rnnjax.stack(cells[0], rnnjax.repeat(cells[1], len(cells) - 1))


def work(way: str, device: Device) -> Answer:
    return partial(compile_and_run, way)


if __name__ == "__main__":
    serve(work)
