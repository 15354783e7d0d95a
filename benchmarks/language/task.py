"""The task and the record of a process that trains, in a folder; this file imports little, since its time counts."""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

CONTEXT = 64
"""Characters in the GPT's context, and in a window of held-out text."""

Record = dict[str, Any]


class Task(NamedTuple):
    train: np.ndarray  # (N,), tokens
    held_out: np.ndarray  # (N,)
    windows: np.ndarray  # (N, CONTEXT + 1), of the held-out tokens, overlapping by half
    different: int  # how many different tokens there are
    variant: str
    iterations: int  # training steps of the GPT
    evaluations: int
    torch_threads: int  # threads of the GPT; 0 takes PyTorch's default
    seed: int
    backend: str  # JAX's name of the device
    started: float  # seconds since the epoch, when the process was started
    until: float  # the same, when training has to end; the GPT, which has its number of iterations, does not look

    def save(self, folder: Path) -> None:
        arrays = {name: value for name, value in self._asdict().items() if isinstance(value, np.ndarray)}
        np.savez(folder / "text.npz", **arrays)  # type: ignore[arg-type]
        others = {name: value for name, value in self._asdict().items() if name not in arrays}
        (folder / "task.json").write_text(json.dumps(others))

    @classmethod
    def load(cls, folder: Path) -> Self:
        with np.load(folder / "text.npz") as arrays:
            return cls(**arrays, **json.loads((folder / "task.json").read_text()))


class Snapshot(NamedTuple):
    """Weights that were kept on the way, and the nats a character that they need for the held-out text."""

    when: float  # seconds since the epoch
    steps: int
    kept: float  # nats with the context kept
    fresh: float  # nats in fresh windows


def record(params: int, begun: float, characters: int, snapshots: Sequence[Snapshot]) -> Record:
    """The record of a process, with the time when training began and how many characters a training step reads."""
    curve = [snapshot._asdict() for snapshot in snapshots]
    return {"params": params, "begun": begun, "characters_a_step": characters, "curve": curve}


def run(train: Callable[[Task], Record]) -> None:
    """The process's side: ``python -m ... FOLDER``."""
    folder = Path(sys.argv[1])
    (folder / "record.json").write_text(json.dumps(train(Task.load(folder))))
