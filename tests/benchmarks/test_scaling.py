"""The benchmark of scaling runs end to end, on tiny sizes, and says what its samples say."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


def run(*flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.scaling", *flags]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)


def test_exponents_are_the_slopes_of_the_least_samples(tmp_path: Path) -> None:
    finished = run("--quick", "--cell=elman", "--steps=2,4,8,16", f"--output={tmp_path}")
    assert finished.returncode == 0, finished.stderr
    for text in ("target at most 2: ", "Compiling for T = 16 takes", "times per doubling"):
        assert text in finished.stdout

    results = json.loads((tmp_path / "results.json").read_text())
    assert results["empty_step_seconds"] > 0
    assert [record["axis"] for record in results["records"]] == ["T", "B", "H"]
    for record in results["records"]:
        values, least = record["values"], np.min(record["samples"], axis=1)
        halfway = values.index(record["upper"]["start"])
        assert len(values) - halfway >= 2
        for part, name in ((slice(halfway, None), "upper"), (slice(None), "whole")):
            slope = np.polyfit(np.log(values[part]), np.log(least[part]), 1)[0]
            assert record[name]["exponent"] == pytest.approx(slope, abs=1e-6)

    compiling = results["compile"]
    assert compiling["steps"] == [2, 4, 8, 16]
    (seconds,) = compiling["rounds"]
    assert compiling["growth"][0] == pytest.approx(seconds[-1] / seconds[0])
    for name in ("table.txt", "scaling.png", "scaling.svg"):
        assert (tmp_path / name).stat().st_size > 0


@pytest.mark.parametrize(
    ("flag", "expected"),
    [
        ("--cell=lstn", "did you mean 'lstm'"),
        ("--steps=8,16", "expected three or more"),
        ("--hidden=8,8,16", "different whole numbers"),
        ("--base=8,0,8", "expected T, B and H"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_a_line(flag: str, expected: str) -> None:
    finished = run(flag)
    assert finished.returncode != 0
    assert expected in finished.stderr
    assert finished.stderr.count("\n") == 1
