"""The same weights in flax.linen's cells: equal outputs."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from tests.cases import B, H, I, random_inputs, random_params


def dense_of_gates(kernel, bias, names, prefix):
    """Our columns side by side as flax's dense layers, one a gate."""
    kernels = jnp.split(kernel, len(names), axis=1)
    biases = [None] * len(names) if bias is None else jnp.split(bias, len(names))
    return {
        prefix + name: {"kernel": k} if b is None else {"kernel": k, "bias": b}
        for name, k, b in zip(names, kernels, biases, strict=True)
    }


def lstm_variables(params):
    """Flax keeps the LSTM's biases in the recurrent layers."""
    names = "ifgo"
    return dense_of_gates(params.kernel, None, names, "i") | dense_of_gates(
        params.recurrent_kernel, params.bias, names, "h"
    )


def gru_variables(params):
    variables = dense_of_gates(params.kernel, params.bias, "rzn", "i")
    variables |= dense_of_gates(params.recurrent_kernel, None, "rzn", "h")
    variables["hn"]["bias"] = params.recurrent_bias
    return variables


@pytest.mark.parametrize(
    ("cell", "flax_cell", "variables"),
    [
        (rnnjax.lstm(H), nn.OptimizedLSTMCell(H), lstm_variables),
        (rnnjax.lstm(H), nn.LSTMCell(H), lstm_variables),
        (rnnjax.gru(H, "after"), nn.GRUCell(H), gru_variables),
    ],
    ids=["OptimizedLSTMCell", "LSTMCell", "GRUCell"],
)
def test_outputs_equal_flax(cell, flax_cell, variables):
    params, inputs = random_params(cell), random_inputs()
    _, outputs = rnnjax.unroll(cell, params, inputs)

    rnn = nn.RNN(flax_cell, time_major=True)
    shapes = jax.eval_shape(lambda: rnn.init(jax.random.key(0), jnp.zeros((1, B, I))))
    theirs = {"params": {"cell": variables(params)}}
    assert jax.tree.map(jnp.shape, theirs) == jax.tree.map(jnp.shape, shapes)
    np.testing.assert_allclose(outputs, rnn.apply(theirs, inputs), rtol=1e-5, atol=1e-6)
