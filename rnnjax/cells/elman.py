"""The Elman network: one affine map of input and previous hidden state, and an activation."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from rnnjax.cell import Cell
from rnnjax.cells.activations import activation_named
from rnnjax.checks import positive_integer
from rnnjax.typing import Activation, Initializer, Key


class ElmanParams(NamedTuple):
    kernel: Array  # (I, H)
    recurrent_kernel: Array  # (H, H)
    bias: Array  # (H,)


class ElmanState(NamedTuple):
    hidden: Array  # (..., H)


def elman(
    hidden_size: int,
    activation: str | Activation = "tanh",
    *,
    kernel_init: Initializer = jax.nn.initializers.lecun_normal(),
    recurrent_init: Initializer = jax.nn.initializers.orthogonal(),
    bias_init: Initializer = jax.nn.initializers.zeros,
) -> Cell:
    """The Elman or vanilla recurrent network (Elman, 1990).

        h_t = g(x_t W + h_{t-1} U + b)

    With ``activation="relu"`` and ``recurrent_init=rnnjax.initializers.identity()`` it is the IRNN.

    Args:
        hidden_size: H.
        activation: g, a name (tanh, sigmoid, relu, elu, softplus, identity, leaky_relu, hard_tanh) or any elementwise
            function.
        kernel_init: for W (I, H).
        recurrent_init: for U (H, H).
        bias_init: for b (H,).

    Raises:
        ValueError: for an unknown activation or hidden_size < 1.
        TypeError: if hidden_size is not a whole number.
    """
    size = positive_integer("hidden_size", hidden_size)
    g = activation_named(activation)

    def init(key: Key, input_size: int) -> ElmanParams:
        kernel_key, recurrent_key, bias_key = jax.random.split(key, 3)
        return ElmanParams(
            kernel=kernel_init(kernel_key, (positive_integer("input_size", input_size), size)),
            recurrent_kernel=recurrent_init(recurrent_key, (size, size)),
            bias=bias_init(bias_key, (size,)),
        )

    def initial_state(params: ElmanParams, batch_shape: tuple[int, ...] = ()) -> ElmanState:
        return ElmanState(jnp.zeros((*batch_shape, size), params.recurrent_kernel.dtype))

    def project(params: ElmanParams, inputs: Array) -> Array:
        return inputs @ params.kernel + params.bias

    def advance(params: ElmanParams, state: ElmanState, drive: Array) -> ElmanState:
        return ElmanState(g(drive + state.hidden @ params.recurrent_kernel))

    return Cell(init, initial_state, project, advance)
