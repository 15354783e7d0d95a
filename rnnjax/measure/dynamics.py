"""A cell as a dynamical system: state Jacobians and Lyapunov exponents.

States are vectors here; ``engine.state_vectors`` defines their order. ``measure.singular_values`` shows what products
of Jacobians do to gradients.
"""

import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from rnnjax.arguments import of_their_kinds
from rnnjax.cell import Cell
from rnnjax.checks import positive_integer, told
from rnnjax.engine.state_vectors import StateVectors, advance_vectors, check_same_backward, state_vectors
from rnnjax.sequence.unroll import prepare
from rnnjax.typing import Params, State


@of_their_kinds
def state_jacobians(cell: Cell, params: Params, inputs: Array, state: State | None = None) -> Array:
    """The Jacobian of the whole state, all layers included, at every step of a trajectory.

        J_t = ds_t/ds_{t-1}        t = 1, ..., T        J_t[i, j] = ds_t[i] / ds_{t-1}[j]

    s is the flat real vector of ``engine.state_vectors``: leaves in the order of ``jax.tree.leaves(state)``, real parts
    before imaginary ones, without leaves that have no derivative. The Jacobian of a stack is block lower triangular,
    since within one step a layer depends only on the layers below. Examples of a batch are independent of each other.

    Args:
        cell: any cell, stacks included.
        params: from ``cell.init``.
        inputs: (T, ..., I).
        state: s_0, by default ``cell.initial_state``.

    Returns:
        (T, ..., S, S), of which element 0 is J_1.

    Raises:
        ValueError: for shapes that do not fit together.
        TypeError: for inputs that are not real numbers, a state without real or complex numbers, or a cell with a
            ``jax.custom_vjp``.
    """
    inputs, state = prepare(cell, params, inputs, state)
    check_same_backward("state_jacobians", cell, params, state, inputs[0])

    def step(state: State, x: Array) -> tuple[State, State]:
        return cell.step(params, state, x)[0], state

    def of_example(before: State, x: Array) -> Array:
        vectors = state_vectors(before, 0)
        advance = advance_vectors(cell, params, before, cell.project(params, x), vectors)
        return jax.jacfwd(lambda vector: advance(vector)[0])(vectors.of_state(before))

    _, states_before = jax.lax.scan(step, state, inputs)
    of_examples: Callable[[State, Array], Array] = of_example
    for _ in inputs.shape[:-1]:
        of_examples = jax.vmap(of_examples)
    return of_examples(states_before, inputs)


class LyapunovSpectrum(NamedTuple):
    """The Lyapunov exponents of every example, as natural logarithms per step, largest first.

    Attributes:
        exponents: (..., K).
        standard_errors: (..., K), from the means of blocks of steps. They hold if a block is long compared with the
            time in which the trajectory forgets. They do not include what is left of the initial transient after the
            warm-up, and are NaN where the exponent is -inf.
    """

    exponents: Array
    standard_errors: Array


@of_their_kinds
def lyapunov_spectrum(
    cell: Cell,
    params: Params,
    inputs: Array,
    state: State | None = None,
    *,
    count: int | None = None,
    warm_up: int | None = None,
    blocks: int = 20,
) -> LyapunovSpectrum:
    """The Lyapunov exponents: how fast small differences between states grow along a trajectory, in each direction.

        J_t Q_{t-1} = Q_t R_t        lambda_i = mean over t of ln |R_t[i, i]|

    They are computed by a QR decomposition at every step (Benettin et al., 1980; for recurrent networks Vogt et al.,
    2022; Engelken et al., 2023). One scan carries the state and Q, and pushes the K columns of Q through the derivative
    of the step. No Jacobian is formed or kept, so memory beyond the inputs does not grow with T. Q starts from the same
    random matrix each time.

    The exponents of a fixed linear map are the logs of its eigenvalues' moduli, not of its singular values. A direction
    that one step takes to 0 has the exponent -inf or, if rounding hides this, about ln(epsilon) below the largest. The
    outputs of memoryless layers are such directions.

    Args:
        cell: any cell, stacks included.
        params: from ``cell.init``.
        inputs: (T, ..., I); zeros for a system without inputs.
        state: s_0, by default ``cell.initial_state``.
        count: K, the number of largest exponents to compute, by default all S.
        warm_up: the number of steps before the first that counts, by default T // 10. Up to ``blocks`` - 1 more are
            left out, so that all blocks are equally long.
        blocks: the number of blocks into which the steps are divided, for the standard errors.

    Raises:
        ValueError: as for ``unroll``; for a count outside 1, ..., S, fewer than two blocks, or fewer steps than blocks.
        TypeError: as for ``state_jacobians``.
    """
    inputs, state = prepare(cell, params, inputs, state)
    check_same_backward("lyapunov_spectrum", cell, params, state, inputs[0])
    vectors = state_vectors(state, inputs.ndim - 2)
    columns = _count(count, vectors.size)
    skipped, length = _division(len(inputs), warm_up, blocks)

    def step(carry: tuple[State, Array], x: Array) -> tuple[tuple[State, Array], Array]:
        state, basis = carry
        state, moved = _push(cell, params, state, x, basis, vectors)
        basis, triangle = jnp.linalg.qr(moved)
        return (state, basis), jnp.log(jnp.abs(jnp.diagonal(triangle, axis1=-2, axis2=-1)))

    def block(carry: tuple[State, Array], xs: Array) -> tuple[tuple[State, Array], Array]:
        def add(carry: tuple[Any, Array], x: Array) -> tuple[tuple[Any, Array], None]:
            inner, total = carry
            inner, logs = step(inner, x)
            return (inner, total + logs), None

        zeros = jnp.zeros((*inputs.shape[1:-1], columns), vectors.dtype)
        (carry, total), _ = jax.lax.scan(add, (carry, zeros), xs)
        return carry, total / length

    basis, _ = jnp.linalg.qr(jax.random.normal(jax.random.key(0), (vectors.size, vectors.size), vectors.dtype))
    basis = basis[:, :columns]
    carry = state, jnp.broadcast_to(basis, (*inputs.shape[1:-1], *basis.shape))
    carry, _ = block(carry, inputs[:skipped])
    _, means = jax.lax.scan(block, carry, inputs[skipped:].reshape(blocks, length, *inputs.shape[1:]))
    exponents, errors = jnp.mean(means, axis=0), jnp.std(means, axis=0, ddof=1) / blocks**0.5
    order = jnp.argsort(exponents, axis=-1, descending=True)
    return LyapunovSpectrum(*(jnp.take_along_axis(each, order, axis=-1) for each in (exponents, errors)))


def _push(
    cell: Cell, params: Params, state: State, inputs: Array, basis: Array, vectors: StateVectors
) -> tuple[State, Array]:
    """The state after a step, and J times the columns of a basis (..., S, K)."""
    advance = advance_vectors(cell, params, state, cell.project(params, inputs), vectors)
    # Examples are independent of each other, so one direction can be pushed for all of them at once.
    _, push, new_state = jax.linearize(advance, vectors.of_state(state), has_aux=True)
    return new_state, jax.vmap(push, in_axes=-1, out_axes=-1)(basis)


def _count(count: int | None, size: int) -> int:
    number = size if count is None else positive_integer("count", count)
    if number > size:
        raise ValueError(f"count is {number}: expected at most {size}, the numbers in a state of this cell")
    return number


def _division(steps: int, warm_up: int | None, blocks: int) -> tuple[int, int]:
    """The number of steps to leave out, and the length of a block."""
    if positive_integer("blocks", blocks) < 2:
        raise ValueError("blocks is 1: expected at least 2, from whose means the standard errors come")
    try:
        skipped = steps // 10 if warm_up is None else operator.index(warm_up)
    except TypeError:
        raise TypeError(f"warm_up is {told(warm_up)}: expected a whole number of steps, such as 100") from None
    if skipped < 0 or steps - skipped < blocks:
        raise ValueError(
            f"warm_up is {skipped} and blocks is {blocks} for {steps} steps: expected at least 0 and at least one step "
            "for each block after it; give more inputs, or fewer blocks"
        )
    length = (steps - skipped) // blocks
    return steps - blocks * length, length
