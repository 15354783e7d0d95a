"""--tensorboard: event files that hold the records' numbers, read back by the format's own definition."""

import struct
from pathlib import Path
from typing import Any

from tensorboardX.proto.event_pb2 import Event

from experiments.common.tensorboard import scalars
from experiments.common.workdir import open_workdir


def curves_in(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Every tag's points. A record of the file: its length in 8 bytes, a checksum in 4, the event, a checksum in 4."""
    found: dict[str, list[tuple[int, float]]] = {}
    for path in sorted(folder.glob("events.out.tfevents.*")):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            event = Event.FromString(data[12 : 12 + length])
            data = data[16 + length :]
            for value in event.summary.value:
                found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found


def trained(run: str, step: int, loss: float | None) -> dict[str, Any]:
    return {"run": run, "seed": 0, "kind": "train", "step": step, "loss": loss, "norms": [1.0, 2.0], "cell": "gru"}


def test_numbers_with_a_step_are_points_of_curves_a_folder_a_run(tmp_path: Path) -> None:
    workdir = open_workdir(tmp_path, {}, overwrite=False, tensorboard=True)
    workdir.append([trained("a", 1, 3.5), trained("b", 1, 2.5), {"run": "a", "kind": "finished"}])
    workdir.append([trained("a", 2, 1.5), trained("a", 3, None)])  # a loss that overflowed has no point
    assert curves_in(tmp_path / "events" / "a")["train/loss"][-1] == (2, 1.5)  # before anything is closed
    workdir.finish("# Done", [], "")
    assert curves_in(tmp_path / "events" / "a") == {"train/loss": [(1, 3.5), (2, 1.5)]}
    assert curves_in(tmp_path / "events" / "b") == {"train/loss": [(1, 2.5)]}


def test_layers_and_positions_are_told_apart() -> None:
    record = {
        "kind": "state_gradient",
        "run": "r",
        "step": 4,
        "layer": 2,
        "position": 5,
        "field": "hidden",
        "loss": 0.5,
    }
    assert scalars(record) == {"state_gradient/layer 2/position 5/field hidden/loss": 0.5}


def test_going_on_leaves_the_points_of_the_records_that_were_kept_each_once(tmp_path: Path) -> None:
    workdir = open_workdir(tmp_path, {}, overwrite=False, tensorboard=True)
    workdir.append([trained("whole", 1, 3.0), {"run": "whole", "kind": "finished"}, trained("cut", 1, 9.0)])
    workdir.events.close()  # type: ignore[union-attr]
    again = open_workdir(tmp_path, {}, overwrite=False, tensorboard=True)
    again.append([trained("cut", 1, 9.0), trained("cut", 2, 8.0)])
    again.finish("# Done", [], "")
    assert curves_in(tmp_path / "events" / "whole") == {"train/loss": [(1, 3.0)]}
    assert curves_in(tmp_path / "events" / "cut") == {"train/loss": [(1, 9.0), (2, 8.0)]}


def test_without_the_flag_there_are_none(tmp_path: Path) -> None:
    open_workdir(tmp_path, {}, overwrite=False).append([trained("a", 1, 3.5)])
    assert not (tmp_path / "events").exists()
