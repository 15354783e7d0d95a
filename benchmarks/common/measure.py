"""Measures on a noisy machine: calls take turns, all samples are kept, and ratios are taken within each turn."""

import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

Call = Callable[[], Any]
"""A piece of work that has ended when the call returns."""

UNSTEADY = 1.25
"""A ratio whose upper quartile is more than this many times the lower one is marked with ~, as too noisy to rely on."""

DOUBT = f"~ marks ratios too noisy to rely on: their quartiles over rounds are more than a factor of {UNSTEADY} apart."


def sample(calls: Mapping[str, Call], repeats: int) -> dict[str, list[float]]:
    """Seconds of ``repeats`` calls of each, which take turns so that noise meets them alike."""
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


def skips(reasons: Iterable[tuple[str, str]]) -> str:
    """One line for each different pair of a title and a reason why that was not measured."""
    return "".join(f"Skipped: {title}: {reason}.\n" for title, reason in dict.fromkeys(reasons))


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
