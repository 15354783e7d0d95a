"""The tracking experiment: least errors by other ways, networks step by step, what a run leaves, samples by a pipe."""

import functools
import io
import itertools
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

import rnnjax
from experiments.common.errors import ExperimentError
from experiments.tracking import config as settings
from experiments.tracking import lines, model, optimum, report, samples, stream
from experiments.tracking import main as tracking
from experiments.tracking.main import plan
from experiments.tracking.model import Network, Window
from experiments.tracking.systems import SYSTEMS, System
from rnnjax.cells.elman import ElmanParams
from tests.answers import answered
from tests.experiments.logs import records_in
from tests.experiments.runs import check_drawn, check_page, quick_run
from tests.test_errors import check_refused

ROOT = Path(__file__).parents[2]
DELAYS = (-5, -1, 0, 1, 3, 12)
RUNS = 200
"""Steps that the covariances below know of, far more than an estimate hangs on."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A finished run of the quick variant, and what it printed."""
    return quick_run(tmp_path_factory, "tracking")


def test_the_page_has_charts_and_explains_every_field_that_is_recorded(finished: tuple[Path, str]) -> None:
    check_page(finished[0], "tracking")


def system_of(name: str) -> System:
    return SYSTEMS[name](settings.get_config())


def autocovariance(name: str, lags: int) -> np.ndarray:
    """Of a position with its own past, (lags,), by formulae of their own."""
    config, lag = settings.get_config(), np.arange(lags)
    if name == "jumps":
        return (1 - 2 * config.jump_probability) ** lag
    frequency, damping = 2 * np.pi / config.period, config.damping
    swinging = frequency * np.sqrt(1 - damping**2)
    fading = np.exp(-damping * frequency * lag)
    return fading * (np.cos(swinging * lag) + damping / np.sqrt(1 - damping**2) * np.sin(swinging * lag))


# The best there is


@pytest.mark.parametrize("delay", DELAYS)
@pytest.mark.parametrize("name", SYSTEMS)
def test_least_linear_errors_and_weights_are_those_of_conditioning_on_a_long_past_at_once(
    name: str, delay: int
) -> None:
    linear, known = system_of(name).linear, autocovariance(name, 2 * RUNS)
    seen = scipy.linalg.toeplitz(known[:RUNS]) + np.eye(RUNS)  # of samples by lag, with sensor noise of variance 1
    with_position = known[np.abs(np.arange(RUNS) - delay)]
    weights = np.linalg.solve(seen, with_position)
    np.testing.assert_allclose(optimum.error(linear, delay), 1 - weights @ with_position, rtol=1e-9)
    network = optimum.as_network(linear, delay)
    responses, hidden = [], network.kernel
    for _ in range(100):
        responses.append(network.readout @ hidden)
        hidden = network.transition @ hidden
    np.testing.assert_allclose(responses, weights[:100], atol=1e-9)
    np.testing.assert_allclose(optimum.error_of_one(linear, delay), 1 - known[abs(delay)] ** 2 / 2, rtol=1e-9)


@pytest.mark.parametrize("delay", [-2, 0, 2, 3])
def test_estimates_of_a_target_that_jumps_are_means_over_all_its_paths(delay: int) -> None:
    probability, sensor, steps = 0.1, 0.7, 7
    seen = np.random.default_rng(0).normal(size=(steps, 5))
    paths = np.array(list(itertools.product((-1, 1), repeat=steps + 2)))
    turns = (paths[:, 1:] != paths[:, :-1]).sum(axis=1)
    prior = probability**turns * (1 - probability) ** (paths.shape[1] - 1 - turns)
    found = optimum.jump_estimates(probability, sensor, seen, delay)
    for made in range(max(delay, 0), steps):
        misfits = np.square(seen[: made + 1, None] - paths.T[: made + 1, :, None]).sum(axis=0)  # (paths, B)
        likely = prior[:, None] * np.exp(-misfits / (2 * sensor))
        means = (likely * paths[:, made - delay, None]).sum(axis=0) / likely.sum(axis=0)
        np.testing.assert_allclose(found[made], means, rtol=1e-9)


@pytest.mark.parametrize("delay", [-2, 0, 3])
def test_the_best_filter_is_a_linear_elman_network_with_its_gradient_and_its_rate(delay: int, x64: None) -> None:
    linear = system_of("spring").linear
    known = optimum.as_network(linear, delay)
    cell = rnnjax.elman(len(known.kernel), "identity")
    params = ElmanParams(known.kernel[None], known.transition.T, np.zeros(len(known.kernel)))
    params, readout = jax.tree.map(jnp.asarray, (params, known.readout))
    seen = np.random.default_rng(1).normal(size=(80, 3))
    _, outputs = rnnjax.unroll(cell, params, jnp.asarray(seen)[..., None])
    np.testing.assert_allclose(outputs @ readout, optimum.linear_estimates(linear, seen, delay), atol=1e-12)
    one = jnp.asarray(seen[:, :1, None])
    flow = rnnjax.gradient_flow(cell, params, one, lambda outputs: (outputs[-1] @ readout).sum())
    norms = np.asarray(flow.state.hidden)
    np.testing.assert_allclose(norms[::-1], optimum.state_norms(known, 80), rtol=1e-9)
    decay = rnnjax.decay(norms[: 80 - max(delay, 0)])
    assert decay.r_squared > 0.99
    np.testing.assert_allclose(decay.asymptotic_rate, optimum.rate(linear), atol=3e-3)


@pytest.mark.parametrize("name", SYSTEMS)
def test_what_is_drawn_has_the_covariances_and_the_best_estimates_their_errors(name: str) -> None:
    system = system_of(name)
    positions, observations = (np.asarray(each, np.float64) for each in system.draw(jax.random.key(3), 200, 4000))
    for lag in (0, 1, 5, 12):
        found = (positions[: 200 - lag] * positions[lag:]).mean()
        np.testing.assert_allclose(found, autocovariance(name, 13)[lag], atol=0.05)
    np.testing.assert_allclose(np.square(positions[0]).mean(), 1, atol=0.15)  # stationary from the start
    np.testing.assert_allclose(np.square(observations - positions).mean(), 1, atol=0.01)
    for delay in (-4, 0, 8):
        errors = np.square(optimum.linear_estimates(system.linear, observations, delay) - np.roll(positions, delay, 0))
        np.testing.assert_allclose(errors[60:-8].mean(), optimum.error(system.linear, delay), rtol=0.05)
        best = np.square(system.estimates(observations, delay) - np.roll(positions, delay, 0))
        assert best[60:-8].mean() <= errors[60:-8].mean() * (1 + 1e-9)


@pytest.mark.parametrize("name", SYSTEMS)
def test_weights_of_the_best_estimate_by_differences(name: str) -> None:
    system = system_of(name)
    seen = np.random.default_rng(2).normal(size=(90, 4))
    found = tracking.optimal_weights(system, seen, 2, 30)
    assert found.shape == (30, 4)
    if name == "spring":
        known = optimum.as_network(system.linear, 2)
        responses = [known.readout @ np.linalg.matrix_power(known.transition, lag) @ known.kernel for lag in range(30)]
        np.testing.assert_allclose(found, np.tile(np.array(responses)[:, None], 4), atol=1e-8)
        return
    moved = seen.copy()
    moved[-1 - 4, 1] += 1e-5
    ends = [system.estimates(each, 2)[-1, 1] for each in (moved, seen)]
    np.testing.assert_allclose(found[4, 1], (ends[0] - ends[1]) / 1e-5, rtol=1e-3)


# Networks


def network_of(name: str, dtype: Any = jnp.float32, *, whole: bool = False) -> tuple[rnnjax.Cell, Network]:
    """Of five units, with a readout that is not zero."""
    cell = model.make_cell(name, 5, whole=whole)
    with jax.enable_x64(False):
        network = jax.jit(functools.partial(model.init, cell))(jax.random.key(1))
    generator = np.random.default_rng(4)

    def drawn(leaf: Any) -> np.ndarray:
        return np.asarray(leaf) + 0.3 * generator.normal(size=leaf.shape)

    return cell, jax.tree.map(lambda leaf: jnp.asarray(drawn(leaf), dtype), network)


@pytest.mark.parametrize("delay", [-2, 0, 3])
def test_the_loss_is_that_of_positions_so_many_steps_before_written_out(delay: int) -> None:
    cell, network = network_of("elman")
    positions, observations = np.random.default_rng(5).normal(size=(2, 12, 4)).astype(np.float32)
    window = Window(12, 4, 10)

    def draw(key: Any, steps: int, count: int) -> tuple[Any, Any]:
        assert (steps, count) == (12, 4)
        return jnp.asarray(positions), jnp.asarray(observations)

    loss = functools.partial(model.loss, cell, draw, window, 4)
    found = jax.jit(loss)(network, jnp.int32(delay), jax.random.key(0))
    params, readout = jax.tree.map(np.asarray, (network.recurrent, network.readout["params"]))
    hidden, squares = np.zeros((4, 5)), []
    for t in range(12):
        drive = observations[t][:, None] @ params.kernel + params.bias
        hidden = np.tanh(drive + hidden @ params.recurrent_kernel)
        said = (hidden @ readout["kernel"] + readout["bias"])[:, 0]
        if 4 <= t < 10:
            squares.append(np.square(said - positions[t - delay]))
    np.testing.assert_allclose(found, np.mean(squares), rtol=1e-5)


def test_moved_targets_ask_for_what_a_delayed_layer_answers() -> None:
    cell, network = network_of("gru")
    seen = jnp.asarray(np.random.default_rng(6).normal(size=(20, 3, 1)), jnp.float32)
    said = model.estimates(cell, network, seen[..., 0])
    delayed = rnnjax.delayed(cell, 4).apply(network.recurrent, seen)
    np.testing.assert_allclose(model.read(network, delayed)[:16], said[4:], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["elman", "gru+dense", "lstm"])
def test_step_by_step_estimates_are_those_of_the_sequence_at_once(name: str, x64: None) -> None:
    for dtype, tolerance in ((jnp.float64, 1e-12), (jnp.float32, 1e-6)):
        cell, network = network_of(name, dtype)
        seen = np.random.default_rng(7).normal(size=40)
        at_once = model.estimates(cell, network, jnp.asarray(seen, dtype)[:, None])[:, 0]
        start = cell.initial_state(network.recurrent, ())
        written = [f"{sample!r}\n" for sample in seen.tolist()]
        told = list(lines.answers(written, stream.online_step(cell, network), 100, start))
        assert [number for number, _, _ in told] == list(range(101, 141))
        np.testing.assert_allclose([said for _, _, said in told], at_once, rtol=0, atol=tolerance)


def test_a_network_of_both_directions_looks_ahead_and_the_others_do_not() -> None:
    seen = np.random.default_rng(8).normal(size=(10, 2)).astype(np.float32)
    moved = seen.copy()
    moved[6] += 1
    for whole in (False, True):
        cell, network = network_of("gru", whole=whole)
        ends = [np.asarray(model.estimates(cell, network, jnp.asarray(each))) for each in (seen, moved)]
        assert (ends[0][:6] != ends[1][:6]).any() == whole


# A run


def test_a_run_leaves_records_figures_and_a_summary(finished: tuple[Path, str]) -> None:
    workdir, printed = finished
    check_drawn(workdir, [make.__name__ for make in report.FIGURES])
    assert "Kalman filter" in (workdir / "summary.md").read_text()
    assert "The least error possible, as a share of the position's variance, is" in printed
    assert "NaN" not in (workdir / "metrics.jsonl").read_text()


def test_networks_learn_and_their_errors_are_the_least_ones_and_the_distance_from_the_best(
    finished: tuple[Path, str],
) -> None:
    records = records_in(finished[0])
    found = report.results(records)
    assert len(found) == 2 * 3 * 2 + 2
    assert (found["error"] < 0.9).all()  # 1 is that of the mean
    np.testing.assert_allclose(found["error"], found["best"] + found["distance"], rtol=0.1)
    np.testing.assert_allclose(found["best"], found["exact"], rtol=0.15)  # of so few test sequences
    first = [record for record in records if record["kind"] == "evaluation" and record["step"] == 0]
    np.testing.assert_allclose([record["error"] for record in first], 1, atol=0.15)


# Samples as they come


def stream_of(workdir: Path, *options: str) -> "subprocess.Popen[str]":
    words = [sys.executable, "-m", "experiments.tracking.stream", f"--workdir={workdir}", *options]
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen(words, cwd=ROOT, text=True, **pipes)


def test_each_sample_is_answered_before_the_next_is_sent_and_a_state_goes_on(
    finished: tuple[Path, str], tmp_path: Path
) -> None:
    workdir, _ = finished
    tracker = tracking.load(workdir / "checkpoints" / "gru-delay4-seed1")
    seen = np.array([float(line) for line in samples.written(samples.config_of(workdir), 24, 5)])
    expected = model.estimates(tracker.cell, tracker.network, jnp.asarray(seen, jnp.float32)[:, None])[:, 0]
    options = ("--run=gru-delay4-seed1", f"--state={tmp_path / 'state'}")
    said: list[tuple[int, float]] = []
    for part in (seen[:10], seen[10:]):
        with stream_of(workdir, *options) as process:
            assert process.stdin
            assert process.stdout
            for sample in part.tolist():
                print(sample, file=process.stdin, flush=True)
                step, estimate = process.stdout.readline().split()
                said.append((int(step), float(estimate)))
            if len(said) == 10:
                process.send_signal(signal.SIGINT)  # while it waits for the next sample
            else:
                process.stdin.close()
            assert process.wait(60) == 0
            assert process.stderr
            assert len(process.stderr.read().splitlines()) == 1
    assert [step for step, _ in said] == list(range(1 - 4, 25 - 4))
    np.testing.assert_allclose([estimate for _, estimate in said], expected, rtol=0, atol=1e-6)


def test_a_line_that_is_no_sample_ends_it_with_its_number_and_nobody_reading_without_a_word(
    finished: tuple[Path, str],
) -> None:
    with stream_of(finished[0]) as process:
        out, error = process.communicate("0.5\n-1e-3\n0.5 0.5\n1\n", timeout=60)
    assert process.returncode == 1
    assert [line.split()[0] for line in out.splitlines()] == ["1", "2"]
    assert "error: line 3 is '0.5 0.5': expected one finite number" in error
    with stream_of(finished[0]) as process:
        assert process.stdout
        assert process.stdin
        process.stdout.close()
        print("0.5", file=process.stdin, flush=True)
        assert process.wait(60) == 0
        assert process.stderr
        assert process.stderr.read().splitlines() == [
            "elman-delay0-seed0: sample t is answered with the estimate for t+0"
        ]


@pytest.mark.parametrize("line", ["", "\n", "nan\n", "inf", "1,2", "1 2", "0x1", "one", "1e999"])
def test_what_is_no_finite_number_is_refused(line: str) -> None:
    with pytest.raises(lines.LineError, match=r"line 7 is .*: expected one finite number"):
        lines.sample_of(line, 7)


def test_numbers_are_read_as_they_are_written() -> None:
    written = io.StringIO(" 0.25\n-1e3 \n+4")
    assert [lines.sample_of(line, place) for place, line in enumerate(written)] == [0.25, -1000, 4]


def test_samples_are_of_the_system_of_a_run_with_positions_beside_if_asked_for(tmp_path: Path) -> None:
    config = samples.config_of(tmp_path)  # of no run
    assert config == settings.get_config()
    config.system = "jumps"
    both = np.array([line.split() for line in samples.written(config, 50, 3, true=True)], float)
    assert set(both[:, 1]) == {-1, 1}
    np.testing.assert_array_equal(both[:, 0], [float(line) for line in samples.written(config, 50, 3)])
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ExperimentError, match="cannot be read"):
        samples.config_of(tmp_path)


def test_a_state_comes_back_as_it_was_and_another_is_refused(tmp_path: Path) -> None:
    cell, network = network_of("lstm")
    state = jax.tree.map(lambda leaf: leaf + 0.5, cell.initial_state(network.recurrent, ()))
    path = tmp_path / "state"
    stream.write_state(path, "mine", 12, state)
    number, found = stream.read_state(path, "mine", state)
    assert number == 12
    jax.tree.map(np.testing.assert_array_equal, found, state)
    with pytest.raises(ExperimentError, match="is of mine: expected one of yours"):
        stream.read_state(path, "yours", state)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ExperimentError, match="is not a state of this program"):
        stream.read_state(path, "mine", state)


def test_networks_that_are_not_there_or_see_the_whole_are_refused(finished: tuple[Path, str], tmp_path: Path) -> None:
    flags = [
        [f"--workdir={tmp_path}"],
        [f"--workdir={finished[0]}", "--run=lstm"],
        [f"--workdir={finished[0]}", "--run=gru+dense-whole-seed0"],
        [f"--workdir={finished[0]}", f"--file={tmp_path / 'none'}"],
    ]
    calls: list[dict[str, Any]] = [{"module": "tracking.stream", "flags": each} for each in flags]
    too_early = {"fault": "interrupted", "at": ["experiments.common.checkpoint", "steps", 1]}
    *answers, interrupted = answered([*calls, {"module": "tracking.stream", "flags": flags[1], **too_early}])
    assert interrupted == (130, "\ninterrupted; run the same command again to continue where it stopped\n")
    told = ("has no trained network", "is not in --workdir", "needs the whole sequence", "cannot be read")
    for (status, error), expected in zip(answers, told, strict=True):
        assert status == 1
        assert expected in error


# Reports


def known_records() -> list[dict[str, Any]]:
    """Two seeds of a network at once and two steps late, and of one that sees the whole."""
    records: list[dict[str, Any]] = []
    for delay, least, seed in itertools.product((0, 2, None), (0.4,), (0, 1)):
        least = {0: 0.4, 2: 0.2, None: 0.1}[delay]
        identity = {"run": f"gru-{delay}-{seed}", "network": "gru", "delay": delay, "seed": seed}
        distance = least * (0.01 + 0.02 * seed)
        kinds: list[dict[str, Any]] = [
            {"kind": "evaluation", "step": 0, "error": 1.0, "distance": 1.0},
            {"kind": "evaluation", "step": 10, "error": least + distance, "distance": distance},
            {"kind": "result", "step": 10, "error": least + distance, "distance": distance},
            {"kind": "known", "best": least, "exact": least, "linear": least, "alone": 0.5},
        ]
        if delay is not None:
            norms = [0.5**lag for lag in range(6, -1, -1)]
            kinds += [
                {"kind": "weights", "mean": [0.5, 0.25], "deviation": [0.0, 0.0]},
                {"kind": "state_gradient", "norms": norms[:-delay] + [1.0] * delay if delay else norms},
                {"kind": "optimal", "mean": [0.5, 0.5], "norms": norms, "rate": 0.55},
            ]
        if seed == 0:
            series = {name: [0.0, 1.0, 0.5] for name in ("position", "seen", "said", "best")}
            kinds.append({"kind": "stretch", "first": 3, **series})
        records += [{**identity, **each} for each in kinds]
    return records


def test_table_and_verdict_of_known_runs() -> None:
    records = known_records()
    rows = [[entry.strip() for entry in line.strip("|").split("|")] for line in report.table(records).splitlines()]
    assert rows[2] == ["at once", "0.400", "0.500", "+2.0 (1.0 to 3.0) %"]
    assert [row[0] for row in rows[3:]] == ["2 steps late", "whole sequence seen"]
    told = report.verdict(records)
    assert "the position's variance, is 0.400 (at once), 0.200 (2 steps late)." in told
    assert "2.0 (1.0 to 3.0) % in gru" in told
    assert "the least error is 0.100; networks of both directions are above it by 2.0 (1.0 to 3.0) % (gru)" in told
    assert "0.35" in told  # (0, 0.25) beside (0.5, 0.5)
    assert "0.550 in the long run, dL/ds_t of gru by 0.500 (4 of 4 networks" in told


def test_where_linear_is_not_best_it_is_told_who_is_better() -> None:
    records = [
        record | {"exact": None, "linear": 1.02 * record["best"]} if record["kind"] == "known" else record
        for record in known_records()
    ]
    assert (
        "The error of the best linear estimate is above the least one by 2 %; 2 of 4 networks are nearer to the least"
        in report.verdict(records)
    )
    assert "0.408 (+2 %)" in report.table(records)
    assert all(make(records) is not None for make in report.FIGURES)


@pytest.mark.parametrize("variant", ["default", *(variant.__name__ for variant in settings.VARIANTS)])
def test_the_plan_of_every_variant_has_each_combination_once(variant: str) -> None:
    config = settings.get_config(variant)
    runs = plan(config)
    counts = [len(config[field].split(",")) for field in ("networks", "delays")]
    whole = len(config.whole.split(","))
    assert len({run.name for run in runs}) == len(runs) == (int(np.prod(counts)) + whole) * config.seeds


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("system", "sprung", "unknown system 'sprung': did you mean 'spring'"),
        ("networks", "gruu", "unknown cell 'gruu': did you mean 'gru'"),
        ("whole", "lstn", "unknown cell 'lstn': did you mean 'lstm'"),
        ("whole", "gru+densed", "unknown layer above a cell 'densed': did you mean 'dense'"),
        ("delays", "0,1.5", "--config.delays is '0,1.5': expected whole numbers"),
        ("delays", "0,60", "--config.warm_up is 48: expected at least the longest delay, 60"),
        ("length", 100, "--config.length is 100: expected three times warm_up or more, 152"),
        ("lags", 400, "--config.lags is 400: expected at most test_length less warm_up, 352"),
        ("jump_probability", 0.7, "--config.jump_probability is 0.7: expected a number from"),
        ("sensor_noise", 0.0, "--config.sensor_noise is 0.0: expected a positive number"),
        ("evaluate_every", 150, "--config.evaluate_every is 150: expected a multiple of --config.steps_a_call"),
        ("seeds", 0, "--config.seeds is 0: expected at least 1"),
    ],
)
def test_a_config_that_cannot_be_is_refused(field: str, value: object, message: str) -> None:
    check_refused(plan, settings.get_config("default"), field, value, message)
