"""benchmarks.generation end to end on tiny sizes; both libraries write the same."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.accelerator.rows import rows_of
from benchmarks.generation.measure import LOOPS, agreement
from benchmarks.generation.network import Size
from tests.benchmarks.running import results_of


@pytest.mark.slow
def test_generation_measures_every_way_and_all_write_alike(tmp_path: Path) -> None:
    results = results_of("generation", tmp_path, "--cells=gru,lstm")
    records = results["records"]
    assert [record["way"] for record in records] == ["rnnjax", *LOOPS] * 4
    measured = [record for record in records if "skipped" not in record]
    assert len(measured) in (4, 20)  # without PyTorch ours alone
    for record in measured:
        _, streams, length, *_ = record["size"]
        assert [len(samples) for samples in record["rounds"]] == [1, 1]
        assert record["logit_difference"] < 1e-4
        assert record["characters_per_second"] == pytest.approx(streams * length / record["median_seconds"])
        assert record["first_seconds"] > 0
        assert ("speed" in record) == (len(measured) == 20)
    assert ("target 5" in results["finding"]) == (len(measured) == 20)

    rows = rows_of("generation", records)
    assert [row.case.partition(",")[0] for row in rows] == ["gru", "gru", "lstm", "lstm"]
    ours = [record for record in records if record["way"] == "rnnjax"]
    assert [60 * row.seconds for row in rows] == pytest.approx([record["median_seconds"] for record in ours])


def test_a_text_that_differs_is_not_timed(tmp_path: Path) -> None:
    size = Size("gru", 1, 3, 4, 2, 5)
    tokens, logits = np.array([[1], [2], [3]]), np.ones((1, 5))
    other = np.array([[1], [2], [4]])
    found = {"rnnjax": (tokens, logits), "cell": (tokens, logits + 1e-6), "layer": (other, logits)}
    for way, (text, after) in found.items():
        np.savez(tmp_path / f"{way}.npz", tokens=text, logits=after)
    assert agreement(size, tmp_path / "cell.npz", tmp_path)["logit_difference"] == pytest.approx(1e-6)
    with pytest.raises(AssertionError, match=r"layer at .* the same in 66.7% of its characters"):
        agreement(size, tmp_path / "layer.npz", tmp_path)
