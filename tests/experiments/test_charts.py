"""What a page's charts are made of: medians and ranges of what was recorded, and nothing where nothing was."""

import itertools
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.common import charts
from experiments.common.workdir import Record

ROOT = Path(__file__).parents[2]


def recorded(kind: str, seed: int = 0, cell: str = "gru", **fields: Any) -> Record:
    return {"run": f"{cell}-seed{seed}", "cell": cell, "seed": seed, "kind": kind, **fields}


def finished(*records: Record) -> list[Record]:
    """With the last record of each run."""
    ends = {record["run"]: {**record, "kind": "finished"} for record in records}
    identity = ("run", "cell", "depth", "seed", "kind")
    return [*records, *({name: end[name] for name in identity if name in end} for end in ends.values())]


def curves_of(chart: charts.Chart) -> list[Record]:
    found: list[Record] = json.loads(json.dumps(chart.spec, allow_nan=False))["data"]["values"]
    return found


def bindings(chart: charts.Chart) -> dict[str, Record]:
    """What can be chosen, by its name."""
    return {param["name"]: param for param in chart.spec["params"] if "bind" in param}


def test_over_training_a_line_is_the_median_of_seeds_with_their_range() -> None:
    values = {0: [4.0, 2.0, 1.0], 1: [4.5, 2.5, 0.5], 2: [5.0, 1.0, 2.0]}
    records = [
        recorded("evaluation", seed, step=10 * place, loss=value)
        for seed, of_seed in values.items()
        for place, value in enumerate(of_seed)
    ]
    (chart,) = charts.of_records(finished(*records))
    (curve,) = curves_of(chart)
    assert curve["x"] == [0, 10, 20]
    for name, expected in {"middle": np.median, "low": np.min, "high": np.max}.items():
        np.testing.assert_allclose(curve[name], expected(np.array([*values.values()]), axis=0))


def test_every_number_of_training_and_evaluations_can_be_chosen_and_other_kinds_are_left_to_figures() -> None:
    of_step = [
        [
            recorded("train", step=step, loss=1.0 / step, norm=2.0, text="a"),
            recorded("evaluation", step=step, error=0.5),
            recorded("saturation", step=step, share=0.5),
        ]
        for step in (1, 2)
    ]
    (chart,) = charts.of_records(finished(*itertools.chain(*of_step)))
    options = bindings(chart)["chosen_quantity"]["bind"]["options"]
    assert options == ["train: loss", "train: norm", "evaluation: error"]
    assert "chosen_cell" not in bindings(chart)  # there is one


def test_a_line_stays_one_where_a_record_has_a_number_of_the_name_of_what_parts_lines() -> None:
    records = [recorded("evaluation", depth=depth, step=10 * depth, loss=1.0) for depth in (1, 2, 3)]
    (chart,) = charts.of_records([*records, recorded("finished", depth=3)])
    assert [curve["x"] for curve in curves_of(chart)] == [[10, 20, 30]]


def test_many_steps_become_means_of_some_that_follow_each_other_and_that_is_said() -> None:
    losses = np.random.default_rng(0).normal(size=150)
    records = [recorded("train", step=step, loss=float(loss)) for step, loss in enumerate(losses, start=1)]
    (chart,) = charts.of_records(finished(*records))
    (curve,) = curves_of(chart)
    assert curve["x"] == [*range(3, 151, 3)]
    np.testing.assert_allclose(curve["middle"], losses.reshape(-1, 3).mean(axis=1), rtol=1e-3)
    assert "a point is the mean" in chart.told
    (few,) = charts.of_records(finished(*records[:60]))
    assert few.told == ""


def test_norms_are_told_relative_to_the_first_against_lag_and_end_where_one_is_no_number_or_none() -> None:
    norms = {0: [0.0, 1e-4, 1e-2, 2.0], 1: [None, 1e-5, 1e-3, 0.1]}
    records = [recorded("state_gradient", seed, norms=values) for seed, values in norms.items()]
    (chart,) = charts.of_records(finished(*records))
    (curve,) = curves_of(chart)
    logs = np.log10([[2.0, 1e-2, 1e-4], [0.1, 1e-3, 1e-5]])
    relative = logs - logs[:, :1]
    assert curve["x"] == [0, 1, 2, 3]
    assert curve["middle"][3] is None
    np.testing.assert_allclose(curve["middle"][:3], np.median(relative, axis=0), atol=1e-3)
    np.testing.assert_allclose(curve["low"][:3], relative.min(axis=0), atol=1e-3)
    assert curve["first"] == pytest.approx(np.median(logs[:, 0]), abs=1e-3)
    assert "slider" not in str(bindings(chart))


@pytest.mark.parametrize("value", [0.0, math.nan, math.inf, None])
def test_where_no_norm_is_a_number_there_is_no_chart(value: float | None) -> None:
    assert charts.of_records(finished(recorded("state_gradient", norms=[value] * 4))) == []


def test_a_slider_goes_through_the_training_in_its_order_and_phases_have_words() -> None:
    records = [recorded("state_gradient", step=step, norms=[0.1, 1.0]) for step in (100, 0, 1000)]
    (chart,) = charts.of_records(finished(*records))
    assert bindings(chart)["place"]["bind"]["max"] == 2
    moment = next(param for param in chart.spec["params"] if param["name"] == "moment")
    assert moment["expr"] == '["before training", "after 100 training steps", "after 1,000 training steps"][place]'
    phases = [recorded("state_gradient", phase=phase, norms=[0.1, 1.0]) for phase in ("trained", "initialization")]
    (chart,) = charts.of_records(finished(*phases))
    assert '["before training", "after training"][place]' in str(chart.spec["params"])


def test_of_many_lines_so_much_is_chosen_that_few_are_shown_and_the_others_can_be_chosen() -> None:
    records = [
        recorded("state_gradient", depth=depth, cell=cell, layer=layer, norms=[0.1, 1.0])
        for cell in ("gru", "lstm", "elman", "leaky")
        for depth in (1, 4)
        for layer in range(1, depth + 1)
    ]
    (chart,) = charts.of_records(finished(*records))
    chosen = {name: param["value"] for name, param in bindings(chart).items()}
    assert chosen == {"chosen_cell": None, "chosen_depth": None, "chosen_layer": "layer 1"}
    assert bindings(chart)["chosen_depth"]["bind"]["labels"] == ["every", "depth 1", "depth 4"]
    assert len(curves_of(chart)) == len(records)


def test_of_fields_and_all_of_them_together_the_latter_is_shown_first() -> None:
    records = [recorded("state_gradient", field=field, norms=[0.1, 1.0]) for field in ("hidden", "cell", "all")]
    (chart,) = charts.of_records(finished(*records))
    assert bindings(chart)["chosen_field"]["value"] == "all"


def test_lags_of_a_long_sequence_are_thinned_where_they_are_far() -> None:
    norms = np.geomspace(1e-6, 1, 1000).tolist()
    (chart,) = charts.of_records(finished(recorded("state_gradient", norms=norms)))
    (curve,) = curves_of(chart)
    assert len(curve["x"]) <= charts.MOST_LAGS
    assert "Of 1,000 lags 50 are drawn" in chart.told
    assert curve["x"][:16] == [*range(16)]
    assert curve["x"][-1] == 999
    np.testing.assert_allclose(curve["middle"], -6 * np.array(curve["x"]) / 999, atol=1e-3)


def test_where_there_is_too_much_the_slider_has_fewer_places_both_ends_among_them_and_that_is_said() -> None:
    norms = np.geomspace(1e-6, 1, 100).tolist()
    records = [
        recorded("state_gradient", layer=layer, step=10 * place, norms=norms)
        for layer in range(40)
        for place in range(30)
    ]
    (chart,) = charts.of_records(finished(*records))
    assert bindings(chart)["place"]["bind"]["max"] == 9
    moments = next(param for param in chart.spec["params"] if param["name"] == "moment")["expr"]
    assert "before training" in moments
    assert "after 290 training steps" in moments
    assert "The slider has 10 of 30 measurements" in chart.told
    assert len(json.dumps(chart.spec)) < 1_000_000


@pytest.mark.slow
def test_the_same_records_give_the_same_charts_in_every_process() -> None:
    records = [
        recorded("parameter_gradient", cell=cell, layer=layer, field=field, norms=[0.1, 1.0])
        for cell in ("gru", "lstm")
        for layer in range(4)
        for field in ("kernel", "recurrent_kernel", "bias")
    ]
    code = "import json, sys; from experiments.common import charts; print(charts.of_records(json.load(sys.stdin)))"
    given = {"input": json.dumps(finished(*records)), "capture_output": True, "text": True, "check": True}
    made = [
        subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": seed}, **given
        ).stdout
        for seed in "12"
    ]
    assert "chosen_field" in made[0]
    assert made[0] == made[1]
