"""What the two scripts of ``benchmarks.study`` share: flags, cells, inputs, and a record of what was done when.

It imports little, since the time that this takes counts for both scripts.
"""

import gc
import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import flags

from benchmarks.common import arguments

CELLS = ("elman_tanh", "elman_relu", "elman_sigmoid", "irnn", "lstm", "gru")
"""The cells of the study; ``irnn`` is a ReLU network whose recurrent weights start as the identity."""

Norms = dict[str, np.ndarray]
"""||dL/dh_t|| of the whole batch (S, L, T), for every seed, layer and step, by the ``name_of`` a network."""


class Event(NamedTuple):
    """What a thread did, in seconds since the epoch."""

    phase: str
    subject: str
    thread: int
    start: float
    stop: float


class Timeline:
    """The events of all threads of a process."""

    def __init__(self) -> None:
        self.begun = time.time()
        self.events: list[Event] = []

    @contextmanager
    def during(self, phase: str, subject: str = "") -> Iterator[None]:
        """Records one event: all that is done inside."""
        start = time.time()
        yield
        self.events.append(Event(phase, subject, threading.get_ident(), start, time.time()))


def begin() -> Timeline:
    """Begins the record of a script that has imported everything."""
    gc.freeze()  # else Python looks through all that was imported several times, the last time at the end
    return Timeline()


class Settings(NamedTuple):
    """The study's size. The loss is the sum of squares of the last layer's outputs at the last step."""

    cells: tuple[str, ...]
    steps: int
    batch: int
    hidden: int  # and the width of the inputs
    depths: tuple[int, ...]
    seeds: int

    def as_flags(self) -> list[str]:
        """The settings as flags of a command line."""
        texts = {
            name: ",".join(map(str, value)) if isinstance(value, tuple) else value
            for name, value in self._asdict().items()
        }
        return [f"--{name}={text}" for name, text in texts.items()]

    def inputs(self) -> np.ndarray:
        """(S, T, B, H), standard normal."""
        shape = (self.steps, self.batch, self.hidden)
        drawn = [np.random.default_rng(seed).standard_normal(shape, np.float32) for seed in range(self.seeds)]
        return np.stack(drawn)


def name_of(cell: str, depth: int) -> str:
    """A network's name among the results."""
    return f"{cell}_depth{depth}"


def define_flags() -> None:
    """One flag for each setting."""
    flags.DEFINE_list("cells", list(CELLS), "Cells to measure.")
    flags.DEFINE_integer("steps", 200, "T, the number of time steps.", lower_bound=1)
    flags.DEFINE_integer("batch", 16, "B, the batch size.", lower_bound=1)
    flags.DEFINE_integer("hidden", 64, "H, the width of the hidden state and the inputs.", lower_bound=1)
    flags.DEFINE_list("depths", ["1", "2", "4"], "Numbers of layers.")
    flags.DEFINE_integer("seeds", 20, "Seeds, each with weights and inputs of its own.", lower_bound=1)


def define_record_flag() -> None:
    """The flag for the folder that a script leaves its results in."""
    flags.DEFINE_string("record", None, "Folder for norms.npz and timeline.json; without it only a line is printed.")


def settings() -> Settings:
    """The settings that the flags give.

    Raises:
        ValueError: if a cell is unknown or a depth is not a whole number above 0.
    """
    values = flags.FLAGS
    if not values.cells or not set(values.cells) <= set(CELLS):
        raise ValueError(f"--cells is {','.join(values.cells)}: expected some of {', '.join(CELLS)}")
    cells = tuple(cell for cell in CELLS if cell in values.cells)
    depths = tuple(arguments.whole_numbers("depths", values.depths))
    return Settings(cells, values.steps, values.batch, values.hidden, depths, values.seeds)


def finish(timeline: Timeline, norms: Norms, again: Sequence[float] = ()) -> None:
    """Saves norms and timeline if a folder was given, and prints a line."""
    if flags.FLAGS.record:
        folder = Path(flags.FLAGS.record)
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(folder / "norms.npz", allow_pickle=False, **norms)
        record = {"begun": timeline.begun, "events": timeline.events, "again": again}
        (folder / "timeline.json").write_text(json.dumps(record) + "\n")
    count = sum(len(array) for array in norms.values())
    print(f"{count} networks measured in {time.time() - timeline.begun:.2f} s after the imports")
