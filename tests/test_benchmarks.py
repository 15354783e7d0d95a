"""The benchmarks run end to end, on tiny sizes, and refuse what they do not know."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(*flags: str, module: str = "benchmarks.unroll") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, *flags]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)


def test_unroll_measures_every_program(tmp_path: Path) -> None:
    flags = ("--quick", "--shapes=5x2x3x4", "--cells=lstm", "--peers=scan", f"--output={tmp_path}")
    finished = run(*flags)
    assert finished.returncode == 0, finished.stderr
    for text in ("plain scan", "5x2x3x4", "forward + backward", "compile", "gradient_flow takes"):
        assert text in finished.stdout

    results = json.loads((tmp_path / "results.json").read_text())
    assert results["machine"]["cores"] >= 1
    assert results["machine"]["versions"]["jax"]
    ours, scan = results["records"]
    assert (ours["library"], scan["library"]) == ("rnnjax", "scan")
    for record in (ours, scan):
        for program in ("forward", "forward + backward"):
            assert [len(samples) for samples in record["rounds"][program]] == [3, 3]
            assert record["median_seconds"][program] > 0
    assert ours["ratio"]["forward"] == [1, 1, 1]
    assert ours["flow_overhead"][0] > 0
    for name in ("table.txt", "unroll.png", "unroll.svg"):
        assert (tmp_path / name).stat().st_size > 0

    again = run(*flags)
    assert again.returncode != 0
    assert "--overwrite" in again.stderr


@pytest.mark.parametrize(
    ("flag", "expected"),
    [
        ("--cells=lstn", "did you mean 'lstm'"),
        ("--shapes=3x4", "expected TxBxIxH"),
        ("--peers=keras", "valid names: equinox, flax"),
    ],
)
def test_unknown_names_are_refused_in_a_line(flag: str, expected: str) -> None:
    finished = run(flag)
    assert finished.returncode != 0
    assert expected in finished.stderr
    assert finished.stderr.count("\n") == 1


def test_parallel_measures_every_method(tmp_path: Path) -> None:
    flags = ("--quick", "--steps=8", "--cells=min_gru,elman", f"--output={tmp_path}")
    finished = run(*flags, module="benchmarks.parallel")
    assert finished.returncode == 0, finished.stderr
    for text in ("min_gru", "elman, full", "elman, diagonal", "T = 8", "Newton's method: "):
        assert text in finished.stdout

    records = json.loads((tmp_path / "results.json").read_text())["records"]
    assert [(r["cell"], r["method"], r["steps"]) for r in records] == [
        ("min_gru", "affine", 8),
        ("elman", "full", 8),
        ("elman", "diagonal", 8),
    ]
    for record in records:
        assert record["largest_difference"] < 1e-4
        assert record.get("converged", True)
        for program in ("forward", "forward + backward"):
            assert record["ratio"][program][0] > 0
            assert {len(rounds) for rounds in record["rounds"][program].values()} == {2}
    for name in ("table.txt", "parallel.png", "parallel.svg"):
        assert (tmp_path / name).stat().st_size > 0


@pytest.mark.parametrize(
    ("flag", "expected"),
    [("--cells=gruu", "did you mean 'gru'"), ("--sizes=8", "expected whole numbers"), ("--steps=1.5", "as in --steps")],
)
def test_parallel_refuses_what_it_does_not_know_in_a_line(flag: str, expected: str) -> None:
    finished = run(flag, module="benchmarks.parallel")
    assert finished.returncode != 0
    assert expected in finished.stderr
    assert finished.stderr.count("\n") == 1


def test_memory_measures_every_method(tmp_path: Path) -> None:
    finished = run("--quick", "--steps=100", f"--output={tmp_path}", module="benchmarks.memory")
    assert finished.returncode == 0, finished.stderr
    records = json.loads((tmp_path / "results.json").read_text())["records"]
    bytes_by_method = {record["method"]: record["temporary_bytes"] for record in records}
    assert bytes_by_method["remat='sqrt'"] < bytes_by_method["plain"] / 3
    assert all(record["resident_bytes"] >= 0 and record["seconds"] > 0 for record in records)
    assert (tmp_path / "memory.png").stat().st_size > 0


def test_compile_time_measures_both_ways_of_depth(tmp_path: Path) -> None:
    finished = run("--quick", "--depths=2", f"--output={tmp_path}", module="benchmarks.compile_time")
    assert finished.returncode == 0, finished.stderr
    records = json.loads((tmp_path / "results.json").read_text())["records"]
    assert [(record["way"], record["depth"]) for record in records] == [("stack", 2), ("repeat", 2)]
    assert all(record["compile"][0] > 0 and record["run"][0] > 0 for record in records)
    assert records[0]["compile_ratio"][0] == 1
    assert (tmp_path / "compile_time.png").stat().st_size > 0


@pytest.mark.parametrize(
    ("module", "flag", "expected"),
    [("memory", "--steps=ten", "expected whole numbers"), ("compile_time", "--depths=1", "whole numbers from 2 on")],
)
def test_sizes_that_are_none_are_refused_in_a_line(module: str, flag: str, expected: str) -> None:
    finished = run(flag, module=f"benchmarks.{module}")
    assert finished.returncode != 0
    assert expected in finished.stderr
    assert finished.stderr.count("\n") == 1
