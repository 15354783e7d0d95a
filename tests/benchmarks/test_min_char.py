"""benchmarks.min_char end to end on tiny sizes."""

from pathlib import Path

import pytest

from tests.benchmarks.running import results_of


@pytest.mark.slow
def test_min_char_measures_both_ways_as_times_of_numpys(tmp_path: Path) -> None:
    records = results_of("min_char", tmp_path)["records"]
    assert [record["way"] for record in records] == ["rnnjax", "numpy"]
    ours, theirs = (record["seconds"][0] for record in records)
    assert records[0]["ratio"][0] == pytest.approx(theirs / ours)
    assert records[1]["ratio"][0] == 1
