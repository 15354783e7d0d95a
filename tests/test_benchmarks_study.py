"""benchmarks.study end to end on tiny sizes; both its sides measure the same; wrong flags are refused."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from benchmarks import study_rnnjax
from benchmarks.study_script import CELLS
from rnnjax.cells.elman import ElmanParams
from rnnjax.cells.gru import GRUResetAfterParams
from rnnjax.cells.lstm import LSTMParams

ROOT = Path(__file__).parents[1]


def run(*flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.study", *flags]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)


@pytest.mark.slow
def test_every_command_is_timed_from_its_start(tmp_path: Path) -> None:
    finished = run("--quick", "--cells=elman_relu,irnn", "--repeats=1", f"--output={tmp_path}")
    assert finished.returncode == 0, finished.stderr
    for text in ("cold cache, 1 device", "warm cache, 2 devices", "tracing", "compiling", "target 1.7"):
        assert text in finished.stdout

    results = json.loads((tmp_path / "results.json").read_text())
    assert set(results["again"]) == {"1", "2"}
    for record in results["records"]:
        assert record["processor_seconds"][0] > 0
        assert max(stop for *_, stop in record["timeline"]) <= record["seconds"][0]
        phases = record["phases"][0]
        assert phases["importing"] > 0
        if record["name"].startswith("rnnjax"):
            assert phases["tracing"] > 0
            assert phases["compiling"] > 0
            assert phases["running"] > 0
    for name in ("table.txt", "study.png", "study.svg"):
        assert (tmp_path / name).stat().st_size > 0


@pytest.mark.parametrize(
    ("flag", "expected"),
    [
        ("--cells=lstn", "did you mean 'lstm'"),
        ("--depths=0", "expected whole numbers from 1 on"),
        ("--devices=3", "cannot be divided evenly"),
    ],
)
def test_what_is_not_known_is_refused_in_a_line(flag: str, expected: str) -> None:
    finished = run(flag)
    assert finished.returncode != 0
    assert expected in finished.stderr
    assert finished.stderr.count("\n") == 1


@pytest.mark.parametrize("cell", CELLS)
def test_both_sides_measure_the_same(cell: str) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch, a peer to compare with, is not installed: rnnjax[bench]")
    from benchmarks import study_torch

    T, B, H, depth = 12, 3, 4, 2
    torch.manual_seed(0)
    network = [study_torch.layer_of(cell, H) for _ in range(depth)]
    inputs = np.random.default_rng(0).standard_normal((T, B, H), np.float32)
    retained, asked_for = (
        study_torch.norms(network, torch.from_numpy(inputs), method) for method in ("retain_grad", "autograd.grad")
    )

    family, variants = next((f, v) for f, v in study_rnnjax.FAMILIES.items() if cell in v)
    params = [params_of(family, *(weight.detach().numpy() for weight in layer[:3])) for layer in network]
    params = jax.tree.map(lambda *leaves: np.stack(leaves)[None, None], *params)  # one seed, one variant
    settings = study_rnnjax.Settings((cell,), T, B, H, (depth,), seeds=1)
    (norms,) = study_rnnjax.measure(family, [variants[cell]], settings)(params, inputs[None])
    np.testing.assert_allclose(norms[0, 0], retained, rtol=1e-4)
    np.testing.assert_allclose(norms[0, 0], asked_for, rtol=1e-4)


def params_of(family: str, kernel: np.ndarray, recurrent_kernel: np.ndarray, bias: np.ndarray) -> object:
    if family == "gru":
        size = recurrent_kernel.shape[1]
        return GRUResetAfterParams(kernel.T, recurrent_kernel.T, bias, np.zeros(size, np.float32))
    return {"elman": ElmanParams, "lstm": LSTMParams}[family](kernel.T, recurrent_kernel.T, bias)


@pytest.mark.parametrize("family", study_rnnjax.FAMILIES)
def test_weights_are_drawn_for_every_variant(family: str) -> None:
    settings = study_rnnjax.Settings(CELLS, steps=5, batch=2, hidden=4, depths=(1, 2), seeds=2)
    variants = study_rnnjax.FAMILIES[family]
    params = study_rnnjax.draw(family, variants, settings)(np.arange(2))
    assert params.recurrent_kernel.shape[:4] == (2, len(variants), 2, 4)
    if family == "elman":
        np.testing.assert_array_equal(params.recurrent_kernel[1, 3, 1], np.eye(4))
        np.testing.assert_array_equal(params.kernel[:, 0], params.kernel[:, 3])
        assert not np.allclose(params.kernel[0], params.kernel[1])
