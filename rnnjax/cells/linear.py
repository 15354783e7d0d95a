"""Diagonal linear recurrences.

The old state is multiplied, unit by unit, by factors that depend on the inputs alone:

    s_t = factor_t * s_{t-1} + term_t

All steps of a sequence can therefore be computed at once by a parallel prefix scan, and dL/ds_t flows back through the
factors alone. Whatever else the output needs is a field of the state with factor 0, which holds it for this step only.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.nn import log_sigmoid, sigmoid

from rnnjax.cell import Cell, affine_cell, zero_state
from rnnjax.cells.gates import split_gates
from rnnjax.checks import check_number, positive_integer
from rnnjax.origin import remembered
from rnnjax.typing import Initializer, Key
from rnnjax.units import beside, dense


class LinearGatesParams(NamedTuple):
    kernel: Array  # (I, gates H)
    bias: Array  # (gates H,)


class LinearState(NamedTuple):
    hidden: Array  # (..., H)


# The GRU and the LSTM with gates of the input alone


@remembered
def min_gru(hidden_size: int, *, kernel_init: Initializer = jax.nn.initializers.lecun_normal()) -> Cell:
    """The GRU stripped of all that keeps it from running in parallel (Feng et al., 2024).

        z_t = sigmoid(x_t W_z + b_z)
        n_t = x_t W_n + b_n
        h_t = (1 - z_t) * h_{t-1} + z_t * n_t

    Made to train as fast as a transformer. This is the paper's plain form; its log-space form restricts n to positive
    values. As in the paper, z is the share of the new candidate; in ``gru`` it is the share of the old state.

    Args:
        hidden_size: H, the number of units.
        kernel_init: for W_z and W_n (I, H); columns z, n.

    Raises:
        ValueError: if hidden_size < 1.
        TypeError: if hidden_size is not a whole number.
    """
    size = positive_integer("hidden_size", hidden_size)

    def affine(params: LinearGatesParams, drive: tuple[Array, ...]) -> tuple[LinearState, LinearState]:
        z, candidate = drive
        return LinearState(sigmoid(-z)), LinearState(sigmoid(z) * candidate)

    return affine_cell(_init(size, 2, kernel_init), _initial_state(size), _project(2), affine)


@remembered
def min_lstm(
    hidden_size: int, *, forget_bias: float = 0.0, kernel_init: Initializer = jax.nn.initializers.lecun_normal()
) -> Cell:
    """The LSTM stripped of all that keeps it from running in parallel (Feng et al., 2024).

        i_t = sigmoid(x_t W_i + b_i)
        f_t = sigmoid(x_t W_f + b_f)
        g_t = x_t W_g + b_g
        h_t = f_t / (f_t + i_t) * h_{t-1} + i_t / (f_t + i_t) * g_t

    Made to train as fast as a transformer; the gates are normalized so that the scale of h does not depend on the
    length of the sequence. This is the paper's plain form; its log-space form restricts g to positive values.

    Args:
        hidden_size: H, the number of units.
        forget_bias: initial b_f (the other biases start at 0).
        kernel_init: for each gate's W (I, H); columns i, f, g.

    Raises:
        ValueError: if hidden_size < 1.
        TypeError: if hidden_size is not a whole number.
    """
    size = positive_integer("hidden_size", hidden_size)

    def affine(params: LinearGatesParams, drive: tuple[Array, ...]) -> tuple[LinearState, LinearState]:
        i, f, candidate = drive
        # f / (f + i) = sigmoid(log f - log i), which is right even where both gates are 0 to working precision.
        log_ratio = log_sigmoid(f) - log_sigmoid(i)
        return LinearState(sigmoid(log_ratio)), LinearState(sigmoid(-log_ratio) * candidate)

    return affine_cell(_init(size, 3, kernel_init, (1, forget_bias)), _initial_state(size), _project(3), affine)


# Quasi-recurrent and simple recurrent units


class QRNNState(NamedTuple):
    cell: Array  # (..., H), the memory
    output_gate: Array  # (..., H)


@remembered
def qrnn(
    hidden_size: int, *, forget_bias: float = 0.0, kernel_init: Initializer = jax.nn.initializers.lecun_normal()
) -> Cell:
    """The quasi-recurrent network with fo-pooling, over a window of one input (Bradbury et al., 2017).

        f_t = sigmoid(x_t W_f + b_f)
        g_t = tanh(x_t W_g + b_g)
        o_t = sigmoid(x_t W_o + b_o)
        c_t = f_t * c_{t-1} + (1 - f_t) * g_t
        y_t = o_t * c_t

    Made for speed on long texts: a convolution runs over time in parallel, and only a minimal recurrence follows it.
    The paper's window may be wider, and its z is g here. The authors' code has 1 - f in place of f, which is the same
    cell.

    Args:
        hidden_size: H, the number of units.
        forget_bias: initial b_f (the other biases start at 0).
        kernel_init: for each gate's W (I, H); columns f, g, o.

    Raises:
        ValueError: if hidden_size < 1.
        TypeError: if hidden_size is not a whole number.
    """
    size = positive_integer("hidden_size", hidden_size)

    def initial_state(params: LinearGatesParams, batch_shape: tuple[int, ...] = ()) -> QRNNState:
        return QRNNState(*zero_state(batch_shape, 2 * (size,), params.kernel.dtype))

    def affine(params: LinearGatesParams, drive: tuple[Array, ...]) -> tuple[QRNNState, QRNNState]:
        f, g, o = drive
        factor = QRNNState(sigmoid(f), jnp.zeros_like(o))
        return factor, QRNNState(sigmoid(-f) * jnp.tanh(g), sigmoid(o))

    def output(params: LinearGatesParams, state: QRNNState) -> Array:
        return state.output_gate * state.cell

    return affine_cell(_init(size, 3, kernel_init, (0, forget_bias)), initial_state, _project(3), affine, output)


class SRUParams(NamedTuple):
    kernel: Array  # (I, 3H)
    bias: Array  # (2H,), of the gates f and r
    highway_kernel: Array | None  # (I, H), or None if I = H: then the input itself is the highway


class SRUState(NamedTuple):
    cell: Array  # (..., H), the memory
    reset: Array  # (..., H), the gate between memory and highway
    highway: Array  # (..., H), the input, or its projection


@remembered
def sru(
    hidden_size: int, *, forget_bias: float = 0.0, kernel_init: Initializer = jax.nn.initializers.lecun_normal()
) -> Cell:
    """The simple recurrent unit, with gates that do not see the memory (Lei et al., 2018).

        f_t = sigmoid(x_t W_f + b_f)
        r_t = sigmoid(x_t W_r + b_r)
        c_t = f_t * c_{t-1} + (1 - f_t) * x_t W
        y_t = r_t * tanh(c_t) + (1 - r_t) * x_t           x_t W_x where the widths differ

    Made for speed, with a highway around each layer so that many can be stacked. In the published version the gates
    also see v * c_{t-1}, which would make the recurrence nonlinear. Without it, with tanh, and without a scale on the
    highway, this is the cell of the first preprint (2017).

    Args:
        hidden_size: H, the number of units. If it equals the input width, there is no W_x.
        forget_bias: initial b_f (b_r starts at 0).
        kernel_init: for each W (I, H), with the columns f, r, memory; and for W_x.

    Raises:
        ValueError: if hidden_size < 1.
        TypeError: if hidden_size is not a whole number.
    """
    size = positive_integer("hidden_size", hidden_size)

    def init(key: Key, input_size: int) -> SRUParams:
        gates_key, highway_key = jax.random.split(key)
        kernel = _input_kernels(gates_key, 3, input_size, size, kernel_init)
        highway_kernel = None if input_size == size else kernel_init(highway_key, (input_size, size))
        return SRUParams(kernel, jnp.zeros(2 * size).at[:size].set(forget_bias), highway_kernel)

    def initial_state(params: SRUParams, batch_shape: tuple[int, ...] = ()) -> SRUState:
        return SRUState(*zero_state(batch_shape, 3 * (size,), params.kernel.dtype))

    def project(params: SRUParams, inputs: Array) -> tuple[Array, ...]:
        f, r, candidate = split_gates(inputs @ params.kernel, 3)
        bias_f, bias_r = split_gates(beside(params.bias, f), 2)
        highway = inputs if params.highway_kernel is None else inputs @ params.highway_kernel
        return f + bias_f, r + bias_r, candidate, highway

    def affine(params: SRUParams, drive: tuple[Array, ...]) -> tuple[SRUState, SRUState]:
        f, r, candidate, highway = drive
        zeros = jnp.zeros_like(r)
        return SRUState(sigmoid(f), zeros, zeros), SRUState(sigmoid(-f) * candidate, sigmoid(r), highway)

    def output(params: SRUParams, state: SRUState) -> Array:
        return state.reset * jnp.tanh(state.cell) + (1 - state.reset) * state.highway

    return affine_cell(init, initial_state, project, affine, output)


# The linear recurrent unit


class LRUParams(NamedTuple):
    log_decay: Array  # (H,), nu
    log_phase: Array  # (H,), theta
    log_scale: Array  # (H,), log gamma
    input_real: Array  # (I, H), B
    input_imaginary: Array  # (I, H)
    output_real: Array  # (H, H), C
    output_imaginary: Array  # (H, H)
    skip_kernel: Array  # (I, H), D


class LRUState(NamedTuple):
    memory: Array  # (..., H), complex
    skip: Array  # (..., H), what goes from the input to the output directly


@remembered
def lru(hidden_size: int, *, r_min: float = 0.0, r_max: float = 1.0, max_phase: float = 2 * math.pi) -> Cell:
    """The linear recurrent unit: a complex diagonal recurrence (Orvieto et al., 2023).

        lambda = exp(-exp(nu) + i exp(theta))              within the unit circle whatever nu is
        s_t = lambda * s_{t-1} + gamma * (x_t B)           s, lambda, B, C complex; gamma is learned, too
        y_t = Re(s_t C) + x_t D

    Made to show what a linear recurrence needs to solve the long-range tasks of state-space models: initial eigenvalues
    uniform in a ring near the unit circle, an exponential parametrization, and an input normalized by gamma, which is
    sqrt(1 - |lambda|^2) at initialization. D is a full matrix here; the authors' code has a diagonal one, for inputs
    and outputs of the same width. There are H complex memories and H outputs.

    The params are real, so optimizers need not handle complex numbers. The memory is complex64 (complex128 for float64
    params), since its recurrence is an elementwise product only as a complex one. It is the only leaf of any cell's
    state that is not real. The norm of dL/ds_t is the norm of the gradient with respect to real and imaginary parts.

    Args:
        hidden_size: H, the number of units.
        r_min: smallest initial |lambda|.
        r_max: largest initial |lambda|; near 1 for long memories.
        max_phase: largest initial angle of lambda; smaller for longer oscillations.

    Raises:
        ValueError: if hidden_size < 1, or unless 0 <= r_min < r_max <= 1 and 0 < max_phase <= 2 pi.
        TypeError: if hidden_size is not a whole number.
    """
    size = positive_integer("hidden_size", hidden_size)
    r_min, r_max = check_number("r_min", r_min), check_number("r_max", r_max)
    if not 0 <= r_min < r_max <= 1:
        raise ValueError(
            f"r_min is {r_min:g}, r_max is {r_max:g}: expected 0 <= r_min < r_max <= 1, the ring of the eigenvalues, "
            "such as 0.9 and 0.999"
        )
    if not 0 < check_number("max_phase", max_phase) <= 2 * math.pi:
        raise ValueError(f"max_phase is {max_phase}: expected an angle above 0, at most 2 pi, such as 0.314")

    def init(key: Key, input_size: int) -> LRUParams:
        width = positive_integer("input_size", input_size)
        modulus_key, phase_key, *keys = jax.random.split(key, 7)
        log_decay, log_phase = _ring(modulus_key, phase_key, size, r_min, r_max, max_phase)
        into, out_of = jax.nn.initializers.normal((2 * width) ** -0.5), jax.nn.initializers.normal(size**-0.5)
        return LRUParams(
            log_decay,
            log_phase,
            log_scale=jnp.log(-jnp.expm1(-2 * jnp.exp(log_decay))) / 2,
            input_real=into(keys[0], (width, size)),
            input_imaginary=into(keys[1], (width, size)),
            output_real=out_of(keys[2], (size, size)),
            output_imaginary=out_of(keys[3], (size, size)),
            skip_kernel=jax.nn.initializers.lecun_normal()(keys[4], (width, size)),
        )

    def initial_state(params: LRUParams, batch_shape: tuple[int, ...] = ()) -> LRUState:
        real, imaginary, skip = zero_state(batch_shape, 3 * (size,), params.log_decay.dtype)
        return LRUState(_complex(real, imaginary), skip)

    def project(params: LRUParams, inputs: Array) -> tuple[Array, ...]:
        return inputs @ params.input_real, inputs @ params.input_imaginary, inputs @ params.skip_kernel

    def affine(params: LRUParams, drive: tuple[Array, ...]) -> tuple[LRUState, LRUState]:
        real, imaginary, skip = drive
        scale, modulus, phase = (
            jnp.exp(params.log_scale),
            jnp.exp(-jnp.exp(params.log_decay)),
            jnp.exp(params.log_phase),
        )
        eigenvalues = _complex(modulus * jnp.cos(phase), modulus * jnp.sin(phase))
        term = _complex(beside(scale, real) * real, beside(scale, real) * imaginary)
        return LRUState(jnp.broadcast_to(eigenvalues, term.shape), jnp.zeros_like(skip)), LRUState(term, skip)

    def output(params: LRUParams, state: LRUState) -> Array:
        real, imaginary = (part.astype(state.skip.dtype) for part in (state.memory.real, state.memory.imag))
        return real @ params.output_real - imaginary @ params.output_imaginary + state.skip

    return affine_cell(init, initial_state, project, affine, output)


def _ring(
    modulus_key: Key, phase_key: Key, size: int, r_min: float, r_max: float, max_phase: float
) -> tuple[Array, Array]:
    """The params nu and theta of eigenvalues uniform in area over the ring, up to the angle ``max_phase``."""
    square = jax.random.uniform(modulus_key, (size,), minval=r_min**2, maxval=r_max**2)
    phase = jax.random.uniform(phase_key, (size,), maxval=max_phase)
    limits = jnp.finfo(square.dtype)  # the logarithms of 0 and of log 1 are infinite
    square = jnp.clip(square, float(limits.tiny), 1 - float(limits.epsneg))
    return jnp.log(-jnp.log(square) / 2), jnp.log(jnp.maximum(phase, float(limits.tiny)))


def _complex(real: Array, imaginary: Array) -> Array:
    dtype = jnp.float64 if real.dtype == jnp.float64 else jnp.float32  # there are no complex numbers of half precision
    return jax.lax.complex(real.astype(dtype), imaginary.astype(dtype))


# Shared


def _input_kernels(key: Key, gates: int, input_size: int, size: int, kernel_init: Initializer) -> Array:
    width = positive_integer("input_size", input_size)
    return jnp.concatenate([kernel_init(k, (width, size)) for k in jax.random.split(key, gates)], axis=1)


def _init(
    size: int, gates: int, kernel_init: Initializer, gate_bias: tuple[int, float] = (0, 0.0)
) -> Callable[[Key, int], LinearGatesParams]:
    """Kernels drawn separately for each gate; biases 0, except for one gate, which is given by its index."""
    gate, value = gate_bias

    def init(key: Key, input_size: int) -> LinearGatesParams:
        bias = jnp.zeros((gates, size)).at[gate].set(value).reshape(gates * size)
        return LinearGatesParams(_input_kernels(key, gates, input_size, size, kernel_init), bias)

    return init


def _initial_state(size: int) -> Callable[..., LinearState]:
    return lambda params, batch_shape=(): LinearState(*zero_state(batch_shape, (size,), params.kernel.dtype))


def _project(gates: int) -> Callable[[Any, Array], tuple[Array, ...]]:
    return lambda params, inputs: split_gates(dense(inputs, params.kernel, params.bias), gates)
