"""Sweeps: every run once, over threads and processes; what was finished is kept, whatever happens."""

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.common import sweep
from experiments.common.errors import ExperimentError
from experiments.common.workdir import Workdir, open_workdir, read_records


class Square(NamedTuple):
    """A run that squares a number."""

    program: int
    number: int

    @property
    def name(self) -> str:
        return f"{self.program}-{self.number}"

    def identity(self) -> dict[str, Any]:
        return {"number": self.number}


def programs_of(sizes: Sequence[int]) -> list[list[Square]]:
    return [[Square(program, number) for number in range(size)] for program, size in enumerate(sizes)]


def squares(runs: Sequence[Square], log_of: sweep.Logs[Square]) -> None:
    for run in runs:
        with log_of(run) as log:
            log.write([{"kind": "square", "square": run.number**2}])
            log.progress(1)


def execute(workdir: Workdir, programs: list[list[Square]], work: Any = squares) -> list[dict[str, Any]]:
    records = sweep.execute(programs, work, workdir, steps=1, threads=2)
    assert records is not None
    return records


@given(st.lists(st.integers(1, 9), max_size=8), st.integers(1, 5))
def test_every_run_is_dealt_once_and_evenly(sizes: list[int], hands: int) -> None:
    held = sweep.dealt(programs_of(sizes), hands)
    assert len(held) == hands
    dealt = [run for hand in held for piece in hand for run in piece]
    assert sorted(dealt) == sorted(run for program in programs_of(sizes) for run in program)
    loads = [sum(map(len, hand)) for hand in held]
    pieces = [len(piece) for hand in held for piece in hand]
    assert max(loads) - min(loads) <= max(pieces, default=0)
    for hand in held:
        assert all(len({run.program for run in piece}) == 1 for piece in hand)


def test_a_program_is_divided_only_where_there_are_fewer_than_processes() -> None:
    assert [sum(map(len, hand)) for hand in sweep.dealt(programs_of([8]), 4)] == [2, 2, 2, 2]
    assert [list(map(len, hand)) for hand in sweep.dealt(programs_of([4, 4, 4]), 2)] == [[4, 4], [4]]
    assert [len(hand) for hand in sweep.dealt(programs_of([1]), 3)] == [1, 0, 0]


def test_runs_are_grouped_by_their_program_the_greatest_first() -> None:
    runs = [run for program in programs_of([2, 3, 1]) for run in program][::-1]
    groups = sweep.by_program(runs, lambda program: program % 2)
    assert [{run.program for run in group} for group in groups] == [{1}, {0}, {2}]
    assert sorted(run for group in groups for run in group) == sorted(runs)


def test_records_say_which_run_they_are_of_and_a_second_sweep_does_only_what_is_missing(tmp_path: Path) -> None:
    workdir = open_workdir(tmp_path / "w", {}, overwrite=False)
    execute(workdir, programs_of([2]))
    done = []

    def noted(runs: Sequence[Square], log_of: sweep.Logs[Square]) -> None:
        done.extend(runs)
        squares(runs, log_of)

    records = execute(workdir, programs_of([3, 1]), noted)
    assert sorted(done) == [Square(0, 2), Square(1, 0)]
    found = sorted((record["run"], record["number"], record["square"]) for record in records if "square" in record)
    assert found == [("0-0", 0, 0), ("0-1", 1, 1), ("0-2", 2, 4), ("1-0", 0, 0)]
    assert records == read_records(tmp_path / "w")


def test_an_error_in_one_program_stops_the_others_and_keeps_what_is_finished(tmp_path: Path) -> None:
    workdir = open_workdir(tmp_path / "w", {}, overwrite=False)
    steps = []

    def failing(runs: Sequence[Square], log_of: sweep.Logs[Square]) -> None:
        for run in runs:
            with log_of(run) as log:
                if run.program == 1:
                    raise ExperimentError("loss is nan")
                log.write([{"kind": "square"}])
                while run.number:  # until it is stopped
                    log.progress(1)
                    steps.append(run)

    with pytest.raises(ExperimentError, match="loss is nan"):
        execute(workdir, programs_of([2, 1]), failing)
    assert {record["run"] for record in read_records(tmp_path / "w")} <= {"0-0"}


def test_a_sweep_takes_over_what_further_processes_left(tmp_path: Path) -> None:
    execute(open_workdir(tmp_path / "w" / "process-1", {}, overwrite=False), programs_of([2]))
    with (tmp_path / "w" / "process-1" / "metrics.jsonl").open("a") as file:
        file.write('{"run": "0-2", "kind": "square"}\n{"run": "0-3", "ki')  # killed while it wrote
    workdir = sweep.open_sweep(tmp_path / "w", {}, overwrite=False)
    assert {record["run"] for record in read_records(tmp_path / "w")} == {"0-0", "0-1"}
    assert len(execute(workdir, programs_of([4]))) == 8


def test_overwriting_discards_what_further_processes_left(tmp_path: Path) -> None:
    for folder in (tmp_path / "w", tmp_path / "w" / "process-1"):
        execute(open_workdir(folder, {}, overwrite=False), programs_of([2]))
    sweep.open_sweep(tmp_path / "w", {}, overwrite=True)
    assert read_records(tmp_path / "w") == []
    assert not (tmp_path / "w" / "process-1").exists()


def test_records_are_in_the_order_of_the_plan_whichever_thread_was_sooner(tmp_path: Path) -> None:
    second_began = threading.Event()

    def slow_first(runs: Sequence[Square], log_of: sweep.Logs[Square]) -> None:
        if runs[0].program == 0:
            second_began.wait(10)
        else:
            second_began.set()
        squares(runs, log_of)

    records = execute(open_workdir(tmp_path / "w", {}, overwrite=False), programs_of([2, 2]), slow_first)
    assert [record["run"] for record in records] == [name for name in ("0-0", "0-1", "1-0", "1-1") for _ in range(2)]
    lines = (tmp_path / "w" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["run"] for line in lines] == [record["run"] for record in records]
