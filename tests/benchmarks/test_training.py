"""benchmarks.training end to end on tiny sizes."""

from pathlib import Path

import pytest

from benchmarks.accelerator.rows import rows_of
from benchmarks.training import report
from benchmarks.training.steps import Size
from tests.benchmarks.running import results_of, run


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

    (row,) = rows_of("training", records)
    assert row.case == "2 LSTM layers, T = 5, B = 4, H = 8"
    assert row.seconds == records[0]["median_seconds"]
    assert {"2 devices by jit", "2 devices by shard_map"} <= set(row.others)

    again = run("benchmarks.training", "--quick", f"--output={tmp_path}")
    assert again.returncode != 0
    assert "--overwrite" in again.stderr


def test_where_there_is_one_device_two_are_not_spoken_of() -> None:
    """As on a machine with a single GPU."""
    one, two = (
        {"way": "rnnjax", "rounds": [[1.0]], "characters_per_second": 5.0},
        {"way": "jit_2_devices", "skipped": ""},
    )
    assert report.rule([record | {"size": Size(50, 50, 96, 8, 10)} for record in (one, two)]) == []
