"""benchmarks.streaming end to end on tiny sizes; all ways answer alike."""

from pathlib import Path

import pytest

from benchmarks.streaming.measure import assert_equal_answers
from benchmarks.streaming.steps import WAYS
from tests.benchmarks.running import results_of


@pytest.mark.slow
def test_streaming_measures_every_way(tmp_path: Path) -> None:
    records = results_of("streaming", tmp_path, "--cells=lstm")["records"]
    assert [record["way"] for record in records] == list(WAYS)
    measured = {record["way"]: record for record in records if "skipped" not in record}
    assert set(WAYS) - set(measured) <= {"torch"}
    for record in measured.values():
        for of in ("lines", "steps"):
            assert [len(samples) for samples in record[of]] == [20, 20]
            assert 0 < record[f"{of}_median"] <= record[f"{of}_percentile_99"]
        assert record["steps_median"] < record["lines_median"]
        assert record["ready_seconds"] > 0
    for way in ("rnnjax", "numpy"):
        assert measured[way]["steps_ratio"][way] == [1, 1, 1]


def test_other_answers_are_not_timed() -> None:
    told = {"nothing": [5.0, 6.0], "rnnjax": [1.0, 2.0], "numpy": [1.0, 2.0 + 1e-7]}
    assert_equal_answers(told)
    with pytest.raises(AssertionError, match="torch: other answers"):
        assert_equal_answers(told | {"torch": [1.0, 2.1]})
