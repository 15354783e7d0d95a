"""Recurrent networks designed as differential equations with stable dynamics.

Stable dynamics make gradients last. The equations are discretized. The step size and the other numbers of the equations
are fixed, not learned. Weights start from this library's usual initializers unless stated otherwise.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.nn import sigmoid

from rnnjax.cell import Cell, zero_state
from rnnjax.cells.gates import gate_kernels, split_gates
from rnnjax.checks import number_between, positive_integer, positive_number
from rnnjax.initializers import orthogonal
from rnnjax.origin import remembered
from rnnjax.typing import Initializer, Key
from rnnjax.units import dense


class AntisymmetricParams(NamedTuple):
    kernel: Array  # (I, H)
    recurrent_kernel: Array  # (H, H), of which the antisymmetric part counts
    bias: Array  # (H,)


class GatedAntisymmetricParams(NamedTuple):
    kernel: Array  # (I, 2H): gate, candidate
    recurrent_kernel: Array  # (H, H), of which the antisymmetric part counts
    bias: Array  # (2H,)


class LipschitzParams(NamedTuple):
    kernel: Array  # (I, H)
    linear_kernel: Array  # (H, H)
    recurrent_kernel: Array  # (H, H)
    bias: Array  # (H,)


class CoRNNParams(NamedTuple):
    kernel: Array  # (I, H)
    recurrent_kernel: Array  # (H, H)
    velocity_kernel: Array  # (H, H)
    bias: Array  # (H,)


class LEMParams(NamedTuple):
    kernel: Array  # (I, 4H): memory's time step, hidden's time step, memory's candidate, hidden's candidate
    recurrent_kernel: Array  # (H, 3H): the first three of them
    memory_kernel: Array  # (H, H): the fourth
    bias: Array  # (4H,)


class DynamicalState(NamedTuple):
    hidden: Array  # (..., H)


class CoRNNState(NamedTuple):
    hidden: Array  # (..., H), where the oscillators are
    velocity: Array  # (..., H)


class LEMState(NamedTuple):
    hidden: Array  # (..., H)
    memory: Array  # (..., H)


@remembered
def antisymmetric(
    hidden_size: int,
    step_size: float = 0.01,
    diffusion: float = 0.01,
    *,
    kernel_init: Initializer = jax.nn.initializers.lecun_normal(),
    recurrent_init: Initializer = jax.nn.initializers.lecun_normal(),
) -> Cell:
    """The antisymmetric network: the state neither decays nor explodes (Chang et al., 2019).

        A = U - U^T - gamma I
        h_t = h_{t-1} + epsilon tanh(h_{t-1} A + x_t W + b)

    Invented for long-term dependencies: eigenvalues of an antisymmetric matrix are imaginary, so the differential
    equation is on the edge of stability; gamma compensates for the growth that Euler's method adds. U is the transpose
    of the paper's W_h, which multiplies columns.

    Args:
        hidden_size: H, the number of units.
        step_size: epsilon.
        diffusion: gamma, 0 for none.
        kernel_init: for W (I, H).
        recurrent_init: for U (H, H), by default of variance 1/H, as in the paper.

    Raises:
        ValueError: if hidden_size < 1, step_size is not positive, or diffusion is negative.
        TypeError: if hidden_size is not a whole number, or another argument is not a number.
    """
    size = positive_integer("hidden_size", hidden_size)
    epsilon, gamma = positive_number("step_size", step_size), number_between("diffusion", diffusion, 0, math.inf)

    def init(key: Key, input_size: int) -> AntisymmetricParams:
        kernel, recurrent_kernel = gate_kernels(key, 1, input_size, size, kernel_init, recurrent_init)
        return AntisymmetricParams(kernel, recurrent_kernel, jnp.zeros(size))

    def advance(params: AntisymmetricParams, state: DynamicalState, drive: Array) -> DynamicalState:
        recurrent = _antisymmetric_product(state.hidden, params.recurrent_kernel, gamma)
        return DynamicalState(state.hidden + epsilon * jnp.tanh(drive + recurrent))

    return Cell(init, _initial_state, _project, advance)


@remembered
def gated_antisymmetric(
    hidden_size: int,
    step_size: float = 0.01,
    diffusion: float = 0.01,
    *,
    kernel_init: Initializer = jax.nn.initializers.lecun_normal(),
    recurrent_init: Initializer = jax.nn.initializers.lecun_normal(),
) -> Cell:
    """The antisymmetric network with an input gate, which shares its recurrent matrix (Chang et al., 2019).

        A = U - U^T - gamma I
        z_t = sigmoid(h_{t-1} A + x_t W_z + b_z)
        h_t = h_{t-1} + epsilon z_t * tanh(h_{t-1} A + x_t W_h + b_h)

    Invented so that a gate can choose how much of each step to take, without losing the antisymmetry.

    Arguments and errors are as for ``antisymmetric``.
    """
    size = positive_integer("hidden_size", hidden_size)
    epsilon, gamma = positive_number("step_size", step_size), number_between("diffusion", diffusion, 0, math.inf)

    def init(key: Key, input_size: int) -> GatedAntisymmetricParams:
        kernel_key, recurrent_key = jax.random.split(key)
        kernel, _ = gate_kernels(kernel_key, 2, input_size, size, kernel_init, recurrent_init)
        return GatedAntisymmetricParams(kernel, recurrent_init(recurrent_key, (size, size)), jnp.zeros(2 * size))

    def project(params: GatedAntisymmetricParams, inputs: Array) -> tuple[Array, ...]:
        return split_gates(dense(inputs, params.kernel, params.bias), 2)

    def advance(params: GatedAntisymmetricParams, state: DynamicalState, drive: tuple[Array, ...]) -> DynamicalState:
        recurrent = _antisymmetric_product(state.hidden, params.recurrent_kernel, gamma)
        drive_gate, drive_candidate = drive
        moved = sigmoid(drive_gate + recurrent) * jnp.tanh(drive_candidate + recurrent)
        return DynamicalState(state.hidden + epsilon * moved)

    return Cell(init, _initial_state, project, advance)


@remembered
def lipschitz(
    hidden_size: int,
    step_size: float = 0.01,
    skew_share: float = 0.8,
    diffusion: float = 0.01,
    *,
    kernel_init: Initializer = jax.nn.initializers.glorot_normal(),
    recurrent_init: Initializer | None = None,
) -> Cell:
    """The Lipschitz network, by Euler's method (Erichson et al., 2021).

        S(M) = (1 - beta) (M + M^T) + beta (M - M^T) - gamma I
        h_t = h_{t-1} + epsilon (h_{t-1} S(A) + tanh(h_{t-1} S(U) + x_t W + b))

    Invented for dynamics that are provably stable and still expressive: they have a linear part and a Lipschitz
    continuous nonlinear part, and the symmetric and skew-symmetric parts of their matrices are weighted separately. The
    paper lets beta and gamma differ between A and U; here, as in the authors' code, they are shared, and rows are
    multiplied from the left.

    Args:
        hidden_size: H, the number of units.
        step_size: epsilon.
        skew_share: beta, from 0 (symmetric) to 1 (skew-symmetric); the paper takes 0.5 to 1.
        diffusion: gamma, which shifts all eigenvalues to the left.
        kernel_init: for W (I, H).
        recurrent_init: for A and U (H, H), by default Gaussian with standard deviation 1/H, as in the authors' code.

    Raises:
        ValueError: if hidden_size < 1, step_size is not positive, skew_share is outside [0, 1], or diffusion is
            negative.
        TypeError: if hidden_size is not a whole number, or another argument is not a number.
    """
    size = positive_integer("hidden_size", hidden_size)
    epsilon, beta = positive_number("step_size", step_size), number_between("skew_share", skew_share, 0, 1)
    gamma = number_between("diffusion", diffusion, 0, math.inf)
    square_init = jax.nn.initializers.normal(1 / size) if recurrent_init is None else recurrent_init

    def init(key: Key, input_size: int) -> LipschitzParams:
        kernel_key, linear_key, recurrent_key = jax.random.split(key, 3)
        return LipschitzParams(
            kernel=kernel_init(kernel_key, (positive_integer("input_size", input_size), size)),
            linear_kernel=square_init(linear_key, (size, size)),
            recurrent_kernel=square_init(recurrent_key, (size, size)),
            bias=jnp.zeros(size),
        )

    def stabilized_product(hidden: Array, kernel: Array) -> Array:
        return hidden @ ((1 - beta) * (kernel + kernel.T) + beta * (kernel - kernel.T)) - gamma * hidden

    def advance(params: LipschitzParams, state: DynamicalState, drive: Array) -> DynamicalState:
        linear = stabilized_product(state.hidden, params.linear_kernel)
        bounded = jnp.tanh(drive + stabilized_product(state.hidden, params.recurrent_kernel))
        return DynamicalState(state.hidden + epsilon * (linear + bounded))

    return Cell(init, _initial_state, _project, advance)


@remembered
def cornn(
    hidden_size: int,
    step_size: float = 0.042,
    frequency: float = 2.7,
    damping: float = 4.7,
    *,
    kernel_init: Initializer = jax.nn.initializers.lecun_normal(),
    recurrent_init: Initializer = jax.nn.initializers.lecun_normal(),
) -> Cell:
    """The coupled oscillatory network, coRNN (Rusch & Mishra, 2021).

        y'' = tanh(y U + y' V + x W + b) - gamma y - epsilon y'
        z_t = z_{t-1} + dt (tanh(y_{t-1} U + z_{t-1} V + x_t W + b) - gamma y_{t-1} - epsilon z_{t-1})
        y_t = y_{t-1} + dt z_t

    Invented after networks of oscillating neurons: damped, driven oscillators have bounded states and gradients. Each
    step updates z from the old y, and y from the new z. The damping is explicit, with the old z, as in the authors'
    code; the paper names this as one of two choices. The output is y; the defaults are the authors' for sequential
    MNIST.

    Args:
        hidden_size: H, the number of units.
        step_size: dt.
        frequency: gamma, the square of an uncoupled oscillator's frequency, positive.
        damping: epsilon, positive.
        kernel_init: for W (I, H).
        recurrent_init: for U and V (H, H).

    Raises:
        ValueError: if hidden_size < 1, or another argument is not positive.
        TypeError: if hidden_size is not a whole number, or another argument is not a number.
    """
    size, dt = positive_integer("hidden_size", hidden_size), positive_number("step_size", step_size)
    gamma, epsilon = positive_number("frequency", frequency), positive_number("damping", damping)

    def init(key: Key, input_size: int) -> CoRNNParams:
        kernel_key, recurrent_key, velocity_key = jax.random.split(key, 3)
        return CoRNNParams(
            kernel=kernel_init(kernel_key, (positive_integer("input_size", input_size), size)),
            recurrent_kernel=recurrent_init(recurrent_key, (size, size)),
            velocity_kernel=recurrent_init(velocity_key, (size, size)),
            bias=jnp.zeros(size),
        )

    def initial_state(params: CoRNNParams, batch_shape: tuple[int, ...] = ()) -> CoRNNState:
        return CoRNNState(
            *zero_state(batch_shape, 2 * (params.recurrent_kernel.shape[-2],), params.recurrent_kernel.dtype)
        )

    def advance(params: CoRNNParams, state: CoRNNState, drive: Array) -> CoRNNState:
        recurrent = state.hidden @ params.recurrent_kernel + state.velocity @ params.velocity_kernel
        force = jnp.tanh(drive + recurrent) - gamma * state.hidden - epsilon * state.velocity
        velocity = state.velocity + dt * force
        return CoRNNState(state.hidden + dt * velocity, velocity)

    return Cell(init, initial_state, _project, advance)


@remembered
def lem(
    hidden_size: int,
    step_size: float = 1.0,
    *,
    kernel_init: Initializer = jax.nn.initializers.lecun_normal(),
    recurrent_init: Initializer = orthogonal(),
) -> Cell:
    """Long expressive memory, LEM: two equations with time steps that are learned (Rusch et al., 2022).

        d_t = dt sigmoid(y_{t-1} U_1 + x_t W_1 + b_1)                        time step of the memory
        e_t = dt sigmoid(y_{t-1} U_2 + x_t W_2 + b_2)                        time step of the hidden state
        z_t = (1 - d_t) * z_{t-1} + d_t * tanh(y_{t-1} U_z + x_t W_z + b_z)
        y_t = (1 - e_t) * y_{t-1} + e_t * tanh(z_t V + x_t W_y + b_y)

    Invented for processes with many time scales: each unit sets its own at each step, and gradients stay bounded. The
    output is y. The authors draw all initial weights uniformly from +-1/sqrt(H).

    Args:
        hidden_size: H, the number of units.
        step_size: dt, up to 1 in the paper.
        kernel_init: for each W (I, H).
        recurrent_init: for each U and V (H, H).

    Raises:
        ValueError: if hidden_size < 1, or step_size is not positive.
        TypeError: if hidden_size is not a whole number, or step_size is not a number.
    """
    size, dt = positive_integer("hidden_size", hidden_size), positive_number("step_size", step_size)

    def init(key: Key, input_size: int) -> LEMParams:
        kernel, square = gate_kernels(key, 4, input_size, size, kernel_init, recurrent_init)
        recurrent_kernel, memory_kernel = jnp.split(square, [3 * size], axis=1)
        return LEMParams(kernel, recurrent_kernel, memory_kernel, jnp.zeros(4 * size))

    def initial_state(params: LEMParams, batch_shape: tuple[int, ...] = ()) -> LEMState:
        return LEMState(
            *zero_state(batch_shape, 2 * (params.recurrent_kernel.shape[-2],), params.recurrent_kernel.dtype)
        )

    def project(params: LEMParams, inputs: Array) -> tuple[Array, ...]:
        return split_gates(dense(inputs, params.kernel, params.bias), 4)

    def advance(params: LEMParams, state: LEMState, drive: tuple[Array, ...]) -> LEMState:
        recurrent = split_gates(state.hidden @ params.recurrent_kernel, 3)
        d, e, candidate = (a + b for a, b in zip(drive[:3], recurrent, strict=True))
        d, e = dt * sigmoid(d), dt * sigmoid(e)
        memory = (1 - d) * state.memory + d * jnp.tanh(candidate)
        hidden = (1 - e) * state.hidden + e * jnp.tanh(drive[3] + memory @ params.memory_kernel)
        return LEMState(hidden, memory)

    return Cell(init, initial_state, project, advance)


def _initial_state(
    params: AntisymmetricParams | GatedAntisymmetricParams | LipschitzParams, batch_shape: tuple[int, ...] = ()
) -> DynamicalState:
    kernel = params.recurrent_kernel
    return DynamicalState(*zero_state(batch_shape, (kernel.shape[-1],), kernel.dtype))


def _project(params: AntisymmetricParams | LipschitzParams | CoRNNParams, inputs: Array) -> Array:
    return dense(inputs, params.kernel, params.bias)


def _antisymmetric_product(hidden: Array, kernel: Array, gamma: float) -> Array:
    return hidden @ (kernel - kernel.T) - gamma * hidden
