"""The benchmark of scaling runs end to end, on tiny sizes, and says what its samples say."""

from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks.running import results_of


@pytest.mark.slow
def test_exponents_are_the_slopes_of_the_least_samples(tmp_path: Path) -> None:
    results = results_of("scaling", tmp_path, "--cell=elman", "--steps=2,4,8,16")
    for text in ("target at most 2: ", "Compiling for T = 16 takes", "times per doubling"):
        assert text in results["stdout"]

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
