"""The cost of a step is read off a line if the times lie on one; the loops take as many steps a turn as asked."""

import itertools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from benchmarks.common.workload import FORWARD, GRADIENT
from benchmarks.step_cost import report
from benchmarks.step_cost.measure import RNNJAX, SCAN, Case, fit, traced
from tests.benchmarks.running import results_of

LENGTHS = [128, 256, 512, 1024]


def record(unrolled: int, seconds: list[float]) -> dict[str, Any]:
    line = fit(LENGTHS, seconds)
    case = Case("lstm", FORWARD, RNNJAX, 8, unrolled)._asdict()
    return case | {"steps": LENGTHS, "seconds": seconds, "line": line._asdict() | {"fits": line.fits}}


def test_a_line_gives_what_a_step_and_a_call_cost() -> None:
    line = fit(LENGTHS, [5e-5 + 2e-6 * steps for steps in LENGTHS])
    assert line.fits
    assert line.step == pytest.approx(2e-6)
    assert line.call == pytest.approx(5e-5)
    assert line.deviation < 1e-6


def test_no_cost_is_given_where_times_do_not_lie_on_a_line() -> None:
    straight, bent = [2e-6 * steps for steps in LENGTHS], [1e-8 * steps**2 for steps in LENGTHS]
    records = [record(1, bent), record(4, straight)]
    of_bent, of_straight = report.rows(records)
    assert of_bent[5:] == ["no line", "-", "no line", of_bent[-1]]
    assert of_straight[5:7] == ["2 us", "-"]  # there is no line to compare it with
    assert report.find(records) == (
        "lstm, forward, rnnjax.unroll, H = 8: no line with one step a turn was found, so no cost of a step is given."
    )
    faster = [record(1, straight), record(4, [seconds / 2 for seconds in straight])]
    assert report.find(faster).endswith("costs 2 us with one step a turn of the loop, and 1 us with 4, the least.")
    assert [row[6] for row in report.rows(faster)] == ["1.00", "0.50"]


@pytest.mark.parametrize("way", [RNNJAX, SCAN])
@pytest.mark.parametrize(("program", "loops"), [(FORWARD, 1), (GRADIENT, 2)])
def test_loops_take_so_many_steps_in_a_turn(program: str, loops: int, way: str) -> None:
    cell = rnnjax.lstm(3)
    params, inputs = cell.init(jax.random.key(0), 3), jnp.ones((8, 1, 3))
    for count in (1, 4):
        jax.clear_caches()
        jaxpr = str(traced(cell, Case("lstm", program, way, 3, count), params, inputs).jaxpr)
        assert jaxpr.count(f"unroll={count}") == loops


@pytest.mark.slow
def test_step_cost_measures_every_case(tmp_path: Path) -> None:
    results = results_of("step_cost", tmp_path, "--cells=lstm", "--steps=8,16,32,64")
    cases = [(r["cell"], r["program"], r["way"], r["hidden"], r["unrolled"]) for r in results["records"]]
    parts = ("lstm",), (FORWARD, GRADIENT), (RNNJAX, SCAN), (4,), (1, 4)
    assert cases == list(itertools.product(*parts))
    for found in results["records"]:
        assert [min(samples) for samples in found["samples"]] == found["seconds"]
        assert found["line"]["fits"] == (found["line"]["deviation"] <= 0.1 and found["line"]["step"] > 0)


def test_both_ways_compute_the_same() -> None:
    cell, inputs = rnnjax.lstm(3), jax.random.normal(jax.random.key(1), (8, 1, 2))
    params = cell.init(jax.random.key(0), 2)
    for program in (FORWARD, GRADIENT):
        jax.clear_caches()
        results = [
            traced(cell, Case("lstm", program, way, 3, 4), params, inputs).lower().compile()(params, inputs)
            for way in (RNNJAX, SCAN)
        ]
        for ours, plain in zip(*map(jax.tree.leaves, results), strict=True):
            np.testing.assert_allclose(ours, plain, rtol=1e-4, atol=1e-6)
