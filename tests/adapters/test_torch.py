"""Weights from PyTorch and back: equal by value, and equal outputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from rnnjax.adapters.torch import from_torch, to_torch
from rnnjax.sequence.bidirectional import BidirectionalParams
from tests.cases import H, I, random_inputs, random_params
from tests.test_errors import check

TOLERANCE = 1e-5
CELLS = {
    "rnn_tanh": ("elman", rnnjax.elman(H)),
    "rnn_relu": ("elman", rnnjax.elman(H, "relu")),
    "lstm": ("lstm", rnnjax.lstm(H)),
    "gru": ("gru", rnnjax.gru(H, "after")),
}
GATES = {"elman": 1, "lstm": 4, "gru": 3}
each_cell = pytest.mark.parametrize(("cell_name", "cell"), list(CELLS.values()), ids=list(CELLS))


def random_state_dict(cell_name, layers=1, directions=("",), dtype=np.float32):
    """What a PyTorch module of these sizes has, drawn by NumPy."""
    random, rows = np.random.default_rng(0), GATES[cell_name] * H
    shapes = {}
    for layer in range(layers):
        for direction in directions:
            name = f"l{layer}{direction}"
            shapes[f"weight_ih_{name}"] = (rows, I if layer == 0 else H * len(directions))
            shapes |= {f"weight_hh_{name}": (rows, H), f"bias_ih_{name}": (rows,), f"bias_hh_{name}": (rows,)}
    return {name: 0.5 * random.normal(size=shape).astype(dtype) for name, shape in shapes.items()}


def merged_biases(state_dict):
    """The sums that PyTorch's cells see; the GRU's candidate, whose biases stay apart, is compared by outputs."""
    return {
        name.replace("bias_ih", "bias"): value + state_dict[name.replace("ih", "hh")] if "bias" in name else value
        for name, value in state_dict.items()
        if "bias_hh" not in name
    }


def assert_close(ours, theirs):
    np.testing.assert_allclose(ours, theirs, rtol=TOLERANCE, atol=TOLERANCE)


# By value: no PyTorch needed


@pytest.mark.parametrize("directions", [("",), ("", "_reverse")])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell_name", GATES)
def test_round_trip_keeps_every_weight_and_the_sum_of_biases(cell_name, layers, directions):
    state_dict = random_state_dict(cell_name, layers, directions)
    again = to_torch(from_torch(state_dict, cell_name))
    assert list(again) == list(state_dict)
    received, expected = merged_biases(again), merged_biases(state_dict)
    for name, weight in expected.items():
        np.testing.assert_allclose(received[name], weight, rtol=0, atol=1e-6, err_msg=name)
    for name, weight in again.items():
        if "weight" in name:
            np.testing.assert_array_equal(weight, state_dict[name])
        if "bias_hh" in name:
            np.testing.assert_array_equal(weight[: 2 * H if cell_name == "gru" else None], 0)
            if cell_name == "gru":
                np.testing.assert_array_equal(weight[2 * H :], state_dict[name][2 * H :])
                np.testing.assert_array_equal(
                    again[name.replace("hh", "ih")][2 * H :], state_dict[name.replace("hh", "ih")][2 * H :]
                )


@each_cell
def test_round_trip_from_rnnjax_is_exact(cell_name, cell):
    network = rnnjax.stack(cell, cell)
    params = random_params(network, input_size=I)
    again = from_torch(to_torch(params), cell_name)
    for received, expected in zip(jax.tree.leaves(again), jax.tree.leaves(params), strict=True):
        np.testing.assert_array_equal(received, expected)
    assert to_torch(params[0]).keys() == {"weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"}


def test_structures():
    (layer,) = from_torch(random_state_dict("lstm"), "lstm")
    assert isinstance(layer, type(random_params(rnnjax.lstm(H))))
    lower, upper = from_torch(random_state_dict("gru", 2, ("", "_reverse")), "gru")
    assert isinstance(lower, BidirectionalParams)
    assert to_torch(lower).keys() == random_state_dict("gru", 1, ("", "_reverse")).keys()
    assert upper.backward.kernel.shape == (2 * H, 3 * H)
    assert upper.backward.recurrent_bias.shape == (H,)


def test_prefix_and_absent_biases_and_lists():
    state_dict = random_state_dict("lstm")
    of_model = {f"encoder.rnn.{name}": weight for name, weight in state_dict.items()} | {
        "head.weight": np.zeros((1, H))
    }
    (expected,) = from_torch(state_dict, "lstm")
    (received,) = from_torch(of_model, "lstm", prefix="encoder.rnn.")
    assert all(map(np.array_equal, received, expected))
    without = {name: weight.tolist() for name, weight in state_dict.items() if "bias" not in name}
    (received,) = from_torch(without, "lstm")
    assert not received.bias.any()
    assert received.kernel.dtype == jnp.float32


# Against PyTorch


def torch_module(cell_name, cell_id, layers, **options):
    torch = pytest.importorskip("torch", reason="PyTorch, whose weights these are, is not installed: rnnjax[bench]")
    torch.manual_seed(0)
    if cell_name == "elman":
        return torch, torch.nn.RNN(I, H, layers, nonlinearity=cell_id.removeprefix("rnn_"), **options)
    return torch, {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell_name](I, H, layers, **options)


def torch_outputs(torch, module, inputs):
    with torch.no_grad():
        return module(torch.from_numpy(np.array(inputs)))[0].numpy()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell_id", CELLS)
def test_outputs_equal_pytorch_both_ways(cell_id, layers, bias):
    cell_name, cell = CELLS[cell_id]
    torch, module = torch_module(cell_name, cell_id, layers, bias=bias)
    inputs = random_inputs()
    expected = torch_outputs(torch, module, inputs)

    params = from_torch(module.state_dict(), cell_name)
    _, outputs = rnnjax.unroll(rnnjax.stack(*[cell] * layers), params, inputs)
    assert_close(outputs, expected)

    _, again = torch_module(cell_name, cell_id, layers)
    again.load_state_dict({name: torch.from_numpy(weight) for name, weight in to_torch(params).items()})
    assert_close(torch_outputs(torch, again, inputs), expected)


@pytest.mark.parametrize("cell_id", CELLS)
def test_each_direction_gives_its_half_of_pytorchs_outputs(cell_id):
    cell_name, cell = CELLS[cell_id]
    torch, module = torch_module(cell_name, cell_id, 2, bidirectional=True)
    inputs = random_inputs()
    expected = torch_outputs(torch, module, inputs)

    params = from_torch(module.state_dict(), cell_name)
    outputs = inputs
    for layer in params:
        _, forward = rnnjax.unroll(cell, layer.forward, outputs)
        _, reverse = rnnjax.unroll(cell, layer.backward, outputs, reverse=True)
        outputs = jnp.concatenate([forward, reverse], axis=-1)
    assert_close(outputs[..., :H], expected[..., :H])
    assert_close(outputs[..., H:], expected[..., H:])

    _, again = torch_module(cell_name, cell_id, 2, bidirectional=True)
    again.load_state_dict({name: torch.from_numpy(weight) for name, weight in to_torch(params).items()})
    assert_close(torch_outputs(torch, again, inputs), expected)


def test_tensors_that_need_a_gradient():
    _, module = torch_module("gru", "gru", 1)
    (received,) = from_torch(dict(module.named_parameters()), "gru")
    (expected,) = from_torch(module.state_dict(), "gru")
    assert all(map(np.array_equal, received, expected))


# Errors


def test_unknown_cell_name():
    state_dict = random_state_dict("lstm")
    check(ValueError, ["unknown cell_name 'LSTM'", "elman, gru, lstm"], lambda: from_torch(state_dict, "LSTM"))
    check(ValueError, ["'lstmm'", "did you mean 'lstm'"], lambda: from_torch(state_dict, "lstmm"))


def test_missing_keys():
    state_dict = random_state_dict("lstm", 2)
    of_model = {f"rnn.{name}": weight for name, weight in state_dict.items()}
    parts = ["no key 'weight_hh_l0'", "8 keys, the first 'rnn.weight_ih_l0'", "prefix"]
    check(ValueError, parts, lambda: from_torch(of_model, "lstm"))
    check(ValueError, ["no key 'weight_hh_l0'", "received 0 keys"], lambda: from_torch({}, "lstm"))
    del state_dict["bias_hh_l1"]
    check(ValueError, ["no key 'bias_hh_l1'"], lambda: from_torch(state_dict, "lstm"))


def test_keys_of_something_else():
    state_dict = random_state_dict("lstm", 2)
    check(
        ValueError, ["'head.weight'", "no layer", "prefix"], lambda: from_torch(state_dict | {"head.weight": 0}, "lstm")
    )
    with_gap = {name.replace("l1", "l2"): weight for name, weight in state_dict.items()}
    check(ValueError, ["'bias_hh_l2'", "no layer of 'lstm'"], lambda: from_torch(with_gap, "lstm"))


def test_wrong_shapes():
    of_gru = random_state_dict("gru")
    parts = ["weight_ih_l0", "(12, 3)", "expected (16, any)", "'lstm'", "cell_name"]
    check(ValueError, parts, lambda: from_torch(of_gru, "lstm"))
    parts = ["bias_ih_l0", "(3,)", "expected (12,)"]
    check(ValueError, parts, lambda: from_torch(of_gru | {"bias_ih_l0": np.zeros(3)}, "gru"))
    parts = ["weight_ih_l0", "(12,)", "expected (12, any)"]
    check(ValueError, parts, lambda: from_torch(of_gru | {"weight_ih_l0": np.zeros(12)}, "gru"))
    upper = random_state_dict("gru", 2) | {"weight_ih_l1": np.zeros((12, 9))}
    check(ValueError, ["weight_ih_l1", "(12, 9)", "expected (12, 4)"], lambda: from_torch(upper, "gru"))


def test_projection():
    state_dict = random_state_dict("lstm") | {"weight_hr_l0": np.zeros((2, H))}
    check(ValueError, ["weight_hr_l0", "proj_size"], lambda: from_torch(state_dict, "lstm"))


def test_params_that_pytorch_has_no_module_for():
    before = random_params(rnnjax.gru(H, "before"))
    check(ValueError, ["reset='before'", "reset='after'"], lambda: to_torch(before))
    check(ValueError, ["reset='before'", "reset='after'"], lambda: to_torch((before, before)))
    peephole = random_params(rnnjax.peephole_lstm(H))
    check(TypeError, ["PeepholeLSTMParams", "LSTMParams", "tuple"], lambda: to_torch((peephole,)))
    lstm = random_params(rnnjax.lstm(H))
    stack_of_stacks = ((lstm, lstm), (lstm, lstm))
    check(TypeError, ["received tuple", "BidirectionalParams"], lambda: to_torch(stack_of_stacks))
    check(TypeError, ["dict", "expected"], lambda: to_torch({"kernel": 0}))
    check(TypeError, ["ndarray", "expected"], lambda: to_torch(np.zeros((3, 4))))
