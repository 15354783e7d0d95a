"""Forward memory: how much of an input is left in the state after some steps.

``forward_memory`` measures how strongly the last output depends on each input, ``memory_capacity`` how much of the past
inputs a linear readout can recover from a state.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from rnnjax.arguments import of_their_kinds
from rnnjax.cell import Cell, check_cell
from rnnjax.checks import as_arrays, number_between, positive_integer, positive_number
from rnnjax.engine.norms import is_inexact, norm
from rnnjax.engine.state_vectors import state_vectors
from rnnjax.sequence.unroll import prepare, unroll
from rnnjax.typing import Key, Params, State


@of_their_kinds
def forward_memory(
    cell: Cell, params: Params, inputs: Array, state: State | None = None, *, chunk: int | None = None
) -> Array:
    """The norm of the derivative of the last output by each input.

        ||dh_T/dx_t||        t = 1, ..., T        Frobenius norm for each example

    It is exact, by one vector-Jacobian product for each of the O outputs. It is the forward counterpart of dL/dh_t and
    limits what a loss at step T can learn from x_t.

    Args:
        cell: any cell, stacks included; h_T is its output.
        params: from ``cell.init``.
        inputs: (T, ..., I).
        state: s_0, by default ``cell.initial_state``.
        chunk: how many of these products are computed together, by default all; memory grows with it.

    Returns:
        Norms (T, ...), where index t is the step of the input. ``rnnjax.decay`` summarizes those of one example.

    Raises:
        ValueError: for shapes that do not fit together, or chunk < 1.
        TypeError: for inputs that are not real numbers, or a ``chunk`` that is not a whole number.
    """
    inputs, state = prepare(cell, params, inputs, state)
    last, back = jax.vjp(lambda inputs: unroll(cell, params, inputs, state)[1][-1], inputs)

    def norms_of(direction: Array) -> Array:
        (gradient,) = back(jnp.broadcast_to(direction, last.shape))
        return norm(gradient, (gradient.ndim - 1,))

    size = last.shape[-1]
    together = size if chunk is None else positive_integer("chunk", chunk)
    of_outputs = jax.lax.map(norms_of, jnp.eye(size, dtype=last.dtype), batch_size=min(together, size))
    return norm(of_outputs, (0,))


class MemoryCapacity(NamedTuple):
    """How well a linear readout of the state recalls the input k steps back.

    Attributes:
        r_squared: (lags,), for the lags k = 0, 1, ..., on steps that the readout was not fitted to: 1 if it recovers
            all of the variance, about 0 or slightly below if it recovers none.
        capacity: the sum of the positive ones. It is at most S, up to the error of the estimate, which falls with the
            square root of the number of steps and is larger if the state forgets slowly.
    """

    r_squared: np.ndarray
    capacity: float


@of_their_kinds
def memory_capacity(
    cell: Cell,
    params: Params,
    key: Key,
    lags: int,
    *,
    steps: int = 4000,
    warm_up: int = 100,
    amplitude: float = 1.0,
    direction: Array | None = None,
    ridge: float = 1e-30,
    held_out: float = 0.25,
) -> MemoryCapacity:
    """The linear memory capacity of a cell (Jaeger, 2001).

        u_t uniform in [-amplitude, amplitude], independent        x_t = u_t d
        R_k^2 = 1 - sum_t (u_{t-k} - a_k . s_t - b_k)^2 / sum_t (u_{t-k} - mean u)^2        capacity = sum_k R_k^2

    The readouts a_k, b_k come from ridge regression on the first steps, and R^2 from the last ones. s is the whole
    state as a vector (see ``engine.state_vectors``), which for an LSTM includes the memory. Jaeger counts from lag 1;
    here the first lag is 0, the present input, so a delay line of S units has the capacity S.

    A linear network has the capacity S exactly, if its states settle and the lags reach far enough (Jaeger, 2001). Much
    of it lies in directions in which the states hardly move, and rounding removes those first (Ballarin et al., 2024).
    States are therefore computed in float64, whatever the dtype of the params, even if JAX's 64 bits are off. For
    random kernels of spectral radius 0.5, 0.9 and 0.99 this finds the whole capacity of 20 units. For 50 units it finds
    32 to 37, 47 to 50 and 49 to 50, for 100 units no more than 38 to 42, 73 to 80 and 78 to 87 (5 seeds, NumPy 2.4 and
    2.5, whose rounding differs). If all is found, the estimate is off by up to 0.1 with 20,000 steps and by 0.4 with
    4,000 (5 seeds); with radius 0.99 and 400 lags by 0.7 and 0.9. With an orthogonal kernel the states grow without
    limit, and the share of each lag goes to 0.

    Args:
        cell: any cell, stacks included.
        params: from ``cell.init``.
        key: for the draws of u.
        lags: the number of lags.
        steps: the number of steps for regression and test, after the warm-up.
        warm_up: the number of steps before them, in which the initial state is forgotten; ``lags`` if it is smaller.
        amplitude: of u; a small one keeps the cell in its linear range.
        direction: d (I,), by default (1,), for cells with one input.
        ridge: the penalty on a_k, relative to the largest squared singular value of the states. The default leaves out
            only what float64 does not resolve; 1e-8 would remove a sixth of a linear network's capacity.
        held_out: the share of the steps on which R^2 is measured.

    Raises:
        ValueError: for numbers out of range, too few steps, or a direction that is not as wide as the inputs.
        TypeError: for numbers of another type, or a state without real or complex numbers.
    """
    check_cell("memory_capacity", cell, "elman(64)")
    params = as_arrays("params", params)
    lags, steps = positive_integer("lags", lags), positive_integer("steps", steps)
    skipped = max(positive_integer("warm_up", warm_up), lags)
    amplitude, ridge = positive_number("amplitude", amplitude), number_between("ridge", ridge, 0, 1)
    tested = round(steps * number_between("held_out", held_out, 0, 1))
    if not 2 <= tested <= steps - 2:
        raise ValueError(
            f"held_out is {held_out:g}, {tested} of {steps} steps to test: expected at least 2 of them, and at least 2 "
            "to fit; raise steps, or choose another share"
        )
    direction = jnp.ones(1) if direction is None else jnp.asarray(direction)
    _check_direction(direction)

    limit = jnp.asarray(amplitude, direction.dtype)
    signal = jax.random.uniform(key, (skipped + steps,), direction.dtype, -limit, limit)
    states = _states(cell, params, np.asarray(signal)[:, None] * np.asarray(direction))[skipped:]
    past = np.lib.stride_tricks.sliding_window_view(np.asarray(signal, np.float64), lags)
    targets = past[skipped - lags + 1 :, ::-1]  # [t, k] = u_{t-k}
    fitted = steps - tested
    predictions = _ridge(states[:fitted], targets[:fitted], states[fitted:], ridge)
    residuals, spread = targets[fitted:] - predictions, targets[fitted:] - targets[fitted:].mean(axis=0)
    r_squared = 1 - (residuals**2).sum(axis=0) / (spread**2).sum(axis=0)
    return MemoryCapacity(r_squared, float(r_squared.clip(min=0).sum()))


def _states(cell: Cell, params: Params, inputs: np.ndarray) -> np.ndarray:
    """The state after each step as vectors (T, S), in float64."""

    def in_double(leaf: Array) -> Array:
        if not is_inexact(leaf):
            return leaf
        return leaf.astype(jnp.complex128 if jnp.iscomplexobj(leaf) else jnp.float64)

    with jax.enable_x64(True):
        return np.asarray(_trajectory(cell, jax.tree.map(in_double, params), in_double(jnp.asarray(inputs))))


@functools.partial(jax.jit, static_argnums=0)
def _trajectory(cell: Cell, params: Params, inputs: Array) -> Array:
    inputs, state = prepare(cell, params, inputs, None)
    vectors = state_vectors(state, 0)

    def step(state: State, x: Array) -> tuple[State, Array]:
        new_state, _ = cell.step(params, state, x)
        return new_state, vectors.of_state(new_state)

    return jax.lax.scan(step, state, inputs)[1]


def _ridge(features: np.ndarray, targets: np.ndarray, new: np.ndarray, ridge: float) -> np.ndarray:
    """Predictions for new features by ridge regression, from the singular values of the centred features."""
    centre, level = features.mean(axis=0), targets.mean(axis=0)
    left, sizes, right = np.linalg.svd(features - centre, full_matrices=False)
    shrunk = np.divide(sizes, sizes**2 + ridge * sizes[0] ** 2, out=np.zeros_like(sizes), where=sizes > 0)
    return level + (new - centre) @ (right.T @ (shrunk[:, None] * (left.T @ (targets - level))))


def _check_direction(direction: Array) -> None:
    if direction.ndim != 1 or not jnp.issubdtype(direction.dtype, jnp.floating):
        raise ValueError(
            f"direction is {direction.dtype} of shape {direction.shape}: expected real numbers (I,), one for each "
            "input of the cell, such as jnp.ones(I)"
        )
