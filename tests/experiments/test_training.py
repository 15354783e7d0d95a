"""The training loop: resumed is uninterrupted, bit for bit; records are written as they are made; the best is kept."""

import json
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.training.train_state import TrainState

from experiments.common import checkpoint, training
from experiments.common.errors import ExperimentError
from experiments.common.run_log import Log
from experiments.common.training import Evaluation
from experiments.common.workdir import open_workdir

RUN = "one/run"  # the name of a run need not be that of a folder


def log_in(path: Path, progress: Callable[[int], None] = lambda count: None) -> Log:
    return Log(open_workdir(path, {}, overwrite=False), RUN, {"seed": 3}, progress)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


@jax.jit
def adam_step(state: TrainState, batch: jax.Array) -> tuple[TrainState, dict[str, jax.Array]]:
    """Linear regression, with noise from a key that the state carries on."""

    def loss_of(params: jax.Array) -> jax.Array:
        return jnp.mean((batch @ params - 1) ** 2)

    loss, gradients = jax.value_and_grad(loss_of)(state.params["weights"])
    key, noise = jax.random.split(state.params["key"])
    weights = optax.apply_updates(state.params["weights"], -0.1 * gradients)
    weights = weights + 0.01 * jax.random.normal(noise, weights.shape)
    return state.replace(step=state.step + 1, params={"weights": weights, "key": key}), {"loss": loss}


def start() -> TrainState:
    params = {"weights": jnp.zeros(3), "key": jax.random.key(7)}
    return TrainState(step=0, apply_fn=None, params=params, tx=optax.identity(), opt_state=())


def batch_of(number: int) -> np.ndarray:
    return np.random.default_rng([5, number]).normal(size=(4, 3)).astype(np.float32)


FIGURES = {2: 2.0, 8: 1.0}
"""To choose the best by, after so many steps; it is 9 after all others."""


def evaluate(state: TrainState, step: int) -> Evaluation:
    norm = jnp.linalg.norm(state.params["weights"])
    return Evaluation(
        {"norm": norm, "figure": FIGURES.get(step, 9.0)},
        [{"kind": "more", "step": step, "weights": state.params["weights"]}],
    )


def train(log: Log, step: Any = adam_step, **options: Any) -> tuple[TrainState, list[dict[str, Any]]]:
    settings = {"steps": 10, "evaluate_at": {0, 4, 8, 10}, "checkpoint_every": 3, **options}
    log.write([{"kind": "before"}])
    result = training.train(start(), step, batch_of, evaluate, log, **settings)
    log.write([{"kind": "after"}])
    return result


@pytest.mark.parametrize("stopped_at", [1, 3, 4, 5, 9, 10])
def test_training_cut_short_goes_on_to_the_same_state_and_records_bit_for_bit(tmp_path: Path, stopped_at: int) -> None:
    whole, evaluations = train(log_in(tmp_path / "whole"))
    calls = 0

    def cut_short(state: TrainState, batch: np.ndarray) -> Any:
        nonlocal calls
        calls += 1
        if calls == stopped_at:
            raise InterruptedError
        return adam_step(state, batch)

    with pytest.raises(InterruptedError):
        train(log_in(tmp_path / "cut"), cut_short)
    calls = -100
    again, evaluations_again = train(log_in(tmp_path / "cut"), cut_short)
    assert calls + 100 == 10 - max(0, (stopped_at - 2) // 3 * 3)  # no step before the last checkpoint is done again
    assert evaluations_again == evaluations
    assert jax.random.key_data(again.params["key"]).tolist() == jax.random.key_data(whole.params["key"]).tolist()
    np.testing.assert_array_equal(again.params["weights"], whole.params["weights"])
    assert (tmp_path / "cut" / "metrics.jsonl").read_bytes() == (tmp_path / "whole" / "metrics.jsonl").read_bytes()


def test_a_record_is_on_the_disk_before_the_next_step_begins(tmp_path: Path) -> None:
    seen = []

    def watching(state: TrainState, batch: np.ndarray) -> Any:
        seen.append([record["kind"] for record in lines(tmp_path)])
        return adam_step(state, batch)

    train(log_in(tmp_path), watching, steps=2, evaluate_at={1})
    assert seen == [["before"], ["before", "train", "evaluation", "more"]]
    assert [record["kind"] for record in lines(tmp_path)][-2:] == ["train", "after"]
    assert all((record["run"], record["seed"]) == (RUN, 3) for record in lines(tmp_path))


def test_losses_are_those_before_each_step_and_evaluations_those_of_the_state_after_it(tmp_path: Path) -> None:
    train(log_in(tmp_path))
    losses = [record["loss"] for record in lines(tmp_path) if record["kind"] == "train"]
    state, expected, norms = start(), [], {0: 0.0}
    for number in range(10):
        batch = batch_of(number)
        expected.append(np.mean((batch @ np.asarray(state.params["weights"]) - 1) ** 2))
        state, _ = adam_step(state, batch)
        norms[number + 1] = float(np.linalg.norm(np.asarray(state.params["weights"])))
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    found = {record["step"]: record["norm"] for record in lines(tmp_path) if record["kind"] == "evaluation"}
    assert found == pytest.approx({step: norms[step] for step in (0, 4, 8, 10)}, rel=1e-6)


def test_what_comes_after_the_last_checkpoint_is_dropped_when_the_workdir_is_opened(tmp_path: Path) -> None:
    def stopped(state: TrainState, batch: np.ndarray) -> Any:
        if int(state.step) == 8:
            raise InterruptedError
        return adam_step(state, batch)

    with pytest.raises(InterruptedError):
        train(log_in(tmp_path), stopped)
    assert lines(tmp_path)[-1] == {
        "run": RUN,
        "seed": 3,
        "kind": "more",
        "step": 8,
        "weights": lines(tmp_path)[-1]["weights"],
    }
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"run": "one/run", "ki')  # killed while it wrote
    open_workdir(tmp_path, {}, overwrite=False)
    assert lines(tmp_path)[-1]["step"] == 6


BEST = {"best_by": "figure", "evaluate_at": {0, 2, 4, 6, 8, 10}}


def stopped_after(count: int) -> Any:
    """A step that fails after so many."""

    def step(state: TrainState, batch: np.ndarray) -> Any:
        if int(state.step) == count:
            raise InterruptedError
        return adam_step(state, batch)

    return step


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damaged", "goes_on_from"),
    [
        ([], "best/8"),
        (["best/8"], "last/6"),
        (["best/8", "last/6"], "last/3"),
        (["best/8", "last/6", "last/3"], "best/2"),
        (["last/6"], "best/8"),
        (["best/8", "best/2"], None),  # the best one of the last ones is best/2
        (["best/8", "last/6", "last/3", "best/2"], None),
    ],
)
def test_training_goes_on_from_the_newest_checkpoint_that_is_whole_and_tells_of_the_others(
    tmp_path: Path, damaged: list[str], goes_on_from: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, _ = train(log_in(tmp_path / "whole"), **BEST)
    with pytest.raises(InterruptedError):
        train(log_in(tmp_path / "damaged"), stopped_after(8), **BEST)
    run = tmp_path / "damaged" / "checkpoints" / "one-run"
    found = [path.relative_to(run).as_posix() for path in checkpoint.of_run(run)]
    assert found == ["best/8", "last/6", "last/3", "best/2"]
    for each in damaged:
        (run / each / "state" / "manifest.ocdbt").write_bytes(b"")
    log = log_in(tmp_path / "damaged")
    told = capsys.readouterr().err
    newest = training.newest_checkpoint(log)
    assert (newest and newest.relative_to(run).as_posix()) == goes_on_from
    if goes_on_from == "best/8":
        assert told == ""
    else:
        assert len(told.splitlines()) == 1
        assert "damaged and deleted: best/8 (state/manifest.ocdbt is changed)" in told
        assert told.endswith(f"the run {f'goes on from {goes_on_from}' if goes_on_from else 'begins anew'}\n")
    again, _ = train(log, **BEST)
    np.testing.assert_array_equal(again.params["weights"], whole.params["weights"])
    assert (tmp_path / "damaged" / "metrics.jsonl").read_bytes() == (tmp_path / "whole" / "metrics.jsonl").read_bytes()
    best = [checkpoint.read(tmp_path / name / "checkpoints" / "one-run" / "best") for name in ("damaged", "whole")]
    assert best[0].step == best[1].step
    np.testing.assert_array_equal(best[0].tree["params"]["weights"], best[1].tree["params"]["weights"])


def test_training_does_not_go_on_with_other_settings(tmp_path: Path) -> None:
    train(log_in(tmp_path), about={"config": {"width": 3, "rate": 0.1}, "vocabulary": list(range(100))})
    about = {"config": {"width": 4, "rate": 0.1}, "vocabulary": list(range(101))}
    told = r"last/10 has other settings \(config.width was 3, is 4; vocabulary was \[0, 1, 2.*\.\.\., is .*\): give"
    with pytest.raises(ExperimentError, match=told):
        train(log_in(tmp_path), about=about)


def test_evaluations_and_checkpoints_change_nothing_in_training(tmp_path: Path) -> None:
    often, _ = train(log_in(tmp_path / "often"), evaluate_at=range(11), checkpoint_every=1, best_by="figure")
    never, _ = train(log_in(tmp_path / "never"), evaluate_at=(), checkpoint_every=0)
    np.testing.assert_array_equal(often.params["weights"], never.params["weights"])
    assert jax.random.key_data(often.params["key"]).tolist() == jax.random.key_data(never.params["key"]).tolist()


def test_a_full_disk_leaves_whole_records_after_which_others_can_be_written(tmp_path: Path) -> None:
    """A limit on the size of files stands in for the disk: the write that passes it is cut short."""
    workdir = open_workdir(tmp_path, {}, overwrite=False)
    workdir.append([{"run": "a", "kind": "train"}])
    before, limits = workdir.metrics.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            workdir.append([{"run": "b", "kind": "train", "long": "b" * 2000}])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert workdir.metrics.read_bytes() == before
    workdir.append([{"run": "c", "kind": "train"}])
    assert [line["run"] for line in lines(tmp_path)] == ["a", "c"]


@pytest.mark.parametrize("damage", ["no records", "fewer records"])
def test_a_checkpoint_whose_records_are_lost_is_not_gone_on_from(tmp_path: Path, damage: str) -> None:
    whole, _ = train(log_in(tmp_path / "whole"))
    train(log_in(tmp_path / "damaged"))
    metrics = tmp_path / "damaged" / "metrics.jsonl"
    metrics.write_text("" if damage == "no records" else "\n".join(metrics.read_text().splitlines()[:3]) + "\n")
    again, _ = train(log_in(tmp_path / "damaged"))
    np.testing.assert_array_equal(again.params["weights"], whole.params["weights"])
    assert metrics.read_bytes() == (tmp_path / "whole" / "metrics.jsonl").read_bytes()


def test_the_best_state_is_kept_beside_the_last(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    state, evaluations = train(log, best_by="norm", evaluate_at={2, 4, 6, 8, 10}, about={"cell": "none"})
    best = min(evaluations, key=lambda evaluation: evaluation["norm"])
    saved = checkpoint.read(log.checkpoints / "best")
    assert saved.step == best["step"]
    assert np.linalg.norm(saved.tree["params"]["weights"]) == pytest.approx(best["norm"], rel=1e-6)
    last = checkpoint.read(log.checkpoints)
    assert (last.step, last.about["cell"]) == (10, "none")
    np.testing.assert_array_equal(last.tree["params"]["weights"], state.params["weights"])


def test_training_stops_early_and_stays_stopped(tmp_path: Path) -> None:
    """The norm grows from 0, so that the first evaluation is the best."""
    options = {"steps": 100, "evaluate_at": range(101), "stop": training.no_better_for(3, "norm")}
    log = log_in(tmp_path)
    _, evaluations = train(log, **options)
    assert [evaluation["step"] for evaluation in evaluations] == [0, 1, 2, 3]
    before = lines(tmp_path)
    again = log_in(tmp_path)  # killed before it could say that it had finished
    _, evaluations = train(again, **options)
    assert [evaluation["step"] for evaluation in evaluations] == [0, 1, 2, 3]
    assert lines(tmp_path) == before


@pytest.mark.parametrize(
    ("losses", "count", "stops"),
    [([3, 2, 1], 2, False), ([3, 1, 2], 1, True), ([3, 1, 2], 2, False), ([3, 1, 1, 1], 2, True), ([1], 1, False)],
)
def test_no_better_for_so_many_evaluations_is_told_from_the_best_before_them(
    losses: list[float], count: int, stops: bool
) -> None:
    assert training.no_better_for(count)([{"loss": loss} for loss in losses]) == stops


def test_a_loss_that_is_not_finite_names_the_step_and_the_last_good_checkpoint(tmp_path: Path) -> None:
    def failing(state: TrainState, batch: np.ndarray) -> Any:
        after, seen = adam_step(state, batch)
        return after, {"loss": jnp.where(state.step == 7, jnp.nan, seen["loss"])}

    log = log_in(tmp_path)
    with pytest.raises(ExperimentError, match=r"loss is nan after 7 training steps of one/run \(last good .*/last/6\)"):
        train(log, failing)
    assert checkpoint.steps(log.checkpoints / "last") == [6, 3]
    assert np.isfinite(checkpoint.read(log.checkpoints).tree["params"]["weights"]).all()
    with pytest.raises(ExperimentError, match="last good checkpoint: none"):
        train(log_in(tmp_path / "other"), failing, checkpoint_every=0)
    with pytest.raises(ExperimentError, match="loss is inf at initialization of one/run"):
        training.require_finite(np.inf, 0, log)
    with pytest.raises(ExperimentError, match="loss is inf after 10 to 19 training steps of one/run"):
        training.require_finite(np.inf, 10, log, stride=10)


def test_a_figure_to_choose_the_best_by_that_is_not_finite_ends_training(tmp_path: Path) -> None:
    def failing(state: TrainState, step: int) -> Evaluation:
        return Evaluation({"norm": np.nan if step == 4 else 1.0})

    log = log_in(tmp_path)
    options = {"steps": 10, "evaluate_at": {0, 4, 8}, "best_by": "norm"}
    with pytest.raises(ExperimentError, match=r"loss is nan after 4 training steps of one/run \(last good .*/best/0\)"):
        training.train(start(), adam_step, batch_of, failing, log, **options)


def test_steps_in_strides_are_counted_as_training_steps(tmp_path: Path) -> None:
    def three(state: TrainState, batch: np.ndarray) -> Any:
        for _ in range(3):
            state, seen = adam_step(state, batch)
        return state, seen

    done: list[int] = []
    log = log_in(tmp_path, done.append)
    _, evaluations = train(log, three, steps=8, stride=3, evaluate_at=range(0, 12, 3), checkpoint_every=3)
    assert [evaluation["step"] for evaluation in evaluations] == [0, 3, 6, 9]
    assert [record["step"] for record in lines(tmp_path) if record["kind"] == "train"] == [3, 6, 9]
    assert sum(done) == 1 + 3


def test_the_step_is_compiled_once_also_after_going_on(tmp_path: Path) -> None:
    traced = []

    @jax.jit
    def step(state: TrainState, batch: jax.Array) -> tuple[TrainState, dict[str, jax.Array]]:
        traced.append(1)
        return state.replace(step=state.step + 1), {}

    log, first = log_in(tmp_path), start()
    for steps in (4, 6):
        training.train(first, step, batch_of, evaluate, log, steps=steps, evaluate_at=(), checkpoint_every=2)
    assert len(traced) == 1
