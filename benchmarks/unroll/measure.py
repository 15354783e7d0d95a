"""Every library builds its programs in a worker, and the workers take turns to time them."""

import functools
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tqdm import tqdm

from benchmarks.common.device import Device
from benchmarks.common.measure import elapsed, pooled_median, ratio, sample
from benchmarks.common.worker import Answer, Worker, serve, workers
from benchmarks.common.workload import FORWARD, GRADIENT
from benchmarks.unroll import peers
from benchmarks.unroll.peers.layer import FLOW, Shape

FEWEST_ROUNDS = 5  # however long they take
MOST_REPEATS = 20  # however short they are

Record = dict[str, Any]
"""One library on one cell and shape: either ``skipped``, a reason, or ``first_seconds`` and ``rounds`` by program."""


def measure(
    libraries: list[str], cases: list[tuple[str, Shape]], device: Device, rounds: int, seconds: float
) -> list[Record]:
    """One record for each library on each case."""
    records: list[Record] = []
    with workers("benchmarks.unroll.measure", libraries, device) as crew:
        for cell, shape in tqdm(cases, desc="cells and shapes", unit="case", disable=None):
            case = prepare(crew, cell, shape)
            turns = turns_of(case)
            start = time.perf_counter()
            for done in range(rounds):
                if done >= FEWEST_ROUNDS and time.perf_counter() - start > seconds:
                    break
                take_turns(crew, case, turns, seconds / rounds / len(turns))
            records.extend(summarize(record, case["rnnjax"]) for record in case.values())
    return records


def prepare(crew: list[Worker], cell: str, shape: Shape) -> dict[str, Record]:
    """Records without samples: libraries build their programs, several at a time, and first call them, one by one."""
    case: dict[str, Record] = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        builds = list(pool.map(lambda worker: worker.ask(task="build", cell=cell, shape=shape), crew))
    for worker, built in zip(crew, builds, strict=True):
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
    crew: list[Worker], case: dict[str, Record], turns: list[tuple[str, str, list[str]]], seconds: float
) -> None:
    """One round: appends each turn's samples to its library's record."""
    by_name = {worker.name: worker for worker in crew}
    for library, place, programs in turns:
        record = case[library]
        label = {"cell": record["cell"], "shape": record["shape"]}
        answer = by_name[library].ask(task="take_turn", programs=programs, seconds=seconds, **label)
        for program, samples in answer["samples"].items():
            record[place][program].append(samples)


def summarize(record: Record, own: Record) -> Record:
    """The record with medians, ratios to rnnjax, compile times, and the cost of its gradient flow beside a gradient."""
    if "skipped" in record:
        return record
    record |= {"median_seconds": {}, "ratio": {}}
    for program, rounds in record["rounds"].items():
        record["median_seconds"][program] = pooled_median(rounds)
        record["ratio"][program] = ratio(rounds, own["rounds"][program])
    if "flow_rounds" in record:
        flow = record["flow_rounds"][FLOW]
        record["median_seconds"][FLOW] = pooled_median(flow)
        record["ratio"][FLOW] = ratio(flow, own["flow_rounds"][FLOW])
        record["flow_overhead"] = ratio(flow, own["flow_rounds"][GRADIENT])
    if record["library"] in ("rnnjax", *peers.JAX_PEERS):
        steady = record["median_seconds"]
        record["compile_seconds"] = {name: record["first_seconds"][name] - steady[name] for name in steady}
    return record


# The worker


def work(library: str, device: Device) -> Answer:
    """Builds a library's programs for a cell and shape, and times them on request."""
    built = functools.lru_cache(maxsize=1)(functools.partial(peers.build, library, device=device))
    steady: dict[str, float] = {}

    def build(cell: str, shape: Shape) -> Record:
        return {"programs": list(built(cell, shape).calls)}

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
    return lambda task, cell, shape, **settings: tasks[task](cell, Shape(*shape), **settings)


if __name__ == "__main__":
    serve(work)
