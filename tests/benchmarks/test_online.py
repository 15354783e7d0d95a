"""benchmarks.online end to end on tiny sizes."""

from pathlib import Path

import pytest

from tests.benchmarks.running import results_of


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
