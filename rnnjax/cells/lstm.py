"""Long short-term memory, without and with peepholes.

The gates of one step stand side by side in every weight: columns in the order i, f, g, o (input gate, forget gate,
candidate, output gate), H columns each.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.nn import sigmoid

from rnnjax.cell import Cell, zero_state
from rnnjax.cells.gates import add_to_gates, gate_bias, gate_kernels, split_gates
from rnnjax.checks import positive_integer
from rnnjax.initializers import orthogonal
from rnnjax.origin import remembered
from rnnjax.typing import Initializer, Key
from rnnjax.units import beside, dense


class LSTMParams(NamedTuple):
    kernel: Array  # (I, 4H)
    recurrent_kernel: Array  # (H, 4H)
    bias: Array  # (4H,)


class PeepholeLSTMParams(NamedTuple):
    kernel: Array  # (I, 4H)
    recurrent_kernel: Array  # (H, 4H)
    bias: Array  # (4H,)
    peephole: Array  # (3, H): from the memory cell to the gates i, f, o, unit by unit


class LSTMState(NamedTuple):
    hidden: Array  # (..., H)
    cell: Array  # (..., H), the memory: the constant error carousel runs along it


@remembered
def lstm(
    hidden_size: int,
    *,
    forget_bias: float | Initializer = 1.0,
    kernel_init: Initializer = jax.nn.initializers.lecun_normal(),
    recurrent_init: Initializer = orthogonal(),
) -> Cell:
    """Long short-term memory with a forget gate (Hochreiter & Schmidhuber, 1997; Gers et al., 2000).

        i_t = sigmoid(x_t W_i + h_{t-1} U_i + b_i)        input gate
        f_t = sigmoid(x_t W_f + h_{t-1} U_f + b_f)        forget gate
        g_t = tanh(x_t W_g + h_{t-1} U_g + b_g)           candidate
        o_t = sigmoid(x_t W_o + h_{t-1} U_o + b_o)        output gate
        c_t = f_t * c_{t-1} + i_t * g_t
        h_t = o_t * tanh(c_t)

    Invented against vanishing gradients: along the memory c a gradient is multiplied by f_t alone, which each unit can
    keep near 1, or lower to 0 when the past no longer matters.

    Args:
        hidden_size: H, the number of units.
        forget_bias: initial b_f, a number or an initializer (the other biases start at 0). With 1 the half-life of the
            memory is about 2 steps, with 5 about 100 (Jozefowicz et al., 2015). With an initializer, such as
            ``initializers.chrono(100)``, b_i = -b_f, so that a unit that forgets slowly also writes slowly (Tallec &
            Ollivier, 2018).
        kernel_init: for each gate's W (I, H).
        recurrent_init: for each gate's U (H, H).

    Raises:
        ValueError: if hidden_size < 1.
        TypeError: if hidden_size is not a whole number.
    """
    size = positive_integer("hidden_size", hidden_size)

    def init(key: Key, input_size: int) -> LSTMParams:
        kernel, recurrent_kernel = gate_kernels(key, 4, input_size, size, kernel_init, recurrent_init)
        return LSTMParams(kernel, recurrent_kernel, lstm_bias(key, size, forget_bias))

    def advance(params: LSTMParams, state: LSTMState, drive: tuple[Array, ...]) -> LSTMState:
        i, f, g, o = add_to_gates(drive, state.hidden @ params.recurrent_kernel)
        cell = sigmoid(f) * state.cell + sigmoid(i) * jnp.tanh(g)
        return LSTMState(sigmoid(o) * jnp.tanh(cell), cell)

    return Cell(init, _initial_state, _project, advance)


@remembered
def peephole_lstm(
    hidden_size: int,
    *,
    forget_bias: float | Initializer = 1.0,
    kernel_init: Initializer = jax.nn.initializers.lecun_normal(),
    recurrent_init: Initializer = orthogonal(),
    peephole_init: Initializer = jax.nn.initializers.normal(0.1),
) -> Cell:
    """LSTM whose gates see the memory cell through peepholes (Gers & Schmidhuber, 2000).

        i_t = sigmoid(x_t W_i + h_{t-1} U_i + p_i * c_{t-1} + b_i)
        f_t = sigmoid(x_t W_f + h_{t-1} U_f + p_f * c_{t-1} + b_f)
        g_t = tanh(x_t W_g + h_{t-1} U_g + b_g)
        c_t = f_t * c_{t-1} + i_t * g_t
        o_t = sigmoid(x_t W_o + h_{t-1} U_o + p_o * c_t + b_o)        sees the new memory
        h_t = o_t * tanh(c_t)

    Invented to measure time and to count: the gates see the memory even while the output gate is closed.

    Arguments and errors are as for ``lstm``; ``peephole_init`` is for p (3, H), with the rows p_i, p_f, p_o.
    """
    size = positive_integer("hidden_size", hidden_size)

    def init(key: Key, input_size: int) -> PeepholeLSTMParams:
        gate_key, peephole_key = jax.random.split(key)
        kernel, recurrent_kernel = gate_kernels(gate_key, 4, input_size, size, kernel_init, recurrent_init)
        bias = lstm_bias(gate_key, size, forget_bias)
        return PeepholeLSTMParams(kernel, recurrent_kernel, bias, peephole_init(peephole_key, (3, size)))

    def advance(params: PeepholeLSTMParams, state: LSTMState, drive: tuple[Array, ...]) -> LSTMState:
        i, f, g, o = add_to_gates(drive, state.hidden @ params.recurrent_kernel)
        to_i, to_f, to_o = (beside(peephole, state.cell) for peephole in params.peephole)
        cell = sigmoid(f + to_f * state.cell) * state.cell + sigmoid(i + to_i * state.cell) * jnp.tanh(g)
        return LSTMState(sigmoid(o + to_o * cell) * jnp.tanh(cell), cell)

    return Cell(init, _initial_state, _project, advance)


def lstm_bias(key: Key, size: int, forget_bias: float | Initializer) -> Array:
    """Initial bias (4H,): b_f, and b_i = -b_f if b_f is drawn, so that the two gates begin as complements."""
    forget, zeros = gate_bias(key, 4, size, forget_bias), jnp.zeros(size)
    return jnp.concatenate([-forget if callable(forget_bias) else zeros, forget, zeros, zeros])


def _initial_state(params: LSTMParams | PeepholeLSTMParams, batch_shape: tuple[int, ...] = ()) -> LSTMState:
    size, dtype = params.recurrent_kernel.shape[-2], params.recurrent_kernel.dtype
    return LSTMState(*zero_state(batch_shape, 2 * (size,), dtype))


def _project(params: LSTMParams | PeepholeLSTMParams, inputs: Array) -> tuple[Array, ...]:
    return split_gates(dense(inputs, params.kernel, params.bias), 4)
