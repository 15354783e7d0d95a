"""Every way has a loop in a process of its own; they take turns in answering samples, one after the other."""

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.common.device import ROOT, Device, environment
from benchmarks.common.measure import pooled_median, ratio
from benchmarks.streaming.steps import OURS, WAYS

CHECKED = 20
"""Samples that are answered before any is timed, and whose answers are compared."""

TOLERANCE = 1e-5

CPU = Device("cpu", "cpu", 1, False)
"""The device that answers one sample at a time, whatever other devices there are."""

Loop = subprocess.Popen[str]

Record = dict[str, Any]
"""A cell, its width and a way: either ``skipped``, a reason, or rounds of seconds: of ``lines`` and of ``steps``."""


def measure(cells: Sequence[str], sizes: Sequence[int], rounds: int, repeats: int) -> list[Record]:
    """A record for each cell, width and way."""
    records: list[Record] = []
    for cell, hidden in tqdm(list(itertools.product(cells, sizes)), desc="cells and sizes", disable=None):
        case: list[Record] = [{"cell": cell, "hidden": hidden, "way": way} for way in WAYS]
        with loops(case) as running:
            measured = [(loop, record) for loop, record in zip(running, case, strict=True) if started(loop, record)]
            told = {record["way"]: turn(loop, CHECKED)[1] for loop, record in measured}
            assert_equal_answers(told)
            for _, (loop, record) in itertools.product(range(rounds), measured):
                record.setdefault("lines", []).append(turn(loop, repeats)[0])
            for loop, record in measured:
                steps = ended(loop)[CHECKED:]
                record["steps"] = [steps[place : place + repeats] for place in range(0, len(steps), repeats)]
        summarize([record for _, record in measured])
        records += case
    return records


@contextmanager
def loops(case: Sequence[Record]) -> Iterator[list[Loop]]:
    """A process for each record. Ctrl-C reaches the parent alone; the processes end with their standard input."""
    started = []
    for record in case:
        words = [
            sys.executable,
            "-m",
            "benchmarks.streaming.loop",
            record["way"],
            record["cell"],
            str(record["hidden"]),
        ]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "start_new_session": True}
        started.append(subprocess.Popen(words, text=True, cwd=ROOT, env=environment(CPU), **pipes))
    try:
        yield started
    finally:
        for loop in started:
            loop.communicate()


def started(loop: Loop, record: Record) -> bool:
    """Whether the loop can run here; how long it took to be ready, or why it cannot, goes into the record."""
    told = json.loads(answer_of(loop))
    record.update({"skipped": told} if isinstance(told, str) else {"ready_seconds": told})
    return "skipped" not in record


def turn(loop: Loop, count: int) -> tuple[list[float], list[float]]:
    """Seconds from each of so many samples to its answer, and the answers."""
    assert loop.stdin
    seconds, estimates = [], []
    for sample in np.random.default_rng(count).normal(size=count):
        line = f"{sample:.6f}\n"
        start = time.perf_counter()
        loop.stdin.write(line)
        loop.stdin.flush()
        answer = answer_of(loop)
        seconds.append(round(time.perf_counter() - start, 8))
        estimates.append(float(answer.split()[1]))
    return seconds, estimates


def answer_of(loop: Loop) -> str:
    """The loop's next line; a ``RuntimeError`` if it died (its traceback is on standard error)."""
    assert loop.stdout
    line = loop.stdout.readline()
    if not line:
        raise RuntimeError(f"a loop died with exit code {loop.wait()}; its error is above")
    return line


def ended(loop: Loop) -> list[float]:
    """Seconds of each step, once there are no more samples."""
    assert loop.stdin
    loop.stdin.close()
    steps: list[float] = json.loads(answer_of(loop))
    loop.stdin = None  # closed: nothing is left for ``communicate`` to flush
    return steps


def assert_equal_answers(told: dict[str, list[float]]) -> None:
    """Raises unless all networks have the same answers, up to rounding."""
    networks = {way: answers for way, answers in told.items() if way != "nothing"}
    first = next(iter(networks.values()))
    for way, answers in networks.items():
        np.testing.assert_allclose(answers, first, rtol=0, atol=TOLERANCE, err_msg=f"{way}: other answers")


def summarize(case: Sequence[Record]) -> None:
    """Gives each record its medians, its 99th percentiles, and its ratios to rnnjax, PyTorch and NumPy."""
    others = {record["way"]: record for record in case if record["way"] in (OURS, "torch", "numpy")}
    for record in case:
        for of in ("lines", "steps"):
            record[f"{of}_median"] = pooled_median(record[of])
            record[f"{of}_percentile_99"] = float(np.percentile(np.concatenate(record[of]), 99))
            record[f"{of}_ratio"] = {way: ratio(record[of], other[of]) for way, other in others.items()}
