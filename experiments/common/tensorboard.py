"""Records as TensorBoard shows them: a curve for each number that a run has at several training steps."""

import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.summary_pb2 import Summary

_NO_CURVES = ("step", "seed", "layer", "kernel", "position", "depth", "sequence_length", "length", "lag", "draw")


class Events:
    """Event files in a folder, which has a folder for each run of the sweep; what was there before is replaced.

    A record with a ``step`` gives a point to the curves KIND/FIELD of its numbers; where several records of a kind have
    the same step, as those of several layers, they are told apart: KIND/layer 2/FIELD. The writers are those without a
    thread and a queue of their own, so that a point is on its way to the disk before the next step begins.
    """

    def __init__(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        self._folder = folder
        self._writers: dict[str, EventsWriter] = {}

    def write(self, records: Iterable[dict[str, Any]]) -> None:
        """Adds the records' numbers."""
        for record in records:
            values = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars(record).items()]
            if values:
                event = Event(wall_time=time.time(), step=record["step"], summary=Summary(value=values))
                writer = self._writer(record["run"])
                writer.write_event(event)
                writer.flush()

    def close(self) -> None:
        """Closes all files."""
        for writer in self._writers.values():
            writer.close()

    def _writer(self, run: str) -> EventsWriter:
        if run not in self._writers:
            folder = self._folder / run.replace("/", "-")
            folder.mkdir(parents=True)
            self._writers[run] = EventsWriter(str(folder / "events"))
        return self._writers[run]


def scalars(record: dict[str, Any]) -> dict[str, float]:
    """The points that a record adds to curves, by the names of the curves."""
    if "step" not in record:
        return {}
    places = [f"{name} {record[name]}" for name in ("layer", "kernel", "position", "field", "of") if name in record]
    return {
        "/".join([record["kind"], *places, name]): float(value)
        for name, value in record.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and name not in _NO_CURVES
    }
