"""The Elman network and its closest relatives.

``jordan`` feeds back the output instead of the hidden state, ``leaky`` mixes the new state with the old one, and
``indrnn`` gives each unit a single recurrent weight, from itself.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from rnnjax.cell import Cell, affine_cell, zero_state
from rnnjax.cells.activations import ACTIVATIONS, activation_named
from rnnjax.checks import number_between, positive_integer
from rnnjax.initializers import orthogonal
from rnnjax.origin import remembered
from rnnjax.typing import Activation, Initializer, Key
from rnnjax.units import beside, dense


class ElmanParams(NamedTuple):
    kernel: Array  # (I, H)
    recurrent_kernel: Array  # (H, H)
    bias: Array  # (H,)


class ElmanState(NamedTuple):
    hidden: Array  # (..., H)


class JordanParams(NamedTuple):
    kernel: Array  # (I, H)
    recurrent_kernel: Array  # (O, H)
    bias: Array  # (H,)
    output_kernel: Array  # (H, O)
    output_bias: Array  # (O,)


class JordanState(NamedTuple):
    output: Array  # (..., O)


class LearnedLeakyParams(NamedTuple):
    elman: ElmanParams
    rate_logit: Array  # (H,), the rates are sigmoid of it


class IndRNNParams(NamedTuple):
    kernel: Array  # (I, H)
    recurrent_weight: Array  # (H,), of each unit to itself
    bias: Array  # (H,)


@remembered
def elman(
    hidden_size: int,
    activation: str | Activation = "tanh",
    *,
    kernel_init: Initializer = jax.nn.initializers.lecun_normal(),
    recurrent_init: Initializer = orthogonal(),
    bias_init: Initializer = jax.nn.initializers.zeros,
) -> Cell:
    """The Elman or vanilla recurrent network (Elman, 1990).

        h_t = g(x_t W + h_{t-1} U + b)

    Invented to find structure in time, such as the classes of words in sentences: the context of an input is the hidden
    state that the inputs before it have left. With ``activation="relu"`` and
    ``recurrent_init=rnnjax.initializers.identity()`` it is the IRNN.

    Args:
        hidden_size: H, the number of units.
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
        return ElmanState(*zero_state(batch_shape, (size,), params.recurrent_kernel.dtype))

    def project(params: ElmanParams, inputs: Array) -> Array:
        return dense(inputs, params.kernel, params.bias)

    def advance(params: ElmanParams, state: ElmanState, drive: Array) -> ElmanState:
        return ElmanState(g(drive + state.hidden @ params.recurrent_kernel))

    return Cell(init, initial_state, project, advance)


@remembered
def jordan(
    hidden_size: int,
    output_size: int | None = None,
    activation: str | Activation = "tanh",
    output_activation: str | Activation = "identity",
    *,
    kernel_init: Initializer = jax.nn.initializers.lecun_normal(),
    recurrent_init: Initializer = jax.nn.initializers.lecun_normal(),
) -> Cell:
    """The Jordan network: the previous output feeds back, not the hidden units (Jordan, 1986).

        h_t = g(x_t W + y_{t-1} U + b)
        y_t = k(h_t V + c)

    Invented for sequences of actions: what was done last decides what comes next. Everything that it remembers passes
    through its outputs. Jordan's state units may also keep a decaying trace of themselves; here they keep none, as in
    most texts.

    Args:
        hidden_size: H, the number of units.
        output_size: O, by default H.
        activation: g, a name or any elementwise function, as for ``elman``.
        output_activation: k, likewise.
        kernel_init: for W (I, H) and V (H, O).
        recurrent_init: for U (O, H).

    Raises:
        ValueError: for an unknown activation or a size < 1.
        TypeError: if a size is not a whole number.
    """
    size = positive_integer("hidden_size", hidden_size)
    width = size if output_size is None else positive_integer("output_size", output_size)
    g, k = activation_named(activation), activation_named(output_activation)

    def init(key: Key, input_size: int) -> JordanParams:
        kernel_key, recurrent_key, output_key = jax.random.split(key, 3)
        return JordanParams(
            kernel=kernel_init(kernel_key, (positive_integer("input_size", input_size), size)),
            recurrent_kernel=recurrent_init(recurrent_key, (width, size)),
            bias=jnp.zeros(size),
            output_kernel=kernel_init(output_key, (size, width)),
            output_bias=jnp.zeros(width),
        )

    def initial_state(params: JordanParams, batch_shape: tuple[int, ...] = ()) -> JordanState:
        return JordanState(*zero_state(batch_shape, (width,), params.recurrent_kernel.dtype))

    def project(params: JordanParams, inputs: Array) -> Array:
        return dense(inputs, params.kernel, params.bias)

    def advance(params: JordanParams, state: JordanState, drive: Array) -> JordanState:
        hidden = g(drive + state.output @ params.recurrent_kernel)
        return JordanState(k(dense(hidden, params.output_kernel, params.output_bias)))

    def output(params: JordanParams, state: JordanState) -> Array:
        return state.output

    return Cell(init, initial_state, project, advance, output)


@remembered
def leaky(
    hidden_size: int,
    rate: float = 0.1,
    activation: str | Activation = "tanh",
    *,
    kernel_init: Initializer = jax.nn.initializers.lecun_normal(),
    recurrent_init: Initializer = orthogonal(),
    bias_init: Initializer = jax.nn.initializers.zeros,
) -> Cell:
    """Leaky integrator units, the continuous-time network (CTRNN) in Euler steps (Jaeger et al., 2007).

        tau dh/dt = -h + g(x W + h U + b)
        h_t = (1 - a) h_{t-1} + a g(x_t W + h_{t-1} U + b)        a = step / tau, the leak rate

    Invented as a model of neurons, whose membranes average over time, with a memory of about 1/a steps. With a = 1 it
    is ``elman``. Texts that write tau du/dt = -u + x W + g(u) U (Funahashi & Nakamura, 1993) take the sum before g as
    the state.

    Args:
        hidden_size: H, the number of units.
        rate: a, from 0 (nothing changes) to 1 (Elman).
        activation: g, as for ``elman``.
        kernel_init: for W (I, H).
        recurrent_init: for U (H, H).
        bias_init: for b (H,).

    Raises:
        ValueError: for an unknown activation, hidden_size < 1, or a rate outside [0, 1].
        TypeError: if hidden_size is not a whole number, or rate is not a number.
    """
    fixed_rate = number_between("rate", rate, 0, 1)
    options = {"kernel_init": kernel_init, "recurrent_init": recurrent_init, "bias_init": bias_init}
    instant = elman(hidden_size, activation, **options)

    def advance(params: ElmanParams, state: ElmanState, drive: Array) -> ElmanState:
        return _leak(fixed_rate, state, instant.advance(params, state, drive))

    return instant._replace(advance=advance)


@remembered
def learned_leaky(
    hidden_size: int,
    rate: float = 0.1,
    activation: str | Activation = "tanh",
    *,
    kernel_init: Initializer = jax.nn.initializers.lecun_normal(),
    recurrent_init: Initializer = orthogonal(),
    bias_init: Initializer = jax.nn.initializers.zeros,
) -> Cell:
    """Leaky integrator units that learn their time constants (Pearlmutter, 1989).

        h_t = (1 - a) * h_{t-1} + a * g(x_t W + h_{t-1} U + b)        a = sigmoid(l), one for each unit

    Invented for trajectories of unknown speed: some units learn to follow slow structure, others fast structure. The
    param is l, so that a stays between 0 and 1.

    Args:
        hidden_size: H, the number of units.
        rate: the initial a, between 0 and 1.
        activation: g, as for ``elman``.
        kernel_init: for W (I, H).
        recurrent_init: for U (H, H).
        bias_init: for b (H,).

    Raises:
        ValueError: for an unknown activation, hidden_size < 1, or a rate that is not strictly between 0 and 1.
        TypeError: if hidden_size is not a whole number, or rate is not a number.
    """
    first_rate = number_between("rate", rate, 0, 1)
    if first_rate in (0, 1):
        raise ValueError(
            f"rate is {first_rate:g}: expected between 0 and 1, both excluded; for a fixed rate take leaky"
        )
    options = {"kernel_init": kernel_init, "recurrent_init": recurrent_init, "bias_init": bias_init}
    instant = elman(hidden_size, activation, **options)

    def init(key: Key, input_size: int) -> LearnedLeakyParams:
        logit = math.log(first_rate) - math.log1p(-first_rate)
        return LearnedLeakyParams(instant.init(key, input_size), jnp.full(hidden_size, logit))

    def initial_state(params: LearnedLeakyParams, batch_shape: tuple[int, ...] = ()) -> ElmanState:
        return instant.initial_state(params.elman, batch_shape)

    def project(params: LearnedLeakyParams, inputs: Array) -> Array:
        return instant.project(params.elman, inputs)

    def advance(params: LearnedLeakyParams, state: ElmanState, drive: Array) -> ElmanState:
        return _leak(jax.nn.sigmoid(params.rate_logit), state, instant.advance(params.elman, state, drive))

    return Cell(init, initial_state, project, advance)


@remembered
def indrnn(
    hidden_size: int,
    activation: str | Activation = "relu",
    *,
    kernel_init: Initializer = jax.nn.initializers.lecun_normal(),
    recurrent_init: Initializer = jax.nn.initializers.uniform(1.0),
    bias_init: Initializer = jax.nn.initializers.zeros,
) -> Cell:
    """The independently recurrent network: each unit sees only its own past (Li et al., 2018).

        h_t = g(x_t W + u * h_{t-1} + b)

    Invented for long memory and depth: through time the gradient of each unit is multiplied by powers of one number,
    which is easy to keep in range, and units mix in the next layer. With ``activation="identity"`` the recurrence is
    linear and ``affine`` is set.

    Args:
        hidden_size: H, the number of units.
        activation: g, as for ``elman``.
        kernel_init: for W (I, H).
        recurrent_init: for u (H,), by default uniform over [0, 1], where no unit explodes. (Training may leave that
            range; the authors clip |u| to 2^(1/T), which is left to the optimizer here.)
        bias_init: for b (H,).

    Raises:
        ValueError: for an unknown activation or hidden_size < 1.
        TypeError: if hidden_size is not a whole number.
    """
    size = positive_integer("hidden_size", hidden_size)
    g = activation_named(activation)

    def init(key: Key, input_size: int) -> IndRNNParams:
        kernel_key, recurrent_key, bias_key = jax.random.split(key, 3)
        return IndRNNParams(
            kernel=kernel_init(kernel_key, (positive_integer("input_size", input_size), size)),
            recurrent_weight=recurrent_init(recurrent_key, (size,)),
            bias=bias_init(bias_key, (size,)),
        )

    def initial_state(params: IndRNNParams, batch_shape: tuple[int, ...] = ()) -> ElmanState:
        return ElmanState(*zero_state(batch_shape, (size,), params.recurrent_weight.dtype))

    def project(params: IndRNNParams, inputs: Array) -> Array:
        return dense(inputs, params.kernel, params.bias)

    def affine(params: IndRNNParams, drive: Array) -> tuple[ElmanState, ElmanState]:
        return ElmanState(jnp.broadcast_to(params.recurrent_weight, drive.shape)), ElmanState(drive)

    def advance(params: IndRNNParams, state: ElmanState, drive: Array) -> ElmanState:
        return ElmanState(g(drive + beside(params.recurrent_weight, drive) * state.hidden))

    if g is ACTIVATIONS["identity"]:
        return affine_cell(init, initial_state, project, affine)
    return Cell(init, initial_state, project, advance)


def _leak(rate: float | Array, state: ElmanState, instant: ElmanState) -> ElmanState:
    rate = rate if isinstance(rate, float) else beside(rate, state.hidden)
    return ElmanState((1 - rate) * state.hidden + rate * instant.hidden)
