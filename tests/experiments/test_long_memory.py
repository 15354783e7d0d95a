"""The long_memory experiment: its training against Adam by hand, its gradients, its verdicts, end to end."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import rnnjax
from experiments.long_memory import config as settings
from experiments.long_memory import main as long_memory
from experiments.long_memory import report as long_memory_report
from experiments.long_memory.main import Program, Run, plan
from experiments.networks import task_network
from rnnjax.tasks import TASKS, adding, latching
from tests.experiments.logs import logs_in, records_in
from tests.experiments.runs import check_drawn, check_page, quick_run
from tests.experiments.undrawn import laid_out
from tests.test_errors import check_refused


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A finished run of the quick variant, and what it printed."""
    return quick_run(tmp_path_factory, "long_memory")


def test_the_page_has_charts_and_explains_every_field_that_is_recorded(finished: tuple[Path, str]) -> None:
    check_page(finished[0], "long_memory")


def records_of(workdir: Path, run: str | None = None) -> list[dict[str, Any]]:
    records = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [record for record in records if run is None or record["run"] == run]


def test_a_run_leaves_records_figures_and_a_summary_with_the_published_figures(finished: tuple[Path, str]) -> None:
    workdir, printed = finished
    check_drawn(workdir, ("solved_by_lag", "loss_by_step", "gradient_by_lag"))
    summary = (workdir / "summary.md").read_text()
    assert "| latching |" in summary
    assert "without memory, are: latching at lag 6: elman" in printed
    assert str(workdir / "summary.md") in printed
    assert "NaN" not in (workdir / "metrics.jsonl").read_text()


def test_the_settings_of_a_run_count_its_weights(finished: tuple[Path, str]) -> None:
    (result,) = [r for r in records_of(finished[0], "latching-3-elman-seed0") if r["kind"] == "result"]
    symbols, hidden = 4, 8
    weights = symbols * hidden + hidden * hidden + hidden + (hidden + 1) * symbols
    assert result["settings"] == f"{weights} weights, Adam, rate 0.03, batches of 8"


def test_solved_is_two_evaluations_in_a_row_within_the_tolerance_and_ends_the_run(finished: tuple[Path, str]) -> None:
    outcomes = []
    for name in {record["run"] for record in records_of(finished[0])}:
        records = records_of(finished[0], name)
        assert [r["kind"] for r in records if r["kind"] != "evaluation"] == [
            "state_gradient",
            "state_gradient",
            "result",
            "finished",
        ]
        evaluations = [r for r in records if r["kind"] == "evaluation"]
        (result,) = [r for r in records if r["kind"] == "result"]
        steps, errors = [r["step"] for r in evaluations], [r["error"] for r in evaluations]
        pairs = [i for i in range(len(errors) - 1) if max(errors[i : i + 2]) <= 0.01]
        assert steps == list(range(0, 20 * len(steps), 20))
        assert steps[-1] == (steps[pairs[0] + 1] if pairs else 120)
        assert result["steps"] == (steps[pairs[0]] if pairs else None)
        assert result["outcome"] == ("solved" if pairs else "not solved")
        assert (result["loss"], result["error"]) == (evaluations[-1]["loss"], errors[-1])
        outcomes.append(result["outcome"])
    assert len(outcomes) == 8
    assert set(outcomes) == {"solved", "not solved"}  # else the test would not show much


def test_recorded_losses_are_those_of_adam_on_clipped_gradients_of_sequences_drawn_anew(
    finished: tuple[Path, str],
) -> None:
    """Forty steps by hand: Adam and clipping from their equations, the network and its loss written out."""
    program, seed = Program("latching", 6, "elman"), 1
    task, cell = latching(6), rnnjax.elman(8)
    init_key, train_key, test_key = jax.random.split(jax.random.key(seed), 3)
    flat, unravel = ravel_pytree(task_network.init(cell, task, init_key))

    def loss(flat: jax.Array, batch: Any) -> jax.Array:
        (kernel, recurrent_kernel, bias), readout = unravel(flat)
        hidden = jnp.zeros((batch.inputs.shape[1], 8))
        total = jnp.float32(0)
        for t in range(6):
            hidden = jnp.tanh(batch.inputs[t] @ kernel + hidden @ recurrent_kernel + bias[None])
            logits = hidden @ readout["params"]["kernel"] + readout["params"]["bias"][None]
            total -= jnp.mean(jnp.sum(jax.nn.log_softmax(logits) * jax.nn.one_hot(batch.targets[t], 7), -1))
        return total / 6

    loss = jax.jit(loss)
    gradient_of = jax.jit(jax.grad(loss))
    sample = jax.jit(task.sample, static_argnums=1)
    test_batch = task.sample_test(test_key, 100)
    mean, square, losses = np.zeros(flat.shape), np.zeros(flat.shape), [float(loss(flat, test_batch))]
    for step in range(1, 41):
        batch = sample(jax.random.fold_in(train_key, step - 1), 8)
        gradient = np.asarray(gradient_of(flat, batch), np.float64)
        gradient *= min(1.0, 1.0 / np.linalg.norm(gradient))
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        change = mean / (1 - 0.9**step) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
        flat = flat - jnp.asarray(3e-2 * change, flat.dtype)
        if step % 20 == 0:
            losses.append(float(loss(flat, test_batch)))
    recorded = [r["loss"] for r in records_of(finished[0], Run(program, seed).name) if r["kind"] == "evaluation"]
    np.testing.assert_allclose(recorded[:3], losses, rtol=1e-3)


@pytest.mark.parametrize("cell", [rnnjax.lstm(5), rnnjax.elman(5)])
def test_gradient_norms_are_of_the_last_steps_loss_alone_over_all_fields_of_the_state(
    cell: rnnjax.Cell,
) -> None:
    """Against the gradient with respect to a zero added to one state after the other."""
    task = latching(7)
    batch = task.sample(jax.random.key(0), 3)
    network = task_network.init(cell, task, jax.random.key(1))

    def last_loss(perturbation: Any) -> jax.Array:
        _, outputs = rnnjax.unroll(cell, network.recurrent, batch.inputs, perturbation=perturbation)
        logits = outputs[-1] @ network.readout["params"]["kernel"] + network.readout["params"]["bias"][None]
        return -jnp.mean(jnp.sum(jax.nn.log_softmax(logits) * jax.nn.one_hot(batch.targets[-1], 8), -1))

    zeros = jax.tree.map(lambda leaf: jnp.zeros((7, *leaf.shape)), cell.initial_state(network.recurrent, (3,)))
    adjoints = jax.tree.leaves(jax.jit(jax.grad(last_loss))(zeros))
    expected = np.sqrt(sum((np.asarray(adjoint) ** 2).sum((1, 2)) for adjoint in adjoints))
    norms = jax.jit(lambda network: task_network.gradient_norms(cell, task, network, batch))(network)
    np.testing.assert_allclose(norms, expected, rtol=1e-5)


def test_the_cell_learns_at_a_rate_of_its_own_if_one_is_given() -> None:
    """The first step of Adam is the learning rate times the gradient's sign."""
    config = settings.get_config("quick")
    gradient = task_network.Network(jnp.array([3.0, -2.0]), jnp.array([-0.5]))
    for given, of_cell in ((1e-4, 1e-4), (None, 3e-2)):
        config.cell_learning_rate = given
        optimizer = long_memory.make_optimizer(config)
        with jax.numpy_dtype_promotion("standard"):
            change, _ = optimizer.update(gradient, optimizer.init(gradient), gradient)
        np.testing.assert_allclose(change.recurrent, [-of_cell, of_cell], rtol=1e-4)
        np.testing.assert_allclose(change.readout, [3e-2], rtol=1e-4)


def test_forget_gates_are_biased_as_the_config_says_and_other_cells_left_alone() -> None:
    config = settings.get_config("quick")
    key = jax.random.key(0)
    for given, expected in ((4.5, 4.5), (None, 1.0)):
        config.forget_bias = given
        bias = long_memory.make_cell("lstm", config).init(key, 3).bias
        assert bias.tolist() == [0.0] * 8 + [expected] * 8 + [0.0] * 16
        assert not long_memory.make_cell("gru", config).init(key, 3).bias.any()


def test_the_readout_is_of_the_last_steps() -> None:
    task, cell = adding(7), rnnjax.elman(5)
    batch = task.sample(jax.random.key(0), 3)
    network = task_network.init(cell, task, jax.random.key(1))
    _, outputs = rnnjax.unroll(cell, network.recurrent, batch.inputs)
    expected = outputs[-1] @ network.readout["params"]["kernel"] + network.readout["params"]["bias"][None]
    np.testing.assert_allclose(task_network.read(cell, network, batch), expected[None], rtol=1e-5)


@pytest.mark.parametrize("name", TASKS)
def test_every_task_can_be_learned_by_every_shape_of_state(name: str) -> None:
    if "digits" in name:
        pytest.importorskip("sklearn", reason="scikit-learn, which has the digits, is not installed: rnnjax[data]")
    task = TASKS[name](64 if "digits" in name else 20)
    for cell in (rnnjax.lstm(4), rnnjax.lru(4)):

        def loss(network: Any, key: jax.Array, cell: rnnjax.Cell = cell) -> jax.Array:
            batch = task.sample(key, 3)
            return task.loss(task_network.read(cell, network, batch), batch)

        network = jax.eval_shape(lambda key, cell=cell: task_network.init(cell, task, key), jax.random.key(0))
        gradients = jax.eval_shape(jax.grad(loss), network, jax.random.key(0))
        assert jax.tree.structure(gradients) == jax.tree.structure(network)


@pytest.mark.slow
def test_a_loss_that_overflows_ends_its_run_and_not_the_sweep(tmp_path: Path) -> None:
    config = settings.get_config("quick")
    config.learning_rate = 1e38
    runs = [Run(Program("latching", 3, "elman"), seed) for seed in range(2)]
    with jax.numpy_dtype_promotion("standard"):  # optax mixes its floats with its counts
        long_memory.execute(runs, logs_in(tmp_path), config=config)
    for run in runs:
        records = [record for record in records_in(tmp_path) if record["run"] == run.name]
        result = records[-1]
        assert (result["outcome"], result["steps"], result["loss"]) == ("diverged", None, None)
        assert [r["step"] for r in records if r["kind"] == "evaluation"] == [0, 20]


def ended(task: str, lag: int, cell: str, seed: int, steps: int | None, loss: float | None = 0.001) -> dict[str, Any]:
    outcome = "diverged" if loss is None else "not solved" if steps is None else "solved"
    identity = {"task": task, "lag": lag, "cell": cell, "seed": seed, "run": f"{task}-{lag}-{cell}-{seed}"}
    result = {"outcome": outcome, "steps": steps, "loss": loss, "error": 0.0 if steps else 0.5}
    return {
        **identity,
        "kind": "result",
        **result,
        "chance": 0.25,
        "memoryless": 0.2,
        "batch_size": 32,
        "settings": "few weights",
    }


def known() -> list[dict[str, Any]]:
    """GRUs that solve it after 100, 300 and 900 steps; Elman nets: one after 500, one at chance, one overflowed."""
    ends = [ended("adding", 100, "gru", seed, steps) for seed, steps in enumerate((100, 300, 900))]
    ends += [ended("adding", 100, "elman", 0, 500), ended("adding", 100, "elman", 1, None, 0.19)]
    ends += [ended("adding", 100, "elman", 2, None, None)]
    records = []
    for end in ends:
        curve = [{"kind": "evaluation", "step": step, "loss": 0.4 - step / 1000, "error": 0.5} for step in (0, 100)]
        factor = 1.0 if end["steps"] else 10.0 ** (-1 / 10)
        norms = [factor ** (20 - t) for t in range(21)]
        flows = [{"kind": "state_gradient", "phase": phase, "norms": norms} for phase in ("initialization", "trained")]
        identity = {field: end[field] for field in ("task", "lag", "cell", "seed", "run")}
        records += [{**identity, **record} for record in (*curve, *flows)] + [end]
    return records


def row_of(table: str, *words: str) -> list[str]:
    (line,) = [line for line in table.splitlines() if all(word in line for word in words)]
    return [entry.strip() for entry in line.strip("|").split("|")]


def test_table_and_verdict_of_known_runs() -> None:
    records = known()
    table = long_memory_report.table(records)
    gru, elman = row_of(table, "gru"), row_of(table, "elman")
    assert gru[3:5] == ["3/3", "300 (100 to 900)"]
    assert elman[3:9] == ["1/3", "500; 2 never", "0.19", "0.25", "0.2", "0.95"]
    assert gru[10:] == ["never"] * 2
    assert elman[10:] == ["10 to never"] * 2  # a tenth in ten steps, but for the one that solved it
    assert long_memory_report.verdict(records) == (
        "The seeds that solve each task at its longest lag, and in brackets the median loss of the others as a "
        "multiple of the best loss without memory, are: adding at lag 100: elman 1/3 (0.95, 1 diverged), gru 3/3."
    )


def test_published_figures_stand_beside_ours_in_sequences() -> None:
    table = long_memory_report.published(known())
    published = ["adding", "100", "LSTM of 1997", "93 weights, rate 0.5", "-", "74,000"]
    assert row_of(table, "table 7")[:6] == published
    assert row_of(table, "gru")[3:6] == ["few weights", "3/3", "9,600"]  # 300 steps of 32
    assert row_of(table, "elman")[4:6] == ["1/3", "-"]
    assert long_memory_report.published([ended("parity", 3, "gru", 0, 5)]) == ""


def test_figures_show_shares_steps_losses_and_gradients() -> None:
    records = known()
    figure = long_memory_report.solved_by_lag(records)
    rate, steps = figure.axes
    assert "adding: elman none, gru 100" in figure.get_suptitle()
    np.testing.assert_allclose([line.get_ydata()[0] for line in rate.lines], [100 / 3, 100])
    drawn = {tuple(line.get_ydata()) for line in steps.lines}
    assert {(300,), (100, 300, 900), (500,)} <= drawn

    figure = long_memory_report.loss_by_step(records)
    assert figure.get_suptitle().replace("\n", " ") == (
        "4 of 6 networks solve their task; 2 show no sign of memory: "
        "their loss stays above 0.9 times the best without memory"
    )
    *curves, chance, memoryless = figure.axes[0].lines
    assert (set(chance.get_ydata()), set(memoryless.get_ydata())) == ({0.25}, {0.2})
    assert len(curves) == 6
    np.testing.assert_allclose(curves[0].get_xydata(), [[0, 0.4], [100, 0.3]])

    figure = long_memory_report.gradient_by_lag(records)
    assert "$10^{+0.0}$ where the task is solved, $10^{-2.0}$ where it is not" in figure.get_suptitle().replace(
        "\n", " "
    )
    elman = figure.axes[0].lines[1]
    np.testing.assert_allclose(elman.get_ydata(), -np.arange(21) / 10, atol=1e-6)


def test_where_nothing_is_solved_there_are_figures_all_the_same(tmp_path: Path) -> None:
    records = [record for record in known() if record["run"] in ("adding-100-elman-1", "adding-100-elman-2")]
    assert all(path.exists() for path in laid_out(long_memory_report.FIGURES, records, tmp_path))
    assert "elman 0/2" in long_memory_report.summary(records)


@pytest.mark.parametrize("variant", ["default", "quick", "latching", "adding", "copy"])
def test_the_plan_of_every_variant_has_each_combination_once(variant: str) -> None:
    config = settings.get_config(variant)
    runs = plan(config)
    counts = [len(config[field].split(",")) for field in ("tasks", "lags", "cells")]
    assert len(runs) == len(set(runs)) == int(np.prod(counts)) * config.seeds
    assert len({run.name for run in runs}) == len(runs)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("tasks", "ading", "unknown task 'ading': did you mean 'adding'"),
        ("cells", "lstn", "unknown cell 'lstn': did you mean 'lstm'"),
        ("cells", "", "--config.cells is empty: expected names separated by commas"),
        ("lags", "4,x", "--config.lags is '4,x': expected positive whole numbers separated by commas"),
        ("lags", "0", "--config.lags is '0': expected positive whole numbers separated by commas"),
        ("seeds", 0, "--config.seeds is 0: expected at least 1"),
        ("train_steps", 0, "--config.train_steps is 0: expected at least 1"),
        ("cell_learning_rate", -1.0, "--config.cell_learning_rate is -1.0: expected a positive number"),
        ("clip_norm", 0.0, "--config.clip_norm is 0.0: expected a positive number"),
        ("threads", -1, "--config.threads is -1: expected 0 or more"),
    ],
)
def test_a_config_that_cannot_be_is_refused(field: str, value: object, message: str) -> None:
    check_refused(plan, settings.get_config("quick"), field, value, message)
