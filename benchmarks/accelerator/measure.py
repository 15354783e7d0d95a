"""Runs the parts one after the other, until all are measured or the minutes are over."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from benchmarks.accelerator.parts import Part
from benchmarks.accelerator.process import GRACE, run

LEAST = 20.0
"""Seconds that must be left for a part to be started: importing JAX and finding the device take some of them."""

NOT_STARTED = "not started yet"
STOPPED = "not started, because the run was stopped"


class Outcome(NamedTuple):
    """What became of a part: its results, or the reason why there are none."""

    reason: str | None
    results: dict[str, Any] | None = None
    seconds: float = 0.0


def measure(
    outcomes: dict[Part, Outcome], output: Path, quick: bool, deadline: float, keep: Callable[[], object]
) -> bool:
    """Replaces the outcome of each part, until the deadline, which is a time of ``time.monotonic``.

    Calls ``keep`` after each part. False if Ctrl-C ended it.
    """
    try:
        for part in tqdm(outcomes, desc="parts", disable=None):
            outcomes[part] = Outcome("stopped while it ran")
            outcomes[part] = run_part(part, output / "parts" / part.name, quick, deadline - time.monotonic())
            keep()
    except KeyboardInterrupt:
        for part, outcome in outcomes.items():
            outcomes[part] = Outcome(STOPPED) if outcome.reason == NOT_STARTED else outcome
        return False
    return True


def run_part(part: Part, folder: Path, quick: bool, left: float) -> Outcome:
    """Measures the part in ``left`` seconds at most."""
    if left < LEAST:
        return Outcome("not started, because the minutes of the whole run were over")
    limit, start = min(part.seconds, left - GRACE), time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    results = folder / "results.json"
    results.unlink(missing_ok=True)
    reason = run(part.words(folder.resolve(), quick), folder / "log.txt", limit)
    seconds = time.monotonic() - start
    if reason:
        return Outcome(reason, seconds=seconds)
    if not results.exists():
        return Outcome("left no results", seconds=seconds)
    return Outcome(None, json.loads(results.read_text()), seconds)
