"""Every library has a worker that builds its calls, checks their outputs, and times them in turns."""

import functools
import itertools
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from benchmarks.common.device import Device, UnavailableError
from benchmarks.common.measure import Call, pooled_median, ratio, sample
from benchmarks.common.worker import Answer, Worker, serve, workers
from benchmarks.online.steps import LIBRARIES, STEP, STEPS, Programs, build_numpy, build_rnnjax, build_torch

CHECKED = 5  # steps whose outputs are compared
TOLERANCE = 1e-5

Record = dict[str, Any]
"""A cell and library: either ``skipped``, a reason, or a ``way`` of calling and its ``rounds`` of seconds.

The latter has a median, a 99th percentile and ratios, too, once it is summarized.
"""


def measure(
    cells: list[str], hidden: int, counts: list[int], device: Device, rounds: int, repeats: int
) -> list[Record]:
    """A record for each way of calling; the libraries take turns."""
    records: list[Record] = []
    with workers("benchmarks.online.measure", list(LIBRARIES), device) as crew:
        for cell in tqdm(cells, desc="cells", disable=None):
            ask: dict[str, Any] = {"cell": cell, "hidden": hidden, "counts": counts}
            turns: list[tuple[Worker, Record]] = []
            outputs: list[Record] = []
            for worker in crew:
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


# The worker


def work(library: str, device: Device) -> Answer:
    """Builds a library's calls for a cell, and times them on request."""
    if library == "synchronous":
        if not device.on_cpu:
            raise UnavailableError(f"only programs for a CPU can be dispatched synchronously, JAX found {device}")
        jax.config.update("jax_cpu_enable_async_dispatch", False)  # before the process's first array
    build = {"torch": build_torch, "numpy": build_numpy}.get(library, build_rnnjax)

    @functools.lru_cache(maxsize=1)
    def prepared(cell: str, hidden: int, counts: tuple[int, ...]) -> Programs:
        return build(cell, hidden, list(counts), device)

    def answer(cell: str, hidden: int, counts: list[int], way: str = "", repeats: int = 0) -> Record:
        programs = prepared(cell, hidden, tuple(counts))
        with programs.context():
            if way:
                samples = sample({way: programs.calls[way]}, repeats)[way]
                return {"samples": [round(seconds, 8) for seconds in samples]}
            return {"outputs": {way: first_outputs(call, hidden) for way, call in programs.calls.items()}}

    return answer


def first_outputs(call: Call, hidden: int) -> list[Any]:
    """The outputs of the first steps, whether a call takes one or several."""
    outputs: list[Any] = []
    while len(outputs) < CHECKED:
        outputs.extend(np.reshape(call(), (-1, hidden)).tolist())
    return outputs[:CHECKED]


if __name__ == "__main__":
    serve(work)
