"""benchmarks.compile_time end to end on tiny sizes."""

from pathlib import Path

import pytest

from tests.benchmarks.running import results_of


@pytest.mark.slow
def test_compile_time_measures_every_way_of_depth(tmp_path: Path) -> None:
    records = results_of("compile_time", tmp_path, "--depths=2", "--cell=elman")["records"]
    assert [(record["way"], record["depth"]) for record in records] == [
        ("stack", 2),
        ("stack + repeat", 2),
        ("repeat", 2),
    ]
    assert all(record["compile"][0] > 0 and record["run"][0] > 0 for record in records)
    assert records[0]["compile_ratio"][0] == 1
    assert all(record["compile_growth"][0] == 1 for record in records)
