"""A streaming loop in a process of its own: python -m benchmarks.streaming.loop WAY CELL HIDDEN.

It says how long it took to be ready, then answers each line of standard input, a sample, with an estimate, as
``experiments.tracking.stream`` does; at the end it says how many seconds each step took.
"""

import json
import sys
import time
from typing import Any

from benchmarks.streaming.steps import WAYS
from experiments.tracking.lines import answer, answers, lines_of


def main(way: str, cell: str, hidden: int) -> None:
    """Answers until standard input ends."""
    start = time.perf_counter()
    try:
        step, state = WAYS[way].build(cell, hidden)
    except ModuleNotFoundError as error:
        print(json.dumps(f"not installed ({error}): run `make peers`"), flush=True)
        return
    state, _ = step(state, 0.0)  # compiles; the first step is the same in all ways
    print(json.dumps(time.perf_counter() - start), flush=True)
    seconds = []

    def timed(state: Any, sample: float) -> tuple[Any, float]:
        start = time.perf_counter()
        state, estimate = step(state, sample)
        told = float(estimate)
        seconds.append(time.perf_counter() - start)
        return state, told

    for number, _, estimate in answers(lines_of("-"), timed, 0, state):
        print(answer(number, estimate), flush=True)
    print(json.dumps([round(each, 8) for each in seconds]), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
