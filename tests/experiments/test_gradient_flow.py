"""The gradient_flow experiment, end to end: its numbers, its files, and what it survives."""

import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import rnnjax
from experiments.gradient_flow import config as settings
from experiments.gradient_flow.main import load
from experiments.gradient_flow.report import FIGURES
from experiments.networks import character_model
from rnnjax.data import Corpus, load_corpus
from tests.answers import answered, completed
from tests.experiments.runs import check_drawn, check_page
from tests.experiments.test_tensorboard import curves_in

ROOT = Path(__file__).parents[2]
RUN = "lstm---default-depth2-T20-seed0"
SMALL = ["--config.cells=elman,lstm", "--config.activations=tanh,relu", "--config.depths=2", "--config.seeds=2"]
SMALLER = ["--config.cells=elman", "--config.depths=1"]  # two programs, with two networks each


def flags_of(workdir: Path, *flags: str) -> list[str]:
    return ["--variant=quick", f"--workdir={workdir}", *SMALL, *flags]


def command(workdir: Path, *flags: str) -> list[str]:
    return [sys.executable, "-m", "tests.experiments.undrawn", "gradient_flow", *flags_of(workdir, *flags)]


def run(workdir: Path, *flags: str, drawn: bool = False) -> subprocess.CompletedProcess[str]:
    return completed("gradient_flow", *flags_of(workdir, *flags), drawn=drawn)


def records_of(workdir: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def metrics(workdir: Path) -> bytes:
    return (workdir / "metrics.jsonl").read_bytes()


def wait_for(happened: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not happened() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)


@pytest.fixture(scope="module", autouse=True)
def interruptible() -> None:
    """The subprocesses of this file hear Ctrl-C, also where the tests run in a shell's background, which ignores it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A finished run of the quick variant, and what it printed."""
    workdir = tmp_path_factory.mktemp("runs") / "finished"
    done = run(workdir, "--tensorboard", drawn=True)
    assert done.returncode == 0, done.stderr
    return workdir, done.stdout


def test_the_page_has_charts_and_explains_every_field_that_is_recorded(finished: tuple[Path, str]) -> None:
    check_page(finished[0], "gradient_flow")


def test_a_run_leaves_config_records_figures_summary_and_checkpoints(finished: tuple[Path, str]) -> None:
    workdir, printed = finished
    config = json.loads((workdir / "config.json").read_text())
    assert config["config"]["hidden_size"] == 8
    assert {"jax", "python", "devices", "git_revision"} <= set(config)
    sweeps = {"norm_by_initialization", "reach_by_drive", "norm_by_length", "norm_by_position"}
    check_drawn(workdir, {make.__name__ for make in FIGURES} - sweeps)
    summary = (workdir / "summary.md").read_text()
    assert "| cell" in summary
    for figure in (workdir / "figures").glob("*.png"):
        assert f"(figures/{figure.name})" in summary
    assert "Python 3" in summary
    assert (workdir / "checkpoints" / "lstm---default-depth2-T20-seed0" / "last" / "6").is_dir()
    assert len(re.findall("vanishes|preserved|explodes|no trend", printed)) >= 4
    assert str(workdir / "summary.md") in printed
    assert "Infinity" not in (workdir / "metrics.jsonl").read_text()


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return load_corpus(max_characters=settings.get_config().max_characters)


def windows(corpus: Corpus, part: slice, seed: int, number: int) -> jax.Array:
    tokens = corpus.tokens[part]
    starts = np.random.default_rng([seed, number]).integers(0, len(tokens) - 21 + 1, size=4)
    return jnp.asarray(tokens[starts + np.arange(21)[:, None]])


def recorded_norms(workdir: Path, run: str, phase: str) -> dict[tuple[int, str], list[float]]:
    return {
        (record["layer"], record["field"]): record["norms"]
        for record in records_of(workdir)
        if record["run"] == run and record["kind"] == "state_gradient" and record["phase"] == phase
    }


def negative_log_likelihood(readout: Any, outputs: jax.Array, targets: jax.Array) -> jax.Array:
    products = outputs @ readout["params"]["kernel"]
    logits = products + jnp.broadcast_to(readout["params"]["bias"], products.shape)
    return -jnp.mean(jnp.sum(jax.nn.log_softmax(logits) * jax.nn.one_hot(targets, logits.shape[-1]), -1))


@pytest.mark.parametrize(
    ("run", "layer"),
    [
        ("lstm---default-depth2-T20-seed1", rnnjax.lstm(8)),
        ("elman-relu-default-depth2-T20-seed1", rnnjax.elman(8, "relu")),
    ],
)
def test_recorded_norms_are_those_of_a_loop_of_single_steps(
    finished: tuple[Path, str], corpus: Corpus, run: str, layer: rnnjax.Cell
) -> None:
    """The same network and text, its gradient by jax.grad with respect to a zero added by hand to one state."""
    tokens = windows(corpus, slice(len(corpus.tokens) * 9 // 10, None), 1, 0)
    params = character_model.init(rnnjax.stack(layer, layer), len(corpus.vocabulary), jax.random.key(1))
    inputs = jax.nn.one_hot(tokens[:-1], len(corpus.vocabulary))

    @jax.jit
    def gradient(zeros: Any) -> Any:
        def loss(zeros: Any) -> jax.Array:
            states = [layer.initial_state(p, (4,)) for p in params.recurrent]
            for t in range(20):
                output = inputs[t]
                for index, p in enumerate(params.recurrent):
                    state, _ = layer.step(p, states[index], output)
                    states[index] = jax.tree.map(lambda s, z, t=t: s + z[t], state, zeros[index])
                    output = states[index].hidden
            return negative_log_likelihood(params.readout, output, tokens[-1])

        return jax.grad(loss)(zeros)

    recorded = recorded_norms(finished[0], run, "initialization")
    for number, adjoint in enumerate(gradient([layer.initial_state(p, (20, 4)) for p in params.recurrent]), start=1):
        squares = {f: np.sum(np.asarray(getattr(adjoint, f), np.float64) ** 2, (1, 2)) for f in adjoint._fields}
        for field, square in squares.items():
            np.testing.assert_allclose(recorded[number, field], np.sqrt(square), rtol=2e-4, atol=1e-9)
        np.testing.assert_allclose(recorded[number, "all"], np.sqrt(sum(squares.values())), rtol=2e-4)


def test_training_is_adam_on_clipped_gradients_and_measured_at_its_end(
    finished: tuple[Path, str], corpus: Corpus
) -> None:
    """Six steps by hand: Adam and clipping from their equations, the gradient of a loss written out."""
    run, cell = "elman-relu-default-depth2-T20-seed0", rnnjax.stack(rnnjax.elman(8, "relu"), rnnjax.elman(8, "relu"))
    params = character_model.init(cell, len(corpus.vocabulary), jax.random.key(0))

    def loss(params: Any, tokens: jax.Array) -> jax.Array:
        _, outputs = rnnjax.unroll(cell, params.recurrent, jax.nn.one_hot(tokens[:-1], len(corpus.vocabulary)))
        return negative_log_likelihood(params.readout, outputs, tokens[1:])

    gradient_of = jax.jit(jax.value_and_grad(loss))
    flat, unravel = ravel_pytree(params)
    mean, square, losses, before = np.zeros(flat.shape), np.zeros(flat.shape), [], []
    for step in range(1, 7):
        training = windows(corpus, slice(0, len(corpus.tokens) * 9 // 10), 0, step - 1)
        value, gradients = gradient_of(unravel(flat), training)
        gradient = np.asarray(ravel_pytree(gradients)[0], np.float64)
        before.append(np.linalg.norm(gradient))
        gradient *= min(1.0, 1.0 / before[-1])
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        change = mean / (1 - 0.9**step) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
        flat = flat - jnp.asarray(3e-3 * change, flat.dtype)
        losses.append(float(value))
    recorded = [r for r in records_of(finished[0]) if r["kind"] == "train" and r["run"] == run]
    np.testing.assert_allclose([r["loss"] for r in recorded], losses, rtol=1e-4)
    np.testing.assert_allclose([r["gradient_norm"] for r in recorded], before, rtol=1e-3)
    np.testing.assert_allclose([r["clipped_norm"] for r in recorded], np.minimum(before, 1), rtol=1e-3)

    trained = unravel(flat)
    tokens = windows(corpus, slice(len(corpus.tokens) * 9 // 10, None), 0, 0)
    flow = rnnjax.gradient_flow(
        cell,
        trained.recurrent,
        jax.nn.one_hot(tokens[:-1], len(corpus.vocabulary)),
        lambda outputs: negative_log_likelihood(trained.readout, outputs[-1], tokens[-1]),
    )
    norms = recorded_norms(finished[0], run, "trained")
    np.testing.assert_allclose(norms[1, "hidden"], flow.state[0].hidden, rtol=2e-3, atol=1e-6)
    np.testing.assert_allclose(norms[2, "hidden"], flow.state[1].hidden, rtol=2e-3, atol=1e-6)


def test_what_is_measured_on_the_way_is_of_that_step_and_of_the_layers_own_kernels(
    finished: tuple[Path, str], corpus: Corpus
) -> None:
    """The spectra and shares of saturated units of the second layer before training, by NumPy."""
    records = [record for record in records_of(finished[0]) if record["run"] == "lstm---default-depth2-T20-seed0"]
    for kind in ("state_gradient", "recurrent_kernel", "saturation", "carousel"):
        found = {(r["step"], r["phase"]) for r in records if r["kind"] == kind}
        assert found == {(0, "initialization"), (2, "training"), (4, "training"), (6, "trained")}
    layer = rnnjax.lstm(8)
    params = character_model.init(rnnjax.stack(layer, layer), len(corpus.vocabulary), jax.random.key(0)).recurrent
    inputs = jax.nn.one_hot(
        windows(corpus, slice(len(corpus.tokens) * 9 // 10, None), 0, 0)[:-1], len(corpus.vocabulary)
    )
    (spectrum,) = [r for r in records if r["kind"] == "recurrent_kernel" and (r["step"], r["layer"]) == (0, 2)]
    blocks = np.split(np.asarray(params[1].recurrent_kernel), 4, axis=1)
    np.testing.assert_allclose(
        spectrum["spectral_radius"], [abs(np.linalg.eigvals(b)).max() for b in blocks], rtol=1e-4
    )
    np.testing.assert_allclose(spectrum["largest_singular_value"], [np.linalg.norm(b, 2) for b in blocks], rtol=1e-4)
    changed = [r["spectral_radius"] for r in records if r["kind"] == "recurrent_kernel" and r["layer"] == 2]
    assert len({tuple(radii) for radii in changed}) == 4
    shares = [r for r in records if r["kind"] == "saturation"]
    assert [len(shares[0][gate]) for gate in ("tanh", "closed", "open")] == [2, 3, 3]
    way = rnnjax.carousel(layer, params[0], inputs)
    (recorded,) = [r for r in records if r["kind"] == "carousel" and r["step"] == 0]
    for name, values in way._asdict().items():
        np.testing.assert_allclose(recorded[name], np.sqrt(np.mean(np.square(values), axis=(1, 2))), rtol=1e-3)


def test_a_trained_network_is_read_in_a_line_and_does_what_was_measured(
    finished: tuple[Path, str], corpus: Corpus
) -> None:
    for name, depth in (("elman-relu-default-depth2-T20-seed1", 2), ("lstm---default-depth2-T20-seed0", 2)):
        network = load(finished[0] / "checkpoints" / name)
        assert network.vocabulary == list(corpus.vocabulary)
        assert len(network.params.recurrent) == depth
        tokens = windows(corpus, slice(len(corpus.tokens) * 9 // 10, None), int(name[-1]), 0)
        inputs = jax.nn.one_hot(tokens[:-1], len(corpus.vocabulary))
        _, outputs = rnnjax.unroll(network.cell, network.params.recurrent, inputs)
        (last,) = [
            r for r in records_of(finished[0]) if (r["run"], r["kind"], r.get("step")) == (name, "evaluation", 6)
        ]
        loss = negative_log_likelihood(network.params.readout, outputs[-1], tokens[-1])
        np.testing.assert_allclose(loss, last["loss"], rtol=1e-5)


def test_the_code_of_the_experiments_page_reads_records_and_network_of_a_run(
    finished: tuple[Path, str], corpus: Corpus
) -> None:
    page = (ROOT / "experiments" / "README.md").read_text(encoding="utf-8")
    page = page.replace("runs/gradient_flow", str(finished[0])).replace("depth1-T100", "depth2-T20")
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL):
        exec(block, names)
    losses = [r["loss"] for r in records_of(finished[0]) if (r["run"], r["kind"]) == (RUN, "train")]
    np.testing.assert_allclose(names["losses"][RUN], losses)
    assert names["vocabulary"] == list(corpus.vocabulary)
    outputs = rnnjax.unroll(names["cell"], names["params"], jnp.zeros((3, 2, len(corpus.vocabulary))))[1]
    assert outputs.shape == (3, 2, 8)


def test_tensorboard_shows_the_losses_that_were_recorded(finished: tuple[Path, str]) -> None:
    for name in ("elman-tanh-default-depth2-T20-seed1", "lstm---default-depth2-T20-seed0"):
        records = [r for r in records_of(finished[0]) if (r["run"], r["kind"]) == (name, "train")]
        expected = [(r["step"], np.float32(r["loss"])) for r in records]
        assert curves_in(finished[0] / "events" / name)["train/loss"] == expected


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep over initializations and positions of the loss, of small untrained networks."""
    workdir = tmp_path_factory.mktemp("runs") / "swept"
    flags = ["--config.activations=tanh", "--config.depths=1", "--config.seeds=1", "--config.train_steps=0"]
    flags += ["--config.initializations=default,gain:1.5,chrono:8", "--config.loss=5,last"]
    done = run(workdir, *flags, drawn=True)
    assert done.returncode == 0, done.stderr
    return workdir


def test_each_initialization_and_position_is_measured_as_it_says(swept: Path, corpus: Corpus) -> None:
    """Against the library called by hand: the loss of one step, the constructor's own options."""
    gaussian = jax.nn.initializers.normal(1.5 * 8**-0.5)
    cells = {
        ("elman", "gain:1.5"): rnnjax.elman(8, recurrent_init=gaussian),
        ("lstm", "chrono:8"): rnnjax.lstm(8, forget_bias=rnnjax.initializers.chrono(8)),
    }
    tokens = windows(corpus, slice(len(corpus.tokens) * 9 // 10, None), 0, 0)
    inputs = jax.nn.one_hot(tokens[:-1], len(corpus.vocabulary))
    recorded = [r for r in records_of(swept) if r["kind"] == "state_gradient" and r["field"] == "all"]
    for (name, initialization), layer in cells.items():
        cell = rnnjax.stack(layer)
        params = character_model.init(cell, len(corpus.vocabulary), jax.random.key(0))

        @jax.jit
        def norms(position: jax.Array, cell: rnnjax.Cell = cell, params: Any = params) -> tuple[jax.Array, ...]:
            def loss(outputs: jax.Array) -> jax.Array:
                return negative_log_likelihood(params.readout, outputs[position - 1], tokens[position])

            return rnnjax.gradient_flow(cell, params.recurrent, inputs, loss).state[0]

        for position in (5, 20):
            expected = np.hypot.reduce([np.asarray(of_field) for of_field in norms(position)])[:position]
            where = {"cell": name, "initialization": initialization, "position": position}
            (found,) = [record["norms"] for record in recorded if where.items() <= record.items()]
            np.testing.assert_allclose(found, expected, rtol=2e-4, atol=1e-9)
    figures = {"norm_by_initialization", "norm_by_position", "carousel", "hidden_and_memory"}
    assert figures <= {path.stem for path in (swept / "figures").glob("*.png")}


def test_mean_field_is_recorded_for_gaussian_elman_networks_alone_with_the_variance_of_their_inputs(
    swept: Path, corpus: Corpus
) -> None:
    (record,) = [record for record in records_of(swept) if record["kind"] == "mean_field"]
    assert (record["cell"], record["initialization"]) == ("elman", "gain:1.5")
    kernel = (
        rnnjax.elman(2000, recurrent_init=jax.nn.initializers.zeros)
        .init(jax.random.key(0), len(corpus.vocabulary))
        .kernel
    )
    driven = float(jnp.var(kernel[3]))  # of a one-hot input, over the units
    expected = rnnjax.mean_field("tanh", 1.5, 20, input_variance=driven)
    np.testing.assert_allclose(record["factors"], expected.factors, rtol=0.01)
    assert record["valid_to_lag"] == 2  # the root of 8 units


@pytest.mark.slow
def test_with_the_loss_at_every_step_no_half_life_is_claimed(tmp_path: Path) -> None:
    done = run(tmp_path / "all", "--config.loss=all", "--config.cells=gru", "--config.train_steps=0")
    assert done.returncode == 0, done.stderr
    assert "half-life" not in done.stdout
    assert "norm at the first step / at the last" in done.stdout


def test_the_same_command_once_more_says_that_it_is_finished_and_another_is_refused(finished: tuple[Path, str]) -> None:
    workdir, _ = finished
    before = (workdir / "metrics.jsonl").read_bytes()
    again = run(workdir, "--config.checkpoint_every=7", "--config.threads=1")  # neither changes what is found
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout.strip() == f"--workdir={workdir} holds this run, finished: see {workdir / 'summary.md'}"
    other = run(workdir, "--config.seeds=1")
    assert other.returncode == 1
    assert other.stderr.strip() == (
        f"error: --workdir={workdir} holds a finished run (seeds was 2, is 1): give another --workdir, or --overwrite "
        "to discard it"
    )
    assert (workdir / "metrics.jsonl").read_bytes() == before


# What goes wrong


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing happens to, with which those are compared that something does happen to."""
    workdir = tmp_path_factory.mktemp("runs") / "undisturbed"
    done = run(workdir, *SMALLER)
    assert done.returncode == 0, done.stderr
    return workdir


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "at", "status", "told"),
    [
        ("killed", ("experiments.common.training", "train", 4), -signal.SIGKILL, ""),  # two threads: two have ended
        (
            *("interrupted", ("experiments.common.checkpoint", "save", 3), 130),
            "interrupted; run the same command again to continue",
        ),
    ],
)
def test_an_interrupted_run_goes_on_to_the_same_records(
    undisturbed: Path, tmp_path: Path, fault: str, at: tuple[str, str, int], status: int, told: str
) -> None:
    """Killed when a network of a program is finished and others are not; stopped when one has a checkpoint."""
    workdir = tmp_path / "interrupted"
    call = {"module": "gradient_flow", "flags": flags_of(workdir, *SMALLER), "drawn": False, "fault": fault, "at": at}
    ((found, printed),) = answered([call])
    assert found == status
    assert told in printed
    if fault == "killed":
        assert 0 < metrics(workdir).count(b'"finished"') < metrics(undisturbed).count(b'"finished"')
    assert any(workdir.glob("checkpoints/*/last/*"))
    assert not (workdir / "summary.md").exists()
    assert run(workdir, *SMALLER).returncode == 0
    assert metrics(workdir) == metrics(undisturbed)
    assert (workdir / "summary.md").read_text() == (undisturbed / "summary.md").read_text()


def in_processes(workdir: Path, count: int) -> list[subprocess.Popen[str]]:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    together = [f"--coordinator_address={address}", f"--num_processes={count}"]
    return [
        subprocess.Popen(
            command(workdir, *SMALLER, *together, f"--process_id={k}"), cwd=ROOT, stderr=subprocess.PIPE, text=True
        )
        for k in range(count)
    ]


@pytest.mark.slow
def test_two_processes_leave_the_records_of_one(undisturbed: Path, tmp_path: Path) -> None:
    workdir = tmp_path / "split"
    for process in in_processes(workdir, 2):
        _, printed = process.communicate(timeout=200)
        assert process.returncode == 0, printed
    assert metrics(workdir) == metrics(undisturbed)
    assert (workdir / "summary.md").read_text() == (undisturbed / "summary.md").read_text()
    assert 0 < len(metrics(workdir / "process-1")) < len(metrics(workdir))
    assert any((workdir / "process-1" / "checkpoints").glob("*/last/6/state"))  # of a process that is not the first


@pytest.mark.slow
def test_a_sweep_cut_short_in_two_processes_goes_on_in_one(undisturbed: Path, tmp_path: Path) -> None:
    workdir = tmp_path / "cut"
    first, second = in_processes(workdir, 2)
    records = workdir / "process-1" / "metrics.jsonl"
    wait_for(lambda: records.exists() and records.stat().st_size > 0, second)
    second.send_signal(signal.SIGINT)
    _, printed = second.communicate(timeout=60)
    assert second.returncode == 130, printed
    assert "interrupted; what was finished is kept: start all processes again" in printed
    _, printed = first.communicate(timeout=200)
    assert first.returncode == 1, printed
    assert "error: process 1 is gone" in printed
    assert run(workdir, *SMALLER).returncode == 0
    assert metrics(workdir) == metrics(undisturbed)


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
    assert (workdir / "metrics.jsonl").stat().st_size <= blocks * 1024
    assert run(workdir).returncode == 0
    assert metrics(workdir) == metrics(finished[0])


@pytest.mark.slow
def test_a_loss_that_is_not_finite_names_the_step_and_the_checkpoint(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"  # the same with each Python: on another one's sources the first step may overflow
    text.write_text("".join(chr(97 + letter) for letter in np.random.default_rng(0).integers(26, size=20_000)))
    flags = ["--config.cells=elman", "--config.activations=relu", "--config.depths=1", "--config.train_steps=400"]
    flags += [f"--config.corpus={text}", "--config.learning_rate=1.75", "--config.clip_norm=1e30"]
    flags += ["--config.checkpoint_every=1", "--config.seeds=1", "--config.sequence_lengths=60"]
    stopped = run(tmp_path / "nan", *flags)
    assert stopped.returncode == 1, stopped.stdout
    last = stopped.stderr.replace("\r", "\n").splitlines()[-1]
    assert last.startswith("error: loss is ")
    assert "training steps of elman-relu-default-depth1-T60-seed0 (last good checkpoint: " in last
    assert last.endswith("lower --config.learning_rate or --config.clip_norm")
    step = int(last.split(" training steps")[0].split()[-1])
    assert (tmp_path / "nan" / "checkpoints" / "elman-relu-default-depth1-T60-seed0" / "last" / str(step - 1)).is_dir()
    assert f"/{step - 1})" in last
