"""The forecasting experiment: nothing of the future, networks and errors by hand, data, what a run leaves."""

import functools
import importlib.util
import itertools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from experiments.common.optimizer import make_optimizer
from experiments.forecasting import (
    baselines,
    findings,
    learning,
    networks,
    report,
    scoring,
    series,
)
from experiments.forecasting import config as settings
from experiments.forecasting import main as forecasting
from experiments.forecasting.main import plan
from experiments.forecasting.series import TEST, TRAIN, VALIDATION, Series, Task
from experiments.forecasting.skill import skills
from tests.experiments.logs import records_in
from tests.experiments.runs import check_drawn, check_page, quick_run
from tests.experiments.undrawn import laid_out
from tests.test_errors import check_refused

ROOT = Path(__file__).parents[2]
HORIZONS = (1, 3)
NETWORKS = ("tdnn", "narx", "narx:own", "narx:errors", "elman", "bidirectional")

needs_arch = pytest.mark.skipif(not importlib.util.find_spec("arch"), reason="not installed: rnnjax[forecasting]")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A finished run of the quick variant, and what it printed."""
    pytest.importorskip("pvlib", reason="not installed: rnnjax[forecasting]")
    pytest.importorskip("arch", reason="not installed: rnnjax[forecasting]")
    return quick_run(tmp_path_factory, "forecasting")


def test_the_page_has_charts_and_explains_every_field_that_is_recorded(finished: tuple[Path, str]) -> None:
    check_page(finished[0], "forecasting")


def made(sun: bool = False, lengths: tuple[int, ...] = (150, 120), seed: int = 0) -> Series:
    """Hours of noise about a day's course, in segments of different years."""
    generator = np.random.default_rng(seed)
    times = pd.DatetimeIndex(
        np.concatenate([pd.date_range(f"{2000 + k}-03-01", periods=n, freq="h") for k, n in enumerate(lengths)])
    )
    hours = np.asarray(times.hour)
    day = np.maximum(np.sin(2 * np.pi * (hours - 6) / 24), 0) * 800
    values = day * generator.uniform(0.2, 1.1, len(times)) if sun else 5 + hours / 6 + generator.normal(size=len(times))
    calendar = np.stack([np.sin(2 * np.pi * hours / 24), np.cos(2 * np.pi * hours / 24)], axis=1)
    segments = np.repeat(np.arange(len(lengths)), lengths)
    inputs = generator.normal(10, 4, (len(times), 1))
    return Series("made", "m/s", "h", times, segments, values, inputs, calendar, day if sun else None, 24)


def task_of(of: Series, horizons: tuple[int, ...] = HORIZONS) -> Task:
    return series.task(of, series.split(of.segments), horizons)


# Parts


def test_parts_follow_on_one_another_and_no_target_of_an_origin_is_of_another_part() -> None:
    task = task_of(made())
    for column, length in enumerate((150, 120)):
        parts = task.parts[:length, column]
        assert (np.diff(parts) >= 0).all()
        np.testing.assert_allclose(np.bincount(parts) / length, series.SHARES, atol=0.01)
        for part in (TRAIN, VALIDATION, TEST):
            expected = [
                t for t in range(length) if t + 3 < length and parts[t] == part and parts[t + 1] == parts[t + 3] == part
            ]
            assert np.flatnonzero(series.origins(task, part)[:, column]).tolist() == expected


def test_windows_stay_within_the_training_part_of_one_segment_with_all_their_targets() -> None:
    task = task_of(made())
    found = {tuple(start) for start in series.starts(task, 10)}
    expected = {
        (t, s)
        for s, length in enumerate((150, 120))
        for t in range(length)
        if t + 10 - 1 + 3 < length and (task.parts[t : t + 10 + 3, s] == TRAIN).all()
    }
    assert found == expected
    with pytest.raises(ValueError, match="made has 90 steps to train on in its longest segment: expected at least 103"):
        series.starts(task, 100)
    with pytest.raises(ValueError, match="made has at most 22 steps in a row to validate on: expected more than 40"):
        series.starts(task_of(made(), (1, 40)), 10)


def test_what_standardizes_is_of_the_training_part_alone() -> None:
    for sun in (False, True):
        known = made(sun)
        train = series.split(known.segments) == TRAIN
        later = known._replace(
            values=np.where(train, known.values, 3 * known.values + 7),
            inputs=np.where(train[:, None], known.inputs, -known.inputs),
        )
        one, other = task_of(known), task_of(later)
        np.testing.assert_array_equal(one.base, other.base)
        np.testing.assert_array_equal(one.scale, other.scale)
        for first, second in ((one.standardized, other.standardized), (one.inputs[..., :1], other.inputs[..., :1])):
            np.testing.assert_array_equal(first[one.parts == TRAIN], second[one.parts == TRAIN])


def test_values_are_standardized_by_hour_or_by_the_clear_sky() -> None:
    wind, hours = made(), np.asarray(made().times.hour)
    train = series.split(wind.segments) == TRAIN
    base = np.array([wind.values[train & (hours == hour)].mean() for hour in hours])
    expected = (wind.values - base) / (wind.values - base)[train].std()
    task = task_of(wind)
    np.testing.assert_allclose(task.standardized[:150, 0], expected[:150], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(task.standardized[:120, 1], expected[150:], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(task.inputs[:149, 0, 1:], wind.calendar[1:150], rtol=1e-6)  # of the next hour
    sun = made(sun=True)
    task, last = task_of(sun), np.nan
    for t in range(150):
        if sun.clear_sky is not None and sun.clear_sky[t] >= series.LEAST_CLEAR_SKY:
            last = sun.values[t] / sun.clear_sky[t]
        if np.isfinite(last):
            np.testing.assert_allclose(task.standardized[t, 0], last, rtol=1e-5)
    assert 0.5 < task.standardized[0, 0] < 0.8  # before the first day, the mean


# Nothing of the future


def network_of(name: str, task: Task) -> tuple[networks.Network, Any]:
    network = networks.make_network(name, 3, 2, 3, task.horizons, task.held)
    with jax.enable_x64(False):
        return network, jax.jit(lambda key: network.init(key, task.inputs.shape[-1]))(jax.random.key(1))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_forecast_of_a_network_knows_nothing_of_what_comes_after_its_origin(name: str) -> None:
    task = task_of(made(lengths=(60, 40)))
    network, params = network_of(name, task)
    forecasts = jax.jit(network.forecasts)
    inputs, known, t = jnp.asarray(task.inputs), jnp.asarray(task.standardized), 30
    # The calendar is known ahead; nothing else is.
    blind = forecasts(params, inputs.at[t + 1 :, :, : task.held].set(jnp.nan), known.at[t + 1 :].set(jnp.nan))
    before = np.asarray(forecasts(params, inputs, known))[: t + 1]
    assert np.isfinite(before).all()
    if name == "bidirectional":
        assert np.isnan(blind[: t + 1]).all()
        told = np.asarray(forecasts(params, inputs, known.at[t + 1 :].set(jnp.nan)))[: t + 1]
        np.testing.assert_array_equal(told, before)  # of values it is told no more than others
    else:
        np.testing.assert_array_equal(np.asarray(blind)[: t + 1], before)


@pytest.mark.parametrize("sun", [False, True])
@pytest.mark.parametrize("name", list(baselines.BASELINES))
def test_a_baseline_knows_nothing_of_what_comes_after_its_origin(name: str, sun: bool) -> None:
    if name in ("ar", "arx"):
        pytest.importorskip("statsmodels", reason="not installed: rnnjax[forecasting]")
    known = made(sun)
    task = task_of(known)
    t = int(np.flatnonzero(task.parts[:, 0] == TEST)[5])
    later = (known.segments == 0) & (np.arange(len(known.values)) > t)
    other = task_of(
        known._replace(
            values=np.where(later, known.values[::-1] * 2 + 1, known.values),
            inputs=np.where(later[:, None], -3 * known.inputs, known.inputs),
        )
    )
    one, other_forecasts = (baselines.baseline(name, each)[: t + 1, 0] for each in (task, other))
    np.testing.assert_array_equal(one, other_forecasts)


def test_a_signal_that_only_the_future_has_is_not_found() -> None:
    """A step in the values after the training part, announced by nothing: no forecast before it moves."""
    pytest.importorskip("statsmodels", reason="not installed: rnnjax[forecasting]")
    known = made(lengths=(300,))
    step = 240
    planted = known._replace(values=known.values + 50.0 * (np.arange(300) >= step))
    for name in ("arx", "smart persistence", "mean"):
        plain, with_step = (baselines.baseline(name, task_of(each)) for each in (known, planted))
        np.testing.assert_array_equal(plain[:step], with_step[:step])
        truth = planted.values[step : step + 3]
        assert (np.abs(with_step[step - 1, 0] - truth[[0, 2]]) > 30).all()  # whoever foresaw it would be near


# Networks by hand


def narx_loop(params: Any, feedback: str, inputs: np.ndarray, known: np.ndarray, held: int) -> np.ndarray:
    """Forecasts (T, H) of one sequence, K = 2, L = 3: the equations written out at every origin anew."""
    kernel = params.kernel.reshape(params.kernel.shape[0], 3, -1)

    def predicted(window: list[np.ndarray], fed: list[float]) -> float:
        total = params.bias + fed[0] * params.recurrent_kernel[0] + fed[1] * params.recurrent_kernel[1]
        for lag, x in enumerate(window):
            total = total + x @ kernel[:, lag]
        return float((np.tanh(total) @ params.output_kernel + params.output_bias)[0])

    nothing, found = np.zeros(inputs.shape[1]), []
    for origin in range(len(inputs)):
        past: list[float] = [0.0, 0.0]
        last = 0.0
        for t in range(origin + 1):
            window = [inputs[t - lag] if t >= lag else nothing for lag in range(3)]
            told = {"true": known[t], "own": last, "errors": known[t] - last}[feedback]
            past = [told, past[0]]
            last = predicted(window, past)
        ahead = [last]
        seen = [inputs[max(origin - lag, 0)] if origin >= lag else nothing for lag in range(3)]
        for step in range(1, 3):
            late = np.concatenate([inputs[origin, :held], inputs[min(origin + step, len(inputs) - 1), held:]])
            seen = [late, *seen[:2]]
            past = [0.0 if feedback == "errors" else ahead[-1], past[0]]
            ahead.append(predicted(seen, past))
        found.append([ahead[0], ahead[2]])
    return np.array(found)


@pytest.mark.parametrize("feedback", ["true", "own", "errors"])
def test_a_narx_network_goes_on_from_every_origin_as_written_out(feedback: str) -> None:
    task = task_of(made(lengths=(40, 36)))
    network, params = network_of("narx" if feedback == "true" else f"narx:{feedback}", task)
    found = jax.jit(network.forecasts)(params, jnp.asarray(task.inputs), jnp.asarray(task.standardized))
    plain = jax.tree.map(np.asarray, params)
    for column in range(2):
        given = task.inputs[:, column], task.standardized[:, column]
        np.testing.assert_allclose(found[:, column], narx_loop(plain, feedback, *given, 1), rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("name", ["elman", "narx"])
def test_what_is_recalled_is_the_forecast_and_its_gradient_is_that_of_the_chain_rule(name: str) -> None:
    task = task_of(made(lengths=(60, 40)))
    network, params = network_of(name, task)
    inputs, known = jnp.asarray(task.inputs[:8]), jnp.asarray(task.standardized[:8])
    found = jax.jit(functools.partial(forecasting.gradients, network, 3))(params, inputs, known)
    norms, of_inputs = (np.asarray(each) for each in (found.states, found.inputs))
    assert norms.shape == of_inputs.shape == (5,)
    assert np.isfinite(norms).all()
    if name == "narx":
        np.testing.assert_allclose(norms[-1], np.sqrt(2), rtol=1e-5)  # two examples, and the state is the forecast
        return
    recurrent, readout = (jax.tree.map(np.asarray, each) for each in params)
    kernel, total, at_inputs = recurrent.recurrent_kernel, np.zeros(5), np.zeros(5)
    hidden = np.zeros((2, 3))
    states = []
    for x, z in zip(np.asarray(inputs), np.asarray(known), strict=True):
        hidden = np.tanh(np.concatenate([x, z[:, None]], axis=1) @ recurrent.kernel + hidden @ kernel + recurrent.bias)
        states.append(hidden)
    for example in range(2):
        gradient = readout["params"]["kernel"][:, 0]
        for t in range(7, 2, -1):
            total[t - 3] += gradient @ gradient
            inner = (1 - states[t][example] ** 2) * gradient
            at_inputs[t - 3] += np.square(recurrent.kernel[:-1] @ inner).sum()  # the last row is the value's
            gradient = kernel @ inner
    np.testing.assert_allclose(norms, np.sqrt(total), rtol=1e-4)
    np.testing.assert_allclose(of_inputs, np.sqrt(at_inputs), rtol=1e-4)


def test_the_loss_is_the_weighted_mean_of_squares_of_what_counts() -> None:
    task = task_of(made(sun=True))
    network, params = network_of("elman", task)
    whole = learning.data_of(task, 10).whole
    found = jax.jit(functools.partial(learning.loss, network))(params, whole)
    forecasts = np.asarray(jax.jit(network.forecasts)(params, whole.inputs, whole.known))
    train = task.scale[task.parts == TRAIN]
    squares = weights = 0.0
    for s, t in itertools.product(range(2), range(150)):
        if series.origins(task, VALIDATION)[t, s]:
            for place, horizon in enumerate(HORIZONS):
                weight = max(task.scale[t + horizon, s] ** 2 / (train**2).mean(), learning.LEAST_WEIGHT)
                squares += weight * (forecasts[t, s, place] - task.standardized[t + horizon, s]) ** 2
                weights += weight
    np.testing.assert_allclose(found, squares / weights, rtol=1e-4)


def test_training_keeps_the_best_params_by_the_validation_part_and_knows_nothing_of_the_test_part() -> None:
    config = settings.get_config("quick")
    config.hidden_size, config.batch_size, config.steps_a_call, config.learning_rate = 3, 4, 5, 0.1
    usual = made(lengths=(150,))
    tested = series.split(usual.segments) == TEST
    inputs = np.where(tested[:, None], -50.0, usual.inputs)
    planted = usual._replace(values=np.where(tested, 100.0, usual.values), inputs=inputs)
    network, params = network_of("elman", task_of(usual))
    optimizer = make_optimizer(config)
    step = jax.jit(functools.partial(learning.train_steps, network, optimizer, config, max(HORIZONS)))
    ends = []
    for each in (usual, planted):
        data = learning.data_of(task_of(each), config.warm_up + config.window)
        state, seen = learning.initial_state(params, optimizer, jax.random.key(2)), []
        with jax.numpy_dtype_promotion("standard"):  # optax mixes its floats with its counts
            for _ in range(4):
                state, numbers = step(state, data)
                seen.append(float(numbers["validation"]))
        assert float(state.best_loss) == min(seen)
        np.testing.assert_allclose(learning.loss(network, state.best, data.whole), min(seen), rtol=1e-5)
        ends.append(state)
    for one, other in zip(*map(jax.tree.leaves, (ends[0].best, ends[1].best)), strict=True):
        np.testing.assert_array_equal(one, other)


# Baselines and errors by hand


def test_what_persists_by_hand() -> None:
    known = made(sun=True)
    task, sky = task_of(known), known.clear_sky
    assert sky is not None
    smart, seasonal = (baselines.baseline(name, task) for name in ("smart persistence", "seasonal persistence"))
    for t in range(30, 140):
        bright = [u for u in range(t + 1) if sky[u] >= series.LEAST_CLEAR_SKY][-1]
        for place, horizon in enumerate(HORIZONS):
            expected = known.values[bright] / sky[bright] * sky[t + horizon]
            np.testing.assert_allclose(smart[t, 0, place], expected, rtol=1e-5, atol=1e-3)
            assert seasonal[t, 0, place] == known.values[t + horizon - 24]


def test_a_regression_is_that_of_least_squares() -> None:
    pytest.importorskip("statsmodels", reason="not installed: rnnjax[forecasting]")
    task = task_of(made(sun=True, lengths=(200, 180)))
    rows, targets, weights = [], [], []
    for s, t in itertools.product(range(2), range(23, 200)):
        if series.origins(task, TRAIN)[t, s]:
            rows.append([1.0, *task.standardized[t - 23 : t + 1, s][::-1]])
            targets.append(task.standardized[t + 3, s])
            weights.append(task.scale[t + 3, s])
    scale = np.array(weights)
    coefficients = np.linalg.lstsq(np.array(rows) * scale[:, None], np.array(targets) * scale, rcond=None)[0]
    found = baselines.baseline("ar", task)
    for t in (50, 100):
        expected = np.array([1.0, *task.standardized[t - 23 : t + 1, 1][::-1]]) @ coefficients * task.scale[t + 3, 1]
        np.testing.assert_allclose(found[t, 1, 1], expected, rtol=1e-5, atol=1e-4)


def test_errors_are_summed_by_day_and_correlated_within_segments() -> None:
    task = task_of(made(lengths=(200, 150)))
    errors = np.random.default_rng(1).normal(size=task.values.shape)
    counted = series.origins(task, TEST)
    found = scoring.by_day(task, errors, counted)
    expected: dict[Any, list[float]] = {}
    for s, t in itertools.product(range(2), range(200)):
        if counted[t, s]:
            expected.setdefault(task.times[t, s].astype("datetime64[D]"), []).append(errors[t, s])
    np.testing.assert_allclose(found["squared"], [np.square(day).sum() for day in expected.values()])
    np.testing.assert_allclose(found["absolute"], [np.abs(day).sum() for day in expected.values()])
    assert found["count"].tolist() == [len(day) for day in expected.values()]
    mean = errors[counted].mean()
    pairs = [
        (errors[t, s] - mean, errors[t + 2, s] - mean)
        for s, t in itertools.product(range(2), range(198))
        if counted[t, s] and counted[t + 2, s]
    ]
    one, other = np.array(pairs).T
    correlation = (one * other).mean() / np.sqrt((one**2).mean() * (other**2).mean())
    np.testing.assert_allclose(scoring.autocorrelation(errors, counted, 3)[[0, 2]], [1, correlation])


@needs_arch
def test_skill_and_its_interval() -> None:
    generator = np.random.default_rng(2)
    reference = generator.chisquare(24, 400)
    squares = np.stack([0.81 * reference, generator.chisquare(24, 400), reference], axis=1)
    found = skills(squares, reference, 3)
    np.testing.assert_allclose(found.skill, 1 - np.sqrt(squares.sum(axis=0) / reference.sum()))
    np.testing.assert_allclose([found.low[0], found.high[0]], 0.1)  # in proportion: sure
    np.testing.assert_allclose([found.low[2], found.high[2]], 0, atol=1e-12)
    # Of independent days the ratio of the sums has the relative variance 2 (2 / 24) / 400; the root of it half.
    half = 1.96 * 0.5 * np.sqrt(2 * 2 / 24 / 400)
    np.testing.assert_allclose(found.high[1] - found.low[1], 2 * half, rtol=0.15)


def test_bands_hold_as_often_as_they_should_where_validation_and_test_are_alike() -> None:
    task = task_of(made(lengths=(4000,)))
    records = list(scoring.records(task, baselines.mean(task), drawn=True))
    held = [record["held"] for record in records if record["kind"] == "scores"]
    np.testing.assert_allclose(held, 0.8, atol=0.04)
    week = [record for record in records if record["kind"] == "week"]
    assert len(week[0]["forecast"]) == len(week[0]["truth"]) == 168


# A run


def test_a_run_leaves_records_figures_and_a_summary(finished: tuple[Path, str]) -> None:
    workdir, printed = finished
    check_drawn(workdir, ("skill", "week", "residuals", "gradient_by_lag"))
    summary = (workdir / "summary.md").read_text()
    assert "2 seeds of each network. Skill is measured against smart persistence" in summary
    assert "That NARX networks are less susceptible to vanishing gradients" in printed


def test_skill_of_a_run_is_that_of_its_errors(finished: tuple[Path, str]) -> None:
    records = records_in(finished[0])
    found = findings.skill_over_reference(records)
    np.testing.assert_allclose(found[found["case"] == "smart persistence"]["skill"], 0, atol=1e-12)
    for target, horizon in itertools.product(("solar", "wind"), (1, 6)):
        sums = {"smart persistence": 0.0, "arx": 0.0}
        for record in records:
            there = record["kind"] == "scores" and (record["target"], record["horizon"]) == (target, horizon)
            if there and record["model"] in sums:
                sums[record["model"]] += sum(record["squared"])
        row = found[(found["target"] == target) & (found["horizon"] == horizon) & (found["case"] == "arx")].iloc[0]
        np.testing.assert_allclose(row["skill"], 1 - np.sqrt(sums["arx"] / sums["smart persistence"]), rtol=1e-6)
        assert row["low"] < row["skill"] < row["high"]


def known(errors: dict[str, list[float]], folds: int = 2) -> list[dict[str, Any]]:
    """Runs of one target by the size of their errors in each fold; forty days of one error each."""
    records = []
    for model, of_folds in errors.items():
        for fold, size in enumerate(of_folds[:folds]):
            run = {"run": f"{model}-{fold}", "model": model, "output_taps": 0, "input_taps": 0}
            run |= {"target": "returns", "fold": fold, "seed": 0}
            about = {"name": "made", "step": "d", "tested": 40, "days": 40, "segments": 1, "block_days": 2}
            about |= {"from": f"{2001 + fold}-01-01", "to": f"{2001 + fold}-12-31", "reference": "random walk"}
            spread = np.random.default_rng(fold).uniform(0.5, 1.5, 40)
            squared = (size * spread).tolist()
            scores = {"squared": squared, "absolute": squared, "count": [1] * 40, "unit": "%", "held": 0.8}
            records += [
                {**run, "kind": "task", **about},
                {**run, "kind": "scores", "horizon": 1, "rmse_of_all": 1.0, **scores},
            ]
    return records


@needs_arch
def test_verdict_and_figure_of_known_folds(tmp_path: Path) -> None:
    records = known({"random walk": [1.0, 1.0], "mean": [1.21, 1.0], "ar": [0.81, 0.81]})
    found = findings.skill_over_reference(records).set_index("case")
    np.testing.assert_allclose(found.loc["ar", ["skill", "low", "high"]].astype(float), 0.1)
    assert found.loc["mean", "skill"] < 0
    told = findings.verdict(records)
    assert "ar is best, with a skill of +10.0 % (+10.0 to +10.0 %) over random walk; 1 of 2 models beat it with" in told
    worse = known({"random walk": [1.0, 1.0], "ar": [1.0, 1.21]})
    assert findings.verdict(worse).endswith("over random walk; nothing beats the random walk.")
    figure = report.skill_by_fold(records)
    assert figure is not None
    assert "Over all folds ar beats the random walk" in figure.get_suptitle().replace("\n", " ")
    assert [axes.get_title(loc="left") for axes in figure.axes[:3]] == [
        "2001-01 to 2001-12",
        "2002-01 to 2002-12",
        "all folds",
    ]
    assert all(path.exists() for path in laid_out(report.FIGURES, records, tmp_path))


@pytest.mark.parametrize("variant", ["default", *(variant.__name__ for variant in settings.VARIANTS)])
def test_the_plan_of_every_variant_has_each_combination_once(variant: str) -> None:
    runs = plan(settings.get_config(variant))
    assert len({run.name for run in runs}) == len(runs)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("data", "tides", "unknown data 'tides'"),
        ("models", "smart persistence,gruu", "unknown cell 'gruu': did you mean 'gru'"),
        ("models", "smart persistence,narx:past", "unknown feedback of narx 'past'"),
        ("models", "gru", "--config.reference is 'smart persistence': expected one of --config.models"),
        ("models", "smart persistence,bidirectional", "expected a forecaster beside smart persistence"),
        ("targets", "rain", "unknown target 'rain'"),
        ("output_taps", "0", "--config.output_taps is '0'"),
        ("train_steps", 130, "--config.train_steps is 130: expected a multiple of --config.steps_a_call"),
        ("warm_up", -1, "--config.warm_up is -1"),
        ("seeds", 0, "--config.seeds is 0: expected at least 1"),
    ],
)
def test_a_config_that_cannot_be_is_refused(field: str, value: object, message: str) -> None:
    check_refused(plan, settings.get_config("default"), field, value, message)
