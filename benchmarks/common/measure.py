"""Measuring on a noisy machine: each library in a process of its own, taking turns; all samples kept."""

import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

Call = Callable[[], Any]
"""A piece of work that has ended when the call returns."""

UNSTEADY = 1.25
"""A ratio is marked with ~ where its upper quartile is more than this many times the lower: do not rely on it."""


class Worker:
    """A process that answers requests, one JSON object a line. Idle between requests, it leaves the cores to others."""

    def __init__(self, module: str, name: str) -> None:
        """Starts ``python -m module --worker=name``, whose main function calls ``serve``."""
        self.name = name
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, f"--worker={name}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
            env=os.environ | {"JAX_PLATFORMS": "cpu", "JAX_ENABLE_COMPILATION_CACHE": "false"},
            start_new_session=True,  # Ctrl-C reaches the parent alone; the worker ends with its standard input
        )

    def ask(self, **request: Any) -> dict[str, Any]:
        """The worker's answer; a ``RuntimeError`` where it died (its traceback is on standard error)."""
        assert self.process.stdin
        assert self.process.stdout
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise RuntimeError(f"worker {self.name} died with exit code {self.process.wait()}; its error is above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        self.process.stdout.close()
        if error[0]:
            self.process.terminate()
        self.process.wait()


def serve(answer: Callable[..., Mapping[str, Any]]) -> None:
    """A worker's side: ``answer(**request)`` for each line of standard input, until it closes."""
    replies, sys.stdout = sys.stdout, sys.stderr  # what a library prints must not mix with the replies
    for line in sys.stdin:
        print(json.dumps(answer(**json.loads(line))), file=replies, flush=True)


def sample(calls: Mapping[str, Call], repeats: int) -> dict[str, list[float]]:
    """Seconds of each call, ``repeats`` of each, turn by turn so that noise meets them alike."""
    for call in calls.values():
        call()  # wakes threads and warms caches
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            samples[name].append(elapsed(call))
    return samples


def elapsed(call: Call) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


class Ratio(NamedTuple):
    """How much longer one thing takes than another: the median over rounds, and the quartiles around it."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        doubt = "~" if self.high > UNSTEADY * self.low else ""
        return f"{doubt}{self.value:.2f}"


def ratio(rounds: Sequence[Sequence[float]], reference: Sequence[Sequence[float]]) -> Ratio:
    """Ratios of medians within each round, where both met the same noise; then their quartiles over the rounds."""
    within = [statistics.median(a) / statistics.median(b) for a, b in zip(rounds, reference, strict=True)]
    low, value, high = np.percentile(within, (25, 50, 75)).tolist()
    return Ratio(value, low, high)


def pooled_median(rounds: Sequence[Sequence[float]]) -> float:
    """The median of the samples of all rounds together."""
    return statistics.median(seconds for samples in rounds for seconds in samples)


def describe_machine(packages: Iterable[str]) -> dict[str, Any]:
    """Processor, cores, load and versions: what a reader needs to judge the numbers."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "load_average_before": os.getloadavg(),
        "python": platform.python_version(),
        "versions": {package: _version(package) for package in packages},
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
