"""The same weights in PyTorch's nn.RNN, nn.LSTM and nn.GRU: equal outputs and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from tests.cases import B, H, I, T, random_inputs, random_params

torch = pytest.importorskip("torch", reason="PyTorch, a peer to compare with, is not installed: rnnjax[bench]")

TOLERANCE = 1e-5


def in_torch_order(weight, gates):
    """Columns of our gates as rows of PyTorch's. The orders are the same: LSTM i, f, g, o; GRU r, z, n."""
    return np.asarray(weight).T.reshape(gates * H, -1)


def copy_weights(module, layer, params, gates):
    """PyTorch has two biases where one is enough: ours goes into the first, the GRU's c into the second."""
    recurrent_bias = np.zeros(gates * H, np.float32)
    if hasattr(params, "recurrent_bias"):
        recurrent_bias[2 * H :] = params.recurrent_bias
    weights = {
        "weight_ih": in_torch_order(params.kernel, gates),
        "weight_hh": in_torch_order(params.recurrent_kernel, gates),
        "bias_ih": np.asarray(params.bias),
        "bias_hh": recurrent_bias,
    }
    with torch.no_grad():
        for name, weight in weights.items():
            getattr(module, f"{name}_l{layer}").copy_(torch.from_numpy(weight.copy()))


CASES = {
    "rnn_tanh": (lambda: rnnjax.elman(H), 1, lambda *a: torch.nn.RNN(*a, nonlinearity="tanh")),
    "rnn_relu": (lambda: rnnjax.elman(H, "relu"), 1, lambda *a: torch.nn.RNN(*a, nonlinearity="relu")),
    "lstm": (lambda: rnnjax.lstm(H), 4, lambda *a: torch.nn.LSTM(*a)),
    "gru": (lambda: rnnjax.gru(H, "after"), 3, lambda *a: torch.nn.GRU(*a)),
}


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("name", CASES)
def test_outputs_and_gradients_equal_pytorch(name, layers):
    make_cell, gates, make_module = CASES[name]
    cell = rnnjax.stack(*(make_cell() for _ in range(layers)))
    params, inputs, cotangents = random_params(cell), random_inputs(), random_inputs(T, B, H, seed=5)

    def loss(params, inputs):
        final, outputs = rnnjax.unroll(cell, params, inputs)
        return jnp.sum(outputs * cotangents), (final, outputs)

    grad = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))
    (d_params, d_inputs), (final, outputs) = grad(params, inputs)

    module = make_module(I, H, layers)
    for layer in range(layers):
        copy_weights(module, layer, params[layer], gates)
    torch_inputs = torch.from_numpy(np.array(inputs)).requires_grad_()
    torch_outputs, torch_final = module(torch_inputs)
    (torch_outputs * torch.from_numpy(np.array(cotangents))).sum().backward()

    def assert_close(ours, theirs):
        np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=TOLERANCE, atol=TOLERANCE)

    assert_close(outputs, torch_outputs)
    assert_close(d_inputs, torch_inputs.grad)
    hidden = torch_final[0] if name == "lstm" else torch_final
    for layer in range(layers):
        assert_close(final[layer].hidden, hidden[layer])
        if name == "lstm":
            assert_close(final[layer].cell, torch_final[1][layer])
        ours = d_params[layer]
        assert_close(in_torch_order(ours.kernel, gates), getattr(module, f"weight_ih_l{layer}").grad)
        assert_close(in_torch_order(ours.recurrent_kernel, gates), getattr(module, f"weight_hh_l{layer}").grad)
        assert_close(ours.bias, getattr(module, f"bias_ih_l{layer}").grad)
        if name == "gru":
            assert_close(ours.recurrent_bias, getattr(module, f"bias_hh_l{layer}").grad[2 * H :])
