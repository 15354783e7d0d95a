"""The benchmarks run end to end, on tiny sizes, and refuse what they do not know."""

import json
import statistics
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks.common.measure import Ratio
from benchmarks.unroll import peers, report

ROOT = Path(__file__).parents[2]


def run(*flags: str, module: str = "benchmarks.unroll") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, *flags]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)


@pytest.mark.slow
def test_unroll_measures_every_program(tmp_path: Path) -> None:
    names = ["scan", "rnnjax_2_devices", "matmul"]
    of = f"--peers={','.join(names)}"
    flags = ("--quick", "--shapes=5x2x3x4", "--cells=lstm", of, f"--output={tmp_path}")
    finished = run(*flags)
    assert finished.returncode == 0, finished.stderr
    for text in ("plain scan", "5x2x3x4", "compile", "two devices / products", "gradient_flow takes"):
        assert text in finished.stdout

    results = json.loads((tmp_path / "results.json").read_text())
    assert results["machine"]["cores"] >= 1
    assert results["machine"]["versions"]["jax"]
    assert [record["library"] for record in results["records"]] == ["rnnjax", *names]
    for record in results["records"]:
        for program in ("forward", "forward + backward"):
            assert len(record["rounds"][program]) == 2
            assert record["ratio"][program][0] > 0
            assert record["median_seconds"][program] > 0
    ours = results["records"][0]
    assert ours["ratio"]["forward"] == [1, 1, 1]
    assert ours["flow_overhead"][0] > 0
    for name in ("table.txt", "unroll.png", "unroll.svg"):
        assert (tmp_path / name).stat().st_size > 0

    again = run(*flags)
    assert again.returncode != 0
    assert "--overwrite" in again.stderr


def test_targets_are_judged_by_every_shape_and_the_geometric_mean() -> None:
    """The fastest peer counts, shape by shape; a target that nothing was measured for is not met."""
    small, large = peers.Shape(100, 32, 128, 128), peers.Shape(50, 50, 512, 512)
    times = {
        small: {"rnnjax": 1.0, "scan": 1.6, "flax": 5.0},
        large: {"rnnjax": 1.0, "scan": 8.0, "flax": 4.0, "matmul": 0.5},
    }
    records = [
        {"cell": "lstm", "shape": shape, "library": library, "rounds": {peers.GRADIENT: [[seconds], [seconds]]}}
        for shape, by_library in times.items()
        for library, seconds in by_library.items()
    ]
    for record in records:
        record["flow_overhead"] = Ratio(1.2, 1.1, 1.3)

    verdicts = {row["target"]: row["one device"] for row in report.check_targets(records)}
    peers_of_lstm, *_, flow, loop, _ = verdicts
    assert verdicts[peers_of_lstm] == "met: 1.60 (lstm 100x32x128x128), mean 2.53 (lstm), of 2"
    assert verdicts["at 50x50x512x512: at most 1.6 times as long as the matrix products"].startswith("not met: 2.00")
    assert verdicts[flow] == "not met: 1.20 (lstm 100x32x128x128)"
    assert verdicts[loop] == "not measured"


@pytest.mark.parametrize(("library", "cell"), [("nnx", "elman"), ("keras", "gru"), ("torch_loop", "lstm")])
def test_peers_do_equal_work(library: str, cell: str) -> None:
    """``build`` raises where outputs or weights are not those of the other libraries."""
    if not find_spec(peers.PACKAGES[library]):
        pytest.skip(f"{library} is not installed: run `make peers`")
    for call in peers.build(library, cell, peers.Shape(3, 2, 4, 5)).calls.values():
        call()


def test_an_odd_batch_is_not_shared_by_two_devices() -> None:
    with pytest.raises(peers.UnavailableError, match="a batch of 3 cannot be halved"):
        peers.build("rnnjax_2_devices", "lstm", peers.Shape(5, 3, 4, 4))


@pytest.mark.parametrize(
    ("flag", "expected"),
    [
        ("--cells=lstn", "did you mean 'lstm'"),
        ("--shapes=3x4", "expected TxBxIxH"),
        ("--peers=kera", "did you mean 'keras'"),
    ],
)
def test_unknown_names_are_refused_in_a_line(flag: str, expected: str) -> None:
    finished = run(flag)
    assert finished.returncode != 0
    assert expected in finished.stderr
    assert finished.stderr.count("\n") == 1


@pytest.mark.slow
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


@pytest.mark.slow
def test_memory_measures_every_method(tmp_path: Path) -> None:
    finished = run("--quick", "--steps=100", f"--output={tmp_path}", module="benchmarks.memory")
    assert finished.returncode == 0, finished.stderr
    records = json.loads((tmp_path / "results.json").read_text())["records"]
    bytes_by_method = {record["method"]: record["temporary_bytes"] for record in records}
    assert bytes_by_method["remat='sqrt'"] < bytes_by_method["plain"] / 3
    for record in records:
        assert record["peak_bytes"] > record["baseline_bytes"] + record["input_bytes"] > 0
        assert record["seconds"] > 0
    assert records[0]["step_ratio"] == 1
    assert "plain (" in finished.stdout  # its verdict
    assert (tmp_path / "memory.png").stat().st_size > 0


@pytest.mark.slow
def test_profile_divides_a_gradients_time(tmp_path: Path) -> None:
    finished = run("--quick", "--shapes=40x2x3x4", f"--output={tmp_path}", module="benchmarks.profile")
    assert finished.returncode == 0, finished.stderr
    (record,) = json.loads((tmp_path / "results.json").read_text())["records"]
    assert sum(record["parts"].values()) == pytest.approx(statistics.median(record["profiled"]))
    assert min(record["parts"].values()) > 0
    assert (tmp_path / "profile.png").stat().st_size > 0


@pytest.mark.slow
def test_compile_time_measures_every_way_of_depth(tmp_path: Path) -> None:
    finished = run("--quick", "--depths=2", f"--output={tmp_path}", module="benchmarks.compile_time")
    assert finished.returncode == 0, finished.stderr
    records = json.loads((tmp_path / "results.json").read_text())["records"]
    assert [(record["way"], record["depth"]) for record in records] == [
        ("stack", 2),
        ("stack + repeat", 2),
        ("repeat", 2),
    ]
    assert all(record["compile"][0] > 0 and record["run"][0] > 0 for record in records)
    assert records[0]["compile_ratio"][0] == 1
    assert all(record["compile_growth"][0] == 1 for record in records)
    assert (tmp_path / "compile_time.png").stat().st_size > 0


@pytest.mark.parametrize(
    ("module", "flag", "expected"),
    [
        ("memory", "--steps=ten", "expected whole numbers"),
        ("compile_time", "--depths=1", "whole numbers from 2 on"),
        ("profile", "--shapes=8", "expected TxBxIxH"),
    ],
)
def test_sizes_that_are_none_are_refused_in_a_line(module: str, flag: str, expected: str) -> None:
    finished = run(flag, module=f"benchmarks.{module}")
    assert finished.returncode != 0
    assert expected in finished.stderr
    assert finished.stderr.count("\n") == 1
