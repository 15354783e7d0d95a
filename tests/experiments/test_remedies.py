"""The remedies experiment, end to end: its numbers against equations written out, its files, its report."""

import json
import subprocess
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

import rnnjax
from experiments.common.clipping import watched
from experiments.networks import task_network
from experiments.remedies import config as settings
from experiments.remedies import report as remedies_report
from experiments.remedies.main import Program, Run, plan
from rnnjax.tasks import temporal_order
from tests.answers import completed
from tests.experiments.runs import check_drawn, check_page
from tests.test_errors import check_refused

ROOT = Path(__file__).parents[2]
Record = dict[str, Any]


def run(workdir: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    return completed("remedies", "--variant=quick", f"--workdir={workdir}", *flags)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A finished run of the quick variant, and what it printed."""
    workdir = tmp_path_factory.mktemp("runs") / "finished"
    done = run(workdir)
    assert done.returncode == 0, done.stderr
    return workdir, done.stdout


def test_the_page_has_charts_and_explains_every_field_that_is_recorded(finished: tuple[Path, str]) -> None:
    check_page(finished[0], "remedies")


def records_of(workdir: Path, run: str, kind: str) -> list[Record]:
    records = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [record for record in records if record["run"] == run and record["kind"] == kind]


def test_a_run_leaves_config_records_figures_and_summary(finished: tuple[Path, str]) -> None:
    workdir, printed = finished
    assert json.loads((workdir / "config.json").read_text())["config"]["hidden_size"] == 8
    check_drawn(workdir, ("loss_by_step", "norms_and_clipping", "gradient_by_lag", "lyapunov_exponents"))
    line = "at T = 10 is solved by no seed without a remedy, with flossing + the penalty + element clipping."
    assert line in printed
    assert line in (workdir / "summary.md").read_text()
    assert "| no remedy " in (workdir / "summary.md").read_text()


def test_recorded_training_is_flossing_then_sgd_on_loss_and_penalty_with_clipped_elements(
    finished: tuple[Path, str],
) -> None:
    """Both written out: Adam on the exponents, then plain steps of a gradient whose elements NumPy clips."""
    name = "temporal_order-10-flossing+penalty+element_clipping-seed1"
    task = temporal_order(10)
    sample = jax.jit(task.sample, static_argnums=1)
    normal = jax.nn.initializers.normal(0.01)
    cell = rnnjax.elman(8, kernel_init=normal, recurrent_init=normal)
    init_key, floss_key, train_key, test_key = jax.random.split(jax.random.key(1), 4)
    network = jax.jit(lambda key: task_network.init(cell, task, key))(init_key)

    @jax.jit
    def of_exponents(params: Any, inputs: jax.Array) -> Any:
        def squares(params: Any) -> jax.Array:
            exponents = rnnjax.lyapunov_spectrum(cell, params, inputs, count=3, blocks=2).exponents
            return jnp.sum(exponents**2)

        return jax.grad(squares)(params)

    flat, unravel = ravel_pytree(network.recurrent)
    mean, square = np.zeros(flat.shape), np.zeros(flat.shape)
    for step, key in enumerate(jax.random.split(floss_key, 5), start=1):
        gradient = np.asarray(ravel_pytree(of_exponents(unravel(flat), sample(key, 1).inputs))[0], np.float64)
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        change = mean / (1 - 0.9**step) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
        flat = flat - jnp.asarray(3e-3 * change, flat.dtype)
    network = network._replace(recurrent=unravel(flat))

    def cross_entropy(readout: Any, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        logits = outputs[-1] @ readout["params"]["kernel"] + readout["params"]["bias"][None]
        return -jnp.mean(jnp.sum(jax.nn.log_softmax(logits) * jax.nn.one_hot(targets[-1], 4), axis=-1))

    @jax.jit
    def loss(network: Any, batch: Any) -> jax.Array:
        outputs = rnnjax.unroll(cell, network.recurrent, batch.inputs)[1]
        return cross_entropy(network.readout, outputs, batch.targets)

    @jax.jit
    def of_training(network: Any, batch: Any) -> Any:
        def penalty(network: Any) -> jax.Array:
            def of_outputs(outputs: jax.Array) -> jax.Array:
                return cross_entropy(network.readout, outputs, batch.targets)

            return rnnjax.gradient_preserving_penalty(cell, network.recurrent, batch.inputs, of_outputs)

        return jax.grad(lambda network: loss(network, batch) + 4 * penalty(network))(network)

    flat, unravel = ravel_pytree(network)
    test_batch = sample(test_key, 100)
    losses, norms, shares = [loss(network, test_batch)], [], []
    for step in range(40):
        batch = sample(jax.random.fold_in(train_key, step), 8)
        gradient = np.asarray(ravel_pytree(of_training(unravel(flat), batch))[0], np.float64)
        clipped = np.clip(gradient, -0.02, 0.02)
        norms.append((np.linalg.norm(gradient), np.linalg.norm(clipped)))
        shares.append(np.mean(clipped != gradient))
        flat = flat - jnp.asarray(0.1 * clipped, flat.dtype)
        if step % 20 == 19:
            losses.append(loss(unravel(flat), test_batch))

    evaluations = records_of(finished[0], name, "evaluation")
    assert [record["step"] for record in evaluations] == [0, 20, 40]
    np.testing.assert_allclose([record["loss"] for record in evaluations], losses, rtol=1e-4)
    last, (before, after) = records_of(finished[0], name, "train")[-1], np.array(norms[20:]).T
    assert last["step"] == 40
    np.testing.assert_allclose(last["norm_before_largest"], before.max(), rtol=1e-3)
    np.testing.assert_allclose(last["norm_before_median"], np.median(before), rtol=1e-3)
    np.testing.assert_allclose(last["norm_after_largest"], after.max(), rtol=1e-3)
    np.testing.assert_allclose(last["elements_clipped"], np.mean(shares[20:]), rtol=1e-2)
    assert last["steps_clipped"] == 1

    trained = unravel(flat)
    exponents = {r["phase"]: r["exponents"] for r in records_of(finished[0], name, "exponents")}
    spectrum = rnnjax.lyapunov_spectrum(cell, trained.recurrent, test_batch.inputs[:, 0], warm_up=0, blocks=2)
    np.testing.assert_allclose(exponents["trained"][:3], spectrum.exponents[:3], rtol=1e-2)
    flow = {r["phase"]: r["norms"] for r in records_of(finished[0], name, "state_gradient")}
    assert list(flow) == ["initialization", "flossed", "trained"]
    measured = rnnjax.gradient_flow(
        cell, trained.recurrent, test_batch.inputs, lambda y: cross_entropy(trained.readout, y, test_batch.targets)
    )
    np.testing.assert_allclose(flow["trained"], measured.state.hidden, rtol=1e-2)


@pytest.mark.slow
def test_a_network_that_overflows_ends_its_run_and_not_the_sweep(tmp_path: Path) -> None:
    done = run(tmp_path / "diverged", "--config.remedies=none", "--config.learning_rate=1e38", "--config.seeds=1")
    assert done.returncode == 0, done.stderr
    assert "0/1, 1 diverged" in done.stdout
    evaluations = records_of(tmp_path / "diverged", "temporal_order-10-none-seed0", "evaluation")
    assert [(record["step"], record["loss"] is None) for record in evaluations] == [(0, False), (20, True)]
    (interval,) = records_of(tmp_path / "diverged", "temporal_order-10-none-seed0", "train")
    assert (interval["step"], interval["steps_clipped"]) == (20, 0)


@pytest.mark.parametrize(
    ("clipping", "expected", "share"),
    [
        (optax.clip(1.0), [1.0, -1.0, 0.5, 0.0], 0.5),
        (optax.clip_by_global_norm(1.0), [3 / 3.5, -1.7320508 / 3.5, 0.5 / 3.5, 0.0], 0.75),
        (optax.clip_by_global_norm(10.0), [3.0, -1.7320508, 0.5, 0.0], 0.0),
        (optax.identity(), [3.0, -1.7320508, 0.5, 0.0], 0.0),
    ],
)
def test_watched_clipping_changes_nothing_and_tells_what_it_did(
    clipping: optax.GradientTransformation, expected: list[float], share: float
) -> None:
    gradients = {"kernel": jnp.array([3.0, -1.7320508]), "bias": jnp.array([0.5, 0.0])}
    optimizer = optax.chain(watched(clipping), optax.scale(2.0))
    updates, state = optimizer.update(gradients, optimizer.init(gradients))
    np.testing.assert_allclose(np.concatenate([updates["kernel"], updates["bias"]]), 2 * np.array(expected), rtol=1e-6)
    np.testing.assert_allclose(optax.tree.get(state, "norm_before"), 3.5, rtol=1e-6)
    np.testing.assert_allclose(optax.tree.get(state, "norm_after"), np.linalg.norm(expected), rtol=1e-6)
    assert optax.tree.get(state, "share_clipped") == share


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("remedies", "", "--config.remedies is empty: expected names separated by commas"),
        ("remedies", "penalty+cliping", "unknown remedy 'cliping': "),
        ("lengths", "20,x", "--config.lengths is '20,x': expected positive whole numbers separated by commas"),
        ("lengths", "5", "length is 5: expected at least 10"),
        ("task", "temporal", "unknown task 'temporal'"),
        ("seeds", 0, "--config.seeds is 0: expected at least 1"),
        ("exponents", 9, "--config.exponents is 9: expected at most the hidden_size, 8"),
        ("penalty_weight", 0.0, "--config.penalty_weight is 0.0: expected a positive number"),
        ("flossing_steps", -1, "--config.flossing_steps is -1: expected 0 or more"),
    ],
)
def test_a_config_that_cannot_be_is_refused(field: str, value: object, message: str) -> None:
    check_refused(plan, settings.get_config("quick"), field, value, message)


def test_the_plan_has_every_combination_once() -> None:
    config = settings.get_config("quick")
    config.lengths, config.remedies, config.seeds = "10,20", "none,penalty,none", 3
    runs = plan(config)
    assert len(runs) == len(set(runs)) == 2 * 2 * 3
    assert Run(Program("temporal_order", 20, "penalty"), 2) in runs


def ended(remedy: str, seed: int, outcome: str, length: int = 50) -> Record:
    where = {"task": "temporal_order", "length": length, "remedy": remedy, "seed": seed, "kind": "result"}
    solved = outcome == "solved"
    return {
        **where,
        "outcome": outcome,
        "steps": 300 if solved else None,
        "loss": 1.0,
        "error": 0.0,
        "chance": 1.386,
        "memoryless": 1.386,
    }


def test_the_verdict_names_who_solves_it_at_every_length() -> None:
    ends = [ended("none", seed, "not solved", length) for length in (20, 50) for seed in range(2)]
    ends += [ended("flossing", seed, "solved", length=20) for seed in range(2)]
    ends += [ended("flossing", 0, "solved"), ended("flossing", 1, "diverged")]
    ends += [ended("penalty+norm_clipping", seed, "solved", length) for length in (20, 50) for seed in range(2)]
    assert remedies_report.verdict(ends) == (
        "Temporal order at T = 20, 50 is solved by every seed with the penalty + norm clipping; "
        "by some seeds with flossing (2/2, 1/2); by no seed without a remedy."
    )
    lines = remedies_report.successes(ends).splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert rows[0] == ["solved with", "T = 20", "T = 50"]
    assert rows[2:] == [
        ["no remedy", "0/2", "0/2"],
        ["the penalty + norm clipping", "2/2", "2/2"],
        ["flossing", "2/2", "1/2, 1 diverged"],
    ]


def solved_of_two(**counts: tuple[int, ...]) -> list[Record]:
    """How many of two seeds solve it at T = 20, 35, ..., by remedy."""
    return [
        ended(remedy.replace("_and_", "+"), seed, "solved" if seed < count else "not solved", length)
        for remedy, of_lengths in counts.items()
        for length, count in zip((20, 35, 50), of_lengths, strict=False)
        for seed in range(2)
    ]


@pytest.mark.parametrize(
    ("combined", "clipping", "none", "expected"),
    [
        (
            (2, 2, 2),
            (0, 0, 0),
            (0, 0, 0),
            "T = 20, 35, 50 (all seeds solve it with both, none with clipping alone or without a remedy).",
        ),
        (
            (2, 2, 1),
            (2, 0, 0),
            (0, 0, 0),
            "T = 35 (all seeds solve it with both, none with clipping alone or without a remedy); at T = 20 2/2 solve "
            "it with both, 2/2 with clipping alone, 0/2 without a remedy; at T = 50 1/2 solve it with both, 0/2 with "
            "clipping alone, 0/2 without a remedy.",
        ),
        ((2,), (0,), (1,), "no T; at T = 20 2/2 solve it with both, 0/2 with clipping alone, 1/2 without a remedy."),
    ],
)
def test_the_verdict_says_at_which_lengths_norm_clipping_lacks_the_penalty(
    combined: tuple[int, ...], clipping: tuple[int, ...], none: tuple[int, ...], expected: str
) -> None:
    ends = solved_of_two(norm_clipping_and_penalty=combined, norm_clipping=clipping, none=none)
    assert remedies_report.verdict(ends).endswith(
        f". That norm clipping works only with the penalty holds at {expected}"
    )


def test_figures_show_losses_norms_and_exponents_where_they_belong() -> None:
    where = {"task": "temporal_order", "length": 50, "remedy": "penalty+norm_clipping"}
    records = [ended("penalty+norm_clipping", seed, "solved") for seed in range(3)]
    for seed in range(3):
        norms = (10.0 ** (0.1 * np.arange(50.0)) * 2**seed).tolist()
        flow = {"kind": "state_gradient", "phase": "trained", "norms": norms}
        spectrum = {"kind": "exponents", "phase": "trained", "exponents": [0.1 * seed, -1.0, None]}
        first = {"kind": "evaluation", "step": 0, "loss": 1.4}
        clipped = {"norm_before_largest": 30.0 + seed, "norm_after_largest": 1.0, "steps_clipped": 0.25}
        clipped |= {"elements_clipped": 0.125}
        later = {"kind": "evaluation", "step": 2000, "loss": 0.1 * seed}
        interval = {"kind": "train", "step": 2000, "penalty": 0.0, **clipped}
        before = [{**record, "phase": "initialization"} for record in (flow, spectrum)]
        records += [{**where, "seed": seed, **record} for record in (*before, flow, spectrum, first, interval, later)]

    losses = remedies_report.loss_by_step(records).axes[0].lines
    np.testing.assert_allclose([line.get_ydata() for line in losses[:3]], [[1.4, 0.0], [1.4, 0.1], [1.4, 0.2]])
    np.testing.assert_allclose(losses[0].get_xdata(), [0, 2000])
    assert losses[3].get_ydata()[0] == 1.386
    norms_panel = remedies_report.norms_and_clipping(records).axes[0]
    np.testing.assert_allclose([line.get_ydata()[0] for line in norms_panel.lines], [30, 1, 31, 1, 32, 1])
    assert "25% of steps clipped" in norms_panel.get_title(loc="left")
    assert "with clipping 32 before it and 1 after it" in norms_panel.figure.get_suptitle().replace("\n", " ")
    by_lag = remedies_report.gradient_by_lag(records)
    _, line = by_lag.axes[0].lines
    assert "$10^{-4.9}$ after training where the task is solved" in by_lag.get_suptitle().replace("\n", " ")
    np.testing.assert_allclose(line.get_ydata(), np.log10(2) + 0.1 * np.arange(50.0)[::-1], atol=1e-5)
    spectra = remedies_report.lyapunov_exponents(records)
    assert "+0.10 (+0.00 to +0.20) after training where the task is solved" in spectra.get_suptitle().replace("\n", " ")
    exponents = spectra.axes[0].lines[2]
    np.testing.assert_allclose(exponents.get_ydata()[:2], [0.1, -1.0])
    assert exponents.get_ydata()[2] < exponents.axes.get_ylim()[0]

    (row,) = remedies_report.table(records).splitlines()[2:]
    expected = ["50", "the penalty + norm clipping", "3/3", "300 (300)", "0.0%", "0.72", "32", "1", "25%", "12.5%"]
    assert [cell.strip() for cell in row.split("|")[1:-1]] == [*expected, "1.3e-05", "1.3e-05", "+0.100", "+0.100"]
