"""The benchmarks of training and of single steps run end to end, on tiny sizes, and refuse what they do not know."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def run(module: str, *flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"benchmarks.{module}", *flags]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)


def results_of(module: str, folder: Path, *flags: str) -> dict[str, Any]:
    """What the quick variant writes; it must succeed and leave a table and figures."""
    finished = run(module, "--quick", f"--output={folder}", *flags)
    assert finished.returncode == 0, finished.stderr
    for name in ("table.txt", f"{module}.png", f"{module}.svg"):
        assert (folder / name).stat().st_size > 0
    results: dict[str, Any] = json.loads((folder / "results.json").read_text())
    assert results["finding"] in finished.stdout
    assert results["machine"]["cores"] >= 1
    return results


@pytest.mark.slow
def test_training_measures_every_way_and_all_train_alike(tmp_path: Path) -> None:
    records = results_of("training", tmp_path)["records"]
    assert [record["way"] for record in records] == ["rnnjax", "jit_2_devices", "shard_map_2_devices", "torch"]
    measured = [record for record in records if "skipped" not in record]
    assert len(measured) >= 3
    for record in measured:
        assert len(record["losses"]) == 5
        assert record["losses"] == pytest.approx(measured[0]["losses"], rel=1e-5)
        assert record["weight_difference"] < 1e-3
        assert [len(samples) for samples in record["rounds"]] == [2, 2]
        assert record["characters_per_second"] == pytest.approx(20 / record["median_seconds"])
        assert ("speed" in record) == (len(measured) == 4)

    again = run("training", f"--output={tmp_path}")
    assert again.returncode != 0
    assert "--overwrite" in again.stderr


@pytest.mark.slow
def test_online_measures_every_way(tmp_path: Path) -> None:
    records = results_of("online", tmp_path, "--cells=lstm")["records"]
    measured = {(record["library"], record["way"]): record for record in records if "skipped" not in record}
    steps = {key: record for key, record in measured.items() if "steps by unroll" not in key[1]}
    assert len(steps) in (15, 16)  # seven ways in each of two modes, NumPy, and PyTorch where it is installed
    for mode in ("rnnjax", "synchronous"):
        assert {(mode, "1 steps by unroll"), (mode, "4 steps by unroll")} <= set(measured)
    for record in measured.values():
        assert [len(samples) for samples in record["rounds"]] == [20, 20]
        assert 0 < record["median_seconds"] <= record["percentile_99_seconds"]
    assert steps["numpy", "one step"]["ratio"]["numpy"] == [1, 1, 1]


@pytest.mark.parametrize(
    ("module", "flag", "expected"),
    [
        ("training", "--hidden=8,x", "expected whole numbers above 0"),
        ("training", "--batch=5", "expected an even number"),
        ("online", "--cells=lstn", "did you mean 'lstm'"),
        ("online", "--counts=7", "expected two or more whole numbers"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(module: str, flag: str, expected: str) -> None:
    finished = run(module, flag)
    assert finished.returncode != 0
    assert expected in finished.stderr
    assert finished.stderr.count("\n") == 1
