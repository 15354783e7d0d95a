"""benchmarks.accelerator keeps to its minutes, tells what it did not measure, and claims nothing on a CPU."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.accelerator import measure, process, report
from benchmarks.accelerator.measure import Outcome, run_part
from benchmarks.accelerator.parts import PARTS, Part, chosen
from benchmarks.common import machine
from benchmarks.common.device import Device
from tests.benchmarks.running import ROOT, run

CPU = Device("cpu", "cpu", 1, False)
GPU = Device("gpu", "NVIDIA H100", 1, True)
PARALLEL = {"cell": "lru", "method": "affine", "steps": 64, "size": [1, 8]}
RESULTS = {
    "records": [
        PARALLEL | {"ratio": {"forward": [0.5, 0.4, 0.6]}, "median_seconds": {"forward": {"scan": 0.002}}},
        PARALLEL | {"method": "full", "skipped": "its Jacobians | are too large"},
    ]
}


def about(device: Device, quick: bool) -> dict[str, Any]:
    settings = {"minutes": 10.0, "quick": quick}
    return {"machine": machine.describe(device) | {"driver": None}, "date": "2030-01-01", "settings": settings}


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


# What a part comes to


def test_a_part_that_fails_is_told_with_its_reason(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    assert process.run(python("print('measured')"), log, 60) is None
    assert log.read_text() == "measured\n"
    assert process.run(python("import no_such_peer"), log, 60) == "ModuleNotFoundError: No module named 'no_such_peer'"
    assert process.run(python("import sys; sys.exit('benchmarks.x: a refusal')"), log, 60) == "benchmarks.x: a refusal"


@pytest.mark.parametrize(
    ("status", "log", "expected"),
    [
        (
            1,
            "W Allocator ran out of memory, which is not a failure\nTraceback:\n"
            "jax.errors.JaxRuntimeError: RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.\n"
            "RuntimeError: worker scan died with exit code 1; its error is above",
            "out of memory: jax.errors.JaxRuntimeError: RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.",
        ),
        (
            1,
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB",
            "out of memory: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB",
        ),
        (
            1,
            "AssertionError: \n\nNot equal to tolerance rtol=0.0001",
            "AssertionError: Not equal to tolerance rtol=0.0001",
        ),
        (1, "ValueError: the cause\nRuntimeError: what follows from it", "ValueError: the cause"),
        (-9, "", "ended by SIGKILL, as by the system when memory is short"),
        (3, "", "exit status 3"),
    ],
)
def test_the_reason_is_the_first_error_and_lack_of_memory_before_all(status: int, log: str, expected: str) -> None:
    assert process.reason(status, log)[: len(expected)] == expected


@pytest.mark.slow
@pytest.mark.parametrize("stubborn", [False, True])
def test_a_part_is_ended_at_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stubborn: bool) -> None:
    monkeypatch.setattr(process, "GRACE", 0.2)
    ignore = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); " if stubborn else ""
    code = f"{ignore}import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    start = time.monotonic()
    assert process.run(python(code), tmp_path / "log.txt", 1) == "ended at its limit of 1 s"
    assert time.monotonic() - start < 20
    assert not alive(int((tmp_path / "log.txt").read_text().split()[0]))


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_who_stops_the_run_stops_the_part(tmp_path: Path, sent: signal.Signals) -> None:
    log = tmp_path / "log.txt"
    sleeping = python("import os, time; print(os.getpid(), flush=True); time.sleep(600)")
    code = f"""
import pathlib, signal
from benchmarks.accelerator import process
signal.signal(signal.SIGTERM, signal.default_int_handler)
signal.signal(signal.SIGINT, signal.default_int_handler)
process.run({sleeping!r}, pathlib.Path({str(log)!r}), 600)
"""
    running = subprocess.Popen(python(code), cwd=ROOT, stderr=subprocess.PIPE)
    while not (log.exists() and log.read_text()):
        time.sleep(0.05)
    running.send_signal(sent)
    assert b"KeyboardInterrupt" in running.communicate(timeout=30)[1]
    assert not alive(int(log.read_text().split()[0]))


def alive(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    return True


# The minutes of the whole run


def test_what_the_minutes_do_not_suffice_for_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The part that is run has what is left of the minutes as its limit, if that is less than its own."""
    limits = []

    def measured(words: list[str], log: Path, seconds: float) -> str | None:
        limits.append(seconds)
        (log.parent / "results.json").write_text(json.dumps(RESULTS))
        return None

    monkeypatch.setattr(measure, "run", measured)
    part = PARTS["parallel_lru"]
    assert run_part(part, tmp_path, True, left=1000.0).results == RESULTS
    assert run_part(part, tmp_path, True, left=25.0).results == RESULTS
    assert limits == [part.seconds, 25 - process.GRACE]

    outcomes = {part: Outcome("nothing yet") for part in PARTS.values()}
    assert measure.measure(outcomes, tmp_path, True, time.monotonic(), lambda: None)
    text = report.write(outcomes, about(GPU, False))
    assert len(limits) == 2
    for name in PARTS:
        assert row_of(text, name, "not started, because the minutes of the whole run were over")
    assert "0 of 13 were measured" in text


def test_a_run_that_is_stopped_keeps_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped_at_training(part: Part, *_: object) -> Outcome:
        if part.name == "training":
            raise KeyboardInterrupt
        return Outcome(None, RESULTS)

    monkeypatch.setattr(measure, "run_part", stopped_at_training)
    names = ("parallel_lru", "training", "generation")
    outcomes = {PARTS[name]: Outcome(measure.NOT_STARTED) for name in names}
    kept = []
    assert not measure.measure(outcomes, tmp_path, True, time.monotonic() + 600, lambda: kept.append(1))
    assert kept == [1]
    text = report.save(tmp_path, outcomes, about(GPU, False))
    assert (tmp_path / "table.md").read_text() == text
    assert row_of(text, "lru, T = 64, B = 1, H = 8", "2 ms", "all steps at once: ~0.50")
    assert row_of(text, "training", "stopped while it ran")
    assert row_of(text, "generation", "not started, because the run was stopped")


def test_results_of_an_earlier_run_are_not_taken_for_new_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "results.json").write_text(json.dumps(RESULTS))
    monkeypatch.setattr(measure, "run", lambda *_: None)
    assert run_part(PARTS["parallel_lru"], tmp_path, True, 100.0)[:2] == ("left no results", None)


# The table


def row_of(text: str, *cells: str) -> bool:
    """Whether there is a row of a table that has all of these in it."""
    return any(line.startswith("|") and all(cell in line for cell in cells) for line in text.split("\n"))


def test_every_part_and_everything_left_out_has_a_row() -> None:
    outcomes = {part: Outcome("out of memory: 9 bytes | too many") for part in PARTS.values()}
    outcomes[PARTS["parallel_lru"]] = Outcome(None, RESULTS, 3.0)
    text = report.write(outcomes, about(GPU, False))
    for name, part in PARTS.items():
        if name != "parallel_lru":
            assert row_of(text, name, "out of memory: 9 bytes \\| too many")
            assert part.benchmark == "step_cost" or row_of(text, part.benchmark, name, "not measured")
    assert row_of(text, "lru, full in parallel_lru", "its Jacobians \\| are too large")

    results = report.record(outcomes, about(GPU, False))
    assert [part["name"] for part in results["parts"]] == list(PARTS)
    assert json.loads(json.dumps(results["rows"]))[0]["others"] == {"all steps at once": [0.5, 0.4, 0.6]}


def test_without_an_accelerator_nothing_is_claimed() -> None:
    outcomes = {PARTS["parallel_lru"]: Outcome(None, RESULTS, 3.0)}
    on_cpu, on_gpu = report.write(outcomes, about(CPU, True)), report.write(outcomes, about(GPU, False))
    assert "no speed may be read from it" in on_cpu
    assert "JAX found no GPU or TPU" in on_cpu
    assert "rehearsal" not in on_gpu
    assert "Measured on NVIDIA H100 (gpu, 1 of 1)" in on_gpu
    assert "TF32 is switched off" in on_gpu
    assert "no speed may be read" in report.write(outcomes, about(GPU, True))


def test_the_driver_is_what_its_tool_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.driver(CPU) is None
    assert machine.driver(GPU) is None  # the tool is not installed
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 580.1\necho 580.1\n")
    tool.chmod(0o755)
    assert machine.driver(GPU) == "NVIDIA 580.1"


def test_parts_that_differ_in_sizes_alone_run_once_where_sizes_are_tiny() -> None:
    assert [part.name for part in chosen(list(PARTS), quick=False)] == list(PARTS)
    names = [part.name for part in chosen(list(PARTS), quick=True)]
    assert "unroll_lstm" in names
    assert not {"unroll_lstm_wide", "unroll_lstm_one_sequence", "training_wide", "step_cost_by_width"} & set(names)


@pytest.mark.slow
def test_a_rehearsal_on_a_cpu(tmp_path: Path) -> None:
    finished = run("benchmarks.accelerator", "--parts=parallel_lru,step_cost_by_width", f"--output={tmp_path}")
    assert finished.returncode == 0, finished.stderr
    table = (tmp_path / "table.md").read_text()
    assert table in finished.stdout
    assert "no speed may be read from it" in table
    assert "2 of 2 were measured" in table
    for program in ("forward", "forward + backward"):
        assert row_of(table, "parallel", "lru, T = 32, B = 1, H = 4", f" {program} ", "all steps at once: ")
    assert row_of(table, "lstm", "forward", "rnnjax.unroll", " 4 ", " 1 ", "%")
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["settings"]["quick"]
    assert results["machine"]["device"]["backend"] == "cpu"
    assert len(results["rows"]) == 4
    assert len(results["steps"]) == 4  # two cells, with one step a turn and with four

    again = run("benchmarks.accelerator", f"--output={tmp_path}")
    assert again.returncode != 0
    assert "--overwrite" in again.stderr
    assert again.stderr.count("\n") == 1
