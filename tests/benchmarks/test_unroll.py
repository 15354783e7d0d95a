"""benchmarks.unroll end to end on tiny sizes; its peers do equal work, and say why where they cannot."""

from importlib.util import find_spec
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from jax.experimental import rnn

import rnnjax
from benchmarks.accelerator.rows import rows_of, skipped
from benchmarks.common.device import Device, UnavailableError, here
from benchmarks.common.measure import Ratio
from benchmarks.common.workload import FORWARD, GRADIENT
from benchmarks.unroll import peers, report
from benchmarks.unroll.peers.jax_libraries import cudnn_weights
from benchmarks.unroll.peers.layer import Shape, inputs_of
from tests.benchmarks.running import results_of, run

NVIDIA = Device("gpu", "NVIDIA H100", 1, True)
SHAPE = Shape(3, 2, 4, 5)


@pytest.mark.slow
def test_unroll_measures_every_program(tmp_path: Path) -> None:
    names = ["scan", "rnnjax_2_devices", "matmul", "cudnn"]
    results = results_of("unroll", tmp_path, "--shapes=5x2x3x4", "--cells=lstm", f"--peers={','.join(names)}")
    stdout = results["stdout"]
    for text in ("plain scan", "5x2x3x4", "compile", "two devices / products", "gradient_flow takes"):
        assert text in stdout
    assert "Skipped: cuDNN: cuDNN needs a GPU of NVIDIA, JAX found the CPU.\n" in stdout

    assert [record["library"] for record in results["records"]] == ["rnnjax", *names]
    for record in results["records"][:-1]:
        for program in (FORWARD, GRADIENT):
            assert len(record["rounds"][program]) == 2
            assert record["ratio"][program][0] > 0
            assert record["median_seconds"][program] > 0
    ours = results["records"][0]
    assert ours["ratio"]["forward"] == [1, 1, 1]
    assert ours["flow_overhead"][0] > 0

    backward, forward, flow = rows_of("unroll", results["records"])
    assert [row.program for row in (backward, forward, flow)] == [GRADIENT, FORWARD, "gradient_flow"]
    assert backward.case == "lstm 5x2x3x4"
    assert list(backward.others) == ["scan", "rnnjax_2_devices", "matmul"]
    assert flow.others["the gradient alone"].value == pytest.approx(1 / ours["flow_overhead"][0])
    assert list(skipped(results["records"])) == [("cuDNN", "cuDNN needs a GPU of NVIDIA, JAX found the CPU")]

    again = run("benchmarks.unroll", "--quick", f"--output={tmp_path}")
    assert again.returncode != 0
    assert "--overwrite" in again.stderr


def test_targets_are_judged_by_every_shape_and_the_geometric_mean() -> None:
    """The fastest peer counts, shape by shape; a target that nothing was measured for is not met."""
    small, large = Shape(100, 32, 128, 128), Shape(50, 50, 512, 512)
    times = {
        small: {"rnnjax": 1.0, "scan": 1.6, "flax": 5.0},
        large: {"rnnjax": 1.0, "scan": 8.0, "flax": 4.0, "matmul": 0.5},
    }
    records = [
        {"cell": "lstm", "shape": shape, "library": library, "rounds": {GRADIENT: [[seconds], [seconds]]}}
        for shape, by_library in times.items()
        for library, seconds in by_library.items()
    ]
    for record in records:
        record["flow_overhead"] = Ratio(1.2, 1.1, 1.3)

    verdicts = {row["target"]: row["one device"] for row in report.check_targets(records)}
    peers_of_lstm, *_, flow, loop, _ = verdicts
    assert verdicts[peers_of_lstm] == "met: 1.60 (lstm 100x32x128x128), mean 2.53 (lstm), of 2"
    assert verdicts["at 50x50x512x512: at most 1.6 times as long as the matrix products"].startswith("not met: 2.00")
    assert verdicts[flow] == "not met: 1.20 (lstm 100x32x128x128)"
    assert verdicts[loop] == "not measured"


@pytest.mark.slow
@pytest.mark.parametrize(("library", "cell"), [("nnx", "elman"), ("keras", "gru"), ("torch_loop", "lstm")])
def test_peers_do_equal_work(library: str, cell: str) -> None:
    """``build`` raises where outputs or weights are not those of the other libraries."""
    package = {"nnx": "flax", "torch_loop": "torch"}.get(library, library)
    if not find_spec(package):
        pytest.skip(f"{package} is not installed: run `make peers`")
    with jax.numpy_rank_promotion("allow"):  # Keras adds biases to batches
        for call in peers.build(library, cell, SHAPE, here()).calls.values():
            call()


def test_an_odd_batch_is_not_shared_by_two_devices() -> None:
    with pytest.raises(UnavailableError, match="a batch of 3 cannot be halved"):
        peers.build("rnnjax_2_devices", "lstm", Shape(5, 3, 4, 4), here())


# cuDNN's LSTM, as far as it can be tested without a GPU: by the reference that jax.experimental.rnn has beside it.


def reference_lstm(
    inputs: Array, h: Array, c: Array, weights: Array, lengths: Array, width: int, hidden: int, *rest: object
) -> tuple[Array, Array, Array]:
    """``rnn.lstm`` of one layer on any device."""
    unpacked = rnn.unpack_lstm_weights(weights, width, hidden, 1, False)
    result: tuple[Array, Array, Array]
    result = rnn.lstm_ref(inputs, h, c, *unpacked, lengths, width, hidden, 1, 0.0, False)
    return result


@pytest.mark.slow
def test_cudnns_weights_mean_the_same_as_ours() -> None:
    cell, inputs = rnnjax.lstm(SHAPE.hidden_size), inputs_of(SHAPE)
    params = cell.init(jax.random.key(0), SHAPE.input_size)
    params = params._replace(bias=jax.random.normal(jax.random.key(2), params.bias.shape))
    zero, lengths = jnp.zeros((1, SHAPE.batch, SHAPE.hidden_size)), jnp.full(SHAPE.batch, SHAPE.steps, jnp.int32)
    weights = cudnn_weights(params)
    assert weights.size == rnn.get_num_params_in_lstm(SHAPE.input_size, SHAPE.hidden_size, 1, False)
    batch_first = inputs.swapaxes(0, 1)
    outputs, h, c = reference_lstm(batch_first, zero, zero, weights, lengths, SHAPE.input_size, SHAPE.hidden_size)
    state, expected = rnnjax.unroll(cell, params, inputs)
    np.testing.assert_allclose(outputs.swapaxes(0, 1), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(h[0], state.hidden, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(c[0], state.cell, rtol=1e-5, atol=1e-6)


def test_cudnns_lstm_is_a_peer_where_there_is_a_gpu_of_nvidia(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rnn, "lstm", reference_lstm)
    programs = peers.build("cudnn", "lstm", SHAPE, NVIDIA)
    _, gradient = programs.calls[GRADIENT]()
    assert gradient.shape == cudnn_weights(rnnjax.lstm(5).init(jax.random.key(0), 4)).shape
    with pytest.raises(UnavailableError, match="no elman cell"):
        peers.build("cudnn", "elman", SHAPE, NVIDIA)

    monkeypatch.setattr(rnn, "lstm", lambda *arguments: (2 * reference_lstm(*arguments)[0],))
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        peers.build("cudnn", "lstm", SHAPE, NVIDIA)


@pytest.mark.parametrize("found", [here(), Device("gpu", "AMD Instinct", 1, False), Device("tpu", "TPU v5e", 1, False)])
def test_elsewhere_cudnn_says_why_it_is_absent(found: Device) -> None:
    with pytest.raises(UnavailableError, match="cuDNN needs a GPU of NVIDIA, JAX found"):
        peers.build("cudnn", "lstm", SHAPE, found)
