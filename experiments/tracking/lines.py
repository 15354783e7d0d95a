"""Samples that come line by line, each answered before the next is read. Imports little: programs are timed with it."""

import math
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

Step = Callable[[Any, float], tuple[Any, Any]]
"""``(state, sample) -> (new state, estimate)``."""


class LineError(ValueError):
    """A line that is no sample, or lines that cannot be read."""


def answers(lines: Iterable[str], step: Step, before: int, state: Any) -> Iterator[tuple[int, Any, Any]]:
    """For each line, as it comes: how many samples there have been, the state, the estimate.

    Args:
        lines: a sample each.
        step: takes the state and a sample.
        before: how many samples there have been before the first line.
        state: after those.

    Raises:
        LineError: for a line that is no sample.
    """
    for place, line in enumerate(lines, 1):
        state, estimate = step(state, sample_of(line, place))
        yield before + place, state, estimate


def answer(time: int, estimate: Any) -> str:
    """The line that is sent back: with all digits of float32."""
    return f"{time} {float(estimate):.9g}"


def sample_of(line: str, place: int) -> float:
    """The number in a line.

    Raises:
        LineError: if it has none, or more, or one that is not finite.
    """
    try:
        value = float(line)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        told = line.strip()
        told = f"{told[:40]!r}{'...' if len(told) > 40 else ''}"
        raise LineError(f"line {place} is {told}: expected one finite number, as in 0.25; mend it or leave it out")
    return value


def lines_of(file: str) -> Iterator[str]:
    """Of a file, or of standard input, which is -, each line as soon as it is there.

    Raises:
        LineError: for a file that cannot be read.
    """
    if file == "-":
        sys.stdin.reconfigure(errors="replace")  # type: ignore[union-attr]
        yield from iter(sys.stdin.readline, "")
        return
    try:
        with Path(file).open(encoding="utf-8", errors="replace") as source:
            yield from iter(source.readline, "")
    except OSError as error:
        raise LineError(f"--file={file} cannot be read ({error.strerror}): give a text file, or -") from error
