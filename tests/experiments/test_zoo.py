"""The zoo: sizes and learning rates of its networks, its correlations against scipy, its verdicts, end to end."""

import math
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import pandas as pd
import pytest
from scipy import stats

import rnnjax
from experiments.networks import task_training
from experiments.zoo import config as settings
from experiments.zoo import findings, report, sizes
from experiments.zoo import main as zoo
from experiments.zoo.main import Run, best_rate, plan, with_rate
from rnnjax.tasks import adding, copy_memory
from tests.experiments.logs import logs_in, records_in
from tests.experiments.runs import check_drawn, check_page, quick_run
from tests.experiments.undrawn import laid_out
from tests.test_errors import check_refused

# Sizes and learning rates


@pytest.mark.slow
@pytest.mark.parametrize("task", [adding(50), copy_memory(10)], ids=["adding", "copy_memory"])
def test_every_cell_is_as_wide_as_comes_nearest_to_the_number_of_params(task: Any) -> None:
    for name, constructor in rnnjax.CELLS.items():
        width, params = sizes.as_wide_as(2000, name, task)
        assert params == sizes.count_params(constructor(width), task)
        assert abs(params - 2000) <= 150, name
        for other in (width - 1, width + 1):
            assert abs(sizes.count_params(constructor(other), task) - 2000) >= abs(params - 2000), name


def test_too_few_params_for_a_cell_give_it_the_least_width_that_it_can_have() -> None:
    assert sizes.as_wide_as(1, "clockwork", adding(5))[0] == 4
    assert sizes.as_wide_as(1, "elman", adding(5))[0] == 1


def test_a_learning_rate_in_the_state_is_adams() -> None:
    config = settings.get_config("quick")
    task, cell = adding(5), rnnjax.elman(4)
    plain = optax.chain(optax.clip_by_global_norm(config.clip_norm), optax.adam(0.02))
    ends = []
    for optimizer, rate in ((plain, None), (zoo.make_optimizer(config), 0.02)):
        programs = task_training.compiled(cell, task, optimizer, config)
        state = programs.initialize(jax.random.key(0))
        with jax.numpy_dtype_promotion("standard"):  # optax mixes its floats with its counts
            state, _ = programs.train_steps(with_rate(state, rate) if rate else state, jax.random.key(1))
        ends.append(state.params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), *ends)


def trial(rate: float, steps: int | None, loss: float) -> dict[str, Any]:
    return {"learning_rate": rate, "outcome": "solved" if steps else "not solved", "steps": steps, "loss": loss}


def test_the_best_rate_solves_most_then_fastest_then_has_the_least_loss() -> None:
    slow, fast, unsolved = trial(1.0, 500, 0.01), trial(2.0, 300, 0.02), trial(3.0, None, 0.001)
    assert best_rate([slow, fast, unsolved]) == 2
    assert best_rate([slow, slow, fast, unsolved | {"learning_rate": 2.0}]) == 1
    assert best_rate([trial(1.0, None, math.inf), trial(2.0, None, 0.5), trial(3.0, None, math.nan)]) == 2


# Correlations


def cases(reach: dict[str, list[float]], rank: dict[str, list[float]]) -> pd.DataFrame:
    rows = [
        {"problem": problem, "cell": f"cell{place}", "initialization": value, "rank_key": rank[problem][place]}
        for problem, values in reach.items()
        for place, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


def test_correlations_are_scipys_with_ties_and_their_intervals_hold_them() -> None:
    random = np.random.default_rng(0)
    reach = {"a": list(random.integers(0, 5, 12).astype(float)), "b": list(random.random(12))}
    rank = {"a": list(random.random(12)), "b": [-value for value in reach["b"]]}
    found = findings.correlations(cases(reach, rank)).set_index("problem")
    expected = stats.spearmanr(reach["a"], [-value for value in rank["a"]]).statistic
    assert found["correlation"]["a"] == pytest.approx(expected, abs=1e-12)
    assert found["correlation"]["b"] == pytest.approx(1, abs=1e-12)  # who reaches farther ranks better
    assert found["correlation"]["mean of all"] == pytest.approx((expected + 1) / 2, abs=1e-12)
    assert (found["low"] <= found["correlation"]).all()
    assert (found["correlation"] <= found["high"]).all()
    assert found["high"]["a"] - found["low"]["a"] > 0.3


def test_where_cells_are_few_or_alike_no_correlation_is_claimed() -> None:
    few = findings.correlations(cases({"a": [1.0, 2.0]}, {"a": [1.0, 2.0]}))
    alike = findings.correlations(cases({"a": [3.0] * 8}, {"a": list(range(8))}))
    assert few["correlation"].isna().all()
    assert alike["correlation"].isna().all()
    assert "is undecided" in report._predicts(alike)


# Verdicts


def records_of(cell: str, seed: int, steps: int | None, reach: int, loss: float | None = 0.1) -> list[dict[str, Any]]:
    run = {"run": f"adding-20-{cell}", "task": "adding", "lag": 20, "cell": cell}
    norms = [0.5 ** (20 - t) if 20 - t <= reach else 1e-6 for t in range(1, 21)]
    how = "solved" if steps else "not solved"
    end = {"kind": "result", "outcome": how, "steps": steps, "step": 500, "loss": loss, "error": 0.5, "seed": seed}
    return [
        *[run | {"kind": "network", "hidden_size": 9, "params": 200}] * (seed == 0),
        *[run | {"kind": "trial", "learning_rate": rate, "seed": 0} for rate in (0.01, 0.1) if seed == 0],
        *[
            run | {"kind": "state_gradient", "phase": p, "seed": seed, "norms": norms}
            for p in ("initialization", "trained")
        ],
        run | end | {"learning_rate": 0.01, "chance": 0.25, "memoryless": 0.2},
    ]


def known() -> list[dict[str, Any]]:
    found = []
    for place, cell in enumerate(("elman", "gru", "lstm", "lru", "indrnn", "janet")):
        for seed in range(3):
            steps = 100 * (6 - place) if place > 1 or (place == 1 and seed) else None
            found += records_of(cell, seed, steps, reach=place, loss=0.3 if place == 0 else 0.1)
    return found


def test_tables_and_verdict_are_of_counted_seeds() -> None:
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in report.table(known()).splitlines()]
    assert table[0] == ["cell", "units", "params", "adding, T = 20"]
    assert table[2] == ["janet", "9", "200", "3/3 in 100"]
    assert table[-2:] == [["gru", "9", "200", "2/3, 0.50"], ["elman", "9", "200", "0/3, 1.50"]]
    verdict = report.verdict(known())
    assert verdict.startswith(
        "janet, indrnn, lru and lstm solve 1 of 1 tasks with each of 3 seeds, which is the most of 6 cells; gru and "
        "elman solve no task with all seeds"
    )
    assert "predicts which cells learn" in verdict


def test_a_task_that_no_cell_solves_is_told_with_the_nearest_cell_and_the_highest_rate_is_counted() -> None:
    assert report.unsolved(known()) == "Each task is solved by a cell with all seeds."
    few = [record for record in known() if record["cell"] in ("elman", "gru")]
    assert report.unsolved(few).endswith("with its entry in the table. Adding, T = 20: gru (2/3, 0.50).")
    assert report.edges(known()).startswith(
        "The highest rate, 0.1, was chosen in 0 of 6 cases, and the lowest, 0.01, was chosen in 6;"
    )
    others = [record | ({"learning_rate": 0.1} if record["kind"] == "result" else {}) for record in known()]
    assert report.edges(others).startswith("The highest rate, 0.1, was chosen in 6 of 6 cases")


def test_the_table_of_tasks_has_their_levels_and_how_many_cells_solve_them_or_the_lowest_loss() -> None:
    head, _, row = (
        [each.strip() for each in line.strip("|").split("|")] for line in report.task_table(known()).splitlines()
    )
    assert head[1:] == [
        "chance",
        "best guess without a memory",
        "lowest loss where no cell solves it",
        "cells that solve it with all seeds",
        "fewest training steps",
    ]
    assert row == ["adding, T = 20", "0.25", "0.2", "-", "4", "100"]
    few = [record for record in known() if record["cell"] in ("elman", "gru")]
    assert [each.strip() for each in report.task_table(few).splitlines()[2].strip("|").split("|")][3:] == [
        "0.1",
        "0",
        "-",
    ]


def test_tasks_stand_in_the_order_of_their_names_and_lags() -> None:
    later = [record | {"task": "patterns", "run": "patterns-20-" + record["cell"]} for record in known()]
    longer = [record | {"lag": 100, "run": "adding-100-" + record["cell"]} for record in known()]
    head = report.table([*longer, *later, *known()]).splitlines()[0]
    assert [each.strip() for each in head.strip("|").split("|")][3:] == [
        "adding, T = 20",
        "adding, T = 100",
        "patterns, T = 20",
    ]


@pytest.mark.slow
def test_networks_that_diverged_are_reported_and_drawn(tmp_path: Path) -> None:
    records = known()
    for record in records:
        if record["cell"] == "lru" and record["kind"] == "result":
            record |= {"outcome": "diverged", "loss": None, "error": None, "steps": None}
        if record["cell"] == "lru" and record["kind"] == "state_gradient":
            record["norms"] = [None] * 20
    assert "0/3, diverged" in report.summary(records)
    laid_out(report.FIGURES, records, tmp_path)


def test_figures_show_the_table_and_the_correlation() -> None:
    figure = report.solved(known())
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts[0] == "3/3 in 100"
    figure = report.reach_and_success(known())
    assert figure.axes[0].get_title(loc="left").startswith("adding, T = 20\nrank correlation\n+0.94 (")
    report.before_and_after(known())


# Runs


@pytest.mark.slow
def test_seeds_that_choose_are_no_others_and_count_for_nothing(tmp_path: Path) -> None:
    config = settings.get_config("quick")
    config.train_steps = 40
    with jax.numpy_dtype_promotion("standard"):  # optax mixes its floats with its counts
        zoo.execute([Run("latching", 3, "elman")], logs_in(tmp_path), config=config)
    records = records_in(tmp_path)
    kinds = [record["kind"] for record in records if record["kind"] != "evaluation"]
    flows = ["state_gradient", "state_gradient", "result"]
    assert kinds == ["network", "trial", "trial", *flows, *flows]
    trials = [record for record in records if record["kind"] == "trial"]
    results = [record for record in records if record["kind"] == "result"]
    assert [(trial["learning_rate"], trial["seed"]) for trial in trials] == [(0.003, 0), (0.03, 0)]
    assert {result["learning_rate"] for result in results} == {best_rate(trials)}
    assert [result["seed"] for result in results] == [0, 1]
    first = [r["loss"] for r in records if r["kind"] == "evaluation" and r["step"] == 0]
    assert first[0] == first[1]  # one initialization, two rates
    assert len(set(first)) == 3  # of choosing, and of each seed that counts


@pytest.mark.parametrize("variant", ["default", "all", "quick"])
def test_the_plan_of_every_variant_has_each_cell_on_each_problem_once(variant: str) -> None:
    config = settings.get_config(variant)
    runs = plan(config)
    count = len(rnnjax.CELLS) if config.cells == "all" else len(config.cells.split(","))
    assert len({run.name for run in runs}) == len(runs) == count * len(config.problems.split(","))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("cells", "lstn", "unknown cell 'lstn': did you mean 'lstm'"),
        ("problems", "adding", "--config.problems has 'adding': expected TASK:LAG, as in adding:50"),
        ("problems", "ading:5", "unknown task 'ading': did you mean 'adding'"),
        ("problems", "permuted_digits:5", "expected at least 64"),
        ("learning_rates", "0.1,x", "--config.learning_rates has 'x': expected positive numbers, as in 0.001,0.01"),
        ("learning_rates", "0", "--config.learning_rates has '0': expected positive numbers"),
        ("choosing_seeds", 0, "--config.choosing_seeds is 0: expected at least 1"),
        ("params", 0, "--config.params is 0: expected at least 1"),
    ],
)
def test_a_config_that_cannot_be_is_refused(field: str, value: object, message: str) -> None:
    check_refused(plan, settings.get_config("quick"), field, value, message)


@pytest.mark.slow
def test_a_run_leaves_records_figures_and_a_summary(tmp_path_factory: pytest.TempPathFactory) -> None:
    workdir, printed = quick_run(tmp_path_factory, "zoo")
    check_drawn(workdir, ("solved", "reach_and_success", "before_and_after"))
    check_page(workdir, "zoo")
    assert "of 2 cells" in printed
    assert "with each of 2 seeds" in printed
    assert "Learning rates that were chosen" in (workdir / "summary.md").read_text()
