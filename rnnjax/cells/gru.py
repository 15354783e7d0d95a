"""The gated recurrent unit, with the reset gate before or after the recurrent product.

The gates stand side by side in every weight: columns in the order r, z, n (reset gate, update gate, candidate), H
columns each. z is the share of the old state that is kept, as in Cho et al. (2014), PyTorch, cuDNN and flax. Texts that
write h_t = (1 - z_t) h_{t-1} + z_t n_t have the same cell with the signs of the update gate's weights reversed.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.nn import sigmoid

from rnnjax.cell import Cell, zero_state
from rnnjax.cells.gates import gate_bias, gate_kernels, split_gates
from rnnjax.checks import positive_integer
from rnnjax.initializers import orthogonal
from rnnjax.names import lookup
from rnnjax.origin import remembered
from rnnjax.typing import Initializer, Key
from rnnjax.units import dense


class GRUParams(NamedTuple):
    kernel: Array  # (I, 3H)
    recurrent_kernel: Array  # (H, 3H)
    bias: Array  # (3H,)


class GRUResetAfterParams(NamedTuple):
    kernel: Array  # (I, 3H)
    recurrent_kernel: Array  # (H, 3H)
    bias: Array  # (3H,)
    recurrent_bias: Array  # (H,), inside the reset product of the candidate


class GRUState(NamedTuple):
    hidden: Array  # (..., H)


@remembered
def gru(
    hidden_size: int,
    reset: Literal["before", "after"] = "before",
    *,
    update_bias: float | Initializer = 0.0,
    kernel_init: Initializer = jax.nn.initializers.lecun_normal(),
    recurrent_init: Initializer = orthogonal(),
) -> Cell:
    """The gated recurrent unit (Cho et al., 2014).

        r_t = sigmoid(x_t W_r + h_{t-1} U_r + b_r)            reset gate
        z_t = sigmoid(x_t W_z + h_{t-1} U_z + b_z)            update gate
        n_t = tanh(x_t W_n + (r_t * h_{t-1}) U_n + b_n)       candidate, reset before the product, or
        n_t = tanh(x_t W_n + r_t * (h_{t-1} U_n + c) + b_n)   after it, as in PyTorch and cuDNN
        h_t = z_t * h_{t-1} + (1 - z_t) * n_t

    Invented for translation by an encoder and a decoder, as a simpler unit than the LSTM that also learns what to keep
    and what to forget.

    Args:
        hidden_size: H, the number of units.
        reset: "before" the recurrent product (Cho et al., 2014) or "after" it, which adds the bias c.
        update_bias: initial b_z (the other biases start at 0), a number or an initializer such as
            ``initializers.chrono(100)``. The larger it is, the more of the old state is kept.
        kernel_init: for each gate's W (I, H).
        recurrent_init: for each gate's U (H, H).

    Raises:
        ValueError: for another ``reset`` or hidden_size < 1.
        TypeError: if hidden_size is not a whole number.
    """
    size = positive_integer("hidden_size", hidden_size)

    def init_before(key: Key, input_size: int) -> GRUParams:
        kernel, recurrent_kernel = gate_kernels(key, 3, input_size, size, kernel_init, recurrent_init)
        update = gate_bias(key, 3, size, update_bias)
        return GRUParams(kernel, recurrent_kernel, jnp.zeros(3 * size).at[size : 2 * size].set(update))

    def init_after(key: Key, input_size: int) -> GRUResetAfterParams:
        return GRUResetAfterParams(*init_before(key, input_size), recurrent_bias=jnp.zeros(size))

    cells = {
        "before": Cell(init_before, _initial_state, _project, _advance_before),
        "after": Cell(init_after, _initial_state, _project_after, _advance_after),
    }
    return lookup("reset", reset, cells)


def _initial_state(params: GRUParams | GRUResetAfterParams, batch_shape: tuple[int, ...] = ()) -> GRUState:
    size, dtype = params.recurrent_kernel.shape[-2], params.recurrent_kernel.dtype
    return GRUState(*zero_state(batch_shape, (size,), dtype))


def _project(params: GRUParams | GRUResetAfterParams, inputs: Array) -> tuple[Array, ...]:
    return split_gates(dense(inputs, params.kernel, params.bias), 3)


def _project_after(params: GRUResetAfterParams, inputs: Array) -> tuple[Array, ...]:
    drives = _project(params, inputs)
    # The recurrent bias needs no state either; as a drive, its gradient costs no more than those of the other biases.
    return *drives, jnp.broadcast_to(params.recurrent_bias, drives[-1].shape)


def _advance_before(params: GRUParams, state: GRUState, drive: tuple[Array, ...]) -> GRUState:
    size = state.hidden.shape[-1]
    to_gates, to_candidate = jnp.split(params.recurrent_kernel, [2 * size], axis=1)
    recurrent_r, recurrent_z = split_gates(state.hidden @ to_gates, 2)
    drive_r, drive_z, drive_n = drive
    reset, update = sigmoid(drive_r + recurrent_r), sigmoid(drive_z + recurrent_z)
    candidate = jnp.tanh(drive_n + (reset * state.hidden) @ to_candidate)
    return GRUState(update * state.hidden + (1 - update) * candidate)


def _advance_after(params: GRUResetAfterParams, state: GRUState, drive: tuple[Array, ...]) -> GRUState:
    recurrent_r, recurrent_z, recurrent_n = split_gates(state.hidden @ params.recurrent_kernel, 3)
    drive_r, drive_z, drive_n, bias = drive
    reset, update = sigmoid(drive_r + recurrent_r), sigmoid(drive_z + recurrent_z)
    candidate = jnp.tanh(drive_n + reset * (recurrent_n + bias))
    return GRUState(update * state.hidden + (1 - update) * candidate)
