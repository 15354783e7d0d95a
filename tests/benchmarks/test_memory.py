"""benchmarks.memory end to end on tiny sizes."""

from pathlib import Path

import pytest

from tests.benchmarks.running import results_of


@pytest.mark.slow
def test_memory_measures_every_method(tmp_path: Path) -> None:
    results = results_of("memory", tmp_path, "--steps=100", "--cell=elman")
    records = results["records"]
    bytes_by_method = {record["method"]: record["temporary_bytes"] for record in records}
    assert bytes_by_method["remat='sqrt'"] < bytes_by_method["plain"] / 3
    for record in records:
        assert record["peak_bytes"] > record["baseline_bytes"] + record["input_bytes"] > 0
        assert record["seconds"] > 0
    assert records[0]["step_ratio"] == 1
    assert "plain (" in results["stdout"]  # its verdict
