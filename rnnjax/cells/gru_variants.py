"""Gated cells whose state is the hidden state alone, simpler or deeper than the GRU."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.nn import sigmoid

from rnnjax.cell import Cell, zero_state
from rnnjax.cells.gates import add_to_gates, gate_kernels, split_gates
from rnnjax.cells.gru import GRUState
from rnnjax.checks import positive_integer
from rnnjax.initializers import orthogonal
from rnnjax.origin import remembered
from rnnjax.typing import Initializer, Key
from rnnjax.units import beside, dense


class OneGateParams(NamedTuple):
    kernel: Array  # (I, 2H), columns of the gate, then of the candidate
    recurrent_kernel: Array  # (H, 2H)
    bias: Array  # (2H,)


@remembered
def minimal_gated_unit(
    hidden_size: int,
    *,
    kernel_init: Initializer = jax.nn.initializers.lecun_normal(),
    recurrent_init: Initializer = orthogonal(),
) -> Cell:
    """The minimal gated unit: a GRU whose two gates are one (Zhou et al., 2016).

        f_t = sigmoid(x_t W_f + h_{t-1} U_f + b_f)
        n_t = tanh(x_t W_n + (f_t * h_{t-1}) U_n + b_n)
        h_t = (1 - f_t) * h_{t-1} + f_t * n_t

    Made to find the least gating that still learns like a GRU. As in the paper, f is the share of the new candidate; in
    ``gru`` the update gate z is the share of the old state.

    Args:
        hidden_size: H, the number of units.
        kernel_init: for W_f and W_n (I, H); columns f, n.
        recurrent_init: for U_f and U_n (H, H).

    Raises:
        ValueError: if hidden_size < 1.
        TypeError: if hidden_size is not a whole number.
    """
    size = positive_integer("hidden_size", hidden_size)

    def init(key: Key, input_size: int) -> OneGateParams:
        kernels = gate_kernels(key, 2, input_size, size, kernel_init, recurrent_init)
        return OneGateParams(*kernels, bias=jnp.zeros(2 * size))

    def advance(params: OneGateParams, state: GRUState, drive: tuple[Array, ...]) -> GRUState:
        to_gate, to_candidate = split_gates(params.recurrent_kernel, 2)
        drive_f, drive_n = drive
        forget = sigmoid(drive_f + state.hidden @ to_gate)
        candidate = jnp.tanh(drive_n + (forget * state.hidden) @ to_candidate)
        return GRUState((1 - forget) * state.hidden + forget * candidate)

    return Cell(init, _initial_state, _project, advance)


@remembered
def ugrnn(
    hidden_size: int,
    *,
    update_bias: float = 1.0,
    kernel_init: Initializer = jax.nn.initializers.lecun_normal(),
    recurrent_init: Initializer = orthogonal(),
) -> Cell:
    """The update-gate network: an Elman network with one gate (Collins, Sohl-Dickstein & Sussillo, 2017).

        z_t = sigmoid(x_t W_z + h_{t-1} U_z + b_z)
        n_t = tanh(x_t W_n + h_{t-1} U_n + b_n)
        h_t = z_t * h_{t-1} + (1 - z_t) * n_t

    Made to compare how well architectures train and how much they store: it is the simplest gated network. The paper
    adds a constant to b_z (1 in its code), which is the initial value of b_z here. The paper's g and c are z and n
    here.

    Args:
        hidden_size: H, the number of units.
        update_bias: initial b_z (b_n starts at 0); the larger it is, the longer the memory before training.
        kernel_init: for W_z and W_n (I, H); columns z, n.
        recurrent_init: for U_z and U_n (H, H).

    Raises:
        ValueError: if hidden_size < 1.
        TypeError: if hidden_size is not a whole number.
    """
    size = positive_integer("hidden_size", hidden_size)

    def init(key: Key, input_size: int) -> OneGateParams:
        kernels = gate_kernels(key, 2, input_size, size, kernel_init, recurrent_init)
        return OneGateParams(*kernels, bias=jnp.zeros(2 * size).at[:size].set(update_bias))

    def advance(params: OneGateParams, state: GRUState, drive: tuple[Array, ...]) -> GRUState:
        z, n = add_to_gates(drive, state.hidden @ params.recurrent_kernel)
        update = sigmoid(z)
        return GRUState(update * state.hidden + (1 - update) * jnp.tanh(n))

    return Cell(init, _initial_state, _project, advance)


class RecurrentHighwayParams(NamedTuple):
    kernel: Array  # (I, 2H), into the first micro layer only; columns of the candidate, then of the transform gate
    recurrent_kernel: Array  # (depth, H, 2H)
    bias: Array  # (depth, 2H)


@remembered
def recurrent_highway(
    hidden_size: int,
    depth: int = 3,
    *,
    transform_bias: float = -2.0,
    kernel_init: Initializer = jax.nn.initializers.lecun_normal(),
    recurrent_init: Initializer = orthogonal(),
) -> Cell:
    """The recurrent highway network: several highway layers between one time step and the next (Zilly et al., 2017).

        s^0_t = h_{t-1}                                                   h_t = s^depth_t
        n^l_t = tanh(   [l = 1] x_t W_n + s^{l-1}_t U^l_n + b^l_n)        candidate
        r^l_t = sigmoid([l = 1] x_t W_r + s^{l-1}_t U^l_r + b^l_r)        transform gate
        s^l_t = r^l_t * n^l_t + (1 - r^l_t) * s^{l-1}_t                   the carry gate is 1 - r, as in the experiments

    Made so that the transition from step to step can be deep without vanishing gradients. With depth 1 it is ``ugrnn``
    with z = 1 - r. The paper's h and t are n and r here, since h and t stand for the hidden state and time.

    Args:
        hidden_size: H, the number of units.
        depth: the number of micro layers in a time step.
        transform_bias: initial b_r (b_n starts at 0); if negative, most of the state is carried on before training.
        kernel_init: for W_n and W_r (I, H); columns n, r.
        recurrent_init: for each layer's U_n and U_r (H, H).

    Raises:
        ValueError: if hidden_size < 1 or depth < 1.
        TypeError: if hidden_size or depth is not a whole number.
    """
    size, layers = positive_integer("hidden_size", hidden_size), positive_integer("depth", depth)

    def init(key: Key, input_size: int) -> RecurrentHighwayParams:
        kernels = [
            gate_kernels(k, 2, input_size, size, kernel_init, recurrent_init) for k in jax.random.split(key, layers)
        ]
        return RecurrentHighwayParams(
            kernel=kernels[0][0],
            recurrent_kernel=jnp.stack([recurrent for _, recurrent in kernels]),
            bias=jnp.zeros((layers, 2 * size)).at[:, size:].set(transform_bias),
        )

    def project(params: RecurrentHighwayParams, inputs: Array) -> tuple[Array, ...]:
        return split_gates(dense(inputs, params.kernel, params.bias[0]), 2)

    def advance(params: RecurrentHighwayParams, state: GRUState, drive: tuple[Array, ...]) -> GRUState:
        hidden = state.hidden
        for layer in range(layers):
            drive_n, drive_r = drive if layer == 0 else split_gates(beside(params.bias[layer], hidden), 2)
            recurrent_n, recurrent_r = split_gates(hidden @ params.recurrent_kernel[layer], 2)
            transform = sigmoid(drive_r + recurrent_r)
            hidden = transform * jnp.tanh(drive_n + recurrent_n) + (1 - transform) * hidden
        return GRUState(hidden)

    return Cell(init, _initial_state, project, advance)


def _initial_state(params: OneGateParams | RecurrentHighwayParams, batch_shape: tuple[int, ...] = ()) -> GRUState:
    size, dtype = params.recurrent_kernel.shape[-2], params.recurrent_kernel.dtype
    return GRUState(*zero_state(batch_shape, (size,), dtype))


def _project(params: OneGateParams, inputs: Array) -> tuple[Array, ...]:
    return split_gates(dense(inputs, params.kernel, params.bias), 2)
