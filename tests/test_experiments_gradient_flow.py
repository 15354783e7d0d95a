"""The gradient_flow experiment, end to end: its numbers, its files, and what it survives."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from experiments import character_model, gradient_flow_report
from experiments.configs import gradient_flow as settings
from experiments.gradient_flow import Program, Run, plan
from rnnjax.data import load_corpus

ROOT = Path(__file__).parent.parent
FILE = "experiments/configs/gradient_flow.py:quick"
SMALL = ["--config.cells=elman,lstm", "--config.activations=tanh", "--config.depths=2", "--config.seeds=2"]


def command(workdir: Path, *flags: str) -> list[str]:
    module = [sys.executable, "-m", "experiments.gradient_flow", f"--config={FILE}", f"--workdir={workdir}"]
    return [*module, *SMALL, *flags]


def run(workdir: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(workdir, *flags), cwd=ROOT, capture_output=True, text=True, timeout=300)


def records_of(workdir: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def comparable(workdir: Path) -> list[str]:
    return sorted((workdir / "metrics.jsonl").read_text().splitlines())


@pytest.fixture(scope="module", autouse=True)
def compiled(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The subprocesses of this file share compiled programs."""
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(tmp_path_factory.mktemp("compiled")))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, compiled: None) -> tuple[Path, str]:
    """A finished run of the quick variant, and what it printed."""
    workdir = tmp_path_factory.mktemp("runs") / "finished"
    done = run(workdir)
    assert done.returncode == 0, done.stderr
    return workdir, done.stdout


def test_a_run_leaves_config_records_figures_summary_and_checkpoints(finished: tuple[Path, str]) -> None:
    workdir, printed = finished
    config = json.loads((workdir / "config.json").read_text())
    assert config["config"]["hidden_size"] == 8
    assert {"jax", "python", "devices", "git_revision"} <= set(config)
    for name in ("norm_by_lag", "norm_by_activation", "depth_and_time", "before_and_after_training"):
        assert (workdir / "figures" / f"{name}.png").stat().st_size > 10_000
        assert b"<svg" in (workdir / "figures" / f"{name}.svg").read_bytes()
    summary = (workdir / "summary.md").read_text()
    assert "| cell" in summary
    assert "Python 3" in summary
    assert (workdir / "checkpoints" / "lstm---depth2-T20-seed0" / "6").is_dir()
    assert printed.count("vanishes") + printed.count("preserved") + printed.count("explodes") >= 4
    assert str(workdir / "summary.md") in printed
    assert "Infinity" not in (workdir / "metrics.jsonl").read_text()


def test_recorded_norms_are_those_of_a_loop_of_single_steps(finished: tuple[Path, str]) -> None:
    """The same network and text, its gradient by jax.grad with respect to a zero added by hand to one state."""
    workdir, _ = finished
    name = "lstm---depth2-T20-seed1"
    recorded = {
        (record["layer"], record["field"]): record["norms"]
        for record in records_of(workdir)
        if record["run"] == name and record["kind"] == "state_gradient" and record["phase"] == "initialization"
    }
    corpus = load_corpus()
    held_out = corpus.tokens[len(corpus.tokens) * 9 // 10 :]
    starts = np.random.default_rng([1, 0]).integers(0, len(held_out) - 21 + 1, size=4)
    tokens = jnp.asarray(held_out[starts + np.arange(21)[:, None]])
    layers = [rnnjax.lstm(8), rnnjax.lstm(8)]
    params = character_model.init(rnnjax.stack(*layers), len(corpus.vocabulary), jax.random.key(1))
    inputs = jax.nn.one_hot(tokens[:-1], len(corpus.vocabulary))

    @jax.jit
    def gradient(zeros: Any) -> Any:
        def loss(zeros: Any) -> jax.Array:
            states = [layer.initial_state(p, (4,)) for layer, p in zip(layers, params.recurrent, strict=True)]
            for t in range(20):
                output = inputs[t]
                for index, layer in enumerate(layers):
                    state, _ = layer.step(params.recurrent[index], states[index], output)
                    states[index] = jax.tree.map(lambda s, z, t=t: s + z[t], state, zeros[index])
                    output = states[index].hidden
            logits = output @ params.readout["params"]["kernel"] + params.readout["params"]["bias"]
            return -jnp.mean(jnp.sum(jax.nn.log_softmax(logits) * jax.nn.one_hot(tokens[-1], logits.shape[-1]), -1))

        return jax.grad(loss)(zeros)

    zeros = [layer.initial_state(p, (20, 4)) for layer, p in zip(layers, params.recurrent, strict=True)]
    for layer, adjoint in enumerate(gradient(zeros), start=1):
        squares = {
            field: np.sum(np.asarray(getattr(adjoint, field), np.float64) ** 2, (1, 2)) for field in adjoint._fields
        }
        for field, square in squares.items():
            np.testing.assert_allclose(recorded[layer, field], np.sqrt(square), rtol=2e-4, atol=1e-9)
        np.testing.assert_allclose(recorded[layer, "all"], np.sqrt(sum(squares.values())), rtol=2e-4)


def test_training_lowers_the_loss_and_its_history_is_complete(finished: tuple[Path, str]) -> None:
    losses = {}
    for record in records_of(finished[0]):
        if record["kind"] == "train":
            losses.setdefault(record["run"], []).append(record["loss"])
    assert len(losses) == 4
    for history in losses.values():
        assert len(history) == 6
        assert history[-1] < history[0]


def test_a_finished_workdir_is_refused_and_left_as_it_was(finished: tuple[Path, str]) -> None:
    workdir, _ = finished
    before = (workdir / "metrics.jsonl").read_bytes()
    again = run(workdir)
    assert again.returncode == 1
    assert again.stderr.strip() == (
        f"error: --workdir={workdir} holds a finished run: give another --workdir, or --overwrite to discard it"
    )
    assert (workdir / "metrics.jsonl").read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_run_goes_on_to_the_same_records(
    finished: tuple[Path, str], tmp_path: Path, how: signal.Signals
) -> None:
    workdir = tmp_path / "interrupted"
    process = subprocess.Popen(command(workdir), cwd=ROOT, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (workdir / "metrics.jsonl").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(how)
    _, printed = process.communicate(timeout=60)
    assert process.returncode == (130 if how is signal.SIGINT else -signal.SIGKILL)
    if how is signal.SIGINT:
        assert "interrupted; run the same command again to continue" in printed
    assert not (workdir / "summary.md").exists()
    assert run(workdir).returncode == 0
    assert comparable(workdir) == comparable(finished[0])


@pytest.mark.slow
def test_a_full_disk_loses_nothing_that_was_finished(finished: tuple[Path, str], tmp_path: Path) -> None:
    """A limit on the size of files stands in for the disk: the write that passes it is cut short."""
    workdir = tmp_path / "full"
    blocks = (finished[0] / "metrics.jsonl").stat().st_size * 2 // 3 // 1024
    limited = ["bash", "-c", f'ulimit -f {blocks}; exec "$@"', "bash", *command(workdir)]
    full = subprocess.run(limited, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert full.returncode == 1
    assert "File too large" in full.stderr
    assert "what was finished before is kept" in full.stderr
    assert (workdir / "metrics.jsonl").stat().st_size == blocks * 1024
    assert run(workdir).returncode == 0
    assert comparable(workdir) == comparable(finished[0])


@pytest.mark.slow
def test_an_interrupted_workdir_of_another_config_is_refused(tmp_path: Path) -> None:
    workdir = tmp_path / "other"
    workdir.mkdir()
    config = settings.get_config("quick").to_dict()
    (workdir / "config.json").write_text(json.dumps({"config": {**config, "hidden_size": 9}}))
    refused = run(workdir)
    assert refused.returncode == 1
    assert "hidden_size was 9, is 8" in refused.stderr
    assert "give another --workdir, or --overwrite" in refused.stderr


@pytest.mark.slow
def test_a_loss_that_is_not_finite_names_the_step_and_the_checkpoint(tmp_path: Path) -> None:
    flags = ["--config.cells=elman", "--config.activations=relu", "--config.depths=1", "--config.train_steps=400"]
    flags += ["--config.learning_rate=2", "--config.clip_norm=1e30", "--config.checkpoint_every=1", "--config.seeds=1"]
    stopped = run(tmp_path / "nan", *flags, "--config.sequence_lengths=60")
    assert stopped.returncode == 1, stopped.stdout
    last = stopped.stderr.replace("\r", "\n").splitlines()[-1]
    assert last.startswith("error: loss is ")
    assert "training steps of elman-relu-depth1-T60-seed0 (last good checkpoint: " in last
    assert last.endswith("lower --config.learning_rate or --config.clip_norm")
    step = int(last.split(" training steps")[0].split()[-1])
    assert (tmp_path / "nan" / "checkpoints" / "elman-relu-depth1-T60-seed0" / str(step - 1)).is_dir()
    assert f"/{step - 1})" in last


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--config.celss=a", 'error: unknown config field celss: Did you mean "cells" instead of "celss"?'),
        ("--config.cells=lstn", "error: unknown cell 'lstn': did you mean 'lstm'? valid names: "),
        ("--config=nofile.py", "error: the config could not be read: [Errno 2] No such file or directory: 'nofile.py'"),
        ("--config=experiments/configs/gradient_flow.py:quik", "did you mean 'quick'? valid names: default, quick"),
        ("--wrkdir=x", "error: Unknown command line flag 'wrkdir'. Did you mean: workdir ?"),
        ("more", "error: unexpected argument 'more': everything is a flag, as in --workdir=runs/mine"),
        ("--config.corpus=missing.txt", "error: corpus missing.txt does not exist: give the path of a UTF-8 text file"),
    ],
)
def test_a_wrong_flag_is_answered_in_a_line(tmp_path: Path, flag: str, message: str) -> None:
    module = [sys.executable, "-m", "experiments.gradient_flow", f"--workdir={tmp_path / 'none'}", flag]
    answer = subprocess.run(module, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert answer.returncode == 1
    assert message in answer.stderr
    assert len(answer.stderr.strip().splitlines()) <= 2, answer.stderr
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("cells", "", "--config.cells is empty: expected names with commas between"),
        ("activations", "tahn", "unknown activation 'tahn': did you mean 'tanh'? valid names: "),
        ("depths", "1,0", "--config.depths is '1,0': expected positive whole numbers with commas between"),
        ("sequence_lengths", "x", "--config.sequence_lengths is 'x': expected positive whole numbers"),
        ("seeds", 0, "--config.seeds is 0: expected at least 1"),
        ("hidden_size", -3, "--config.hidden_size is -3: expected at least 1"),
        ("train_steps", -1, "--config.train_steps is -1: expected 0 or more"),
        ("loss", "first", "unknown loss 'first': valid names: all, last"),
    ],
)
def test_a_config_that_cannot_be_is_refused(field: str, value: object, message: str) -> None:
    config = settings.get_config("quick")
    config[field] = value
    with pytest.raises(ValueError, match=r"expected|unknown") as raised:
        plan(config)
    assert message in str(raised.value)


def test_the_plan_has_every_combination_once_and_activations_for_elman_only() -> None:
    config = settings.get_config("quick")
    config.cells, config.activations, config.depths, config.seeds = "elman,lstm,elman", "tanh,relu", "1,3", 2
    runs = plan(config)
    assert len(runs) == len(set(runs)) == 2 * 2 * 2 + 2 * 2
    assert {run.activation for run in runs if run.program.cell == "lstm"} == {"-"}
    assert Run(Program("elman", 3, 20), "relu", 1) in runs


def test_decay_and_verdict_of_known_curves() -> None:
    def record(activation: str, per_step: float) -> dict[str, Any]:
        norms = (per_step ** np.arange(50.0)[::-1]).tolist()
        where = {"cell": "elman", "activation": activation, "depth": 1, "sequence_length": 50, "seed": 0, "layer": 1}
        logs = np.log(norms).tolist()
        curve = {"norms": norms, "mean_of_log": logs, "measured": "last", "phase": "initialization", "field": "all"}
        return {"kind": "state_gradient", **where, **curve}

    records = [record("tanh", 0.5**0.1), record("sigmoid", 0.5), record("relu", 1.2)]
    table = gradient_flow_report.table(records)
    rows = {line.split("|")[2].strip(): line for line in table.splitlines()[2:]}
    assert "10.0" in rows["tanh"]
    assert "0.933" in rows["tanh"]
    assert "0.500" in rows["sigmoid"]
    assert "vanishes" in rows["sigmoid"]
    assert "explodes" in rows["relu"]
    assert "does not fall" in rows["relu"]
    line = gradient_flow_report.verdict(records)
    assert "longest in elman relu with 1 layer (it does not fall)" in line
    assert "dies first in elman sigmoid with 1 layer (half-life 1.0 steps)" in line
