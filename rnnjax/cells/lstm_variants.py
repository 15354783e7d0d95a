"""LSTMs with fewer gates, with normalization, or with an exponential input gate.

As in ``lstm``, the gates of one step stand side by side in every weight, H columns each, in the order i, f, g, o (input
gate, forget gate, candidate, output gate) without those that the cell does not have.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.nn import log_sigmoid, sigmoid

from rnnjax.cell import Cell, zero_state
from rnnjax.cells.gates import add_to_gates, gate_bias, gate_kernels, split_gates
from rnnjax.cells.lstm import LSTMParams, LSTMState, lstm_bias
from rnnjax.cells.memoryless import normalized
from rnnjax.checks import finite_number, positive_integer
from rnnjax.initializers import orthogonal
from rnnjax.origin import remembered
from rnnjax.typing import Initializer, Key
from rnnjax.units import dense

# Coupled input and forget gate


class CIFGLSTMParams(NamedTuple):
    kernel: Array  # (I, 3H)
    recurrent_kernel: Array  # (H, 3H)
    bias: Array  # (3H,)


@remembered
def cifg_lstm(
    hidden_size: int,
    *,
    forget_bias: float | Initializer = 1.0,
    kernel_init: Initializer = jax.nn.initializers.lecun_normal(),
    recurrent_init: Initializer = orthogonal(),
) -> Cell:
    """LSTM with coupled input and forget gate, CIFG (Greff et al., 2017).

        f_t = sigmoid(x_t W_f + h_{t-1} U_f + b_f)
        g_t = tanh(x_t W_g + h_{t-1} U_g + b_g)
        o_t = sigmoid(x_t W_o + h_{t-1} U_o + b_o)
        c_t = f_t * c_{t-1} + (1 - f_t) * g_t
        h_t = o_t * tanh(c_t)

    As in a GRU, as much is written as is forgotten, so c_t is a running average and stays within [-1, 1]. Made to find
    out which of the gates an LSTM needs. The paper writes f = 1 - i, which is the same cell with the signs of one gate
    reversed, and has peepholes, which are missing here.

    Args:
        hidden_size: H, the number of units.
        forget_bias: initial b_f, a number or an initializer (the other biases start at 0).
        kernel_init: for each gate's W (I, H); columns f, g, o.
        recurrent_init: for each gate's U (H, H).

    Raises:
        ValueError: if hidden_size < 1.
        TypeError: if hidden_size is not a whole number.
    """
    size = positive_integer("hidden_size", hidden_size)

    def init(key: Key, input_size: int) -> CIFGLSTMParams:
        kernels = gate_kernels(key, 3, input_size, size, kernel_init, recurrent_init)
        return CIFGLSTMParams(*kernels, bias=jnp.zeros(3 * size).at[:size].set(gate_bias(key, 3, size, forget_bias)))

    def project(params: CIFGLSTMParams, inputs: Array) -> tuple[Array, ...]:
        return split_gates(dense(inputs, params.kernel, params.bias), 3)

    def advance(params: CIFGLSTMParams, state: LSTMState, drive: tuple[Array, ...]) -> LSTMState:
        f, g, o = add_to_gates(drive, state.hidden @ params.recurrent_kernel)
        forget = sigmoid(f)
        cell = forget * state.cell + (1 - forget) * jnp.tanh(g)
        return LSTMState(sigmoid(o) * jnp.tanh(cell), cell)

    return Cell(init, _initial_state, project, advance)


# Without forget gate


class LSTM1997Params(NamedTuple):
    kernel: Array  # (I, 3H)
    recurrent_kernel: Array  # (H, 3H)
    bias: Array  # (3H,)


@remembered
def lstm_1997(
    hidden_size: int,
    *,
    kernel_init: Initializer = jax.nn.initializers.lecun_normal(),
    recurrent_init: Initializer = orthogonal(),
) -> Cell:
    """The original long short-term memory, without a forget gate (Hochreiter & Schmidhuber, 1997).

        i_t = sigmoid(x_t W_i + h_{t-1} U_i + b_i)
        g_t = tanh(x_t W_g + h_{t-1} U_g + b_g)
        o_t = sigmoid(x_t W_o + h_{t-1} U_o + b_o)
        c_t = c_{t-1} + i_t * g_t                         the constant error carousel: its own derivative is 1
        h_t = o_t * tanh(c_t)

    Made against vanishing gradients: what the memory holds stays, and so does its gradient. The paper applies
    2 tanh(a / 2) on the way into the memory and tanh(c / 2) on the way out, which is this cell with half the
    candidate's weights and half of c. Its gates may also see the gates of the step before. Many of its experiments
    start them nearly closed, with negative biases. Its learning rule cuts the gradient off where it enters a gate or a
    memory cell. This cell does none of that.

    Args:
        hidden_size: H, the number of units.
        kernel_init: for each gate's W (I, H); columns i, g, o.
        recurrent_init: for each gate's U (H, H).

    Raises:
        ValueError: if hidden_size < 1.
        TypeError: if hidden_size is not a whole number.
    """
    size = positive_integer("hidden_size", hidden_size)

    def init(key: Key, input_size: int) -> LSTM1997Params:
        kernels = gate_kernels(key, 3, input_size, size, kernel_init, recurrent_init)
        return LSTM1997Params(*kernels, bias=jnp.zeros(3 * size))

    def project(params: LSTM1997Params, inputs: Array) -> tuple[Array, ...]:
        return split_gates(dense(inputs, params.kernel, params.bias), 3)

    def advance(params: LSTM1997Params, state: LSTMState, drive: tuple[Array, ...]) -> LSTMState:
        i, g, o = add_to_gates(drive, state.hidden @ params.recurrent_kernel)
        cell = state.cell + sigmoid(i) * jnp.tanh(g)
        return LSTMState(sigmoid(o) * jnp.tanh(cell), cell)

    return Cell(init, _initial_state, project, advance)


# Forget gate only


class JANETParams(NamedTuple):
    kernel: Array  # (I, 2H)
    recurrent_kernel: Array  # (H, 2H)
    bias: Array  # (2H,)


class JANETState(NamedTuple):
    hidden: Array  # (..., H), memory and output in one


@remembered
def janet(
    hidden_size: int,
    *,
    beta: float = 1.0,
    forget_bias: float | Initializer = 1.0,
    kernel_init: Initializer = jax.nn.initializers.lecun_normal(),
    recurrent_init: Initializer = orthogonal(),
) -> Cell:
    """JANET, an LSTM with the forget gate alone (van der Westhuizen & Lasenby, 2018).

        f_t = x_t W_f + h_{t-1} U_f + b_f
        g_t = tanh(x_t W_g + h_{t-1} U_g + b_g)
        h_t = sigmoid(f_t) * h_{t-1} + (1 - sigmoid(f_t - beta)) * g_t

    Made to find out how much of what an LSTM achieves is due to its forget gate. With beta > 0 a little more is written
    than is forgotten. If the longest time span is known, the authors draw b_f by ``initializers.chrono``; otherwise it
    starts at 1, as here.

    Args:
        hidden_size: H, the number of units.
        beta: the shift of the gate by which more is written than forgotten; fixed, not learned. At 0 the two are
            coupled.
        forget_bias: initial b_f, a number or an initializer (b_g starts at 0).
        kernel_init: for W_f and W_g (I, H); columns f, g.
        recurrent_init: for U_f and U_g (H, H).

    Raises:
        ValueError: if hidden_size < 1, or a beta that is not finite.
        TypeError: if hidden_size is not a whole number or beta not a number.
    """
    size = positive_integer("hidden_size", hidden_size)
    lag = finite_number("beta", beta)

    def init(key: Key, input_size: int) -> JANETParams:
        kernels = gate_kernels(key, 2, input_size, size, kernel_init, recurrent_init)
        return JANETParams(*kernels, bias=jnp.zeros(2 * size).at[:size].set(gate_bias(key, 2, size, forget_bias)))

    def initial_state(params: JANETParams, batch_shape: tuple[int, ...] = ()) -> JANETState:
        return JANETState(*zero_state(batch_shape, (size,), params.recurrent_kernel.dtype))

    def project(params: JANETParams, inputs: Array) -> tuple[Array, ...]:
        return split_gates(dense(inputs, params.kernel, params.bias), 2)

    def advance(params: JANETParams, state: JANETState, drive: tuple[Array, ...]) -> JANETState:
        f, g = add_to_gates(drive, state.hidden @ params.recurrent_kernel)
        return JANETState(sigmoid(f) * state.hidden + (1 - sigmoid(f - lag)) * jnp.tanh(g))

    return Cell(init, initial_state, project, advance)


# Layer normalization


class LayerNormLSTMParams(NamedTuple):
    kernel: Array  # (I, 4H)
    recurrent_kernel: Array  # (H, 4H)
    bias: Array  # (4H,)
    input_gain: Array  # (4H,), of the normalized input product
    recurrent_gain: Array  # (4H,), of the normalized recurrent product
    cell_gain: Array  # (H,), of the normalized memory
    cell_bias: Array  # (H,)


@remembered
def layer_norm_lstm(
    hidden_size: int,
    *,
    forget_bias: float | Initializer = 1.0,
    kernel_init: Initializer = jax.nn.initializers.lecun_normal(),
    recurrent_init: Initializer = orthogonal(),
) -> Cell:
    """LSTM with layer normalization (Ba, Kiros & Hinton, 2016).

        [i_t, f_t, g_t, o_t] = a_x * N(x_t W) + a_h * N(h_{t-1} U) + b
        c_t = sigmoid(f_t) * c_{t-1} + sigmoid(i_t) * tanh(g_t)
        h_t = sigmoid(o_t) * tanh(a_c * N(c_t) + b_c)
        N(z) = (z - mean z) / sqrt(var z + 1e-5)

    Made so that activations keep their scale through time, whatever the scale of the weights. The mean and variance are
    over all 4H columns of a product at once, as in the authors' code, not gate by gate; the memory itself is not
    changed by its normalization. The paper's shifts of the two products add up with b to one bias, which is the only
    one here. As long as inputs and state are 0, as in padding at the beginning, each N multiplies gradients by 1 /
    sqrt(1e-5) = 316, and after some steps they overflow.

    Args:
        hidden_size: H, the number of units. With 1, N(c_t) is 0 and the output does not depend on c_t.
        forget_bias: initial b_f, a number or an initializer, as for ``lstm`` (the other biases start at 0, the gains at
            1).
        kernel_init: for each gate's W (I, H); columns i, f, g, o.
        recurrent_init: for each gate's U (H, H).

    Raises:
        ValueError: if hidden_size < 1.
        TypeError: if hidden_size is not a whole number.
    """
    size = positive_integer("hidden_size", hidden_size)

    def init(key: Key, input_size: int) -> LayerNormLSTMParams:
        kernels = gate_kernels(key, 4, input_size, size, kernel_init, recurrent_init)
        return LayerNormLSTMParams(
            *kernels,
            bias=lstm_bias(key, size, forget_bias),
            input_gain=jnp.ones(4 * size),
            recurrent_gain=jnp.ones(4 * size),
            cell_gain=jnp.ones(size),
            cell_bias=jnp.zeros(size),
        )

    def project(params: LayerNormLSTMParams, inputs: Array) -> tuple[Array, ...]:
        return split_gates(normalized(inputs @ params.kernel, params.input_gain, params.bias), 4)

    def advance(params: LayerNormLSTMParams, state: LSTMState, drive: tuple[Array, ...]) -> LSTMState:
        recurrent = split_gates(normalized(state.hidden @ params.recurrent_kernel, params.recurrent_gain), 4)
        i, f, g, o = (d + r for d, r in zip(drive, recurrent, strict=True))
        cell = sigmoid(f) * state.cell + sigmoid(i) * jnp.tanh(g)
        return LSTMState(sigmoid(o) * jnp.tanh(normalized(cell, params.cell_gain, params.cell_bias)), cell)

    return Cell(init, _initial_state, project, advance)


# Exponential input gate


class SLSTMState(NamedTuple):
    hidden: Array  # (..., H)
    cell: Array  # (..., H), the memory in units of exp(stabilizer)
    normalizer: Array  # (..., H), the sum of the weights in that memory, in the same units
    stabilizer: Array  # (..., H), the logarithm of the largest of these weights


@remembered
def slstm(
    hidden_size: int,
    *,
    forget_bias: float | Initializer = 1.0,
    kernel_init: Initializer = jax.nn.initializers.lecun_normal(),
    recurrent_init: Initializer = orthogonal(),
) -> Cell:
    """The sLSTM of xLSTM, with an exponential input gate and one head (Beck et al., 2024).

        i_t = x_t W_i + h_{t-1} U_i + b_i                     the logarithm of the input gate
        f_t = log sigmoid(x_t W_f + h_{t-1} U_f + b_f)        the logarithm of the forget gate
        g_t = tanh(x_t W_g + h_{t-1} U_g + b_g)
        o_t = sigmoid(x_t W_o + h_{t-1} U_o + b_o)
        m_t = max(f_t + m_{t-1}, i_t)                         stabilizer
        c_t = exp(f_t + m_{t-1} - m_t) * c_{t-1} + exp(i_t - m_t) * g_t
        n_t = exp(f_t + m_{t-1} - m_t) * n_{t-1} + exp(i_t - m_t)
        h_t = o_t * c_t / n_t

    Made so that an LSTM can revise what it stored: one large input gate outweighs all that is in the memory. h_t does
    not depend on m, which only keeps the exponentials in range. c_0 = n_0 = 0, and m_0 stands for minus infinity, so
    that m_1 = i_1 and n_1 = 1, as in the authors' code. Of the paper's two forget gates this is the sigmoid, as in that
    code, where b_f starts at a different value for each unit. The paper's z is g here.

    Args:
        hidden_size: H, the number of units.
        forget_bias: initial b_f, a number or an initializer (the other biases start at 0).
        kernel_init: for each gate's W (I, H); columns i, f, g, o.
        recurrent_init: for each gate's U (H, H).

    Raises:
        ValueError: if hidden_size < 1.
        TypeError: if hidden_size is not a whole number.
    """
    size = positive_integer("hidden_size", hidden_size)

    def init(key: Key, input_size: int) -> LSTMParams:
        kernels = gate_kernels(key, 4, input_size, size, kernel_init, recurrent_init)
        forget = gate_bias(key, 4, size, forget_bias)
        return LSTMParams(*kernels, bias=jnp.zeros(4 * size).at[size : 2 * size].set(forget))

    def initial_state(params: LSTMParams, batch_shape: tuple[int, ...] = ()) -> SLSTMState:
        cell, normalizer, hidden, nothing = zero_state(batch_shape, 4 * (size,), params.recurrent_kernel.dtype)
        # Finite, so that differences of states, and weight decay of a learned state, do not give NaN.
        nothing_yet = float(jnp.finfo(nothing.dtype).min) / 2
        return SLSTMState(cell, normalizer, hidden, jnp.full_like(nothing, nothing_yet))

    def project(params: LSTMParams, inputs: Array) -> tuple[Array, ...]:
        return split_gates(dense(inputs, params.kernel, params.bias), 4)

    def advance(params: LSTMParams, state: SLSTMState, drive: tuple[Array, ...]) -> SLSTMState:
        i, f, g, o = add_to_gates(drive, state.hidden @ params.recurrent_kernel)
        kept = log_sigmoid(f) + state.stabilizer
        stabilizer = jnp.maximum(kept, i)
        forget_gate, input_gate = jnp.exp(kept - stabilizer), jnp.exp(i - stabilizer)
        cell = forget_gate * state.cell + input_gate * jnp.tanh(g)
        normalizer = forget_gate * state.normalizer + input_gate
        return SLSTMState(sigmoid(o) * cell / normalizer, cell, normalizer, stabilizer)

    return Cell(init, initial_state, project, advance)


# Shared


def _initial_state(params: Any, batch_shape: tuple[int, ...] = ()) -> LSTMState:
    size, dtype = params.recurrent_kernel.shape[-2], params.recurrent_kernel.dtype
    return LSTMState(*zero_state(batch_shape, 2 * (size,), dtype))
