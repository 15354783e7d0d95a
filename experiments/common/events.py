"""Records as TensorBoard shows them: a curve for each number that a run has at several training steps."""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tensorboardX import SummaryWriter

_NOT_SHOWN = ("step", "seed", "layer", "kernel", "position", "depth", "sequence_length", "length", "lag", "draw")


class Events:
    """Event files in a folder, a run of the sweep in each folder within; what was there before is replaced.

    A record with a ``step`` gives a point to the curves KIND/FIELD of its numbers; where several records of a kind have
    the same step, as those of several layers, they are told apart: KIND/layer 2/FIELD.
    """

    def __init__(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        self._folder = folder
        self._writers: dict[str, SummaryWriter] = {}

    def write(self, records: Iterable[dict[str, Any]]) -> None:
        """Adds the records' numbers."""
        touched = set()
        for record in records:
            if "step" not in record:
                continue
            run = record["run"]
            if run not in self._writers:
                self._writers[run] = SummaryWriter(str(self._folder / run.replace("/", "_")))
            for tag, value in scalars(record).items():
                self._writers[run].add_scalar(tag, value, record["step"])
                touched.add(run)
        for run in touched:
            self._writers[run].flush()


def scalars(record: dict[str, Any]) -> dict[str, float]:
    """The curves to which a record gives a point, and the point."""
    places = [f"{name} {record[name]}" for name in ("layer", "kernel", "position", "field", "of") if name in record]
    return {
        "/".join([record["kind"], *places, name]): float(value)
        for name, value in record.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and name not in _NOT_SHOWN
    }
