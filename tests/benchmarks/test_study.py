"""benchmarks.study end to end on tiny sizes; both its sides measure the same."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from benchmarks.study import in_rnnjax
from benchmarks.study.script import CELLS
from rnnjax.cells.elman import ElmanParams
from rnnjax.cells.gru import GRUResetAfterParams
from rnnjax.cells.lstm import LSTMParams
from tests.benchmarks.running import results_of


@pytest.mark.slow
def test_every_command_is_timed_from_its_start(tmp_path: Path) -> None:
    results = results_of("study", tmp_path, "--cells=elman_relu,irnn", "--repeats=1")
    for text in ("cold cache, 1 device", "warm cache, 2 devices", "tracing", "compiling", "target 1.7"):
        assert text in results["stdout"]

    assert set(results["again"]) == {"1", "2"}
    for record in results["records"]:
        assert record["processor_seconds"][0] > 0
        assert max(stop for *_, stop in record["timeline"]) <= record["seconds"][0]
        phases = record["phases"][0]
        assert phases["importing"] > 0
        if record["name"].startswith("rnnjax"):
            assert ("tracing" in phases) == ("cold" in record["name"])  # programs from files are not traced
            assert phases["compiling"] > 0
            assert phases["running"] > 0


SIZE = (12, 3, 4, 2)  # T, B, H and the depth


@cache
def compiled(family: str) -> Callable[..., Any]:
    """The norms of a family's cells, from one seed: one program for all four Elman networks."""
    steps, batch, hidden, depth = SIZE
    return jax.jit(in_rnnjax.measure(family, in_rnnjax.Settings(CELLS, steps, batch, hidden, (depth,), seeds=1)))


@pytest.mark.parametrize("cell", CELLS)
def test_both_sides_measure_the_same(cell: str) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch, a peer to compare with, is not installed: rnnjax[bench]")
    from benchmarks.study import in_torch

    T, B, H, depth = SIZE
    torch.manual_seed(0)
    network = [in_torch.layer_of(cell, H) for _ in range(depth)]
    inputs = np.random.default_rng(0).standard_normal((T, B, H), np.float32)
    retained, asked_for = (
        in_torch.norms(network, torch.from_numpy(inputs), method) for method in ("retain_grad", "autograd.grad")
    )

    family = next(family for family, names in in_rnnjax.FAMILIES.items() if cell in names)
    params = [params_of(cell, *(weight.detach().numpy() for weight in layer[:3])) for layer in network]
    params = jax.tree.map(lambda *leaves: np.stack(leaves)[None, None], *params)  # one seed, one variant
    (norms,) = compiled(family)(params, inputs[None])
    np.testing.assert_allclose(norms[0, 0], retained, rtol=1e-4)
    np.testing.assert_allclose(norms[0, 0], asked_for, rtol=1e-4)


def params_of(cell: str, kernel: np.ndarray, recurrent_kernel: np.ndarray, bias: np.ndarray) -> object:
    weights = kernel.T, recurrent_kernel.T, bias
    if cell == "gru":
        return GRUResetAfterParams(*weights, np.zeros(recurrent_kernel.shape[1], np.float32))
    if cell == "lstm":
        return LSTMParams(*weights)
    activation = ("elman_tanh", "elman_relu", "elman_sigmoid").index(cell.replace("irnn", "elman_relu"))
    return in_rnnjax.AnyElmanParams(np.int32(activation), ElmanParams(*weights))


def test_weights_are_drawn_for_every_network() -> None:
    settings = in_rnnjax.Settings(CELLS, steps=5, batch=2, hidden=4, depths=(1, 2), seeds=2)
    params = in_rnnjax.draw(in_rnnjax.FAMILIES, settings)(np.arange(2))
    activations, elman = params.pop("elman")
    np.testing.assert_array_equal(activations, np.broadcast_to([[0], [1], [2], [1]], (2, 4, 2)))
    np.testing.assert_array_equal(elman.recurrent_kernel[:, 3], np.broadcast_to(np.eye(4), (2, 2, 4, 4)))
    np.testing.assert_array_equal(elman.kernel[:, 0], elman.kernel[:, 3])
    for weights in (elman, params["lstm"], params["gru"]):
        kernels = weights.kernel[:, 0].reshape(4, -1)  # of two seeds and layers
        assert len({row.tobytes() for row in np.asarray(kernels)}) == 4
        gate = np.asarray(weights.recurrent_kernel[1, 0, 1, :, :4], np.float64)
        np.testing.assert_allclose(gate.T @ gate, np.eye(4), atol=1e-6)
    # Cells differ in their equations alone.
    for weights, width in ((elman, 4), (params["gru"], 12)):
        np.testing.assert_array_equal(weights.kernel[:, 0], params["lstm"].kernel[:, 0, ..., :width])
        assert not np.any(weights.bias)


@pytest.mark.slow
def test_seeds_at_once_are_as_one_after_the_other() -> None:
    """The former is what a GPU or TPU does."""
    settings = in_rnnjax.Settings(CELLS, steps=5, batch=2, hidden=4, depths=(1,), seeds=2)
    inputs, families = settings.inputs(), {"elman": in_rnnjax.FAMILIES["elman"]}
    found = []
    for each in (in_rnnjax.one_by_one, in_rnnjax.all_at_once):
        params = in_rnnjax.draw(families, settings, each)(np.arange(2))
        found.append(jax.jit(in_rnnjax.measure("elman", settings, each))(params["elman"], inputs))
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-5), *found)
