"""Cells with slow units, slow clocks, or direct links to the distant past."""

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.nn import sigmoid

from rnnjax.cell import Cell, zero_state
from rnnjax.cells.activations import activation_named
from rnnjax.cells.gates import gate_kernels, split_gates
from rnnjax.checks import number_between, positive_integer, told
from rnnjax.initializers import orthogonal
from rnnjax.origin import remembered
from rnnjax.typing import Activation, Initializer, Key
from rnnjax.units import beside, dense


class SCRNParams(NamedTuple):
    kernel: Array  # (I, H - C)
    recurrent_kernel: Array  # (H - C, H - C)
    bias: Array  # (H - C,)
    context_kernel: Array  # (I, C)
    context_to_hidden: Array  # (C, H - C)


class SCRNState(NamedTuple):
    hidden: Array  # (..., H - C)
    context: Array  # (..., C)


class ClockworkParams(NamedTuple):
    kernel: Array  # (I, H)
    recurrent_kernel: Array  # (H, H), where links from faster modules to slower ones are never read
    bias: Array  # (H,)


class ClockworkState(NamedTuple):
    hidden: Array  # (..., H)
    step: Array  # (..., 1), int32: steps done, modulo the least common multiple of the periods


class MISTParams(NamedTuple):
    kernel: Array  # (I, 2H): reset gate, candidate
    recurrent_kernel: Array  # (H, 2H)
    bias: Array  # (2H,)
    mixture_kernel: Array  # (I, N)
    mixture_recurrent_kernel: Array  # (H, N)
    mixture_bias: Array  # (N,)


class MISTState(NamedTuple):
    hidden: Array  # (..., H), h_t
    earlier: Array  # (..., 2^(N-1) - 1, H): h_{t-1}, h_{t-2}, and so on


@remembered
def scrn(
    hidden_size: int,
    context_size: int | None = None,
    alpha: float = 0.95,
    activation: str | Activation = "sigmoid",
    *,
    kernel_init: Initializer = jax.nn.initializers.lecun_normal(),
    recurrent_init: Initializer = orthogonal(),
) -> Cell:
    """The structurally constrained recurrent network: context units that change slowly (Mikolov et al., 2015).

        s_t = (1 - alpha) x_t B + alpha s_{t-1}
        h_t = g(s_t P + x_t A + h_{t-1} R + b)
        y_t = [h_t, s_t]

    Invented to give language models a longer memory than that of an Elman network at a fraction of the cost of an LSTM:
    the recurrent matrix of the s units is fixed at alpha times the identity. The authors read out f(h_t U + s_t V),
    which is a dense layer on this output; b is not in the paper. In their code h_t sees s_{t-1}; here, as in the paper,
    it sees s_t. H counts all units here, and the units of h alone in the paper.

    Args:
        hidden_size: H, all units.
        context_size: C, the number of slow units among them, by default a quarter of H.
        alpha: the share of the context that stays at each step, from 0 to 1; 0.95 gives a half-life of 13.5 steps.
        activation: g, a name or any elementwise function.
        kernel_init: for A (I, H - C), B (I, C) and P (C, H - C).
        recurrent_init: for R (H - C, H - C).

    Raises:
        ValueError: for an unknown activation, alpha outside [0, 1], a size < 1, or a context_size that leaves no other
            unit.
        TypeError: if a size is not a whole number, or alpha is not a number.
    """
    size = positive_integer("hidden_size", hidden_size)
    slow = max(1, size // 4) if context_size is None else positive_integer("context_size", context_size)
    fast = size - slow
    if fast < 1:
        raise ValueError(
            f"context_size is {slow} of hidden_size {size}: expected less, since hidden_size counts the context units, "
            "too; raise hidden_size or lower context_size"
        )
    kept, g = number_between("alpha", alpha, 0, 1), activation_named(activation)

    def init(key: Key, input_size: int) -> SCRNParams:
        kernel_key, recurrent_key, context_key, to_hidden_key = jax.random.split(key, 4)
        width = positive_integer("input_size", input_size)
        return SCRNParams(
            kernel=kernel_init(kernel_key, (width, fast)),
            recurrent_kernel=recurrent_init(recurrent_key, (fast, fast)),
            bias=jnp.zeros(fast),
            context_kernel=kernel_init(context_key, (width, slow)),
            context_to_hidden=kernel_init(to_hidden_key, (slow, fast)),
        )

    def initial_state(params: SCRNParams, batch_shape: tuple[int, ...] = ()) -> SCRNState:
        dtype = params.recurrent_kernel.dtype
        return SCRNState(*zero_state(batch_shape, (fast, slow), dtype))

    def project(params: SCRNParams, inputs: Array) -> tuple[Array, Array]:
        return dense(inputs, params.kernel, params.bias), (1 - kept) * (inputs @ params.context_kernel)

    def advance(params: SCRNParams, state: SCRNState, drive: tuple[Array, Array]) -> SCRNState:
        to_hidden, to_context = drive
        context = to_context + kept * state.context
        recurrent = state.hidden @ params.recurrent_kernel + context @ params.context_to_hidden
        return SCRNState(g(to_hidden + recurrent), context)

    def output(params: SCRNParams, state: SCRNState) -> Array:
        return jnp.concatenate([state.hidden, state.context], axis=-1)

    return Cell(init, initial_state, project, advance, output)


@remembered
def clockwork(
    hidden_size: int,
    periods: Sequence[int] = (1, 2, 4, 8),
    activation: str | Activation = "tanh",
    *,
    kernel_init: Initializer = jax.nn.initializers.lecun_normal(),
    recurrent_init: Initializer = jax.nn.initializers.lecun_normal(),
) -> Cell:
    """The clockwork network: modules that run at different clock rates (Koutnik et al., 2014).

        module i at step t = 0, 1, 2, ...:
        h^i_t = g(x_t W^i + sum over modules j with T_j >= T_i of h^j_{t-1} U^{ji} + b^i)        if t mod T_i = 0
        h^i_t = h^i_{t-1}                                                                       otherwise

    Invented for long time lags with fewer operations: a slow module holds its state, and the gradient with it, for T_i
    steps. Links run from slower modules to faster ones and within a module. With the periods in rising order U is block
    lower triangular for our row vectors (h U), block upper triangular in the paper's columns. All modules run at the
    first step.

    Args:
        hidden_size: H, divided into one module for each period, as equally as possible (equally in the paper).
        periods: T_1 < T_2 < ..., whole numbers.
        activation: g, a name or any elementwise function.
        kernel_init: for W (I, H).
        recurrent_init: for U (H, H), of which links that do not exist are then set to 0.

    Raises:
        ValueError: for an unknown activation, periods that do not rise, or fewer units than periods.
        TypeError: if hidden_size or a period is not a whole number.
    """
    size = positive_integer("hidden_size", hidden_size)
    clocks = _rising_periods(periods)
    if size < len(clocks):
        raise ValueError(
            f"hidden_size is {size} for {len(clocks)} periods: expected at least one unit for each; "
            "raise hidden_size or give fewer periods"
        )
    g = activation_named(activation)
    unit_periods = np.array(clocks)[np.arange(size) * len(clocks) // size]
    links = unit_periods[:, None] >= unit_periods[None, :]  # from the row's unit to the column's
    cycle = math.lcm(*clocks)

    def init(key: Key, input_size: int) -> ClockworkParams:
        kernel_key, recurrent_key = jax.random.split(key)
        return ClockworkParams(
            kernel=kernel_init(kernel_key, (positive_integer("input_size", input_size), size)),
            recurrent_kernel=recurrent_init(recurrent_key, (size, size)),
            bias=jnp.zeros(size),
        )

    def initial_state(params: ClockworkParams, batch_shape: tuple[int, ...] = ()) -> ClockworkState:
        dtype = params.recurrent_kernel.dtype
        return ClockworkState(*zero_state(batch_shape, (size,), dtype), *zero_state(batch_shape, (1,), jnp.int32))

    def project(params: ClockworkParams, inputs: Array) -> Array:
        return dense(inputs, params.kernel, params.bias)

    def advance(params: ClockworkParams, state: ClockworkState, drive: Array) -> ClockworkState:
        recurrent_kernel = jnp.where(links, params.recurrent_kernel, jnp.zeros_like(params.recurrent_kernel))
        moved = g(drive + state.hidden @ recurrent_kernel)
        active = state.step % beside(jnp.asarray(unit_periods, jnp.int32), state.step) == 0
        return ClockworkState(jnp.where(active, moved, state.hidden), (state.step + 1) % cycle)

    return Cell(init, initial_state, project, advance)


@remembered
def mist(
    hidden_size: int,
    delays: int = 5,
    activation: str | Activation = "tanh",
    *,
    kernel_init: Initializer = jax.nn.initializers.lecun_normal(),
    recurrent_init: Initializer = orthogonal(),
) -> Cell:
    """The mixed history network, MIST: direct links to 1, 2, 4, 8, ... steps ago (DiPietro et al., 2017).

        a_t = softmax(x_t W_a + h_{t-1} U_a + b_a)                              (N): which of the delays to look at
        r_t = sigmoid(x_t W_r + h_{t-1} U_r + b_r)                              reset gate
        m_t = sum over i = 0, ..., N - 1 of a_{t,i} h_{t - 2^i}
        h_t = g(x_t W_h + (r_t * m_t) U_h + b_h)

    Invented as a cheaper NARX network: a gradient goes back k steps in about log2 k steps instead of k, over
    logarithmically many links, among which each step chooses. States before the sequence are zero.

    Args:
        hidden_size: H, the number of units.
        delays: N, at least 2. The state holds the last 2^(N-1) hidden states.
        activation: g, a name or any elementwise function.
        kernel_init: for each W and for U_a (H, N).
        recurrent_init: for U_r and U_h (H, H).

    Raises:
        ValueError: for an unknown activation, hidden_size < 1 or delays < 2.
        TypeError: if hidden_size or delays is not a whole number.
    """
    size, count = positive_integer("hidden_size", hidden_size), positive_integer("delays", delays)
    if count < 2:
        raise ValueError(f"delays is {count}: expected at least 2, for 1 and 2 steps ago")
    g = activation_named(activation)
    steps_ago = 2 ** np.arange(count)

    def init(key: Key, input_size: int) -> MISTParams:
        gate_key, mixture_key, mixture_recurrent_key = jax.random.split(key, 3)
        kernel, recurrent_kernel = gate_kernels(gate_key, 2, input_size, size, kernel_init, recurrent_init)
        return MISTParams(
            kernel,
            recurrent_kernel,
            bias=jnp.zeros(2 * size),
            mixture_kernel=kernel_init(mixture_key, (input_size, count)),
            mixture_recurrent_kernel=kernel_init(mixture_recurrent_key, (size, count)),
            mixture_bias=jnp.zeros(count),
        )

    def initial_state(params: MISTParams, batch_shape: tuple[int, ...] = ()) -> MISTState:
        dtype, history = params.recurrent_kernel.dtype, int(steps_ago[-1]) - 1
        return MISTState(*zero_state(batch_shape, (size,), dtype), *zero_state((*batch_shape, history), (size,), dtype))

    def project(params: MISTParams, inputs: Array) -> tuple[Array, ...]:
        gates = split_gates(dense(inputs, params.kernel, params.bias), 2)
        return *gates, dense(inputs, params.mixture_kernel, params.mixture_bias)

    def advance(params: MISTParams, state: MISTState, drive: tuple[Array, ...]) -> MISTState:
        drive_reset, drive_candidate, drive_mixture = drive
        to_reset, to_candidate = split_gates(params.recurrent_kernel, 2)
        window = jnp.concatenate([state.hidden[..., None, :], state.earlier], axis=-2)
        mixture = jax.nn.softmax(drive_mixture + state.hidden @ params.mixture_recurrent_kernel)
        mixed = jnp.sum(mixture[..., None] * window[..., steps_ago - 1, :], axis=-2)
        reset = sigmoid(drive_reset + state.hidden @ to_reset)
        return MISTState(g(drive_candidate + (reset * mixed) @ to_candidate), window[..., :-1, :])

    return Cell(init, initial_state, project, advance)


def _rising_periods(periods: Any) -> tuple[int, ...]:
    if not isinstance(periods, Sequence) or isinstance(periods, str):
        raise TypeError(f"periods is {told(periods)}: expected a tuple, such as (1, 2, 4, 8)")
    clocks = tuple(positive_integer("a period", period) for period in periods)
    if not clocks or any(a >= b for a, b in itertools.pairwise(clocks)):
        raise ValueError(f"periods are {tuple(periods)}: expected whole numbers that rise, such as (1, 2, 4, 8)")
    return clocks
