"""Penalties that keep gradients from vanishing or exploding through time, to be added to the loss in training.

Clipping, the other remedy, is optax's: ``optax.clip_by_global_norm`` and ``optax.clip``, with ``optax.snapshot`` before
and after to see what it does. Gradients are clipped inside time by ``rnnjax.clipping``.
"""

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend.core import JaxprEqn, Literal

from rnnjax.arguments import of_their_kinds
from rnnjax.cell import Cell
from rnnjax.checks import check_loss
from rnnjax.engine.norms import is_inexact, norm
from rnnjax.engine.products import at_all_steps
from rnnjax.engine.program import Program, evaluate, execute, program_of, reached
from rnnjax.engine.state_vectors import advance_vectors, check_same_backward, state_vectors
from rnnjax.engine.wiring import layers_of, run_layers
from rnnjax.measure.decay import norm_floor
from rnnjax.measure.dynamics import lyapunov_spectrum
from rnnjax.sequence.unroll import first_steps, perturb, prepare, scan_masked, state_beside, zero_perturbation
from rnnjax.typing import Drive, Loss, Params, State


@of_their_kinds
def gradient_preserving_penalty(
    cell: Cell,
    params: Params,
    inputs: Array,
    loss: Loss,
    state: State | None = None,
    *,
    mask: Array | None = None,
    reset: Array | None = None,
) -> Array:
    """How far the gradient is from keeping its norm at each step back in time (Pascanu, Mikolov & Bengio, 2013).

        Omega = mean over t = 2, ..., T of (||J_t^T dL/ds_t||^2 / ||dL/ds_t||^2 - 1)^2        J_t = ds_t/ds_{t-1}

    Add it to the loss, with a weight, to pull a network to where the gradient neither vanishes nor explodes, in those
    directions in which the loss sends it. The mean is over examples too. That it is a mean, and of squared norms, is as
    in the authors' program; the paper writes norms and a sum. Steps at which the gradient is 0, has underflowed or
    overflowed do not count (in the authors' program those of a squared norm below 1e-20), nor does the first: what
    goes on to s_0 changes no weight. The authors' program does count it, and takes the mean over t = 1, ..., T. For
    that mean, put a step of padding before the sequence, False in ``mask``: then the first that counts is J_1.

    As in the paper, the states, dL/ds_t and the slopes of the activations are constants where Omega is differentiated.
    What has a gradient are the weights by which the state, or what comes of it in a step, is multiplied: of an Elman
    network the recurrent kernel. A recurrence without such weights, as of ``min_gru``, has none. It takes a
    forward and a backward pass of its own.

    Args:
        cell: any cell. Of a stack it is the sum over the layers, with s_t the whole state of one and J_t its own
            recurrence; memoryless layers do not count.
        params: from ``cell.init``.
        inputs: (T, ..., I).
        loss: ``outputs (T, ..., O) -> scalar``; what it is multiplied by makes no difference.
        state: s_0, by default ``cell.initial_state``.
        mask: (T, ...), True at real steps; padding does not count.
        reset: (T, ...), True where a step starts afresh; such a step does not count.

    Raises:
        ValueError: shapes that do not fit together, a loss that is not a scalar.
        TypeError: inputs or a loss that are not real numbers, or a cell with a ``jax.custom_vjp``.
    """
    inputs, state = prepare(cell, params, inputs, state, mask, reset)
    constants = jax.lax.stop_gradient((params, inputs, state))
    trajectory, adjoints = _there_and_back(cell, *constants, loss, mask, reset)

    def counted(cell: Cell) -> Array:
        first = first_steps(reset, cell.reverse)
        steps = jnp.full_like(inputs[..., 0], not cell.memoryless, bool).at[-1 if cell.reverse else 0].set(False)
        return steps if first is None else steps & ~first  # (in padding the gradient is 0)

    def penalty(cell: Cell, params: Params, trajectory: Any, adjoints: Any) -> Array:
        if cell.wiring:
            layers = zip(layers_of(cell.wiring, params), trajectory, adjoints, strict=True)
            return jnp.sum(jnp.stack([penalty(*layer, *of_layer) for layer, *of_layer in layers]))
        return _penalty(cell, params, trajectory, adjoints, counted(cell))

    return penalty(cell, params, trajectory, adjoints)


class _Trajectory(NamedTuple):
    """What went into all steps of one layer."""

    before: Any  # the states
    drive: Any


def _there_and_back(
    cell: Cell, params: Params, inputs: Array, state: State, loss: Loss, mask: Array | None, reset: Array | None
) -> tuple[Any, Any]:
    """The ``_Trajectory`` of each layer, nested as layers are, and dL/ds_t, like the state with a time axis."""

    def run(cell: Cell, params: Params, inputs: Array, state: State, extra: Any) -> tuple[Any, Array]:
        zeros, fresh = extra
        if cell.wiring:
            return run_layers(cell.wiring, params, inputs, state, list(zip(zeros, fresh, strict=True)), run)
        check_same_backward("gradient_preserving_penalty", cell, params, state, inputs[0])
        drive = at_all_steps(cell.project, params, inputs)

        def step(params: Params, state: State, xs: Any) -> tuple[State, tuple[Array, State]]:
            drive, zeros = xs
            new_state = perturb(cell.advance(params, state, drive), zeros)
            return new_state, (cell.output(params, new_state), state)

        starts = first_steps(reset, cell.reverse)
        xs = drive, zeros
        _, (outputs, before) = scan_masked(step, params, state, xs, mask, starts, fresh, reverse=cell.reverse)
        return _Trajectory(before, drive), outputs

    def outputs_of(zeros: State) -> tuple[Array, Any]:
        trajectory, outputs = run(cell, params, inputs, state, (zeros, state_beside(inputs, cell, params)))
        return outputs, trajectory

    outputs, back, trajectory = jax.vjp(outputs_of, zero_perturbation(state, inputs), has_aux=True)
    value, of_loss = jax.vjp(loss, outputs)
    check_loss(value)
    # The loss may depend on params of its own, a readout's: they have no gradient from here.
    (d_outputs,) = jax.lax.stop_gradient(of_loss(jnp.ones_like(value)))
    (adjoints,) = back(d_outputs)
    return trajectory, adjoints


def _penalty(cell: Cell, params: Params, trajectory: _Trajectory, adjoints: State, counted: Array) -> Array:
    """Omega of one layer. All steps are one batch here, none depends on another."""
    vectors = state_vectors(trajectory.before, counted.ndim)
    # JAX's gradient with respect to x + iy is dL/dx - i dL/dy.
    directions = vectors.of_state(
        jax.tree.map(lambda leaf, g: jnp.conj(g) if is_inexact(leaf) else leaf, trajectory.before, adjoints)
    )
    norms = norm(directions, (-1,))
    counted = counted & jnp.isfinite(norms) & (norms >= norm_floor(norms.dtype))
    unit = jnp.where(counted[..., None], directions / jnp.where(counted, norms, 1)[..., None], 0)

    of_weights = cell._replace(advance=partial(_advance_by_weights, cell))
    advance = advance_vectors(of_weights, params, trajectory.before, trajectory.drive, vectors)
    _, back, _ = jax.vjp(advance, vectors.of_state(trajectory.before), has_aux=True)
    (moved,) = back(unit)
    deviations = jnp.sum(moved**2, axis=-1) - 1
    return jnp.sum(jnp.where(counted, deviations, 0) ** 2) / jnp.maximum(jnp.sum(counted, dtype=norms.dtype), 1)


def _advance_by_weights(cell: Cell, params: Params, state: State, drive: Drive) -> State:
    """``cell.advance``, with ds_t/ds_{t-1} a function of nothing but the weights that multiply what is of the state.

    Of a product a w of such a weight the value is constant, and the derivative by a is w.
    """
    leaves, others = jax.tree.leaves(params), jax.tree.leaves((state, drive))
    program = program_of(cell.advance, params, state, drive)
    return _execute_by_weights(program, [*leaves, *others], [False] * len(leaves) + [True] * len(others))


def _execute_by_weights(program: Program, arguments: list[Any], moves: list[bool]) -> Any:
    """The same for any program; an argument either moves or is what weights are made of."""
    moving = reached(program, itertools.compress(program.jaxpr.invars, moves))

    def replace(equation: JaxprEqn, operands: list[Any]) -> list[Any] | None:
        if not moving & set(equation.outvars):
            return None
        is_moving = [not isinstance(operand, Literal) and operand in moving for operand in equation.invars]
        if equation.primitive.name in ("jit", "pjit"):
            closed: Any = equation.params["jaxpr"]
            constants = dict(zip(closed.jaxpr.constvars, closed.consts, strict=True))
            called = Program(closed.jaxpr, constants, jax.tree.structure([0] * len(equation.outvars)))
            return list(_execute_by_weights(called, operands, is_moving))
        fixed = [o if moves else jax.lax.stop_gradient(o) for o, moves in zip(operands, is_moving, strict=True)]
        results = evaluate(program.jaxpr, equation, fixed)
        if equation.primitive not in (jax.lax.mul_p, jax.lax.dot_general_p) or all(is_moving):
            return results
        place = is_moving.index(True)

        def multiply(operand: Array, weight: Array) -> Array:
            pair = (operand, weight) if place == 0 else (weight, operand)
            return equation.primitive.bind(*pair, **equation.params)

        return [_product(multiply, jax.lax.stop_gradient(results[0]), operands[place], operands[1 - place])]

    return execute(program, arguments, replace)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _product(multiply: Callable[[Array, Array], Array], value: Array, operand: Array, weight: Array) -> Array:
    """The value of a product, which has a derivative by the operand only."""
    return value


@_product.defjvp
def _product_derivative(multiply: Callable[[Array, Array], Array], primals: Any, tangents: Any) -> tuple[Array, Array]:
    value, _, weight = primals
    return value, multiply(tangents[1], weight)


@of_their_kinds
def gradient_flossing_penalty(
    cell: Cell,
    params: Params,
    inputs: Array,
    state: State | None = None,
    *,
    count: int | None = None,
    warm_up: int | None = None,
) -> Array:
    """How far the largest Lyapunov exponents are from 0 (gradient flossing; Engelken, 2023).

        mean over examples of lambda_1^2 + ... + lambda_K^2

    It is the sum over the K exponents. The author's program has their mean: divide by K for that, where a weight or a
    learning rate is taken from there (under Adam, which he uses, the factor makes no difference beyond its epsilon).

    Descending on it makes K directions neutral: neither differences between states nor, on the way back, gradients
    along them grow or shrink exponentially. It knows nothing of a loss; its author minimizes it before training, and
    again in breaks of it. Exponents are those of ``lyapunov_spectrum``, differentiated through QR decomposition in
    reverse mode: memory grows with T S K, so that T is of the order of 100 here.

    Args:
        cell: any cell, stacks included. Of memoryless layers no direction can be made neutral: choose ``count`` so that
            their exponents, -inf, are not among the largest.
        params: from ``cell.init``.
        inputs: (T, ..., I).
        state: s_0, by default ``cell.initial_state``.
        count: K, by default all S.
        warm_up: steps before the first that counts, by default T // 10, or one more where this leaves an odd number.

    Raises:
        ValueError: as ``lyapunov_spectrum``.
        TypeError: as ``lyapunov_spectrum``.
    """
    exponents = lyapunov_spectrum(cell, params, inputs, state, count=count, warm_up=warm_up, blocks=2).exponents
    return jnp.mean(jnp.sum(exponents**2, axis=-1))
