"""benchmarks.parallel end to end on tiny sizes."""

from pathlib import Path

import pytest

from tests.benchmarks.running import results_of


@pytest.mark.slow
def test_parallel_measures_every_method(tmp_path: Path) -> None:
    results = results_of("parallel", tmp_path, "--steps=8", "--cells=min_gru,elman")
    for text in ("min_gru", "elman, full", "elman, diagonal", "T = 8", "Newton's method: "):
        assert text in results["stdout"]

    records = results["records"]
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
