"""The forward_memory experiment, end to end: its numbers against loops and closed forms, its files, its report."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from experiments.forward_memory import config as settings
from experiments.forward_memory import report
from experiments.forward_memory.main import Program, Run, exact_memory, make_cell, plan
from rnnjax.cells.elman import ElmanParams
from tests.experiments.runs import check_drawn, check_page, quick_run
from tests.test_errors import check_refused

Record = dict[str, Any]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A finished run of the quick variant, and what it printed."""
    return quick_run(tmp_path_factory, "forward_memory")


def test_the_page_has_charts_and_explains_every_field_that_is_recorded(finished: tuple[Path, str]) -> None:
    check_page(finished[0], "forward_memory")


def records_of(workdir: Path, run: str, kind: str) -> dict[str, Record]:
    """By what they are of."""
    records = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return {record.get("of"): record for record in records if record["run"] == run and record["kind"] == kind}


def network(program: Program, seed: int) -> tuple[rnnjax.Cell, Any, np.ndarray, np.ndarray]:
    """Of the quick variant: the cell, its params, its inputs (T, B, 1), and the numbers its outputs are read with."""
    cell = make_cell(program, 8)
    init_key, key, _ = jax.random.split(jax.random.key(seed), 3)
    signal_key, readout_key = jax.random.split(key)
    inputs = jax.random.uniform(signal_key, (1050, 4, 1), minval=-1.0, maxval=1.0)
    return cell, cell.init(init_key, 1), np.asarray(inputs), np.asarray(jax.random.normal(readout_key, (8,)))


def test_a_run_leaves_config_records_figures_and_summary(finished: tuple[Path, str]) -> None:
    workdir, printed = finished
    assert json.loads((workdir / "config.json").read_text())["config"]["hidden_size"] == 8
    check_drawn(workdir, ("recall_by_lag", "derivative_by_lag", "size_by_step"))
    for text in (printed, (workdir / "summary.md").read_text()):
        assert "Where dh_T/dx_t does not fade, outputs blow up in linear radius 1.5" in text
        assert "| linear    | radius 0.8" in text


def test_recorded_derivatives_and_sizes_are_those_of_a_loop(finished: tuple[Path, str]) -> None:
    """Of h_t = tanh(x_t W + h_{t-1} U), every Jacobian multiplied out."""
    _, params, inputs, readout = network(Program("elman", "tanh", "orthogonal:1.5"), 1)
    W, U = (np.asarray(leaf, np.float64) for leaf in (params.kernel, params.recurrent_kernel))
    np.testing.assert_allclose(U @ U.T, 1.5**2 * np.eye(8), atol=1e-5)
    forward, backward = np.zeros((12, 4)), np.zeros((12, 4))
    hidden, kept = np.zeros((4, 8)), []
    for x in inputs:
        hidden = np.tanh(x @ W + hidden @ U)
        kept.append(hidden)
    kept = np.array(kept)
    for example in range(4):
        product = np.eye(8)  # dh_T/dh_t, [i, j] = dh_T[j] / dh_t[i]
        for lag in range(12):
            step = 50 + 11 - lag
            slopes = 1 - kept[step, example] ** 2
            forward[11 - lag, example] = np.linalg.norm((W * slopes) @ product)
            backward[11 - lag, example] = np.linalg.norm(product @ readout)
            product = (U * slopes) @ product
    derivative = records_of(finished[0], "elman-tanh-orthogonal-1.5-seed1", "derivative")
    for of, norms in (("forward", forward), ("backward", backward)):
        np.testing.assert_allclose(derivative[of]["norms"], np.exp(np.log(norms).mean(axis=1)), rtol=1e-3)
    (size,) = records_of(finished[0], "elman-tanh-orthogonal-1.5-seed1", "size").values()
    assert size["steps"][0] == 1
    assert size["steps"][-1] == 1050
    expected = np.sqrt((kept[:, 0] ** 2).mean(axis=1))
    early = np.array(size["steps"]) < 60  # later the loop parts from float32, if the network is chaotic
    np.testing.assert_allclose(np.array(size["sizes"])[early], expected[np.array(size["steps"])[early] - 1], rtol=1e-3)
    np.testing.assert_allclose(size["saturated"], (np.abs(kept[50:62]) > 0.99).mean(), atol=1e-6)


def test_the_gradient_of_an_lstm_is_that_of_hidden_and_memory_together(finished: tuple[Path, str]) -> None:
    cell, params, inputs, readout = network(Program("lstm", "-", "forget_bias:1"), 0)
    state, _ = rnnjax.unroll(cell, params, jnp.asarray(inputs[:50]))
    jacobians = np.asarray(rnnjax.state_jacobians(cell, params, jnp.asarray(inputs[50:62]), state), np.float64)
    norms = np.zeros((12, 4))
    for example in range(4):
        adjoint = np.concatenate([readout, np.zeros(8)])  # of hidden and cell
        for step in reversed(range(12)):
            norms[step, example] = np.linalg.norm(adjoint)
            adjoint = adjoint @ jacobians[step, example]
    recorded = records_of(finished[0], "lstm---forget_bias-1-seed0", "derivative")["backward"]["norms"]
    np.testing.assert_allclose(recorded, np.exp(np.log(norms).mean(axis=1)), rtol=1e-3)


def test_of_a_linear_network_recall_and_derivative_are_what_theory_says(finished: tuple[Path, str]) -> None:
    for seed in range(2):
        derivative, recall = (
            records_of(finished[0], f"elman-identity-orthogonal-0.8-seed{seed}", kind)
            for kind in ("derivative", "recall")
        )
        np.testing.assert_allclose(derivative["forward"]["norms"], derivative["exact"]["norms"], rtol=1e-4)
        np.testing.assert_allclose(recall["measured"]["r_squared"], recall["exact"]["r_squared"], atol=0.15)
        assert recall["exact"]["r_squared"][0] > 0.95


def test_what_overflows_has_no_recall(finished: tuple[Path, str]) -> None:
    name = "elman-identity-orthogonal-1.5-seed0"
    assert not records_of(finished[0], name, "recall")
    assert records_of(finished[0], name, "size")[None]["sizes"][-1] is None
    norms = records_of(finished[0], name, "derivative")["forward"]["norms"]
    np.testing.assert_allclose(np.array(norms[:-1]) / np.array(norms[1:]), 1.5, rtol=1e-4)


# What is known of linear networks


def linear(kernel: Any, recurrent_kernel: Any) -> ElmanParams:
    kernel, recurrent_kernel = np.asarray(kernel, float)[None], np.asarray(recurrent_kernel, float)
    return ElmanParams(kernel, recurrent_kernel, np.zeros(kernel.shape[1]))


def test_exact_memory_of_a_leaky_integrator() -> None:
    """s_t = a s_{t-1} + w u_t: the correlation of u_{t-k} with s_t is a^k sqrt(1 - a^2)."""
    derivative, recall = exact_memory(linear([2.0], [[0.9]]), 30)
    np.testing.assert_allclose(derivative["norms"], 2 * 0.9 ** np.arange(30)[::-1], rtol=1e-12)
    np.testing.assert_allclose(recall["r_squared"], (1 - 0.9**2) * 0.9 ** (2 * np.arange(30)), rtol=1e-10)
    np.testing.assert_allclose(recall["capacity"], 1 - 0.9**60, rtol=1e-10)


def test_exact_memory_of_a_delay_line_is_its_length() -> None:
    derivative, recall = exact_memory(linear([1.0, 0, 0, 0], np.eye(4, k=1)), 6)
    np.testing.assert_allclose(derivative["norms"], [0, 0, 1, 1, 1, 1])
    np.testing.assert_allclose(recall["r_squared"], [1, 1, 1, 1, 0, 0], atol=1e-12)


def test_exact_memory_of_a_network_is_shared_out_over_lags_and_ends_where_states_grow() -> None:
    """Its sum is the number of units (Jaeger, 2001)."""
    random = np.random.default_rng(0)
    rotation, kernel = np.linalg.qr(random.normal(size=(10, 10)))[0], random.normal(size=10)
    _, recall = exact_memory(linear(kernel, 0.9 * rotation), 400)
    np.testing.assert_allclose(recall["capacity"], 10, rtol=1e-8)
    assert recall["r_squared"][5] < 1 - 1e-3
    (derivative,) = exact_memory(linear(kernel, rotation), 400)
    np.testing.assert_allclose(derivative["norms"], np.linalg.norm(kernel), rtol=1e-10)


# The plan


def test_the_plan_gives_radii_to_elman_networks_and_biases_to_gated_cells() -> None:
    config = settings.get_config("quick")
    config.cells, config.forget_biases = "elman,gru,lstm,min_gru", "0,3"
    programs = {run.program for run in plan(config)}
    assert len(plan(config)) == 2 * len(programs)
    assert programs == {
        *(Program("elman", g, f"orthogonal:{radius}") for g in ("identity", "tanh") for radius in ("0.8", "1.5")),
        *(Program(cell, "-", f"forget_bias:{bias}") for cell in ("gru", "lstm") for bias in ("0", "3")),
        Program("min_gru", "-", "default"),
    }
    assert Run(Program("gru", "-", "forget_bias:3"), 1) in plan(config)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("cells", "elmann", "unknown cell 'elmann'"),
        ("activations", "tan", "unknown activation 'tan'"),
        ("radii", "-1", "orthogonal:-1"),
        ("radii", "", "--config.radii is empty: expected"),
        ("seeds", 0, "--config.seeds is 0: expected at least 1"),
        ("lags", 2, "--config.lags is 2: expected at least 3"),
        ("amplitude", 0.0, "--config.amplitude is 0.0: expected a positive number"),
        ("steps", 23, "--config.steps is 23: expected at least twice the lags, 24"),
    ],
)
def test_a_config_that_cannot_be_is_refused(field: str, value: object, message: str) -> None:
    check_refused(plan, settings.get_config("quick"), field, value, message)


# The report


def measured(
    cell: str,
    activation: str,
    start: str,
    *,
    factor: float,
    recalled: int | None,
    growth: float,
    saturated: float = 0.0,
) -> list[Record]:
    """Records of three seeds: a derivative with that factor a step, all recalled so far back, a size that grows."""
    where = {"cell": cell, "activation": activation, "initialization": start}
    records = []
    for seed in range(3):
        forward, backward = (((f + 0.01 * (seed - 1)) ** np.arange(20.0))[::-1] for f in (factor, factor + 0.02))
        steps, sizes = [1, 100, 1000], [0.1, 2.0, 2.0 * growth if np.isfinite(growth) else None]
        records += [
            {**where, "seed": seed, "kind": "derivative", "of": of, "norms": norms.tolist()}
            for of, norms in (("forward", forward), ("backward", backward))
        ]
        records.append({**where, "seed": seed, "kind": "size", "steps": steps, "sizes": sizes, "saturated": saturated})
        if recalled is not None:
            recall = [1.0] * (recalled + seed - 1) + [0.25] * (20 - recalled - seed + 1)
            recall = {"kind": "recall", "of": "measured", "r_squared": recall, "capacity": float(recalled + seed)}
            records.append({**where, "seed": seed, **recall})
    return records


RECORDS = [
    *measured("lstm", "-", "forget_bias:3", factor=1.0, recalled=13, growth=1.0, saturated=0.4),
    *measured("elman", "tanh", "orthogonal:1", factor=0.5, recalled=5, growth=1.5),
    *measured("elman", "identity", "orthogonal:1", factor=1.0, recalled=18, growth=10.0),
    *measured("elman", "relu", "orthogonal:10", factor=1.5, recalled=None, growth=np.inf),
    *measured("elman", "relu", "orthogonal:2", factor=1.2, recalled=3, growth=2.0),
]


def test_the_verdict_judges_the_lecture_by_the_records() -> None:
    assert report.verdict(RECORDS) == (
        "2 of 3 nonlinear networks that do not blow up forget half of an input within 12 steps (range over all of "
        "them: 2 to 14). "
        "Where dh_T/dx_t does not fade, outputs blow up in linear radius 1, relu radius 10; they stay as they are in "
        "relu radius 2; they saturate in LSTM forget bias 3 (40% of units). "
        "Where all eigenvalues of the recurrent kernel have modulus 1, a step back multiplies dh_T/dx_t by 1.00 in "
        "linear, 0.50 in tanh. "
        "The factors by which a step back multiplies dL/ds_t and dh_T/dx_t differ by at most 0.020."
    )


def test_the_table_has_geometric_means_of_rates_ranges_over_seeds_and_medians() -> None:
    def around(factor: float) -> list[str]:
        rates = [np.array([-0.01, 0, 0.01]) + middle for middle in (factor, factor + 0.02)]
        return [f"{np.exp(np.log(three).mean()):.3f} ({three[0]:.3f} to {three[-1]:.3f})" for three in rates]

    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in report.table(RECORDS).splitlines()[2:]]
    assert rows == [
        ["linear", "radius 1", "17 to 19", "19.0", *around(1.0), "10", "0%"],
        ["relu", "radius 2", "2 to 4", "4.0", *around(1.2), "2", "0%"],
        ["relu", "radius 10", "-", "-", *around(1.5), "overflow", "0%"],
        ["tanh", "radius 1", "4 to 6", "6.0", *around(0.5), "1.5", "0%"],
        ["LSTM", "forget bias 3", "12 to 14", "14.0", *around(1.0), "1", "40%"],
    ]


def test_forgotten_is_what_cannot_be_half_recalled() -> None:
    assert report.forgotten_after(np.array([1.0, 0.5, 0.49, 0.6])) == 2
    assert report.forgotten_after(np.array([0.2, 0.1])) == 0
    assert report.forgotten_after(np.array([1.0, 0.9])) == np.inf


def test_figures_show_recall_derivatives_and_sizes_where_they_belong() -> None:
    recall = report.recall_by_lag(RECORDS)
    assert recall is not None
    shown = [axes for axes in recall.axes if axes.get_visible()]
    assert [axes.get_title(loc="left").split(":")[0] for axes in shown] == ["linear", "relu", "tanh", "LSTM"]
    tanh = shown[2]
    np.testing.assert_allclose(tanh.lines[0].get_ydata(), [1.0] * 5 + [0.25] * 15)
    assert tanh.lines[1].get_xdata()[0] == report.DOZEN
    assert "half forgotten at lag 4 to 6" in tanh.get_title(loc="left")

    derivative = report.derivative_by_lag(RECORDS).axes[2]
    line, dots = derivative.lines
    np.testing.assert_allclose(line.get_ydata(), np.log10(0.5) * np.arange(20), atol=1e-5)
    assert (dots.get_marker(), dots.get_linestyle(), dots.get_markevery()) == ("o", "None", 10)
    np.testing.assert_allclose(dots.get_ydata(), np.log10(0.52) * np.arange(20), atol=1e-5)

    sizes = report.size_by_step(RECORDS).axes[0].lines[0]
    np.testing.assert_allclose(sizes.get_xdata(), [1, 100, 1000])
    np.testing.assert_allclose(sizes.get_ydata(), np.log10([0.1, 2, 20]), atol=1e-6)
